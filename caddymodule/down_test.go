package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// fakeStore is a store module for tests.
type fakeStore struct {
	id   string
	gate func() (*dedupe.Gate, error)
}

func (s *fakeStore) Identity() string                        { return s.id }
func (s *fakeStore) Gate(*slog.Logger) (*dedupe.Gate, error) { return s.gate() }

// brokenStore is a memory store that responds unless it is down.
type brokenStore struct {
	*dedupe.Memory
	mu   sync.Mutex
	down bool
}

func (s *brokenStore) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *brokenStore) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errors.New("connection refused")
	}
	return nil
}

func (s *brokenStore) Claim(ctx context.Context, k dedupe.Key, token dedupe.Token, lease time.Duration) (dedupe.State, error) {
	if err := s.err(); err != nil {
		return dedupe.State{}, err
	}
	return s.Memory.Claim(ctx, k, token, lease)
}

func (s *brokenStore) Release(ctx context.Context, k dedupe.Key, token dedupe.Token) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Memory.Release(ctx, k, token)
}

func (s *brokenStore) Done(ctx context.Context, k dedupe.Key, m dedupe.Mark) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Memory.Done(ctx, k, m)
}

func newBrokenStore() *brokenStore {
	return &brokenStore{Memory: dedupe.NewMemory(dedupe.MemoryOptions{}), down: true}
}

// openBrokenStore opens a store that does not answer, until the test ends.
func openBrokenStore(t *testing.T) {
	t.Helper()
	store := &fakeStore{id: "fake", gate: func() (*dedupe.Gate, error) {
		return dedupe.NewGate(dedupe.Options{Store: struct{ dedupe.Store }{newBrokenStore()}}), nil
	}}
	if _, err := acquire(store); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = release(store) })
}

// TestStoreDown: down reject refuses before the app is called, and an accepted
// delivery is acknowledged whatever the state of the store.
func TestStoreDown(t *testing.T) {
	g := mustProvision(t, "", once())
	store := newBrokenStore()
	g.app.store = &fakeStore{id: "fake", gate: func() (*dedupe.Gate, error) {
		return dedupe.NewGate(dedupe.Options{Store: store}), nil
	}}
	synctest.Test(t, func(t *testing.T) {
		g.run(t)
		rejected := g.count(t, "rejected", "store_down")
		g.send(post(), answering(200)).isRefused(t, "store_down", "2")
		if n := g.count(t, "rejected", "store_down") - rejected; n != 1 {
			t.Errorf("counted %v times", n)
		}
		store.set(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		w := newWire()
		o := g.sendOver(w, post(), func(w http.ResponseWriter, _ *http.Request) error {
			store.set(true)
			w.WriteHeader(200)
			return nil
		})
		o.isForwarded(t)
		if !slices.Equal(w.events, []string{"200", "0 bytes"}) {
			t.Errorf("what the app took is answered %q", w.events)
		}
		g.send(post(), answering(500)).isDuplicate(t)
		store.set(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if m, ok := store.Lookup(theKey); !ok || m.Status != 200 {
			t.Error("the mark was not written later")
		}
	})
}

// TestStoreDegraded: with local memory deliveries continue, and copies are
// recognised.
func TestStoreDegraded(t *testing.T) {
	g := mustProvision(t, "", once())
	store := newBrokenStore()
	g.app.store = &fakeStore{id: "fake", gate: func() (*dedupe.Gate, error) {
		return dedupe.NewGate(dedupe.Options{Store: store, Local: dedupe.NewMemory(dedupe.MemoryOptions{})}), nil
	}}
	synctest.Test(t, func(t *testing.T) {
		g.run(t)
		synctest.Wait() // the check at start has marked the store as down
		g.send(post(), answering(200)).isForwarded(t)
		g.send(post(), answering(500)).isDuplicate(t)
		if n := gaugeOf(t, g, "caddy_verify_webhook_store_degraded"); n != 1 {
			t.Errorf("store_degraded is %v", n)
		}
		store.set(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := gaugeOf(t, g, "caddy_verify_webhook_store_degraded"); n != 0 {
			t.Errorf("store_degraded is %v when it is back", n)
		}
		if _, ok := store.Lookup(theKey); !ok {
			t.Error("the mark was not written later")
		}
	})
}

// gaugeOf reads a metric without labels.
func gaugeOf(t testing.TB, g *gateway, name string) float64 {
	t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestStoreCannotBeOpened: a doubt about duplicates forwards, and is logged.
func TestStoreCannotBeOpened(t *testing.T) {
	g := mustProvision(t, "", once())
	g.app.store = &fakeStore{id: "fake", gate: func() (*dedupe.Gate, error) { return nil, errors.New("no such directory") }}
	g.logs.TakeAll()
	for range 2 {
		a := serve(t, post(), accepting, g.handlers...)
		if a.err != nil || a.forward == nil || a.header.Get("Webhook-Delivery") != theKey.String() {
			t.Errorf("got %v", a.err)
		}
		logged := g.logs.TakeAll()
		if len(logged) != 1 || logged[0].Level != zapcore.ErrorLevel || !strings.Contains(fmt.Sprint(logged[0].ContextMap()), "no such directory") {
			t.Errorf("logged %v", logged)
		}
	}
	g.budgetsAreFree(t)
	poolIsEmpty(t)
}

// TestThroughServer: a sender reads what the app wrote, over a real connection.
func TestThroughServer(t *testing.T) {
	g := running(t, "", acme(topsecret, withID))
	long := strings.Repeat("0123456789", 20000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
		if err := g.handlers[0].ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("X-App", "yes")
			flush(w)
			w.WriteHeader(201)
			flush(w)
			_, err := io.WriteString(w, r.URL.Query().Get("say")+long[:len(long)*len(r.URL.Query().Get("long"))])
			return err
		})); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	for i, tc := range []struct{ query, want string }{{"say=short", "short"}, {"long=1", long}, {"", ""}} {
		text := fmt.Sprintf(`{"id":"evt_%d"}`, i)
		for _, first := range []bool{true, false} {
			r, err := http.NewRequest(http.MethodPost, server.URL+"/?"+tc.query, strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Signature", sign("n9Wd4kTq2", text))
			response, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			response.Body.Close()
			switch {
			case err != nil:
				t.Error(err)
			case first && (response.StatusCode != 201 || string(got) != tc.want || response.Header.Get("X-App") != "yes"):
				t.Errorf("%q: got %d, %d bytes", tc.query, response.StatusCode, len(got))
			case !first && (response.StatusCode != 200 || len(got) != 0 || response.Header.Get("Webhook-Duplicate") != "true"):
				t.Errorf("%q, again: got %d, %d bytes", tc.query, response.StatusCode, len(got))
			}
		}
	}
}
