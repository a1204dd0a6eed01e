package integration

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestPlacementIsWarnedOfAtTheStart: the start says what reaches the app
// unverified, and a reload what it forgets; caddy validate says neither.
func TestPlacementIsWarnedOfAtTheStart(t *testing.T) {
	t.Parallel()
	const open = "verify_webhook /hooks/github github a-secret\nreverse_proxy APP\n"
	const guarded = "verify_webhooks /hooks/* {\nsender github a-secret {\nname hub\n}\nreverse_proxy APP\n}\nrespond 404\n"
	g := start(t, setup{site: open})
	line := g.wantLog(t, "requests reach reverse_proxy "+g.app.address+" without passing verify_webhook", "verify_webhooks /hooks/*")
	if line.text("level") != "warn" || line.text("logger") != "verify_webhook" || line.text("request") != "/hooks/github/" {
		t.Errorf("logged as %v", line)
	}
	resp, err := g.h1.Post("http://"+g.address+line.text("request"), "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the request of the warning is answered %d: it does not reach the app", resp.StatusCode)
	}
	out, err := caddy(t, g.dir, nil, "validate", "--adapter", "caddyfile", "--config", g.caddyfile())
	if err != nil || strings.Contains(out, "without passing verify_webhook") {
		t.Errorf("validate: %v\n%s", err, out)
	}
	g.reload(t, guarded)
	g.wantLog(t, "a handler has another name than before the reload")
	warnings := 0
	for _, l := range g.log.all() {
		if l.ours() && l.text("level") == "warn" && l.text("logger") == "verify_webhook" {
			warnings++
		}
	}
	if warnings != 2 {
		t.Errorf("%d warnings, want one of the start and one of the reload", warnings)
	}
}

// TestWarningsOfPlacementHold: the request that a warning names is answered as the
// warning says.
func TestWarningsOfPlacementHold(t *testing.T) {
	t.Parallel()
	const block = "verify_webhooks /hooks/* {\nsender github a-secret\nreverse_proxy APP\n}\n"
	for name, c := range map[string]struct {
		site, warning string
		status        int
		app           string // the path that it gets, "" if it gets nothing
	}{
		"detour": {block + "handle_path /legacy/* {\nreverse_proxy APP\n}\nrespond 404",
			"with the path of verified deliveries", http.StatusOK, "/hooks/github"},
		"below the prefix": {block + "rewrite /legacy/* /hooks/other\nreverse_proxy APP",
			"below the prefix of verify_webhooks", http.StatusOK, "/hooks/other"},
		"a map": {block + "map {path} {to} {\n/legacy /hooks/github\ndefault {path}\n}\nrewrite * {to}\nreverse_proxy APP",
			"with the path of verified deliveries", http.StatusOK, "/hooks/github"},
		"two handlers": {"route {\nverify_webhook /hooks/* gitlab_token a-token\nverify_webhook /hooks/github github a-secret\nreverse_proxy APP\n}",
			"requests reach two verify_webhook handlers", http.StatusInternalServerError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, setup{site: c.site})
			target := g.wantLog(t, c.warning).text("request")
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.address+target, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Gitlab-Token", "a-token")
			resp, err := g.h1.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != c.status {
				t.Errorf("%s is answered %d, want %d", target, resp.StatusCode, c.status)
			}
			if got := g.app.got(""); c.app == "" && len(got) > 0 || c.app != "" && (len(got) != 1 || got[0].Target != c.app) {
				t.Errorf("the app got %v, want %q", got, c.app)
			}
		})
	}
}

// TestHandlersThatNeedNamesAreRefused: two tenants of one provider on one path,
// told apart by a header, do not start, and a reload to them leaves what is in
// force.
func TestHandlersThatNeedNamesAreRefused(t *testing.T) {
	t.Parallel()
	const tenants = `@a header X-Tenant a
@b header X-Tenant b
verify_webhook @a github one-secret
verify_webhook @b github third-secret
@unguarded vars {http.verify_webhook.name} ""
respond @unguarded 404
reverse_proxy APP
`
	g := start(t, setup{site: githubSite})
	if err := g.write(tenants); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(g.caddyfile())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+g.admin+"/load", "text/caddyfile", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK || !strings.Contains(string(answer), "the handlers 1 and 2 of the configuration have no name") || !strings.Contains(string(answer), "name github-1") {
		t.Errorf("the reload was answered %d %s", resp.StatusCode, answer)
	}
	g.redial(t)
	if a := g.once(t, at("/").message(t)); a.status != http.StatusOK {
		t.Errorf("after the refused reload: %d", a.status)
	}
	g.reload(t, strings.NewReplacer("one-secret", "one-secret {\nname a\n}", "third-secret", "third-secret {\nname b\n}").Replace(tenants))
}

