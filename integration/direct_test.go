package integration

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// throughDirect gives every reverse_proxy of a site the transport verify_webhook.
func throughDirect(site string) string {
	return strings.ReplaceAll(site, "reverse_proxy APP\n", "reverse_proxy APP {\ntransport verify_webhook\n}\n")
}

// eachTransport runs a test of the shared gateway with both transports.
func eachTransport(t *testing.T, test func(t *testing.T, g *gateway)) {
	t.Parallel()
	for name, s := range map[string]*sharing{"transport http": &sharedGateway, "transport verify_webhook": &directGateway} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s.get(t))
		})
	}
}

// TestDeliveriesThroughTheDirectTransport: deduplicated, stored while the app is not
// well or dies in its answer, and delivered later.
func TestDeliveriesThroughTheDirectTransport(t *testing.T) {
	t.Parallel()
	g := startInbox(t, setup{site: throughDirect("verify_webhooks /hooks/* {\nsender github {env.GITHUB_KEY} {\n" +
		"inbox {\nafter 1m\nretry 1100ms\n}\n}\nreverse_proxy APP\n}\nrespond 404")})
	for _, protocol := range protocols {
		id, m, client := newCase(), github.message(t), g.client(protocol)
		a := g.do(t, client, g.request(t, id, m))
		wantTaken(t, protocol, a, g.app.got(id))
		wantArrival(t, g.app.got(id), "github", m)
		wantDuplicate(t, protocol, g.do(t, client, g.request(t, id, m)))
		if n := len(g.app.got(id)); n != 1 {
			t.Errorf("%s: the app was called %d times", protocol, n)
		}
	}
	for what, fail := range map[string]func(w http.ResponseWriter){
		"unavailable": func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"no answer":   func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"half an answer": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		id, m := newCase(), github.message(t)
		g.app.answer(id, newDesk().serve(func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				fail(w)
			}
		}))
		wantStored(t, what, g.do(t, g.h1, g.request(t, id, m)))
		got := g.attempts(t, id, 2)
		wantArrival(t, got[1:], "github", m)
		if got[1].Header.Get("Webhook-Attempt") != "2" {
			t.Errorf("%s: Webhook-Attempt %q", what, got[1].Header.Get("Webhook-Attempt"))
		}
	}
	g.settled(t)
}

// TestAnotherUpstreamGetsTheWholeBody: an upstream that cannot be dialed has read
// nothing of it.
func TestAnotherUpstreamGetsTheWholeBody(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY}\nreverse_proxy " + freeAddress() + " APP {\nlb_policy first\nlb_retries 1\nfail_duration 1m\ntransport verify_webhook\n}"})
	m := github.message(t)
	a, got := g.send(t, "HTTP/1.1", m)
	wantTaken(t, "the second upstream", a, got)
	wantArrival(t, got, "github", m)
}
