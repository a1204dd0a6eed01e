package caddymodule

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/logging"
)

// passing is the next handler of a guard: it records what passes.
type passing struct{ headers []http.Header }

func (p *passing) ServeHTTP(_ http.ResponseWriter, r *http.Request) error {
	p.headers = append(p.headers, r.Header)
	return nil
}

// newGuard returns a guard of /hooks/*, and its log.
func newGuard(t *testing.T) (*Block, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.WarnLevel)
	g := &Block{Prefix: "/hooks/*"}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := g.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	g.logger = zap.New(core)
	return g, logs
}

// TestGuardDeletesMarks on the whole site, below the prefix or not.
func TestGuardDeletesMarks(t *testing.T) {
	g, _ := newGuard(t)
	for _, target := range []string{"/", "/hooks/github", "/hooks/unknown"} {
		next := new(passing)
		r := httptest.NewRequest(http.MethodPost, target, nil)
		r.Header = http.Header{"Webhook-Verified": {"github"}, "Webhook_delivery": {"00"}, "Webhook.tenant": {"a"}, "Webhook~Verified": {"github"}, "X-Kept": {"1"}}
		if err := g.ServeHTTP(httptest.NewRecorder(), r, next); err != nil || len(next.headers) != 1 {
			t.Fatalf("%s: %v", target, err)
		}
		if got := next.headers[0]; len(got) != 1 || got.Get("X-Kept") != "1" {
			t.Errorf("%s: the next handler got %v", target, got)
		}
	}
}

// TestGuardDeletesDetours outside its prefix: the app must not read another path from
// a header. A delivery keeps them until it is verified.
func TestGuardDeletesDetours(t *testing.T) {
	g, _ := newGuard(t)
	for target, want := range map[string][]string{"/shop": {"X-Forwarded-Prefix"}, "/hooks/github": {"X-Forwarded-Prefix", "X-Original-Url", "X_rewrite_url"}} {
		next := new(passing)
		r := httptest.NewRequest(http.MethodPost, target, nil)
		r.Header = http.Header{"X-Original-Url": {"/hooks/github"}, "X_rewrite_url": {"/hooks/github"}, "X-Forwarded-Prefix": {"/shop"}}
		if err := g.ServeHTTP(httptest.NewRecorder(), r, next); err != nil || len(next.headers) != 1 {
			t.Fatalf("%s: %v", target, err)
		}
		if got := slices.Sorted(maps.Keys(next.headers[0])); !slices.Equal(got, want) {
			t.Errorf("%s: the next handler got %v, want %v", target, got, want)
		}
	}
}

// TestGuardDropsTrailers on the whole site: for an app that reads trailers as
// headers, a trailing mark is a mark, on any route.
func TestGuardDropsTrailers(t *testing.T) {
	g, _ := newGuard(t)
	for _, target := range []string{"/", "/other", "/hooks/github", "/hooks/unknown"} {
		r := httptest.NewRequest(http.MethodPost, target, nil)
		r.Trailer = http.Header{"Webhook-Verified": nil}
		r.Header.Set("Trailer", "Webhook-Verified")
		if err := g.ServeHTTP(httptest.NewRecorder(), r, new(passing)); err != nil || r.Trailer != nil || r.Header.Get("Trailer") != "" {
			t.Errorf("%s: trailers %v, announced as %q: %v", target, r.Trailer, r.Header.Get("Trailer"), err)
		}
	}
}

// TestGuardDropsUpgrades to a protocol in which an app gets requests that no handler sees.
func TestGuardDropsUpgrades(t *testing.T) {
	g, _ := newGuard(t)
	for _, c := range []struct {
		lines []string
		stays bool
	}{
		{[]string{"h2c"}, false}, {[]string{"H2C"}, false}, {[]string{"websocket, h2c"}, false}, {[]string{"h2c,websocket"}, false},
		{[]string{"websocket", "h2c"}, false}, {[]string{"TLS/1.0"}, false}, {[]string{""}, false},
		{[]string{"websocket"}, true}, {[]string{" WebSocket "}, true}, {nil, true},
	} {
		for _, target := range []string{"/other", "/hooks/github"} {
			r := httptest.NewRequest(http.MethodGet, target, nil)
			if c.lines != nil {
				r.Header["Upgrade"] = c.lines
			}
			err := g.ServeHTTP(httptest.NewRecorder(), r, new(passing))
			if stays := slices.Equal(r.Header["Upgrade"], c.lines); err != nil || stays != c.stays {
				t.Errorf("%s: Upgrade %q becomes %q: %v", target, c.lines, r.Header["Upgrade"], err)
			}
		}
	}
}

