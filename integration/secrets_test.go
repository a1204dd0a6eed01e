package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every gateway's log, at DEBUG, is searched for keys, bodies and signatures
// when it stops (logbook.check). What is here is what that does not see.

// TestLogFilter: Caddy's own loggers write request headers (http.log.error at
// DEBUG with every error that handle_errors answers, access logs and reverse_proxy
// always), and with them signatures and required headers. A filter on the log takes
// them out.
func TestLogFilter(t *testing.T) {
	t.Parallel()
	g := start(t, setup{
		format: "format filter {\nwrap json\nfields {\nrequest>headers delete\nheaders delete\nresp_headers delete\n}\n}",
		site: "log\nhandle /taken {\nverify_webhook aryeo {env.ARYEO_KEY} {\nrequire_header X-Team {env.ARYEO_TEAM}\n}\nreverse_proxy APP\n}\n" +
			"handle {\nverify_webhook aryeo {env.ARYEO_KEY} {\nname nowhere\nrequire_header X-Team {env.ARYEO_TEAM}\n}\n}\n" +
			"handle_errors {\nrespond {err.status_code}\n}",
	})
	m := aryeo.message(t)
	m.path = "/taken"
	if s := g.status(t, m); s != http.StatusOK {
		t.Errorf("genuine: %d, want 200", s)
	}
	m.path = "/nowhere"
	if s := g.status(t, m); s != http.StatusBadGateway {
		t.Errorf("without an app: %d, want 502", s)
	}
	m.body = append([]byte(" "), m.body...)
	if s := g.status(t, m); s != http.StatusUnauthorized {
		t.Errorf("altered: %d, want 401", s)
	}
	g.log.await(t, "an access log line of the 401", func(l logLine) bool {
		return strings.HasPrefix(l.text("logger"), "http.log.access") && l.fields["status"] == float64(http.StatusUnauthorized)
	})
	g.log.await(t, "an error log line of the 401", func(l logLine) bool {
		return strings.HasPrefix(l.text("logger"), "http.log.error") && l.fields["status"] == float64(http.StatusUnauthorized)
	})
	for _, value := range []string{aryeoTeam, m.header.Get("Signature")} {
		if strings.Contains(g.log.String(), value) {
			t.Errorf("the filtered log holds the header value %q", value)
		}
	}
}

// TestTokenInURL: no line at INFO shows it, the app being down or not; with the
// documented filter no access log does either.
func TestTokenInURL(t *testing.T) {
	t.Parallel()
	const token = "token-in-the-url-51c9"
	for name, s := range map[string]setup{
		"as it comes": {level: "INFO"},
		"filtered":    {format: "format filter {\nwrap json\nfields {\nrequest>headers delete\nrequest>uri query {\nreplace token REDACTED\n}\n}\n}", site: "log\n"},
	} {
		s.site += "handle /up {\nverify_webhook monday {env.URL_TOKEN}\nreverse_proxy APP\n}\nhandle {\nverify_webhook monday {env.URL_TOKEN} {\nname down\n}\nreverse_proxy 127.0.0.1:1\n}"
		s.env = []string{"URL_TOKEN=" + token}
		g := start(t, s)
		g.wantLog(t, "the secret is part of the URL")
		for path, want := range map[string]int{"/up": 200, "/down": 502} {
			for _, word := range []string{token, "wrong"} {
				r, err := http.NewRequest(http.MethodPost, "http://"+g.address+path+"?token="+word, strings.NewReader(`{"event":{"triggerUuid":"`+path+`"}}`))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/json")
				if a := g.do(t, g.h1, r); word == token && a.status != want || word != token && a.status != 401 {
					t.Errorf("%s: %s with the token %q: answered %d", name, path, word, a.status)
				}
			}
		}
		g.log.await(t, "our own line", func(l logLine) bool { return l.ours() && l.text("msg") == "the app did not answer" })
		if strings.Contains(g.log.String(), token) {
			t.Errorf("%s: the log shows the token: %s", name, g.log)
		}
	}
}

// TestConfigKeepsPlaceholders: whoever may read the admin API sees where a key
// comes from, not the key.
func TestConfigKeepsPlaceholders(t *testing.T) {
	t.Parallel()
	config := shared(t).adminGet(t, "/config/")
	if !strings.Contains(config, "{env.GITHUB_KEY}") || !strings.Contains(config, "{env.ARYEO_TEAM}") {
		t.Error("/config/ does not show the placeholders")
	}
	for _, key := range []string{githubKey, aryeoTeam, stripeKey, genericKey, standardKey} {
		if strings.Contains(config, key) {
			t.Errorf("/config/ shows %q", key)
		}
	}
}

// misplaced is a secret that a person wrote into a configuration that is wrong
// in another place, or that is in the wrong place itself.
const misplaced = "sk_misplaced_9f31c7d2e84b"

