package placement_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOneSocketInManySpellings: the app behind a block is found beside it however its
// address is written, and another app is not.
func TestOneSocketInManySpellings(t *testing.T) {
	t.Setenv("APP", "localhost:3000")
	t.Setenv("APP_HOST", "127.0.0.1")
	t.Setenv("OTHER", "localhost:3001")
	real := filepath.ToSlash(t.TempDir())
	if err := errors.Join(os.Symlink(real, real+"/link"), os.WriteFile(real+"/there.sock", nil, 0o600), os.Symlink("there.sock", real+"/named.sock")); err != nil {
		t.Skip(err)
	}
	dynamic := func(source string) string { return "{\ndynamic " + source + "\n}" }
	spellings := map[string][]string{
		"this machine": {":3000", "localhost:3000", "LOCALHOST.:3000", "app.localhost:3000", "127.0.0.1:3000", "127.0.0.2:3000", "[::1]:3000", "[::ffff:127.0.0.1]:3000", "0.0.0.0:3000", "[::]:3000",
			"http://localhost:3000", "h2c://127.0.0.1:3000", "tcp/localhost:3000", "{env.APP}", "{env.APP_HOST}:3000", "other:1 :3000", dynamic("a localhost 3000"), dynamic("a {\nname {env.APP_HOST}\nport 3000\n}"),
			dynamic("multi {\nsrv _http._tcp.other\na localhost 3000\n}"), dynamic("multi {\nmulti {\na 127.0.0.1 3000\n}\n}")},
		"another one":  {"192.0.2.7:3000", "[::ffff:192.0.2.7]:3000"},
		"a name":       {"app", "APP:80", "app.:80", "http://app", "tcp/app:80", dynamic("a app 80")},
		"TLS":          {"https://app", "app:443"},
		"a socket":     {"unix//run/app.sock", "unix//run/./app.sock", "unix+h2c//run/app.sock", "unix//run/app.sock|0220"},
		"a link":       {"unix/" + real + "/app.sock", "unix/" + real + "/link/app.sock"},
		"links":        {"unix/" + real + "/there.sock", "unix/" + real + "/link/link/named.sock"},
		"records":      {dynamic("srv _http._tcp.app.internal"), dynamic("srv {\nservice http\nproto tcp\nname app.internal\n}"), dynamic("multi {\nsrv _http._tcp.app.internal\n}")},
		"another port": {"localhost:3001", "{env.OTHER}"},
		"a choice":     {"{http.vars.app}:3000"},
	}
	// The block's site, another site of the same app, and a block in a route, which other
	// requests pass by.
	other := func(app, beside string) string {
		return strings.ReplaceAll(hooks("respond 404"), "app:3000", app) + "b.example.com {\nreverse_proxy " + beside + "\n}"
	}
	for kind, apps := range spellings {
		for _, app := range apps {
			for _, beside := range apps[:1] {
				isWarnedOf(t, other(app, beside), openPath+"reverse_proxy … another site, or another address of this one, has the same app")
				isWarnedOf(t, other(beside, app), openPath+"reverse_proxy … another site, or another address of this one, has the same app")
				const walked = "hooks.example.com {\nroute /in/* {\nverify_webhooks /in/hooks/* {\nsender stripe whsec_a\nreverse_proxy APP\n}\n}\nreverse_proxy BESIDE\n}"
				if _, err := survey(t, strings.NewReplacer("APP", app, "BESIDE", beside).Replace(walked)); err == nil || !strings.Contains(err.Error(), "does not see every request of its site") {
					t.Errorf("%s past a block in front of %s: %v", beside, app, err)
				}
			}
			for another, others := range spellings {
				if another != kind {
					isWarnedOf(t, other(app, others[0]))
				}
			}
		}
	}
}

// TestOneAppInTwoSpellingsIsOne: handlers that share a name, or a queue, share their app.
func TestOneAppInTwoSpellingsIsOne(t *testing.T) {
	const sites = "a.example.com {\nverify_webhook github a {\nname gh\nINBOX\n}\nreverse_proxy localhost:3000\n}\nb.example.com {\nverify_webhook github a {\nname gh\nINBOX\n}\nreverse_proxy [::1]:3000\n}"
	for _, inbox := range []string{"", "inbox"} {
		isWarnedOf(t, strings.ReplaceAll(sites, "INBOX", inbox))
	}
}
