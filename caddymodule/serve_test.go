package caddymodule

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// clock is the current time of handlers in these tests.
var clock = time.Unix(1700000000, 0)

// timed is a scheme that can fail in every way.
func timed(more ...string) string {
	return acme(append([]string{topsecret, signedTime, `"require_header":[{"name":"X-Team","values":"blue"}]`}, more...)...)
}

const body = `{"id":"evt_1"}`

// post is the genuine delivery of timed.
func post() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/acme", strings.NewReader(body))
	r.Header.Set("X-Team", "blue")
	r.Header.Set("X-Time", "1700000000")
	r.Header.Set("X-Signature", sign("n9Wd4kTq2", "1700000000."+body))
	return r
}

// digest is the part of a body in a delivery's key.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return string(sum[:])
}

// readerFunc is a body.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// sends replaces a request's body by a chunked one: some text, then err.
func sends(r *http.Request, text string, err error) {
	rest := strings.NewReader(text)
	r.ContentLength = -1
	r.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) {
		if rest.Len() == 0 {
			return 0, err
		}
		return rest.Read(p)
	}))
}

// An answer is the result of a request.
type answer struct {
	err     error
	status  int
	header  http.Header
	repl    *caddy.Replacer
	request *http.Request // as error routes find it
	forward *http.Request // as the following handlers got it
	body    string        // the body that they read
}

func (a *answer) placeholder(name string) string {
	s, _ := a.repl.GetString("http.verify_webhook." + name)
	return s
}

var accepting = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
	w.WriteHeader(http.StatusAccepted)
	return nil
})

// serve sends r through handlers and then to next, like Caddy's server.
func serve(t testing.TB, r *http.Request, next caddyhttp.Handler, handlers ...*Handler) *answer {
	t.Helper()
	w := httptest.NewRecorder()
	a := &answer{repl: caddy.NewReplacer()}
	r = caddyhttp.PrepareRequest(r, a.repl, w, nil)
	a.request = r
	var chain caddyhttp.Handler = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		a.forward = r
		read, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the app cannot read the body: %v", err)
		}
		a.body = string(read)
		return next.ServeHTTP(w, r)
	})
	for _, h := range slices.Backward(handlers) {
		below := chain
		chain = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, below) })
	}
	a.err = chain.ServeHTTP(w, r)
	a.status, a.header = w.Code, w.Header()
	if e, ok := errors.AsType[caddyhttp.HandlerError](a.err); ok {
		a.status = e.StatusCode
	}
	if w.Body.Len() > 0 {
		t.Errorf("the handler itself wrote a body: %q", w.Body)
	}
	return a
}

