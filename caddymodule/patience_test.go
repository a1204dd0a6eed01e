package caddymodule

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// memoryInbox is an inbox module whose engine a test looks into.
type memoryInbox struct{ engine inbox.Engine }

func (m *memoryInbox) Identity() string                          { return "memory" }
func (m *memoryInbox) Engine(*slog.Logger) (inbox.Engine, error) { return m.engine, nil }
func (m *memoryInbox) Adjust(*inbox.Box) error                   { return nil }

// patient runs a gateway with an inbox in virtual time.
func patient(t *testing.T, option string, run func(t *testing.T, g *gateway, engine *inboxtest.Memory)) {
	t.Helper()
	g := mustProvision(t, "", once(`"inbox":`+option))
	synctest.Test(t, func(t *testing.T) {
		engine := inboxtest.NewMemory(time.Now, 0)
		g.app.inbox.Module = &memoryInbox{engine}
		g.run(t)
		run(t, g, engine)
	})
}

// in returns the state of post's delivery; 0: the inbox does not have it.
func in(t *testing.T, engine inbox.Engine) inbox.Entry {
	t.Helper()
	e, _, err := engine.Find(t.Context(), inbox.Key(theKey))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A connection is a sender's over HTTP/1, which an answer can be written to while the
// handler runs.
type connection struct {
	*wire
	conn net.Conn
}

func (c *connection) Hijack() (net.Conn, *bufio.ReadWriter, error) { return c.conn, nil, nil }

// A late answer is what a sender reads from its connection, and when.
type lateAnswer struct {
	after  time.Duration
	status int
	header http.Header
}

// wait sends r over a connection, and returns what the sender reads from it before the
// handler returns.
func (g *gateway) wait(t *testing.T, r *http.Request, app caddyhttp.HandlerFunc) (o outcome, late *lateAnswer) {
	t.Helper()
	ours, theirs := net.Pipe()
	began := time.Now()
	answers := make(chan *lateAnswer, 1)
	go func() {
		defer close(answers)
		resp, err := http.ReadResponse(bufio.NewReader(theirs), r)
		if err == nil {
			answers <- &lateAnswer{time.Since(began), resp.StatusCode, resp.Header}
		}
	}()
	c := &connection{newWire(), ours}
	o = outcome{answer: &answer{repl: caddy.NewReplacer(), header: c.header}, wire: c.wire}
	prepared := caddyhttp.PrepareRequest(r, o.repl, c, nil)
	func() {
		defer func() { o.panic = recover() }()
		o.err = g.handlers[0].ServeHTTP(c, prepared, app)
	}()
	theirs.Close()
	ours.Close()
	return o, <-answers
}

// sleeping works for a time before it does something.
func sleeping(d time.Duration, do caddyhttp.HandlerFunc) caddyhttp.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		time.Sleep(d)
		return do(w, r)
	}
}

// TestTheMomentOfPatience: the sender is answered exactly when its patience ends, and by
// the app if that is a moment faster.
func TestTheMomentOfPatience(t *testing.T) {
	const after = 4 * time.Second
	for name, c := range map[string]struct {
		works time.Duration
		late  bool
	}{
		"a moment before": {after - 1, false},
		"a moment after":  {after + 1, true},
		"much later":      {20 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			patient(t, "{}", func(t *testing.T, g *gateway, engine *inboxtest.Memory) {
				o, late := g.wait(t, post(), sleeping(c.works, func(w http.ResponseWriter, _ *http.Request) error {
					if state := in(t, engine).State; (state == inbox.InAttempt) != c.late {
						t.Errorf("while the app works it is %v", state)
					}
					w.WriteHeader(201)
					return nil
				}))
				switch {
				case !c.late && (late != nil || !slices.Equal(o.wire.events, []string{"201", "0 bytes"}) || o.header.Get("Webhook-Stored") != ""):
					t.Errorf("the sender gets %+v and %q", late, o.wire.events)
				case c.late && (late == nil || late.after != after || late.status != 200 || late.header.Get("Webhook-Stored") != "true"):
					t.Errorf("the sender gets %+v, want its answer after %v", late, after)
				}
				if e := in(t, engine); e.State != 0 {
					t.Errorf("after the app's 2xx it is %v", e.State)
				}
				g.send(post(), answering(500)).isDuplicate(t)
			})
		})
	}
}

// TestAPanicAfterPatience: the delivery is stored and its sender answered; the panic is
// no answer of the app, and reaches nobody.
func TestAPanicAfterPatience(t *testing.T) {
	for name, value := range map[string]any{"of a proxy whose app died": http.ErrAbortHandler, "of a handler": "oops"} {
		t.Run(name, func(t *testing.T) {
			patient(t, "{}", func(t *testing.T, g *gateway, engine *inboxtest.Memory) {
				o, late := g.wait(t, post(), sleeping(20*time.Second, func(http.ResponseWriter, *http.Request) error {
					g.box().Pause("acme") // leaves it as it is
					panic(value)
				}))
				if late == nil || late.status != 200 || o.panic != nil || o.err != nil {
					t.Errorf("the sender gets %+v; panic %v, error %v", late, o.panic, o.err)
				}
				if e := in(t, engine); e.State != inbox.Pending || e.Attempts != 1 || e.Status != 0 || e.Hold != inbox.HoldApp {
					t.Errorf("it is %+v", e)
				}
			})
		})
	}
}

