package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// rejection is what the admin API tells of one.
type rejection struct {
	ID, Name, Reason, Remote, Method, URL, Hint, Note string
	Observed                                          bool
	Headers                                           map[string][]string
	Body                                              struct {
		Bytes  int
		SHA256 string
	}
}

// rejections asks the admin API for what is kept.
func (g *gateway) rejections(t testing.TB, query string) (list []rejection) {
	t.Helper()
	text := g.adminGet(t, "/verify_webhook/rejections"+query)
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return list
}

// webhook runs "caddy webhook …" against the gateway's admin endpoint.
func (g *gateway) webhook(t testing.TB, args ...string) (out string, code int) {
	t.Helper()
	out, err := caddy(t, g.dir, nil, append(append([]string{"webhook"}, args...), "--address", g.admin)...)
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	}
	return out, code
}

// TestRejections: from the line of the log to the cause, in one command.
func TestRejections(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook aryeo {env.ARYEO_KEY} {\nrequire_header X-Team {env.ARYEO_TEAM}\n}\nreverse_proxy APP"})
	m := aryeo.message(t)
	m.path = "/hooks/any"
	m.header.Set("Content-Type", "application/json")
	m.header.Set("Authorization", "Bearer "+redactedToken)
	m.body = append(m.body, '\n') // what a proxy or an editor adds
	a, _ := g.send(t, "HTTP/1.1", m)
	if a.status != http.StatusUnauthorized {
		t.Fatalf("answered %d", a.status)
	}
	id := g.log.refused(t, "aryeo", "signature_mismatch").text("rejection")
	list := g.rejections(t, "")
	if len(list) != 1 || list[0].ID != id || id == "" {
		t.Fatalf("kept %+v, logged %q", list, id)
	}

	text := g.adminGet(t, "/verify_webhook/rejections/"+id)
	var one rejection
	if err := json.Unmarshal([]byte(text), &one); err != nil {
		t.Fatal(err)
	}
	if one.Reason != "signature_mismatch" || one.Method != "POST" || !strings.HasPrefix(one.URL, "/hooks/any?case=") || one.Body.Bytes != len(m.body) || len(one.Body.SHA256) != 64 {
		t.Errorf("told %s", text)
	}
	if !strings.Contains(one.Hint, "line break") {
		t.Errorf("hint %q, want the line break", one.Hint)
	}
	out, code := g.webhook(t, "rejections", id)
	if code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), one.Hint) {
		t.Errorf("caddy webhook rejections %s: exit %d:\n%s", id, code, out)
	}
	listed, code := g.webhook(t, "rejections")
	if code != 0 || !strings.Contains(listed, id) {
		t.Errorf("caddy webhook rejections: exit %d:\n%s", code, listed)
	}
	for _, secret := range []string{redactedToken, aryeoTeam, aryeoKey, bodyMark} {
		if strings.Contains(text+out+listed, secret) {
			t.Errorf("%q is shown: %s\n%s", secret, text, out)
		}
	}
	if one.Headers["Signature"][0] != m.header.Get("Signature") {
		t.Errorf("the sender's signature is not shown: %v", one.Headers)
	}

	// Of all this nothing can be had where the senders are.
	for _, path := range []string{"/verify_webhook/rejections", "/verify_webhook/rejections/" + id, "/verify_webhook/status", "/verify_webhook/deliveries/" + strings.Repeat("0", 32)} {
		for _, method := range []string{http.MethodGet, http.MethodDelete, http.MethodPost} {
			a, got := g.send(t, "HTTP/1.1", message{path: path, method: method})
			if a.status != http.StatusUnauthorized && a.status != http.StatusMethodNotAllowed || a.body != "" || len(got) != 0 {
				t.Errorf("%s %s on the site's port: %s", method, path, a.outside())
			}
		}
	}
}

const redactedToken = "bearer-token-77ab01"