// TestRemedyBesideASingleDirectiveHolds: with the line that the documentation writes, a
// route without a handler passes on no mark, nor a name that some servers read as one.
func TestRemedyBesideASingleDirectiveHolds(t *testing.T) {
	t.Parallel()
	const remedy = "request_header -Webhook*"
	for _, page := range []string{"../SECURITY.md", "../docs/configuration.md", "../docs/troubleshooting.md"} {
		if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "`"+remedy+"`") {
			t.Errorf("%s has another remedy (%v)", page, err)
		}
	}
	g := start(t, setup{site: "handle /hooks/* {\nroute {\nverify_webhook /hooks/github github {env.GITHUB_KEY}\n@unguarded vars {http.verify_webhook.name} \"\"\nrespond @unguarded 404\nreverse_proxy APP\n}\n}\n" +
		"handle {\n" + remedy + "\nreverse_proxy APP\n}"})
	for _, name := range []string{"Webhook-Verified", "webhook-verified", "Webhook!Verified", "Webhook~Delivery", "Webhook|Tenant", "Webhook'Stored", "WEBHOOK--VERIFIED"} {
		id := newCase()
		s := g.dial(t)
		s.head("POST", "/hooks;x/github?case="+id, name+": github", length(2))
		s.write("{}")
		status := s.answer().status
		got := g.app.got(id)
		if status != http.StatusOK || len(got) != 1 {
			t.Fatalf("%s: answered %d, and the app got %d", name, status, len(got))
		}
		for header := range got[0].Header {
			if strings.HasPrefix(strings.ToLower(header), "webhook") {
				t.Errorf("the app got %s", header)
			}
		}
	}
}

// TestRemedyForAnotherSiteHolds: with the line that the warning names, the other site of
// a block's app gives it no path below the prefix, no mark and nothing else by which an
// app would take a request for a delivery.
func TestRemedyForAnotherSiteHolds(t *testing.T) {
	t.Parallel()
	sites := func(www string) setup {
		return setup{whole: `{
	admin ADMIN
	skip_install_trust
	persist_config off
	log default {
		output stderr
		format json
		level DEBUG
	}
	servers {
		expected_underscore_headers Webhook_*
	}
}
http://hooks.test:PORT {
	bind 127.0.0.1
	verify_webhooks /hooks/* {
		sender github a-secret
		reverse_proxy APP
	}
	respond 404
}
http://:PORT {
	bind 127.0.0.1
	` + www + `
	reverse_proxy APP
}
`}
	}
	before := start(t, sites(""))
	warning := before.wantLog(t, "another site, or another address of this one, has the same app").text("msg")
	_, remedy, _ := strings.Cut(warning, "; write ")
	remedy, _, found := strings.Cut(remedy, ", without a block")
	if !found {
		t.Fatalf("no remedy in: %s", warning)
	}
	for name, www := range map[string]string{"alone": remedy, "with error routes": remedy + "\nhandle_errors {\nrewrite * /error\nreverse_proxy APP\n}"} {
		t.Run(name, func(t *testing.T) {
			g := start(t, sites(www))
			for _, l := range g.log.all() {
				if l.ours() && l.text("level") == "warn" && l.text("logger") == "verify_webhook" {
					t.Errorf("warned of: %v", l)
				}
			}
			headers := append([]string{"Content-Type: application/json", "X-Original-URL: /hooks/github", "X-Forwarded-Prefix: /hooks", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
				"HTTP2-Settings: AAMAAABkAAQAAP__", "Webhook-Tenant: forged", "Webhook-Stored: forged", length(2)}, forgedLines...)
			for target, reaches := range map[string]bool{
				"/": true, "/x": true, "/hooksome": true,
				"/hooks": false, "/hooks/github": false, "/HOOKS/github": false, "/hooks/github/": false, "/hooks;x/github": false, "/index.php/hooks/github": false,
				"/./hooks//github": false, "/hooks%2fgithub": false, "//hooks/github": false,
			} {
				id := newCase()
				s := g.dial(t)
				s.head("POST", target+"?rest_route=/hooks/github&case="+id, headers...)
				s.write("{}")
				status, got := s.answer().status, g.app.got(id)
				if reaches != (len(got) == 1 && status == http.StatusOK) {
					t.Errorf("%s: answered %d, and the app got %v", target, status, got)
				}
				wantUnmarked(t, target, got)
				for _, one := range got {
					wantUnforged(t, one)
					for _, name := range []string{"X-Original-Url", "X-Forwarded-Prefix", "Upgrade"} {
						if one.Header.Get(name) != "" {
							t.Errorf("%s: the app got %s: %s", target, name, one.Header.Get(name))
						}
					}
				}
			}
		})
	}
}