// TestErrorsHoldNoSecret: wrong configurations are refused, with a line, and
// without the secret in them.
func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for what, site := range map[string]string{
		"secret as provider":           "verify_webhook SECRET",
		"secret before provider":       "verify_webhook SECRET github",
		"secret as option":             "verify_webhook github {\nSECRET\n}",
		"secret behind a wrong word":   "verify_webhook github {\nsecrets SECRET\n}",
		"unknown option":               "verify_webhook github SECRET {\nobserv\n}",
		"repeated option":              "verify_webhook github SECRET {\nmax_body 1MiB\nmax_body 2MiB\n}",
		"unknown provider":             "verify_webhook githup SECRET",
		"placeholder inside a text":    "verify_webhook github SECRET{env.GITHUB_KEY}",
		"placeholder of a request":     "verify_webhook github SECRET {http.request.uri}",
		"unset variable":               "verify_webhook github SECRET {env.NOT_SET_ANYWHERE}",
		"not base64":                   "verify_webhook standard_webhooks whsec_SECRET!",
		"no public key":                "verify_webhook standard_webhooks {\npublic_key SECRET\n}",
		"a secret for a public scheme": "verify_webhook {\nname x\nalgorithm ed25519\nsignature header X\nsecret SECRET\n}",
		"no signature line":            "verify_webhook {\nname x\nsecret SECRET\n}",
		"no name":                      "verify_webhook {\nsignature header X\nsecret SECRET\n}",
		"unsigned timestamp":           "verify_webhook {\nname x\nsignature header X\ntimestamp header T\nsecret SECRET\n}",
		"required header, no value":    "verify_webhook github SECRET {\nrequire_header X-Team\n}",
		"required header, bad value":   "verify_webhook github x {\nrequire_header X-Team SECRET{env.X}\n}",
		"param twice":                  "verify_webhook github x {\nparam a SECRET\nparam a SECRET\n}",
		"param, three words":           "verify_webhook github x {\nparam a SECRET b\n}",
		"label without its word":       "verify_webhook github {\nsecret SECRET as {$NOT_SET_ANYWHERE}\n}",
		"label on the first line":      "verify_webhook github SECRET as old",
		"two arguments for one":        "verify_webhook github SECRET {\nreject_status 401 SECRET\n}",
		"status 410":                   "verify_webhook github SECRET {\nreject_status 410\n}",
	} {
		path := filepath.Join(dir, strings.ReplaceAll(what, " ", "_"))
		text := "http://:1 {\n" + strings.ReplaceAll(site, "SECRET", misplaced) + "\n}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// What only provisioning can find is left to validate.
		out, err := caddy(t, dir, nil, "validate", "--adapter", "caddyfile", "--config", path)
		if err == nil {
			t.Errorf("%s: accepted\n%s", what, site)
		}
		// Caddy's debug logger would print the configuration; its errors do not.
		if strings.Contains(out, misplaced) {
			t.Errorf("%s: the output holds the secret:\n%s", what, out)
		}
		if !strings.Contains(out, "verify_webhook") && !strings.Contains(out, ":2") {
			t.Errorf("%s: the error names neither the handler nor the line:\n%s", what, out)
		}
	}
}

// TestSecretsInHeaders: no line at INFO shows a shared token, or the value of a
// required header, when the app is down.
func TestSecretsInHeaders(t *testing.T) {
	t.Parallel()
	const token, team = "token-in-a-header-51c9", "team-in-a-header-51c9"
	g := start(t, setup{
		level: "INFO",
		site: "handle /token {\nverify_webhook gitlab_token {env.HEADER_TOKEN}\nreverse_proxy 127.0.0.1:1\n}\n" +
			"handle {\nverify_webhook github {env.GITHUB_KEY} {\nrequire_header X-Team {env.HEADER_TEAM}\n}\nreverse_proxy 127.0.0.1:1\n}",
		env: []string{"HEADER_TOKEN=" + token, "HEADER_TEAM=" + team},
	})
	withToken, withTeam := github.message(t), github.message(t)
	withToken.path, withToken.header = "/token", http.Header{"X-Gitlab-Token": {token}}
	withTeam.path = "/team"
	withTeam.header.Set("X-Team", team)
	for _, m := range []message{withToken, withTeam} {
		if s := g.status(t, m); s != http.StatusBadGateway {
			t.Errorf("%s: answered %d, want 502", m.path, s)
		}
		g.log.await(t, "our own line", func(l logLine) bool {
			return l.ours() && l.text("msg") == "the app did not answer" && l.text("name") == map[string]string{"/token": "gitlab_token", "/team": "github"}[m.path]
		})
		if log := g.log.String(); strings.Contains(log, token) || strings.Contains(log, team) {
			t.Errorf("%s: the log shows the secret: %s", m.path, log)
		}
	}
}