// TestGuardRefusesUncleanPaths only below its prefix. A flood of them does not fill
// the log.
func TestGuardRefusesUncleanPaths(t *testing.T) {
	g, logs := newGuard(t)
	next := new(passing)
	for range 100 {
		r := httptest.NewRequest(http.MethodPost, "/x/../hooks/github", strings.NewReader("{}"))
		w := httptest.NewRecorder()
		err := g.ServeHTTP(w, r, next)
		if e, ok := errors.AsType[caddyhttp.HandlerError](err); !ok || e.StatusCode != http.StatusBadRequest {
			t.Fatalf("answered %v, want 400", err)
		}
		if w.Header().Get("Connection") != "close" {
			t.Fatal("the answer waits for the body")
		}
	}
	if n := logs.Len(); n < logging.MaxLines || n > 5*logging.MaxLines { // seconds may pass
		t.Errorf("logged %d times, want %d a second", n, logging.MaxLines)
	}
	if err := g.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/files/a;b//c", nil), next); err != nil || len(next.headers) != 1 {
		t.Errorf("beside the prefix: %v", err)
	}
}

// TestGuardRefusesTargetsWithoutAPath everywhere: Go parses no path from them, but a
// proxy passes all of it to the app, which may read it as a path.
func TestGuardRefusesTargetsWithoutAPath(t *testing.T) {
	g, _ := newGuard(t)
	for _, target := range []string{"x:http://app/hooks/github", "http:hooks/github", "x:other"} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.URL = u
		if e, ok := errors.AsType[caddyhttp.HandlerError](g.ServeHTTP(httptest.NewRecorder(), r, new(passing))); !ok || e.StatusCode != http.StatusBadRequest {
			t.Errorf("%s passed the guard", target)
		}
		if !g.Prefix.owns(r) {
			t.Errorf("%s is not matched", target)
		}
	}
}

// TestPrefixBehindARewrite: headers that the block has let pass may lead below its prefix
// from the path that a rewrite makes.
func TestPrefixBehindARewrite(t *testing.T) {
	for _, c := range []struct {
		path, name, value string
		matches           bool
	}{
		{"/a/hooks/github", "X-Script-Name", "/a", true},
		{"/a/hooks/github", "Daphne-Root-Path", "/a", true},
		{"/github", "X-Forwarded-Prefix", "/hooks", true},
		{"/x", "X-Original-Url", "/hooks/github", true},
		{"/a/shop", "X-Script-Name", "/a", false},
		{"/x", "X-Original-Url", "/x", false},
		{"/a/hooks/github", "Accept", "/a", false},
	} {
		r := httptest.NewRequest(http.MethodPost, c.path, nil)
		r.Header.Set(c.name, c.value)
		for rewritten, want := range map[string]bool{"/shop" + c.path: c.matches, c.path: false} {
			u := *r.URL
			u.Path = rewritten
			called := &http.Request{Method: r.Method, URL: &u, Header: r.Header}
			r := r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, *called))
			if matches, err := MatchPrefix("/hooks/*").MatchWithError(r); err != nil || matches != want {
				t.Errorf("%s with %s: %s, called as %s: matches %t, want %t: %v", c.path, c.name, c.value, rewritten, matches, want, err)
			}
		}
		if r.Header.Get(c.name) != c.value {
			t.Errorf("%s is gone", c.name)
		}
	}
}

