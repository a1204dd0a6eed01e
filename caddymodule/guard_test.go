package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestPrefixOwnsEverySpelling: no way to write a path below the prefix leads past
// the block, to a route that proxies the rest of the site.
func TestPrefixOwnsEverySpelling(t *testing.T) {
	for target, want := range map[string]bool{
		"/hooks":                       true,
		"/hooks/":                      true,
		"/hooks/stripe":                true,
		"/HOOKS/Stripe":                true,
		"/hook%73/stripe":              true,
		"/hooK%C5%BF/stripe":           true, // ſ, which upper case makes an S
		"/hoo%E2%84%AAs":               true, // K, the Kelvin sign
		"//hooks/stripe":               true,
		"/./hooks/stripe":              true,
		"/x/../hooks/stripe":           true,
		"/x/%2e%2e/hooks/stripe":       true,
		"/hooks%2fstripe":              true,
		"/hooks%5cstripe":              true,
		"/x%5c..%5chooks/stripe":       true,
		"/hooks;x/stripe":              true,
		"/hooks%3bx/stripe":            true,
		"/;x/hooks/stripe":             true,
		"/x/..;/hooks/stripe":          true,
		"/hooks%00/stripe":             true,
		"/hooks/acme/../../x":          true, // as it was sent
		"/hooks/%2e%2e/x":              true,
		"/./hooks//../stripe":          true, // /hooks/stripe where slashes are not merged: new URL() of WHATWG
		"/x/%2e%2e/hooks//../stripe":   true,
		"/.\\hooks\\..;\\stripe":       true, // where ..; is no dot segment
		"/a%2fb/../hooks/stripe":       true, // where an encoded slash is none
		"/x/hooks;y/../../hooks":       true,
		"/hooks%7f/stripe":             true,
		"/x//stripe":                   false,
		"/hooksters//x;hooks/..":       false,
		"/":                            false,
		"/hooksters":                   false,
		"/hooks.json":                  false,
		"/x/hooks":                     false,
		"/hook/stripe":                 false,
		"http://other.example.com/x":   false,
		"http://h.example.com/hooks/x": true,
		"http://h.example.com":         false,
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := MatchPrefix("/hooks/*").owns(u.Path); got != want {
			t.Errorf("%s: %t, want %t", target, got, want)
		}
		if !MatchPrefix("*").owns(u.Path) {
			t.Errorf("%s: * does not own it", target)
		}
	}
}

// TestPathThatEverybodyReadsAlike: what Caddy and some app could read differently
// is unclean.
func TestPathThatEverybodyReadsAlike(t *testing.T) {
	for target, want := range map[string]bool{
		"/": true, "/hooks/stripe": true, "/hooks/stripe/": true, "/HOOKS/%73tripe": true, "/hooks/a.b..c/.x": true,
		"/hooks/a%20b": true, "/hooks/%C3%A9": true, "/hooks/a,b=c:d@e&f+g!~$'()*": true, "/hooks/%252e": true, "*": true,
		"/hooks/x?a=/../;%2f%5c//\\": true, "http://h.example.com/hooks/x": true, "http://h.example.com": true,
		"//": false, "//hooks": false, "/hooks//x": false, "/hooks/x//": false, "/hooks/./x": false, "/hooks/..": false, "/hooks/../x": false,
		"/.": false, "/..": false, "/hooks/%2e/x": false, "/hooks/%2E%2e/x": false, "/hooks/a%2eb": false,
		"/hooks%2fx": false, "/hooks/x%2F": false, "/hooks%5cx": false, "/hooks\\x": false, "/hooks/x;y": false, "/hooks/x%3by": false,
		"/hooks/x%00": false, "/hooks/x%0a": false, "/hooks/x%7f": false,
		"/hooks%2fx\"":                    false, // a raw quote makes EscapedPath forget how the slash was written
		"http://h.example.com/hooks/../x": false,
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := isClean(u); got != want {
			t.Errorf("%s: clean %t, want %t", target, got, want)
		}
	}
}

// FuzzPaths compares with Caddy's own matcher: what it finds below the prefix, the
// block owns. A clean path is one that cleaning does not change.
func FuzzPaths(f *testing.F) {
	for _, target := range []string{"/hooks", "/hooks/x", "//hooks/./x/", "/hooks%2f..%2fx", "/x/../HOOKS;a/b", "/hooks\\x", "/hoo\u212as/x", "http://h/hooks"} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(u.Path, "/") {
			return
		}
		r := (&http.Request{URL: u}).WithContext(context.WithValue(t.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
		for _, pattern := range []string{"/hooks", "/hooks/*"} {
			if matched, _ := (caddyhttp.MatchPath{pattern}).MatchWithError(r); matched && !MatchPrefix("/hooks/*").owns(u.Path) {
				t.Errorf("%q: Caddy's path %s matches, and the block does not own it", target, pattern)
			}
		}
		if read := withoutDots(u.Path); isBelow(read, "/hooks") && !MatchPrefix("/hooks/*").owns(u.Path) {
			t.Errorf("%q: RFC 3986 §5.2.4 makes %s of it, and the block does not own it", target, read)
		}
		if isClean(u) && strings.TrimSuffix(u.Path, "/") != strings.TrimSuffix(path.Clean(u.Path), "/") {
			t.Errorf("%q is clean, and cleaning changes it", target)
		}
	})
}

// withoutDots removes dot segments as RFC 3986 §5.2.4 does and new URL() of WHATWG:
// empty segments stay, and .. removes one of them as any other.
func withoutDots(p string) string {
	var kept []string
	for segment := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		switch segment {
		case ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// passing is the next handler of a guard: it notes what comes through.
type passing struct{ headers []http.Header }

func (p *passing) ServeHTTP(_ http.ResponseWriter, r *http.Request) error {
	p.headers = append(p.headers, r.Header)
	return nil
}

// newGuard returns a guard of /hooks/*, and what it logs.
func newGuard(t *testing.T) (*Guard, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.WarnLevel)
	g := &Guard{Prefix: "/hooks/*"}
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

// TestGuardDropsTrailers on the whole site: a mark that follows a body is one to
// an app that reads trailers as headers, whichever route leads there.
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

// TestGuardRefusesUncleanPaths below its prefix, and nothing elsewhere. A flood
// of them fills no log.
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
	if n := logs.Len(); n < maxWarnings || n > 5*maxWarnings { // seconds may pass
		t.Errorf("logged %d times, want %d a second", n, maxWarnings)
	}
	if err := g.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/files/a;b//c", nil), next); err != nil || len(next.headers) != 1 {
		t.Errorf("beside the prefix: %v", err)
	}
}

// TestGuardRefusesTargetsWithoutAPath, wherever it is: Go parses no path
// out of them, and a proxy hands all of it to the app, which may read it as one.
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
		if !g.Prefix.Match(r) {
			t.Errorf("%s is not matched", target)
		}
	}
}

// TestGuardChecksItsPrefix in JSON too.
func TestGuardChecksItsPrefix(t *testing.T) {
	for _, prefix := range []MatchPrefix{"", "/", "/*", "/hooks", "/hooks*", "hooks/*", "/a/../b/*", "/{env.X}/*", "@x", "/a*/*"} {
		if (&Guard{Prefix: prefix}).Prefix.check() == nil {
			t.Errorf("%q is taken", prefix)
		}
	}
	for _, prefix := range []MatchPrefix{"*", "/hooks/*", "/a/b.c/d-e_f/*"} {
		if err := prefix.check(); err != nil {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

// TestSingleDirectiveRefusesUncleanPaths: its matcher cleans them, and the app
// would get them as they were sent.
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
