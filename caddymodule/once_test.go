package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// once is a handler that recognises copies of post.
func once(more ...string) string { return timed(append([]string{withID}, more...)...) }

// theKey is the key of post's delivery.
var theKey = dedupe.NewKey(string(dedupe.NamedScope("acme")), "", "id+content", "evt_1", digest(body))

// run starts a gateway, and checks that nothing of it remains in the end.
func (g *gateway) run(t *testing.T) *gateway {
	t.Helper()
	t.Cleanup(func() {
		for range 100_000 { // an attempt may end after its sender is answered
			if _, open := gates.References(g.app.store.Identity()); !open && buffered.used.Load() == 0 {
				break
			}
			<-closedAfterYield()
		}
		g.budgetsAreFree(t)
		if n, open := gates.References(g.app.store.Identity()); open {
			t.Errorf("the store is still open, with %d references", n)
		}
	})
	g.start(t)
	return g
}

func running(t *testing.T, appConfig string, handlers ...string) *gateway {
	t.Helper()
	return mustProvision(t, appConfig, handlers...).run(t)
}

func poolIsEmpty(t testing.TB) {
	t.Helper()
	gates.Range(func(key, _ any) bool {
		n, _ := gates.References(key)
		t.Errorf("the store %q is still open, with %d references", key, n)
		return true
	})
}

// state asks the store about post's delivery without changing it.
func (g *gateway) state(t testing.TB) string {
	t.Helper()
	gate, err := acquire(g.app.store)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := release(g.app.store); err != nil {
			t.Error(err)
		}
	}()
	d := gate.Claim(context.Background(), theKey, dedupe.Terms{})
	if d.Outcome == dedupe.Held {
		d.Claim.Release()
		return "absent"
	}
	return d.Outcome.String()
}

// An outcome is the result of one copy.
type outcome struct {
	*answer
	wire  *wire
	panic any
}

// send sends r to the first handler over its own connection.
func (g *gateway) send(r *http.Request, next caddyhttp.HandlerFunc) outcome {
	return g.sendOver(newWire(), r, next)
}

func (g *gateway) sendOver(w *wire, r *http.Request, next caddyhttp.HandlerFunc) (o outcome) {
	o = outcome{answer: &answer{repl: caddy.NewReplacer(), header: w.header}, wire: w}
	r = caddyhttp.PrepareRequest(r, o.repl, w, nil)
	defer func() {
		o.panic = recover()
		if e, ok := errors.AsType[caddyhttp.HandlerError](o.err); ok {
			o.status = e.StatusCode
		}
	}()
	o.err = g.handlers[0].ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		o.forward = r
		return next(w, r)
	}))
	return o
}

// answering answers every delivery with status.
func answering(status int) caddyhttp.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(status)
		return nil
	}
}

// isDuplicate checks everything that tells a sender, the app and the operator that
// this copy was of an accepted delivery.
func (o outcome) isDuplicate(t *testing.T, want ...string) {
	t.Helper()
	if len(want) == 0 {
		want = []string{"200", "0 bytes"}
	}
	if o.err != nil || o.forward != nil || !slices.Equal(o.wire.events, want) {
		t.Errorf("a copy of what was taken: forwarded %t, error %v, %q, want %q", o.forward != nil, o.err, o.wire.events, want)
	}
	if o.header.Get("Webhook-Duplicate") != "true" || o.header.Get("Webhook-Delivery") != theKey.String() {
		t.Errorf("a duplicate has the headers %v", o.header)
	}
	o.has(t, "true", theKey.String(), "")
}

// isForwarded checks that this copy went to the app.
func (o outcome) isForwarded(t *testing.T) {
	t.Helper()
	if o.forward == nil {
		t.Errorf("not forwarded: %v, %q", o.err, o.wire.events)
	}
	if o.header.Get("Webhook-Duplicate") != "" {
		t.Error("answered as a duplicate")
	}
}

// has checks the placeholders duplicate, delivery and reason.
func (o outcome) has(t *testing.T, want ...string) {
	t.Helper()
	if got := []string{o.placeholder("duplicate"), o.placeholder("delivery"), o.placeholder("reason")}; !slices.Equal(got, want) {
		t.Errorf("placeholders duplicate, delivery, reason: %q, want %q", got, want)
	}
}