// TestGuardChecksItsPrefix in JSON too.
func TestGuardChecksItsPrefix(t *testing.T) {
	for _, prefix := range []MatchPrefix{"", "/", "/*", "/hooks", "/hooks*", "hooks/*", "/a/../b/*", "/{env.X}/*", "@x", "/a*/*"} {
		if prefix.Provision(caddy.Context{}) == nil {
			t.Errorf("%q is taken", prefix)
		}
	}
	for _, prefix := range []MatchPrefix{"*", "/hooks/*", "/a/b.c/d-e_f/*"} {
		if err := prefix.Provision(caddy.Context{}); err != nil {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

// TestMethodInQuery: an unsigned query must not name a method for the app. A signed
// one may.
func TestMethodInQuery(t *testing.T) {
	for _, c := range []struct {
		config, signed, query string
		status                int
	}{
		{"", body, "_method=OPTIONS", 400},
		{"", body, "a=b&%5fMethod=OPTIONS", 400},
		{`"observe":true`, body, "_method=OPTIONS", 400},
		{"", body, "a=_method", 202},
		{`"message":"{query}.{body}"`, "_method=PUT." + body, "_method=PUT", 202},
		{`"message":"{query}.{body}"`, "." + body, "_method=PUT", 401},
	} {
		more := []string{topsecret}
		if c.config != "" {
			more = append(more, c.config)
		}
		g := mustProvision(t, "", acme(more...))
		r := httptest.NewRequest(http.MethodPost, "/hooks/acme?"+c.query, strings.NewReader(body))
		r.Header.Set("X-Signature", sign("n9Wd4kTq2", c.signed))
		if a := serve(t, r, accepting, g.handlers...); a.status != c.status || (a.forward != nil) != (c.status == 202) {
			t.Errorf("%s?%s: answered %d, want %d", c.config, c.query, a.status, c.status)
		}
	}
}

// TestFieldInQuery: an app that reads a form and the query finds one value of a field that
// is signed, unless the signature covers the query, too.
func TestFieldInQuery(t *testing.T) {
	const form = "user=1&text=a"
	signed := sign("n9Wd4kTq2", form)
	for _, c := range []struct {
		config, signature, kind, query string
		status                         int
	}{
		{"", signed, "application/x-www-form-urlencoded", "shop=1&_=user", 202},
		{"", signed, "application/x-www-form-urlencoded", "shop=1&user=2", 400},
		{"", signed, "application/x-www-form-urlencoded", "%55ser[]=2", 400},
		{"", signed, "", "user=2", 400},
		{"", signed, "text/plain", "user=2", 202},
		{"", sign("other", form), "application/x-www-form-urlencoded", "user=2", 401},
		{`"observe":true`, signed, "application/x-www-form-urlencoded", "user=2", 400},
		{`"message":"{form:user}","body_unsigned":true`, sign("n9Wd4kTq2", "1"), "application/x-www-form-urlencoded", "user=2", 400},
		{`"message":"{form:user}","body_unsigned":true`, sign("n9Wd4kTq2", "1"), "application/x-www-form-urlencoded", "text=2", 202},
		{`"message":"{timestamp}","timestamp":{"form":"user"},"tolerance":"500000h","body_unsigned":true`, sign("n9Wd4kTq2", "1"), "application/x-www-form-urlencoded", "text=2", 202},
		{`"message":"{timestamp}","timestamp":{"form":"user"},"tolerance":"500000h","body_unsigned":true`, sign("n9Wd4kTq2", "1"), "application/x-www-form-urlencoded", "user=2", 400},
		{`"message":"{header:X-A}","body_unsigned":true`, sign("n9Wd4kTq2", "a"), "application/x-www-form-urlencoded", "user=2", 202},
		{`"message":"{query}\\n{body}"`, sign("n9Wd4kTq2", "user=2\n"+form), "application/x-www-form-urlencoded", "user=2", 202},
		{`"algorithm":"token","body_unsigned":true`, "n9Wd4kTq2", "application/x-www-form-urlencoded", "user=2", 202},
	} {
		more := []string{topsecret}
		if c.config != "" {
			more = append(more, c.config)
		}
		g := mustProvision(t, "", acme(more...))
		r := httptest.NewRequest(http.MethodPost, "/hooks/acme?"+c.query, strings.NewReader(form))
		r.Header.Set("X-Signature", c.signature)
		r.Header.Set("X-A", "a")
		if c.kind != "" {
			r.Header.Set("Content-Type", c.kind)
		}
		if a := serve(t, r, accepting, g.handlers...); a.status != c.status || (a.forward != nil) != (c.status == 202) {
			t.Errorf("%s?%s: answered %d, want %d", c.config, c.query, a.status, c.status)
		}
	}
}

// TestSingleDirectiveRefusesUncleanPaths: its matcher cleans them, but the app would
// get the originals.
func TestSingleDirectiveRefusesUncleanPaths(t *testing.T) {
	for _, target := range []string{"/hooks/x/../acme", "/hooks//acme", "/hooks%2Facme", "/hooks/acme;x", "/hooks/%2e/acme", "x:http://app/hooks/acme", "http:hooks/acme"} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.URL = u
		d := &delivery{r: r}
		if err := d.admit(); !errors.Is(err, errUncleanPath) {
			t.Errorf("%s: %v, want %v", target, err, errUncleanPath)
		}
	}
}