// TestKeepRejectedOff: who does not want requests in memory has none.
func TestKeepRejectedOff(t *testing.T) {
	t.Parallel()
	g := start(t, setup{global: "verify_webhook {\nkeep_rejected off\n}", site: githubSite})
	g.status(t, message{path: "/", body: []byte(jsonBody)})
	if id := g.log.refused(t, "github", "missing_signature").text("rejection"); id != "" {
		t.Errorf("logged the id %q of nothing", id)
	}
	if list := g.rejections(t, ""); len(list) != 0 {
		t.Errorf("kept %+v", list)
	}
	if out, code := g.webhook(t, "rejections"); code != 0 || !strings.Contains(out, "keep_rejected is off") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

// TestKeepRejectedNewest: so many of each handler, over a reload, observed or not.
func TestKeepRejectedNewest(t *testing.T) {
	t.Parallel()
	site := "verify_webhook /a github {env.GITHUB_KEY} {\nname a\n}\nverify_webhook /b github {env.GITHUB_KEY} {\nname b\nobserve\n}\nreverse_proxy APP"
	g := start(t, setup{global: "verify_webhook {\nkeep_rejected 2\n}", site: site})
	for range 4 {
		for _, path := range []string{"/a", "/b"} {
			m := at(path).message(t)
			m.body = append(m.body, ' ')
			g.status(t, m)
		}
	}
	g.reload(t, site+"\nheader X-Generation 2")
	if list := g.rejections(t, ""); len(list) != 4 || list[0].Name != "b" || !list[0].Observed || list[1].Name != "a" || list[1].Observed {
		t.Errorf("kept %+v", list)
	}
	if list := g.rejections(t, "?name=a"); len(list) != 2 || list[0].Name != "a" {
		t.Errorf("of a: %+v", list)
	}
}

// TestStatusCommand: what an operator reads at two in the morning.
func TestStatusCommand(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook github {\nname shop\nsecret {env.GITHUB_KEY} as current\nsecret {file.DIR/none} as next\n}\nreverse_proxy APP"})
	m := at("/").message(t)
	id := newCase()
	g.do(t, g.h1, g.request(t, id, m))
	wantDuplicate(t, "a copy", g.do(t, g.h1, g.request(t, id, m)))
	g.status(t, message{path: "/", body: []byte(jsonBody)})
	var s struct {
		Store    struct{ Kind string }
		Handlers []struct {
			Name, Provider        string
			Delivered, Duplicates int
			Rejected              map[string]int
			LastDelivered         time.Time `json:"last_delivered"`
			Keys                  []struct {
				Label    string
				LastUsed *time.Time `json:"last_used"`
			}
			KeyProblems []string `json:"key_problems"`
		}
	}
	out, code := g.webhook(t, "status", "shop", "--json")
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil || len(s.Handlers) != 1 {
		t.Fatalf("exit %d, %v in\n%s", code, err, out)
	}
	h := s.Handlers[0]
	if s.Store.Kind != "memory" || h.Name != "shop" || h.Provider != "github" || h.Delivered != 1 || h.Duplicates != 1 || h.Rejected["missing_signature"] != 1 ||
		time.Since(h.LastDelivered) > patience || len(h.Keys) != 1 || h.Keys[0].Label != "current" || h.Keys[0].LastUsed == nil ||
		len(h.KeyProblems) != 1 || !strings.Contains(h.KeyProblems[0], "/none") {
		t.Errorf("status %s", out)
	}
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"status", 0, "shop     github    1          0       1           1 "},
		{"status nobody", 2, "unknown handler; the handlers are: shop"},
		{"rejections ffff", 2, `no rejection "ffff"`},
		{"forget " + strings.Repeat("0", 32), 1, "no such delivery is remembered"},
		{"forget xyz", 2, "a delivery key is 32 hex digits"},
	} {
		if out, code := g.webhook(t, strings.Fields(tc.args)...); code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("caddy webhook %s: exit %d, want %d and %q:\n%s", tc.args, code, tc.code, tc.want, out)
		}
	}

	// The endpoint is found as caddy reload finds it, and forget does what it says.
	out, err := caddy(t, g.dir, nil, "webhook", "status", "--config", g.caddyfile())
	if err != nil || !strings.Contains(out, "shop") {
		t.Errorf("with --config: %v\n%s", err, out)
	}
	a := g.do(t, g.h1, g.request(t, id, m))
	if out, code := g.webhook(t, "forget", a.header.Get("Webhook-Delivery")); code != 0 || !strings.Contains(out, "Its next copy is forwarded") {
		t.Errorf("forget: exit %d:\n%s", code, out)
	}
	wantForwarded(t, "redelivered", g.do(t, g.h1, g.request(t, id, m)))
}

// TestAccessLog: Caddy's access log says of each request how it ended.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "log\n" + githubSite})
	a := g.do(t, g.h1, g.request(t, newCase(), at("/").message(t)))
	g.status(t, message{path: "/", body: []byte(jsonBody)})
	access := func(outcome string) map[string]any {
		t.Helper()
		line := g.log.await(t, "an access log line: "+outcome, func(l logLine) bool {
			webhook, _ := l.fields["webhook"].(map[string]any)
			return strings.HasPrefix(l.text("logger"), "http.log.access") && webhook["outcome"] == outcome
		})
		return line.fields["webhook"].(map[string]any)
	}
	want := map[string]any{"name": "github", "provider": "github", "outcome": "delivered", "delivery": a.header.Get("Webhook-Delivery"), "key": "1"}
	if got := access("delivered"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("logged %v, want %v", got, want)
	}
	want = map[string]any{"name": "github", "provider": "github", "outcome": "rejected", "reason": "missing_signature",
		"rejection": g.log.refused(t, "github", "missing_signature").text("rejection")}
	if got := access("rejected"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("logged %v, want %v", got, want)
	}
}

// TestTracing: Caddy's span of a request says how it ended.
func TestTracing(t *testing.T) {
	t.Parallel()
	g := start(t, setup{
		env:  []string{"OTEL_TRACES_EXPORTER=console", "OTEL_BSP_SCHEDULE_DELAY=50"},
		site: "tracing\n" + githubSite,
	})
	g.do(t, g.h1, g.request(t, newCase(), at("/").message(t)))
	g.status(t, message{path: "/", body: []byte(jsonBody)})
	for _, outcome := range []string{"delivered", "rejected"} {
		g.log.await(t, "a span: "+outcome, func(l logLine) bool {
			return strings.Contains(l.raw, `"Key":"webhook.outcome","Value":{"Type":"STRING","Value":"`+outcome+`"}`) &&
				strings.Contains(l.raw, `"Key":"webhook.name"`)
		})
	}
}
