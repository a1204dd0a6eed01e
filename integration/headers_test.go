package integration

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

// TestRepeatedLines: every header that matters must be on one line, even if two lines
// are equal: the app might read the other line.
func TestRepeatedLines(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, s := range []sender{aryeo, yapily, stripe, slack, standard, svix} {
		genuine := s.message(t)
		for name, values := range genuine.header {
			for what, second := range map[string]string{"again": values[0], "another": alter(values[0]), "empty": ""} {
				for _, protocol := range protocols {
					m := genuine
					m.header = maps.Clone(genuine.header)
					m.header[name] = []string{values[0], second}
					a, got := g.send(t, protocol, m)
					wantRefused(t, s.name+", "+protocol+", "+name+" "+what, http.StatusUnauthorized, a, got)
				}
			}
		}
	}
}

// TestConnectionCannotRemoveTheMark: Connection names headers that the next proxy,
// ours, must remove.
func TestConnectionCannotRemoveTheMark(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, connection := range []string{"Webhook-Verified", "close, webhook-verified", "keep-alive, Webhook-Verified, Content-Length, Content-Type"} {
		m, id := github.message(t), newCase()
		s := g.dial(t)
		s.head("POST", github.path+"?case="+id, append(lines(m.header), length(len(m.body)), "Connection: "+connection, "Content-Type: application/json")...)
		s.write(string(m.body))
		a, got := s.answer(), g.app.got(id)
		wantTaken(t, connection, a, got)
		wantArrival(t, got, "github", m)
		if got[0].Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: Content-Type is gone", connection)
		}
	}
}

// TestUpgradeAndIncrementalAreDropped: a buffered body supports neither.
func TestUpgradeAndIncrementalAreDropped(t *testing.T) {
	t.Parallel()
	g := shared(t)
	m := github.message(t)
	id := newCase()
	s := g.dial(t)
	s.head("POST", github.path+"?case="+id, append(lines(m.header), length(len(m.body)),
		"Connection: Upgrade", "Upgrade: websocket", "Incremental: ?1", "Idempotency-Key: kept")...)
	s.write(string(m.body))
	a, got := s.answer(), g.app.got(id)
	wantTaken(t, "upgrade", a, got)
	for _, name := range []string{"Connection", "Upgrade", "Incremental", "Expect"} {
		if v := got[0].Header.Values(name); len(v) > 0 {
			t.Errorf("the app got %s: %q", name, v)
		}
	}
}

// forgedLines claim what only the gateway may say.
var forgedLines = []string{
	"Webhook-Verified: forged", "webhook-verified: forged", "WEBHOOK-VERIFIED: forged",
	"Webhook-Delivery: forged", "webhook-delivery: forged",
	"Webhook_Verified: forged", "webhook_delivery: forged", "Webhook.Verified: forged", "WEBHOOK_VERIFIED: forged",
}

// wantUnforged fails if any header of the app's request carries a forged value.
func wantUnforged(t testing.TB, one arrival) {
	t.Helper()
	for name, values := range one.Header {
		if strings.Contains(strings.Join(values, " "), "forged") {
			t.Errorf("the app got %s: %q", name, values)
		}
	}
}

// TestForgedMarksAreGone on a genuine delivery.
func TestForgedMarksAreGone(t *testing.T) {
	t.Parallel()
	g := shared(t)
	m := github.message(t)
	id := newCase()
	s := g.dial(t)
	s.head("POST", github.path+"?case="+id, append(append(lines(m.header), forgedLines...), length(len(m.body)))...)
	s.write(string(m.body))
	a, got := s.answer(), g.app.got(id)
	wantTaken(t, "forged", a, got)
	wantArrival(t, got, "github", m)
	wantUnforged(t, got[0])

	h2 := github.message(t)
	h2.header = h2.header.Clone()
	h2.header["Webhook-Verified"] = []string{"forged", "forged"}
	h2.header["Webhook_Verified"] = []string{"forged"}
	h2.header["Webhook-Delivery"] = []string{"forged"}
	a, got = g.send(t, "HTTP/2", h2)
	wantTaken(t, "forged, HTTP/2", a, got)
	wantArrival(t, got, "github", h2)
	wantUnforged(t, got[0])
}

// TestForgedMarksInErrorRoutes: handle_errors may pass a refused request to an app,
// without marks in headers or trailers.
func TestForgedMarksInErrorRoutes(t *testing.T) {
	t.Parallel()
	g := start(t, setup{
		servers: "expected_underscore_headers Webhook_*\nexpected_dot_headers Webhook.Verified",
		site:    githubSite + "\nhandle_errors {\nreverse_proxy APP\n}",
	})
	forged := append([]string{"Webhook-Attempt: forged", "Webhook-Tenant: forged", "Webhook-Received: forged"}, forgedLines...)
	for what, method := range map[string]string{"unsigned": "POST", "method": "PUT"} {
		id := newCase()
		s := g.dial(t)
		s.head(method, "/?case="+id, append(forged, "Transfer-Encoding: chunked", "Trailer: Webhook-Verified")...)
		s.write("2\r\n{}\r\n0\r\nWebhook-Verified: forged\r\n\r\n")
		s.answer()
		got := g.app.got(id)
		if len(got) != 1 {
			t.Fatalf("%s: handle_errors handed on %d requests", what, len(got))
		}
		wantUnforged(t, got[0])
		if n := len(got[0].Trailer); n > 0 {
			t.Errorf("%s: the app got the trailers %v", what, got[0].Trailer)
		}
	}
}

// TestUnderscoreTwins: a server can be configured to keep names with an underscore;
// an app behind CGI would read them as ours.
func TestUnderscoreTwins(t *testing.T) {
	t.Parallel()
	g := start(t, setup{
		servers: "expected_underscore_headers Webhook_*\nexpected_dot_headers Webhook.Verified",
		site:    "verify_webhook github {env.GITHUB_KEY} {\n observe\n}\nreverse_proxy APP",
	})
	for _, m := range []message{github.message(t), {path: github.path, body: []byte(jsonBody)}} {
		id := newCase()
		s := g.dial(t)
		s.head("POST", "/?case="+id, append(append(lines(m.header), forgedLines...), "Webhook_Other: kept", length(len(m.body)))...)
		s.write(string(m.body))
		a, got := s.answer(), g.app.got(id)
		wantTaken(t, "twins", a, got)
		wantUnforged(t, got[0])
		if got[0].Header.Get("Webhook_Other") != "kept" {
			t.Error("the server dropped the header that this test is about: the option has another name")
		}
	}
}