// isRefused checks a 503 and its reason. A copy in flight is not an error:
// handle_errors does not see it.
func (o outcome) isRefused(t *testing.T, reason, retryAfter string) {
	t.Helper()
	answered := reason == "in_flight" && o.err == nil && slices.Equal(o.wire.events, []string{"503"})
	failed := reason != "in_flight" && o.status == 503 && len(o.wire.events) == 0
	if o.forward != nil || !answered && !failed || o.header.Get("Retry-After") != retryAfter {
		t.Errorf("got %d (%v), Retry-After %q, %q", o.status, o.err, o.header.Get("Retry-After"), o.wire.events)
	}
	o.has(t, "false", theKey.String(), reason)
}

func TestTaken(t *testing.T) {
	g := running(t, "", once())
	accepted, duplicate := g.count(t, "delivered", ""), g.count(t, "duplicate", "")
	first := g.send(post(), answering(202))
	first.isForwarded(t)
	first.has(t, "false", theKey.String(), "")
	if !slices.Equal(first.wire.events, []string{"202", "0 bytes"}) || first.header.Get("Webhook-Delivery") != theKey.String() {
		t.Errorf("answered %q, %v", first.wire.events, first.header)
	}
	for range 2 {
		g.send(post(), answering(500)).isDuplicate(t)
	}
	r := post() // another attempt of the same delivery
	r.Header.Set("X-Time", "1700000100")
	r.Header.Set("X-Signature", sign("n9Wd4kTq2", "1700000100."+body))
	g.send(r, answering(500)).isDuplicate(t)
	if n, m := g.count(t, "delivered", "")-accepted, g.count(t, "duplicate", "")-duplicate; n != 1 || m != 3 {
		t.Errorf("counted %v accepted, %v duplicates", n, m)
	}
	// Only verified deliveries are looked up.
	r = post()
	r.Header.Set("X-Signature", sign("other", body))
	if o := g.send(r, answering(200)); o.status != 401 || o.header.Get("Webhook-Duplicate")+o.header.Get("Webhook-Delivery") != "" {
		t.Errorf("a forged copy: %d %v", o.status, o.header)
	} else {
		o.has(t, "false", "", "signature_mismatch")
	}
	for _, status := range []int{200, 201, 204, 299} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			other := strings.Replace(body, "evt_1", fmt.Sprint("evt_", status), 1)
			r := at("http://hooks.example.com/", other)
			r.Header.Set("X-Team", "blue")
			r.Header.Set("X-Time", "1700000000")
			r.Header.Set("X-Signature", sign("n9Wd4kTq2", "1700000000."+other))
			g.send(r.Clone(r.Context()), answering(status)).isForwarded(t)
			r.Body = io.NopCloser(strings.NewReader(other))
			if o := g.send(r, answering(500)); o.forward != nil || o.placeholder("duplicate") != "true" {
				t.Errorf("forwarded again: %v", o.err)
			}
		})
	}
}

func TestDuplicateResponse(t *testing.T) {
	g := running(t, "", once(`"dedupe":{"duplicate_response":{"status":202,"body":"[accepted]"}}`))
	g.send(post(), answering(200)).isForwarded(t)
	g.send(post(), answering(200)).isDuplicate(t, "202", "10 bytes")
	w := newWire()
	w.broken = true
	g.sendOver(w, post(), answering(200)).isDuplicate(t, "202") // the sender is gone
}

// TestNotTaken: anything but a 2xx releases the delivery.
func TestNotTaken(t *testing.T) {
	cut := func(w http.ResponseWriter, then func()) error {
		w.WriteHeader(200)
		writeAll(w, "half")
		then()
		return nil
	}
	apps := map[string]caddyhttp.HandlerFunc{
		"error":           func(http.ResponseWriter, *http.Request) error { return errors.New("dial") },
		"handler error":   func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(502, errors.New("dial")) },
		"200 then error":  func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(200); return errors.New("copy") },
		"body then error": func(w http.ResponseWriter, _ *http.Request) error { writeAll(w, "half"); return errors.New("copy") },
		"panic":           func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) },
		"200 then panic": func(w http.ResponseWriter, _ *http.Request) error {
			return cut(w, func() { panic(http.ErrAbortHandler) })
		},
		"another panic":    func(w http.ResponseWriter, _ *http.Request) error { return cut(w, func() { panic("boom") }) },
		"nothing":          func(http.ResponseWriter, *http.Request) error { return nil },
		"hints alone":      func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(103); return nil },
		"hints then error": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(103); return errors.New("dial") },
	}
	for _, status := range []int{101, 300, 302, 304, 399, 400, 404, 409, 410, 429, 499, 500, 502, 503, 504} {
		apps[fmt.Sprint(status)] = answering(status)
	}
	for name, app := range apps {
		t.Run(name, func(t *testing.T) {
			g := running(t, "", once())
			o := g.send(post(), app)
			o.isForwarded(t)
			o.has(t, "false", theKey.String(), map[bool]string{true: "no_upstream"}[name == "nothing" || name == "hints alone"])
			if (o.panic != nil) != strings.Contains(name, "panic") {
				t.Errorf("panicked with %v", o.panic)
			}
			for _, event := range o.wire.events {
				if strings.HasPrefix(event, "2") || strings.HasPrefix(event, "4 ") {
					t.Errorf("the sender got %q", o.wire.events)
				}
			}
			if got := g.state(t); got != "absent" {
				t.Errorf("the delivery is %s", got)
			}
			g.budgetsAreFree(t)
			g.send(post(), answering(200)).isForwarded(t)
			g.send(post(), answering(200)).isDuplicate(t)
		})
	}
}

