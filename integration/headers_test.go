package integration

import (
	"crypto/tls"
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
	eachTransport(t, func(t *testing.T, g *gateway) {
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
	})
}

// TestUpgradeAndIncrementalAreDropped: a buffered body supports neither.
func TestUpgradeAndIncrementalAreDropped(t *testing.T) {
	eachTransport(t, func(t *testing.T, g *gateway) {
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
	})
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
	eachTransport(t, func(t *testing.T, g *gateway) {
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
	})
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

// TestRefusedRequestsNameNoOtherPath: a page of the app for errors gets no header by which
// it could take a refused request for a delivery.
func TestRefusedRequestsNameNoOtherPath(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhooks /hooks/* {\nsender github {env.GITHUB_KEY}\nreverse_proxy APP\n}\nrespond 404\nhandle_errors {\nrewrite * /error?{query}\nreverse_proxy APP\n}"})
	for _, target := range []string{"/hooks/github", "/hooks/unknown", "/hooks;x/github", "/HOOKS//github"} {
		id := newCase()
		s := g.dial(t)
		s.head("POST", target+"?case="+id, "X-Original-URL: /hooks/github", "X-Forwarded-Prefix: /hooks", "X-Forwarded-Path: /shop", length(2))
		s.write("{}")
		s.answer()
		got := g.app.got(id)
		if len(got) != 1 || !strings.HasPrefix(got[0].Target, "/error?") {
			t.Fatalf("%s: handle_errors handed on %v", target, got)
		}
		h := got[0].Header
		if h.Get("X-Original-Url") != "" || h.Get("X-Forwarded-Prefix") != "" || h.Get("X-Forwarded-Path") == "" {
			t.Errorf("%s: the app got %v", target, h)
		}
	}
}

// TestForgedMarksOfWhatIsRefusedEarlier: handle_errors gets no forged marks and
// trailers either of a request that something refuses before the gateway sees it.
func TestForgedMarksOfWhatIsRefusedEarlier(t *testing.T) {
	t.Parallel()
	const (
		block  = "verify_webhooks /hooks/* {\nsender github {env.GITHUB_KEY}\nreverse_proxy APP\n}\n"
		line   = "verify_webhook /hooks/github github {env.GITHUB_KEY}\nreverse_proxy APP\n"
		errors = "handle_errors 4xx 5xx {\nreverse_proxy APP\n}\nhandle_errors {\nrespond 500\n}\n"
	)
	forged := append([]string{"Webhook-Attempt: forged", "Webhook-Tenant: forged"}, forgedLines...)
	for what, before := range map[string]string{
		"request_body": "request_body {\nmax_size 8KB\n}\nGATEWAY",
		"basic_auth":   "route {\nbasic_auth {\nbob $2a$04$TR9qTmBpGbDDXGGOoNPmg.h4b3EcxMQPv8AUbWJcUWeUvZRQSNTkK\n}\nGATEWAY}\n",
		"forward_auth": "route {\nforward_auth 127.0.0.1:1 {\nuri /\n}\nGATEWAY}\n",
	} {
		for shape, gateway := range map[string]string{"block": block, "line": line} {
			g := start(t, setup{
				servers: "expected_underscore_headers Webhook_*\nexpected_dot_headers Webhook.Verified",
				site:    errors + strings.Replace(before, "GATEWAY", gateway, 1),
			})
			id := newCase()
			s := g.dial(t)
			if what == "request_body" {
				s.head("POST", "/hooks/github?case="+id, append(forged, length(20_000))...)
				s.write(strings.Repeat("x", 20_000))
			} else {
				s.head("POST", "/hooks/github?case="+id, append(forged, "Transfer-Encoding: chunked", "Trailer: Webhook-Verified")...)
				s.write("2\r\n{}\r\n0\r\nWebhook-Verified: forged\r\n\r\n")
			}
			s.answer()
			var got []arrival
			eventually(t, what+", "+shape+": handle_errors passed it on", func() bool { got = g.app.got(id); return len(got) == 1 })
			wantUnforged(t, got[0])
			if n := len(got[0].Trailer); n > 0 {
				t.Errorf("%s, %s: the app got the trailers %v", what, shape, got[0].Trailer)
			}
		}
	}
}

// TestForgedMarksOfAMisdirectedRequest: with strict_sni_host Caddy refuses, before any
// route, a request to another host than that of its TLS handshake.
func TestForgedMarksOfAMisdirectedRequest(t *testing.T) {
	t.Parallel()
	g := start(t, setup{whole: `{
	admin ADMIN
	skip_install_trust
	persist_config off
	auto_https disable_redirects
	log default {
		output stderr
		format json
	}
	servers {
		strict_sni_host on
	}
}
https://hooks.test:PORT {
	bind 127.0.0.1
	tls internal
	handle_errors 421 {
		reverse_proxy APP
	}
	verify_webhooks /hooks/* {
		sender github {env.GITHUB_KEY}
		reverse_proxy APP
	}
	respond 404
}
https://www.test:PORT {
	bind 127.0.0.1
	tls internal
	respond 204
}
`})
	insecure := &tls.Config{InsecureSkipVerify: true, ServerName: "www.test"}
	eventually(t, "it has a certificate", func() bool {
		c, err := tls.Dial("tcp", g.address, insecure)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: insecure}}
	defer client.CloseIdleConnections()
	id, m := newCase(), message{path: "/hooks/github", header: forgedMarks(), body: []byte(`{"evil":1}`)}
	r := g.request(t, id, m)
	r.URL.Scheme, r.Host = "https", "hooks.test"
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	got := g.app.got(id)
	if len(got) != 1 {
		t.Fatalf("handle_errors passed on %d requests", len(got))
	}
	wantUnmarked(t, "misdirected", got)
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

// TestUpgradesBesideABlock: an app that changes to HTTP/2 in its connection (h2c) would
// get requests below the prefix that no handler has seen. A websocket is let through.
func TestUpgradesBesideABlock(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhooks /hooks/* {\nsender github {env.GITHUB_KEY}\nreverse_proxy APP\n}\nreverse_proxy APP\nhandle_errors {\nreverse_proxy APP\n}"})
	for protocol, want := range map[string]string{"h2c": "", "h2c, websocket": "", "websocket": "websocket"} {
		for _, path := range []string{"/beside", "/hooks/unknown"} {
			id := newCase()
			s := g.dial(t)
			s.head("GET", path+"?case="+id, "Connection: Upgrade, HTTP2-Settings", "Upgrade: "+protocol, "HTTP2-Settings: AAMAAABkAAQAAP__")
			s.answer()
			got := g.app.got(id)
			if len(got) != 1 {
				t.Fatalf("%s %s: the app got %d requests", path, protocol, len(got))
			}
			if upgrade := got[0].Header.Get("Upgrade"); upgrade != want {
				t.Errorf("%s: Upgrade: %s arrives as %q, want %q", path, protocol, upgrade, want)
			}
		}
	}
}