// count returns requests_total for acme.
func (g *gateway) count(t testing.TB, outcome, reason string) float64 {
	t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "caddy_verify_webhook_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["name"] == "acme" && labels["outcome"] == outcome && labels["reason"] == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// budgetsAreFree fails if an outcome did not release its memory.
func (g *gateway) budgetsAreFree(t testing.TB) {
	t.Helper()
	if n := buffered.used.Load(); n != 0 {
		t.Errorf("%d bytes of the budget are still taken", n)
	}
	for _, h := range g.handlers {
		if n := h.buffered.used.Load(); n != 0 {
			t.Errorf("%d bytes of %s's budget are still taken", n, h.Name)
		}
	}
}

func TestGenuine(t *testing.T) {
	g := mustProvision(t, "", timed(`"delivery_id":{"json":"id"}`))
	before := g.count(t, "delivered", "")
	r := post()
	sends(r, body, io.EOF)
	r.TransferEncoding = []string{"chunked"}
	r.Trailer = http.Header{"X-Evil": nil}
	for name, value := range map[string]string{
		"Webhook-Verified": "forged", "Webhook-Delivery": "forged", "webhook_verified": "forged", "WEBHOOK.DELIVERY": "forged",
		"Connection": "Webhook-Verified", "Upgrade": "h2c", "Expect": "100-continue", "Incremental": "?1", "Trailer": "X-Evil",
		"X-Original-URL": "/hooks/stripe", "X-Rewrite-Url": "/hooks/stripe", "X_HTTP_Method_Override": "DELETE", "X-Http-Method": "PUT", "X-Method-Override": "PUT",
		"X-Original-Uri": "/hooks/stripe", "X-Ms-Original-Url": "/hooks/stripe", "X-Envoy-Original-Path": "/hooks/stripe", "Daphne-Root-Path": "/hooks", "X-Forwarded-Prefix": "/hooks",
		"X-Forwarded-Uri": "/hooks/stripe", "X-Forwarded-Path": "/hooks/stripe", "X-Forwarded-Method": "PUT", "X_Script_Name": "/hooks",
		"X-Other": "stays",
	} {
		r.Header[name] = []string{value}
	}
	a := serve(t, r, accepting, g.handlers...)
	if a.err != nil || a.status != http.StatusAccepted || a.body != body {
		t.Fatalf("got %d, %v, %q", a.status, a.err, a.body)
	}
	for name, want := range map[string]string{
		"name": "acme", "provider": "", "verified": "true", "reason": "", "key": "1", "delivery_id": "evt_1", "timestamp": "2023-11-14T22:13:20Z",
	} {
		if got := a.placeholder(name); got != want {
			t.Errorf("placeholder %s: %q, want %q", name, got, want)
		}
	}
	f := a.forward
	if f.ContentLength != int64(len(body)) || f.TransferEncoding != nil || f.Trailer != nil {
		t.Errorf("framed as %d %v %v", f.ContentLength, f.TransferEncoding, f.Trailer)
	}
	key := dedupe.NewKey(string(dedupe.NamedScope("acme")), "", "id+content", "evt_1", digest(body)).String()
	if a.placeholder("delivery") != key || a.header.Get("Webhook-Delivery") != key {
		t.Errorf("delivery %s, header %s, want %s", a.placeholder("delivery"), a.header.Get("Webhook-Delivery"), key)
	}
	want := http.Header{
		"Content-Length": {fmt.Sprint(len(body))}, "Webhook-Verified": {"acme"}, "Webhook-Delivery": {key}, "X-Other": {"stays"},
		"X-Team": {"blue"}, "X-Time": {"1700000000"}, "X-Signature": {sign("n9Wd4kTq2", "1700000000."+body)},
	}
	if fmt.Sprint(f.Header) != fmt.Sprint(want) {
		t.Errorf("the app gets\n%v\nwant\n%v", f.Header, want)
	}
	if n := g.count(t, "delivered", "") - before; n != 1 {
		t.Errorf("counted %v times", n)
	}
	g.budgetsAreFree(t)
}

func TestEmptyBody(t *testing.T) {
	g := mustProvision(t, "", acme(topsecret))
	for name, r := range map[string]*http.Request{
		"declared": httptest.NewRequest(http.MethodPost, "/", http.NoBody),
		"chunked":  httptest.NewRequest(http.MethodPost, "/", http.NoBody),
	} {
		if name == "chunked" {
			sends(r, "", io.EOF)
		}
		r.Header.Set("X-Signature", sign("n9Wd4kTq2", ""))
		if a := serve(t, r, accepting, g.handlers...); a.err != nil || a.forward.Header.Get("Content-Length") != "0" {
			t.Errorf("%s: %v", name, a.err)
		}
	}
}

func TestObserve(t *testing.T) {
	for reason, tc := range outcomes {
		if tc.status != 401 {
			continue
		}
		t.Run(reason, func(t *testing.T) {
			g := mustProvision(t, "", timed(`"observe":true`))
			before := g.count(t, "observed", reason)
			g.logs.TakeAll()
			r := post()
			r.Header.Set("Webhook-Verified", "forged")
			tc.alter(r)
			a := serve(t, r, accepting, g.handlers...)
			if a.err != nil || a.body != body {
				t.Fatalf("not let through: %v, %q", a.err, a.body)
			}
			if got := a.forward.Header.Values("Webhook-Verified"); len(got) != 0 {
				t.Errorf("marked as verified: %q", got)
			}
			if a.placeholder("verified") != "false" || a.placeholder("reason") != reason || a.placeholder("key") != "" {
				t.Errorf("placeholders: verified %s, reason %s, key %s", a.placeholder("verified"), a.placeholder("reason"), a.placeholder("key"))
			}
			if n := g.count(t, "observed", reason) - before; n != 1 {
				t.Errorf("counted %v times", n)
			}
			logged := g.logs.TakeAll()
			if len(logged) != 1 || !strings.Contains(logged[0].Message, "let through") || logged[0].ContextMap()["reason"] != reason {
				t.Errorf("logged %v", logged)
			}
			if len(a.header) != 0 {
				t.Errorf("answered with %v", a.header)
			}
			g.budgetsAreFree(t)
		})
	}
	t.Run("genuine", func(t *testing.T) {
		g := mustProvision(t, "", timed(`"observe":true`))
		a := serve(t, post(), accepting, g.handlers...)
		if a.err != nil || a.forward.Header.Get("Webhook-Verified") != "acme" || a.placeholder("verified") != "true" {
			t.Errorf("%v, %v", a.err, a.forward.Header)
		}
	})
	// Limits are not verification, and their log must not say "let through". TestFieldInQuery
	// observes that one, which applies to genuine deliveries.
	for reason, tc := range outcomes {
		if tc.status == 401 || reason == "field_in_query" || reason == "no_upstream" || reason == "key_unavailable" {
			continue
		}
		t.Run(reason, func(t *testing.T) {
			config := timed(`"observe":true`)
			if tc.config != "" {
				config = timed(`"observe":true`, tc.config)
			}
			g := mustProvision(t, `{"max_buffered":8192}`, config)
			g.start(t)
			g.logs.TakeAll()
			r := post()
			r.Header.Del("X-Team") // not genuine either
			if tc.alter != nil {
				tc.alter(r)
			}
			a := serve(t, r, accepting, g.handlers...)
			if a.status != tc.status || a.forward != nil || a.placeholder("reason") != reason {
				t.Errorf("got %d, reason %s", a.status, a.placeholder("reason"))
			}
			if logged := g.logs.TakeAll(); len(logged) != 1 || logged[0].Message != "delivery refused" {
				t.Errorf("logged %v", logged)
			}
			g.budgetsAreFree(t)
		})
	}
}

func TestTwoHandlers(t *testing.T) {
	g := mustProvision(t, "", timed(), strings.Replace(timed(), `"acme"`, `"bravo"`, 1))
	a := serve(t, post(), accepting, g.handlers...)
	if a.status != 500 || a.forward != nil || !strings.Contains(a.err.Error(), `"acme"`) || !strings.Contains(a.err.Error(), `"bravo"`) {
		t.Errorf("got %d, %v", a.status, a.err)
	}
	if a.placeholder("name") != "acme" {
		t.Errorf("placeholder name: %q", a.placeholder("name"))
	}
	g.budgetsAreFree(t)
}

// TestErrorOfTheApp: errors of the following handlers are returned unchanged, and the
// delivery is released.
func TestErrorOfTheApp(t *testing.T) {
	g := mustProvision(t, "", timed())
	dial := caddyhttp.Error(http.StatusBadGateway, errors.New("dial"))
	a := serve(t, post(), caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return dial }), g.handlers...)
	if fmt.Sprint(a.err) != fmt.Sprint(dial) || a.placeholder("reason") != "" {
		t.Errorf("got %v, reason %q", a.err, a.placeholder("reason"))
	}
	g.budgetsAreFree(t)

	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("recovered %v", p)
			}
		}()
		serve(t, post(), caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }), g.handlers...)
	}()
	g.budgetsAreFree(t)
}