// TestMarkPrecedesAnswer: when the first byte goes to the sender, the store has the
// mark, or the delivery is released.
func TestMarkPrecedesAnswer(t *testing.T) {
	long := strings.Repeat("x", maxHeld+1)
	for name, tc := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"2xx":             {200, "short", "duplicate"},
		"2xx, long":       {200, long, "duplicate"},
		"failure":         {500, "short", "absent"},
		"failure, long":   {500, long, "absent"},
		"2xx without any": {204, "", "duplicate"},
	} {
		t.Run(name, func(t *testing.T) {
			g := running(t, "", once())
			w := newWire()
			seen := 0
			w.before = func(event string) {
				want := tc.want
				if event == "103" {
					want = "in_flight"
				}
				seen++
				if got := g.state(t); got != want {
					t.Errorf("at %s the delivery is %s, want %s", event, got, want)
				}
			}
			g.sendOver(w, post(), func(w http.ResponseWriter, _ *http.Request) error {
				w.WriteHeader(103)
				w.WriteHeader(tc.status)
				writeAll(w, tc.body)
				flush(w)
				return nil
			}).isForwarded(t)
			if seen < 3 {
				t.Errorf("the sender got %q", w.events)
			}
		})
	}
}

// TestLongAnswer: a response that does not fit is settled when it overflows, and
// streams from then on; how the app ends no longer matters.
func TestLongAnswer(t *testing.T) {
	full := strings.Repeat("x", maxHeld)
	for name, end := range map[string]func() error{
		"well":  func() error { return nil },
		"error": func() error { return errors.New("copy") },
		"panic": func() error { panic(http.ErrAbortHandler) },
	} {
		for _, status := range []int{200, 500} {
			t.Run(fmt.Sprint(name, " after ", status), func(t *testing.T) {
				g := running(t, "", once())
				w := newWire()
				g.sendOver(w, post(), func(rw http.ResponseWriter, _ *http.Request) error {
					rw.WriteHeader(status)
					writeAll(rw, full)
					if len(w.events) != 0 || g.state(t) != "in_flight" {
						t.Errorf("before it overflows: %q, %s", w.events, g.state(t))
					}
					writeAll(rw, "y")
					if want := []string{fmt.Sprint(status), "65536 bytes", "1 bytes"}; !slices.Equal(w.events, want) {
						t.Errorf("when it overflows: %q, want %q", w.events, want)
					}
					if status == 200 {
						g.send(post(), answering(500)).isDuplicate(t)
					} else if got := g.state(t); got != "absent" {
						t.Errorf("a failure that overflows leaves the delivery %s", got)
					}
					return end()
				})
				if status == 200 {
					g.send(post(), answering(500)).isDuplicate(t)
				} else {
					g.send(post(), answering(200)).isForwarded(t)
				}
			})
		}
	}
}

// TestHeaders: the app's headers reach the sender, unless its response is discarded:
// then none of its framing may remain in the replacement.
func TestHeaders(t *testing.T) {
	g := running(t, "", once())
	app := func(err error) caddyhttp.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Length", "5")
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("X-App", "yes")
			writeAll(w, "12345")
			return err
		}
	}
	o := g.send(post(), app(errors.New("later")))
	if len(o.wire.events) != 0 || o.header.Get("Content-Length") != "" || o.header.Get("Content-Encoding") != "" {
		t.Errorf("discarded: %q, %v", o.wire.events, o.header)
	}
	o = g.send(post(), app(nil))
	if o.header.Get("Content-Length") != "5" || o.header.Get("X-App") != "yes" || !slices.Equal(o.wire.events, []string{"200", "5 bytes"}) {
		t.Errorf("answered %q, %v", o.wire.events, o.header)
	}
}
