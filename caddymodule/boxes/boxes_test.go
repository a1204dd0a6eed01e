package boxes

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

// A gateway is what the inboxes need of one: a configuration in force, and a dedupe
// store.
type gateway struct {
	*Pool
	*Configuration
	box       *Box
	logs      *observer.ObservedLogs
	forgotten []inbox.Key
	broken    error // of the dedupe store
	attempts  atomic.Int64
}

// running starts a gateway whose inbox is in memory, and paused: what is stored stays.
func running(t *testing.T, handlers ...Handler) *gateway {
	t.Helper()
	return runningWith(t, memory{inboxtest.NewMemory(time.Now, 0)}, handlers...)
}

func runningWith(t *testing.T, m Module, handlers ...Handler) *gateway {
	t.Helper()
	g := gatewayOf(m, handlers...)
	g.configured = true
	g.Open()
	g.box = g.Box()
	for _, h := range handlers {
		g.box.Pause(h.Name)
	}
	t.Cleanup(func() {
		c := g.Configuration
		g.Configuration = nil
		g.box.Release()
		c.Close()
	})
	return g
}

// gatewayOf has the configuration in force, and not open yet.
func gatewayOf(m Module, handlers ...Handler) *gateway {
	core, logs := observer.New(zapcore.WarnLevel)
	g := &gateway{logs: logs}
	inForce := func() *Configuration { return g.Configuration }
	g.Pool = New(Options{
		Deliver: func(context.Context, *inbox.Attempt) inbox.Result {
			g.attempts.Add(1)
			return inbox.Result{}
		},
		Forget: func(_ context.Context, key inbox.Key) error {
			g.forgotten = append(g.forgotten, key)
			return g.broken
		},
		InForce: inForce, Serving: inForce,
	})
	g.Configuration = &Configuration{Module: m, pool: g.Pool, logger: zap.New(core)}
	for _, h := range handlers {
		g.Add(h)
	}
	return g
}

// A memory is a module whose engine a test looks into.
type memory struct{ engine inbox.Engine }

func (memory) Identity() string                            { return "memory" }
func (m memory) Engine(*slog.Logger) (inbox.Engine, error) { return m.engine, nil }
func (memory) Adjust(*inbox.Box) error                     { return nil }

// with is a handler with an inbox.
func with(name string) Handler {
	return Handler{Name: name, Policy: new(inbox.Policy), Keys: func() *keys.Snapshot { return nil }}
}

// dead gives a delivery up.
func (g *gateway) dead(t *testing.T, d *inbox.Delivery) {
	t.Helper()
	got, err := g.box.Accept(t.Context(), d, true)
	if err != nil {
		t.Fatal(err)
	}
	g.box.Engine().Settle(got.Attempt, inbox.Settlement{To: inbox.Dead, Status: 410})
}

func (g *gateway) list(t *testing.T, sel inbox.Selection) []inbox.Entry {
	t.Helper()
	entries, err := g.box.Engine().List(t.Context(), sel, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// ask sends an operator's request to a path below that of inboxes.
func (g *gateway) ask(method, path string) (*httptest.ResponseRecorder, error) {
	w, path := httptest.NewRecorder(), adminapi.InboxPath+path
	for _, route := range g.Routes() {
		if strings.HasPrefix(path, route.Pattern) {
			return w, route.Handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		}
	}
	return w, errors.New("no such route")
}

// told asks the admin endpoint with a method, and requires 200.
func told[T any](t *testing.T, g *gateway, method, path string) (v T) {
	t.Helper()
	w, err := g.ask(method, path)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, w.Body)
	}
	return v
}

// refuses checks with which status paths are answered.
func (g *gateway) refuses(t *testing.T, method string, paths map[string]int) {
	t.Helper()
	for path, status := range paths {
		if _, err := g.ask(method, path); statusOf(err) != status {
			t.Errorf("%s: %v, want %d", path, err, status)
		}
	}
}

// statusOf is the status with which Caddy answers an error.
func statusOf(err error) int {
	e, _ := errors.AsType[caddy.APIError](err)
	return e.HTTPStatus
}