// TestAPanicAfterPatienceOverHTTP2 is the same where the attempt has a goroutine of its
// own, which must not end the process.
func TestAPanicAfterPatienceOverHTTP2(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{"after":"1ms"}`)
	fails := make(chan struct{})
	o := g.send(postOver("HTTP/2.0"), func(http.ResponseWriter, *http.Request) error {
		<-fails
		g.box().Pause("acme")
		panic("oops")
	})
	if o.panic != nil || o.header.Get("Webhook-Stored") != "true" {
		t.Errorf("the sender gets %v, panic %v", o.header, o.panic)
	}
	close(fails)
	for in(t, g.box().Engine()).State == inbox.InAttempt {
		<-closedAfterYield()
	}
	if e := in(t, g.box().Engine()); e.State != inbox.Pending || e.Attempts != 1 || e.Status != 0 {
		t.Errorf("it is %+v", e)
	}
	for buffered.used.Load() != 0 {
		<-closedAfterYield()
	}
}

// TestASenderThatHangsUp does not end the attempt: its result counts, before and after
// the delivery is stored.
func TestASenderThatHangsUp(t *testing.T) {
	for name, c := range map[string]struct {
		works  time.Duration
		status int
		want   inbox.State
	}{
		"and the app takes it":             {2 * time.Second, 200, 0},
		"and the app fails":                {2 * time.Second, 500, inbox.Pending},
		"and the app takes it in the end":  {20 * time.Second, 200, 0},
		"and the app fails in the end":     {20 * time.Second, 500, inbox.Pending},
		"and the app refuses what it is":   {2 * time.Second, 422, 0},
		"and the app refuses it for later": {2 * time.Second, 429, inbox.Pending},
	} {
		t.Run(name, func(t *testing.T) {
			patient(t, "{}", func(t *testing.T, g *gateway, engine *inboxtest.Memory) {
				ctx, hangUp := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, hangUp)
				g.wait(t, post().WithContext(ctx), sleeping(c.works, func(w http.ResponseWriter, r *http.Request) error {
					if ctx.Err() == nil || r.Context().Err() != nil {
						t.Errorf("the sender's request: %v; the app's: %v", ctx.Err(), r.Context().Err())
					}
					g.box().Pause("acme")
					w.WriteHeader(c.status)
					return nil
				}))
				if e := in(t, engine); e.State != c.want {
					t.Errorf("it is %v, want %v", e.State, c.want)
				}
				if o := g.send(post(), answering(200)); (o.placeholder("duplicate") == "true") != (c.status != 422) {
					t.Errorf("a copy is a duplicate: %s", o.placeholder("duplicate"))
				}
			})
		})
	}
}

// TestAPausedHandler stores without a question to the app, in either mode, until it is
// resumed.
func TestAPausedHandler(t *testing.T) {
	patient(t, "{}", func(t *testing.T, g *gateway, engine *inboxtest.Memory) {
		g.box().Pause("acme")
		stored := g.count(t, "stored", "held")
		o := g.send(post(), answering(200))
		if o.forward != nil || o.header.Get("Webhook-Stored") != "true" || g.count(t, "stored", "held") != stored+1 {
			t.Errorf("asked: %t; the sender gets %v", o.forward != nil, o.header)
		}
		time.Sleep(time.Hour)
		if e := in(t, engine); e.State != inbox.Pending || e.Attempts != 0 {
			t.Errorf("it is %+v", e)
		}
		if _, err := engine.Discard(t.Context(), inbox.Selection{Keys: []inbox.Key{inbox.Key(theKey)}}); err != nil {
			t.Fatal(err)
		}
		if err := forgetDiscarded(t.Context(), inbox.Key(theKey)); err != nil {
			t.Fatal(err)
		}
		g.box().Resume("acme")
		g.send(post(), answering(200)).isForwarded(t)
	})
}

// TestACopyOfADeadLetter makes it pending: its sender still owes it. A copy of a pending
// one changes nothing, and a copy of a dead one that cannot be stored goes to the app.
func TestACopyOfADeadLetter(t *testing.T) {
	patient(t, "{}", func(t *testing.T, g *gateway, engine *inboxtest.Memory) {
		g.box().Pause("acme")
		g.send(post(), answering(500))
		if err := forgetDiscarded(t.Context(), inbox.Key(theKey)); err != nil { // the store would answer in the end
			t.Fatal(err)
		}
		g.dead(t, &inbox.Delivery{Key: inbox.Key(theKey), Queue: inbox.Queue{Handler: "acme"}, Received: clock})
		for range 2 {
			o := g.send(post(), answering(500))
			o.isDuplicate(t)
			if e := in(t, engine); e.State != inbox.Pending || e.Generation != 1 || e.Replayed || o.header.Get("Webhook-Stored") != "true" {
				t.Errorf("it is %+v; the sender gets %v", e, o.header)
			}
		}
		engine.Ail(errors.New("the disk is full"))
		g.box().Resume("acme")
		g.send(post(), answering(200)).isForwarded(t)
		engine.Ail(nil)
	})
}

// TestADeliveryHeldElsewhere: while another instance has its key in flight, an attempt
// waits for its turn, and spends nothing.
func TestADeliveryHeldElsewhere(t *testing.T) {
	g := mustProvision(t, "", once())
	store := newBrokenStore()
	store.set(false)
	g.app.store = &fakeStore{id: "fake", gate: func() (*dedupe.Gate, error) {
		return dedupe.NewGate(dedupe.Options{Store: store}), nil
	}}
	synctest.Test(t, func(t *testing.T) {
		g.run(t)
		if _, err := store.Memory.Claim(t.Context(), theKey, dedupe.NewToken(), time.Hour); err != nil {
			t.Fatal(err)
		}
		r, began := post(), time.Now()
		d := attempt.Record(r, r.Method, "/hooks/acme", []byte(body))
		d.Key, d.Queue = inbox.Key(theKey), inbox.Queue{Handler: "acme"}
		got := attempt.Send(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
			if err := g.handlers[0].ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
				t.Error("the app gets it a second time")
				return nil
			})); err != nil {
				t.Error(err)
			}
		}), &inbox.Attempt{Delivery: &d, Entry: inbox.Entry{Queue: d.Queue}})
		if want := (inbox.Result{Later: notNowPause}); got != want || time.Since(began) > storeBudget {
			t.Errorf("after %v the inbox is told %+v, want %+v", time.Since(began), got, want)
		}
	})
}

// TestWhatIsStoredIsWhatWasReceived: nothing that the gateway or a later handler adds
// for the app, and no mark that a sender forged.
func TestWhatIsStoredIsWhatWasReceived(t *testing.T) {
	for option, proto := range map[string]string{`{}`: "HTTP/1.1", `{"after":"5s"}`: "HTTP/2.0", `{"first":true}`: "HTTP/1.1"} {
		g := mustProvision(t, "", once(`"inbox":`+option, signUpstream))
		engine := inboxtest.NewMemory(time.Now, 0)
		g.app.inbox.Module = &memoryInbox{engine}
		t.Run(option, func(t *testing.T) {
			g.run(t)
			r := postOver(proto)
			r.Header.Set("Webhook-Id", "the sender's own")
			r.Header["X-Two"] = []string{"1", "2"}
			want := maps.Clone(r.Header)
			want.Set("Content-Length", "14") // of the body, however it was sent
			for _, forged := range []string{markVerified, markDelivery, markAttempt, markReceived, "Webhook-Stored", "Webhook_Verified"} {
				r.Header[forged] = []string{"forged"}
			}
			o := g.send(r, func(w http.ResponseWriter, r *http.Request) error {
				g.box().Pause("acme")
				if id := r.Header.Get("Webhook-Id"); id != theKey.String() || r.Header.Get(markVerified) != "acme" {
					t.Errorf("the app gets %v", r.Header)
				}
				r.Header.Set("X-Later", "of a later handler")
				r.URL.Path = "/rewritten"
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(500)
				return nil
			})
			if o.header.Get("Webhook-Stored") != "true" {
				t.Fatalf("the sender gets %v", o.header)
			}
			d, _, err := engine.Get(t.Context(), inbox.Key(theKey))
			if err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(d.Header, want, slices.Equal) {
				t.Errorf("stored with %v, received with %v", d.Header, want)
			}
			if string(d.Body) != body || d.Target != "http://hooks.example.com/hooks/acme" && d.Target != "/hooks/acme" || d.Host != "hooks.example.com" || d.Proto != proto || d.Method != http.MethodPost || strings.Contains(d.Target, "rewritten") {
				t.Errorf("stored %s %s of %s over %s, %q", d.Method, d.Target, d.Host, d.Proto, d.Body)
			}
		})
	}
}

// TestPatienceOfSenders: the default is less than the sender's own, unless it uses the
// app's answer, which must not be cut short.
func TestPatienceOfSenders(t *testing.T) {
	for id, want := range map[string]time.Duration{
		"github": 4 * time.Second, "shopify": 4 * time.Second, "customer_io": 3 * time.Second, "zoom": 2 * time.Second, "line": time.Second,
		"sentry": 500 * time.Millisecond, "yousign": 250 * time.Millisecond,
		"slack": 4 * time.Second, "telnyx": 4 * time.Second, "okta": 4 * time.Second, "wix": 4 * time.Second, // to some requests
		"": 4 * time.Second,
	} {
		p, err := providers.Get(id)
		if err != nil && id != "" { // "": a scheme of the configuration
			t.Fatal(err)
		}
		h := &Handler{provider: p, Inbox: new(Inbox)}
		if got := h.patience(); got != want {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
		h.Inbox.After = new(caddy.Duration(7 * time.Second))
		if got := h.patience(); got != 7*time.Second {
			t.Errorf("%s: %v, configured are 7s", id, got)
		}
	}
}
