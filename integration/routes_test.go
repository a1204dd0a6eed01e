package integration

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestWaysRoundTheMatcher: what no handler has verified goes nowhere, however
// the path is written. A matcher in front of a catch-all proxy would let these
// past.
func TestWaysRoundTheMatcher(t *testing.T) {
	t.Parallel()
	g := shared(t)
	unguarded := []string{
		"/hooks/stripe/", "/hooks/stripe.json", "/hooks/stripe%2f", "/hooks/stripe%2F..%2fstripe%2f", "/hooks/", "/hooks/unknown",
		"/hooks/stripe;x=1", "/hooks/stripe%20", "/hooks/stripe%00", "/hooks/stripe%3fx", "/hooks/.stripe", "/hooks/stripes",
		"/hooks/renamed", // rewritten to /hooks/stripe after the verification
		"/stripped/stripe/", "/stripped/", "/stripped/unknown", "/stripped/stripe.json",
	}
	guarded := []string{ // other spellings of the path that is guarded
		"/hooks/stripe", "/hooks/%73tripe", "/hooks/STRIPE", "/HOOKS/stripe", "/stripped/stripe", "/STRIPPED/Stripe",
	}
	unclean := []string{ // which the app may read as another path: not even a genuine delivery passes
		"/hooks//stripe", "//hooks/stripe", "/hooks%2fstripe", "/hooks%2Fstripe", "/hooks/./stripe", "/hooks/x/../stripe",
		"/x/%2e%2e/hooks/stripe", "/stripped//stripe",
	}
	for _, path := range slices.Concat(unguarded, guarded, unclean) {
		want := http.StatusNotFound
		switch {
		case slices.Contains(guarded, path):
			want = http.StatusUnauthorized
		case slices.Contains(unclean, path):
			want = http.StatusBadRequest
		}
		// Genuine for stripe, and not signed at all: neither may slip through
		// where nothing verifies.
		genuine := stripe.message(t)
		for _, header := range []http.Header{nil, genuine.header} {
			if header != nil && slices.Contains(guarded, path) {
				continue
			}
			id := newCase()
			s := g.dial(t)
			s.head("POST", path+"?case="+id, append(lines(header), length(len(genuine.body)))...)
			s.write(string(genuine.body))
			a := s.answer()
			if n := len(g.app.got(id)); a.status != want || n != 0 {
				t.Errorf("%s, signed %v: answered %d, app called %d times; want %d and never", path, header != nil, a.status, n, want)
			}
		}
	}
}

// TestStrippedPath: handle_path changes the path before the handler sees it.
func TestStrippedPath(t *testing.T) {
	t.Parallel()
	m := stripe.message(t)
	m.path = "/stripped/stripe"
	a, got := shared(t).send(t, "HTTP/1.1", m)
	wantTaken(t, m.path, a, got)
	wantArrival(t, got, "stripped", m)
}

// TestAbsoluteTarget: a request line may name the whole URL (RFC 9112 §3.2.2).
func TestAbsoluteTarget(t *testing.T) {
	t.Parallel()
	g := shared(t)
	m := stripe.message(t)
	id := newCase()
	s := g.dial(t)
	s.head("POST", "http://gateway"+stripe.path+"?case="+id, append(lines(m.header), length(len(m.body)))...)
	s.write(string(m.body))
	wantTaken(t, "absolute form", s.answer(), g.app.got(id))
}

// TestMethodNotAllowed names the methods that are.
func TestMethodNotAllowed(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for path, allow := range map[string]string{github.path: "POST", workspace.path: "POST, PUT, PATCH"} {
		for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS", "post"} {
			for _, protocol := range protocols {
				a, got := g.send(t, protocol, message{method: method, path: path})
				wantRefused(t, method+" "+path+", "+protocol, http.StatusMethodNotAllowed, a, got)
				if a.header.Get("Allow") != allow {
					t.Errorf("%s %s: Allow: %q, want %q", method, path, a.header.Get("Allow"), allow)
				}
			}
		}
	}
}

// TestTwoHandlers on one request are an error of the configuration, and the log
// names both.
func TestTwoHandlers(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a, got := g.send(t, "HTTP/1.1", at(collidePath).message(t))
	wantRefused(t, "two handlers", http.StatusInternalServerError, a, got)
	g.log.await(t, "both names", func(l logLine) bool {
		return strings.Contains(l.text("msg"), `"collide-first"`) && strings.Contains(l.text("msg"), `"collide-second"`)
	})
}

// TestNoUpstream: without a handler below, Caddy would answer an empty 200, and
// the sender would believe that its event was taken.
func TestNoUpstream(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, protocol := range protocols {
		a, got := g.send(t, protocol, at("/alone").message(t))
		wantRefused(t, protocol, http.StatusBadGateway, a, got)
	}
	g.log.refused(t, "alone", "no_upstream")
}