// TestDetached: upstream_timeout ends the app's work, the sender's disconnect does
// not.
func TestDetached(t *testing.T) {
	g := mustProvision(t, "", timed(`"upstream_timeout":"90s"`, `"delivery_id":{"json":"id"}`))
	ctx, hangUp := context.WithCancel(t.Context())
	r := post().WithContext(ctx)
	a := serve(t, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		hangUp()
		if err := r.Context().Err(); err != nil {
			t.Errorf("the app's work ends with the sender's patience: %v", err)
		}
		deadline, ok := r.Context().Deadline()
		if left := time.Until(deadline); !ok || left > 90*time.Second || left < 60*time.Second {
			t.Errorf("deadline in %s, %t", left, ok)
		}
		if r.Context().Value(caddy.ReplacerCtxKey) == nil || caddyhttp.GetVar(r.Context(), "verify_webhook") != "acme" {
			t.Error("the context lost Caddy's values")
		}
		w.WriteHeader(200)
		return nil
	}), g.handlers...)
	if a.err != nil {
		t.Error(a.err)
	}
}

// TestAsReceived: the signature covers the request as the sender made it, whatever
// was rewritten before.
func TestAsReceived(t *testing.T) {
	g := mustProvision(t, "", acme(topsecret, `"message":"{method} {uri} {body}"`))
	for _, target := range []string{"/hooks/acme?a=b", "http://hooks.example.com/hooks/acme?a=b"} {
		r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
		r.Header.Set("X-Signature", sign("n9Wd4kTq2", "POST /hooks/acme?a=b "+body))
		w := httptest.NewRecorder()
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
		r.Method, r.RequestURI, r.URL.Path, r.URL.RawQuery = "PUT", "/in", "/in", ""
		if err := g.handlers[0].ServeHTTP(w, r, accepting); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}
