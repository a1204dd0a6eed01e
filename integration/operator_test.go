package integration

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// admin gets a page of the admin API.
func (g *gateway) adminGet(t testing.TB, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + g.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// metric returns a sample's value, given its name and labels as they are
// printed; 0 if there is none.
func (g *gateway) metric(t testing.TB, sample string) float64 {
	t.Helper()
	for line := range strings.Lines(g.adminGet(t, "/metrics")) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), sample+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// TestHandleErrors: the operator may answer refusals, and knows the reason.
func TestHandleErrors(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: `
		verify_webhook github {env.GITHUB_KEY} {
			max_body 1KiB
		}
		reverse_proxy APP
		handle_errors {
			header X-Status {err.status_code}
			respond "refused: {http.verify_webhook.name} {http.verify_webhook.reason}"
		}`})
	bad := github.message(t)
	bad.header = http.Header{"X-Hub-Signature-256": {"sha256=" + strings.Repeat("0", 64)}}
	for reason, c := range map[string]struct {
		m      message
		status string
	}{
		"signature_mismatch": {bad, "401"},
		"missing_signature":  {message{path: "/", body: []byte(jsonBody)}, "401"},
		"method_not_allowed": {message{path: "/", method: "GET"}, "405"},
		"body_too_large":     {message{path: "/", body: make([]byte, 2000), header: bad.header, chunked: true}, "413"},
	} {
		for _, protocol := range protocols {
			a, got := g.send(t, protocol, c.m)
			if want := "refused: github " + reason; a.body != want || a.header.Get("X-Status") != c.status || len(got) != 0 {
				t.Errorf("%s: answered %q, status %s, app called %d times; want %q, %s, never",
					protocol, a.body, a.header.Get("X-Status"), len(got), want, c.status)
			}
		}
	}
	a, got := g.send(t, "HTTP/1.1", github.message(t))
	wantTaken(t, "genuine", a, got)
}

// TestRejectStatus: the status of a failed verification can be chosen; those of
// limits cannot.
func TestRejectStatus(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY} {\nreject_status 403\n}\nreverse_proxy APP"})
	a, got := g.send(t, "HTTP/1.1", message{path: "/", body: []byte(jsonBody)})
	wantRefused(t, "unsigned", http.StatusForbidden, a, got)
	if a.header.Get("WWW-Authenticate") != "Webhook" {
		t.Error("the answer does not show that the gateway refused")
	}
	a, got = g.send(t, "HTTP/1.1", message{path: "/", method: "GET"})
	wantRefused(t, "GET", http.StatusMethodNotAllowed, a, got)
}

// TestMetrics counts each outcome with its reason.
func TestMetrics(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY} {\nname counted\n}\nreverse_proxy APP"})
	for range 3 {
		g.status(t, github.message(t))
	}
	for range 2 {
		g.status(t, message{path: "/", body: []byte(jsonBody)})
	}
	g.status(t, message{path: "/", method: "GET"})
	for labels, want := range map[string]float64{
		`outcome="delivered",reason=""`:                  3,
		`outcome="rejected",reason="missing_signature"`:  2,
		`outcome="rejected",reason="method_not_allowed"`: 1,
	} {
		sample := `caddy_verify_webhook_requests_total{name="counted",` + labels + `}`
		if n := g.metric(t, sample); n != want {
			t.Errorf("%s %v, want %v", sample, n, want)
		}
	}
	const last, key = `caddy_verify_webhook_last_delivered_timestamp_seconds{name="counted"}`, `caddy_verify_webhook_key_last_used_timestamp_seconds{key="1",name="counted"}`
	if now, at, used := float64(time.Now().Unix()), g.metric(t, last), g.metric(t, key); at < now-patience.Seconds() || at > now+1 || used > at || used < at-1 {
		t.Errorf("last delivered %v, key last used %v, now %v", at, used, now)
	}
	for stage, want := range map[string]float64{"read": 3, "verify": 3, "claim": 3, "upstream": 3} {
		sample := `caddy_verify_webhook_duration_seconds_count{name="counted",stage="` + stage + `"}`
		if n := g.metric(t, sample); n != want {
			t.Errorf("%s %v, want %v", sample, n, want)
		}
	}
	g.reload(t, "verify_webhook github {env.GITHUB_KEY} {\nname counted\n}\nheader X-Generation 2\nreverse_proxy APP")
	if n := g.metric(t, `caddy_verify_webhook_requests_total{name="counted",outcome="delivered",reason=""}`); n != 3 {
		t.Errorf("after a reload %v accepted, want 3", n)
	}
	g.reload(t, "verify_webhook github {env.GITHUB_KEY} {\nname renamed\n}\nreverse_proxy APP")
	eventually(t, "the old name is gone", func() bool { return !strings.Contains(g.adminGet(t, "/metrics"), `name="counted"`) })
	eventually(t, "buffered_bytes 0", func() bool { return g.metric(t, "caddy_verify_webhook_buffered_bytes") == 0 })
}

// TestWarningsAreFew: a flood of forgeries fills no disk, and what was left out
// is counted.
func TestWarningsAreFew(t *testing.T) {
	t.Parallel()
	g := start(t, setup{level: "INFO", site: "verify_webhook github {env.GITHUB_KEY}\nreverse_proxy APP"})
	const flood = 500
	began := time.Now()
	for range flood {
		g.status(t, message{path: "/", body: []byte(jsonBody)})
	}
	seconds := int(time.Since(began)/time.Second) + 2
	logged := 0
	for _, l := range g.log.all() {
		if l.text("reason") == "missing_signature" {
			logged++
		}
	}
	if logged == 0 || logged > 10*seconds {
		t.Errorf("%d refusals in %d seconds made %d log lines, want 10 a second at most", flood, seconds, logged)
	}
}
