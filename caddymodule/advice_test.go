package caddymodule

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/zaptest/observer"
)

// advised runs a Caddyfile as far as the start of the app, and returns its warnings:
// each message with its fields.
func advised(t testing.TB, caddyfile string) (warnings []string, err error) {
	t.Helper()
	adapted, err := adapt("Caddyfile", caddyfile)
	if err != nil {
		t.Fatalf("%v\n%s", err, caddyfile)
	}
	return advisedOf(t, adapted)
}

func advisedOf(t testing.TB, config string) (warnings []string, err error) {
	t.Helper()
	app, logs := appOf(t, config)
	logs.TakeAll()
	err = app.advise(nil)
	return warned(logs), err
}

// appOf provisions a configuration, and returns its app, not started, and the logs.
func appOf(t testing.TB, config string) (*App, *observer.ObservedLogs) {
	t.Helper()
	var cfg caddy.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Admin = &caddy.AdminConfig{Disabled: true}
	cfg.Logging = silent()
	cfg.Logging.Logs["default"].CoreRaw = json.RawMessage(`{"module":"verify_webhook_test"}`)
	apps := cfg.AppsRaw
	cfg.AppsRaw = nil // they are loaded below, into a context that ends with the test
	ctx, err := caddy.ProvisionContext(&cfg)
	if err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	cfg.AppsRaw = apps
	base, cancel := caddy.NewContext(ctx)
	t.Cleanup(cancel)
	logs := lastLogs
	if _, err := base.App("http"); err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	app, err := base.App("verify_webhook")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*App), logs
}

func warned(logs *observer.ObservedLogs) (warnings []string) {
	for _, entry := range logs.All() {
		if !strings.HasPrefix(entry.LoggerName, "verify_webhook") {
			continue
		}
		text := entry.Message
		fields := entry.ContextMap()
		for _, f := range entry.Context {
			text += fmt.Sprintf(" %s=%v", f.Key, fields[f.Key])
		}
		warnings = append(warnings, text)
	}
	return warnings
}

// holdsInOrder reports whether a text begins with the first part and contains the
// others in order.
func holdsInOrder(text, parts string) bool {
	for i, part := range strings.Split(parts, " … ") {
		_, rest, found := strings.Cut(text, part)
		if !found || i == 0 && !strings.HasPrefix(text, part) {
			return false
		}
		text = rest
	}
	return true
}

func TestSendersThatNothingTellsApartAreWarnedOf(t *testing.T) {
	const unrecognised = "copies of these senders' deliveries cannot be recognised … names=[acme websub]"
	warnings, err := advised(t, `hooks.example.com {
		verify_webhooks /hooks/* {
			sender websub a {
				param topic https://blog.example/feed
			}
			sender {
				name      acme
				secret    b
				signature header X-Signature
			}
			sender github c {
				dedupe off
			}
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		respond 404
	}`)
	if err != nil || len(warnings) != 1 || !holdsInOrder(warnings[0], unrecognised) {
		t.Errorf("%v, %q, want %s", err, warnings, unrecognised)
	}
}

// TestSignedHostOfAnySite: on a site for every host the client chooses the host that is
// signed.
func TestSignedHostOfAnySite(t *testing.T) {
	const senders, here = "sender twilio KEY\nsender trello KEY2\nsender stripe whsec_9d2f71c8a4", "these senders sign the host of the URL … names="
	for name, tc := range map[string]struct{ address, senders, want string }{
		"a port":             {"http://:8080", senders, here + "[trello twilio]"},
		"a named site":       {"hooks.example.com", senders, ""},
		"a pattern":          {"*.example.com", senders, ""},
		"a name and a port":  {"http://hooks.example.com:8080", senders, ""},
		"public_url":         {"http://:8080", "sender twilio KEY {\npublic_url https://hooks.example.com\n}\nsender trello KEY2", here + "[trello]"},
		"both":               {"http://:8080, hooks.example.com", senders, here + "[trello twilio]"},
		"the path alone":     {"http://:8080", "sender {\nname acme\nsecret KEY\nsignature header X-Signature\nmessage {path}.{body}\n}", ""},
		"the host":           {"http://:8080", "sender {\nname acme\nsecret KEY\nsignature header X-Signature\nmessage {host}.{body}\n}", here + "[acme]"},
		"a claim":            {"http://:8080", "sender monday_apps KEY", here + "[monday_apps]"},
		"a matcher of hosts": {"http://:8080", "", ""},
	} {
		site := tc.address + " {\nverify_webhooks /hooks/* {\n" + tc.senders + "\nreverse_proxy app:3000\n}\nrespond 404\n}"
		if name == "a matcher of hosts" {
			site = tc.address + " {\n@here host hooks.example.com\nhandle @here {\nverify_webhooks /hooks/* {\n" + senders + "\nreverse_proxy app:3000\n}\nrespond 404\n}\nrespond 404\n}"
		}
		warnings, err := advised(t, strings.NewReplacer("KEY2", "b41f0c9e77d2a856", "KEY", "7c0e91b4d2f85a36").Replace(site))
		warnings = slices.DeleteFunc(warnings, func(w string) bool { return !strings.HasPrefix(w, "these senders sign") })
		if got := strings.Join(warnings, "; "); err != nil || (got == "") != (tc.want == "") || tc.want != "" && !holdsInOrder(got, tc.want) {
			t.Errorf("%s: %v, %q, want %q", name, err, got, tc.want)
		}
	}
}

// TestOraclesAreWarnedOf: a handler that answers strangers with an HMAC signs for
// another one with its key. Neither is warned of by its key.
func TestOraclesAreWarnedOf(t *testing.T) {
	const key, shared = "7c0e91b4d2f85a36e7d41c9b08f26a53", "two handlers share a key … give each a key of its own name=smartcar other="
	dir := filepath.ToSlash(secretsOf(t, map[string]string{"acme": key}))
	for senders, want := range map[string]string{
		"sender smartcar KEY\n sender pandadoc KEY":                                          shared + "pandadoc",
		"sender pandadoc other {\n secret KEY as old\n }\n sender smartcar KEY":              shared + "pandadoc",
		"sender smartcar KEY\n sender pandadoc another-key-0123456789":                       "",
		"sender smartcar KEY {\n handshake off\n }\n sender pandadoc KEY":                    "",
		"sender smartcar KEY\n sender intercom KEY":                                          "", // HMAC-SHA1
		"sender smartcar KEY\n sender smartcar KEY {\n name second\n path /hooks/second\n }": "",
		"sender smartcar {\n name smartcar\n tenant {path.2}\n secret {file./run/keys/{tenant}}\n }\n sender pandadoc {\n name pandadoc\n tenant {header.X-Account}\n secret {file./run/keys//{tenant}}\n }":               shared + "pandadoc",
		"sender smartcar {\n name smartcar\n tenant {path.2}\n secret {file./run/keys/a/{tenant}}\n }\n sender pandadoc {\n name pandadoc\n tenant {path.2}\n secret {file./run/keys/b/{tenant}}\n }":                      "",
		"sender smartcar {\n name smartcar\n tenant {path.2}\n secret from http https://app/{tenant}\n }\n sender pandadoc {\n name pandadoc\n tenant {path.2}\n secret from http https://app/{tenant} {\n ttl 1m\n }\n }": shared + "pandadoc",
		"sender smartcar {\n name smartcar\n tenant {path.2}\n secret from http https://app/{tenant}\n }\n sender pandadoc {\n name pandadoc\n tenant {path.2}\n secret from http https://app/b/{tenant}\n }":              "",
		"sender smartcar {\n name smartcar\n tenant {path.2}\n secret {file./run/keys/{tenant}}\n }\n sender intercom {\n name intercom\n tenant {path.2}\n secret {file./run/keys/{tenant}}\n }":                          "", // HMAC-SHA1
		"sender smartcar {\n name smartcar\n tenant {path.2}\n secret {file.DIR/{tenant}}\n }\n sender pandadoc {file.DIR/acme}":                                                                                           shared + "pandadoc",
		"sender smartcar {file.DIR/acme}\n sender pandadoc {\n name pandadoc\n tenant {path.2}\n secret {file.DIR/{tenant}}\n }":                                                                                           shared + "pandadoc",
		"sender smartcar {file.DIR}\n sender pandadoc {\n name pandadoc\n tenant {path.2}\n secret {file.DIR/{tenant}}\n }":                                                                                                shared + "pandadoc",
		"sender smartcar {file.DIR/acme}\n sender pandadoc {\n name pandadoc\n tenant {path.2}\n secret {file.DIR/{tenant}.key}\n }":                                                                                       "",
		"sender smartcar {\n name smartcar\n tenant {path.2}\n secret {file.DIR/{tenant}}\n }\n sender pandadoc {\n name pandadoc\n tenant {path.2}\n secret {file.DIR/{tenant}/webhook}\n }":                              shared + "pandadoc",
	} {
		senders = strings.ReplaceAll(senders, "DIR", dir)
		warnings, err := advised(t, strings.ReplaceAll("hooks.example.com {\n verify_webhooks /hooks/* {\n"+senders+"\n reverse_proxy app:3000\n }\n respond 404\n }", "KEY", key))
		warnings = slices.DeleteFunc(warnings, func(w string) bool {
			return strings.HasPrefix(w, "copies of these senders") || strings.HasPrefix(w, "two senders")
		})
		if err != nil || (len(warnings) > 0) != (want != "") || want != "" && (!holdsInOrder(warnings[0], want) || strings.Contains(warnings[0], key)) {
			t.Errorf("%s: %v, %q, want %q", senders, err, warnings, want)
		}
	}
}

// TestTenantsOfTwoHandlersInOneFileAreWarnedOf: the key of a tenant of one handler is not
// that of another tenant of the other.
func TestTenantsOfTwoHandlersInOneFileAreWarnedOf(t *testing.T) {
	file := func(key, path string) string { return key + " {file." + path + "}" }
	for _, c := range []struct {
		main, shop string
		warned     string // fields
	}{
		{file("secret", "/k/{tenant}"), file("secret", "/k/shop/{tenant}"), "path=/k/shop/{tenant} other_path=/k/{tenant}"},
		{file("secret", "/k/shop/{tenant}"), file("secret", "/k/{tenant}"), "path=/k/{tenant} other_path=/k/shop/{tenant}"},
		{file("secret", "/k/{tenant}"), file("secret", "/k/shop-{tenant}"), "path=/k/shop-{tenant} other_path=/k/{tenant}"},
		{file("secret", "/other/{tenant}") + "\n" + file("secret", "/k/{tenant}"), file("secret", "/k/{tenant}.pem"), "path=/k/{tenant}.pem other_path=/k/{tenant}"},

		{file("secret", "/k/{tenant}"), file("secret", "/k/{tenant}"), ""}, // one tenant of two senders
		{file("secret", "/k/{tenant}/main"), file("secret", "/k/{tenant}/shop"), ""},
		{file("secret", "/k/main/{tenant}"), file("secret", "/k/shop/{tenant}"), ""},
		{file("secret", "/k/{tenant}"), file("secret", "/k/shop"), ""}, // one tenant's endpoint
		{"secret from http https://app/{tenant}", "secret from http https://app/shop/{tenant}", ""},
		{file("secret", "/k/{tenant}"), "secret from http https://app/{tenant}", ""},
	} {
		sender := func(name, keys string) string {
			text := "sender {\n name " + name + "\n path /hooks/" + name + "/*\n " + keys + "\n signature header X-Sig\n delivery_id json id\n"
			if strings.Contains(keys, "{tenant}") {
				text += " tenant {path.2}\n"
			}
			return text + "}\n"
		}
		site := "{\nverify_webhooks /hooks/* {\n" + sender("main", c.main) + sender("shop", c.shop) + "reverse_proxy app:3000\n}\nrespond 404\n}\n"
		warnings, err := advised(t, "a.example.com "+site+"b.example.com "+site)
		warnings = slices.DeleteFunc(warnings, func(w string) bool {
			return !strings.HasPrefix(w, "a tenant of one handler may sign as another tenant")
		})
		if err != nil || len(warnings) > 1 || (len(warnings) == 1) != (c.warned != "") || len(warnings) > 0 && !holdsInOrder(warnings[0], "a tenant … name=shop other=main "+c.warned) {
			t.Errorf("%s, %s: %v, %q, want %q", c.main, c.shop, err, warnings, c.warned)
		}
	}
}

// TestWhatAReloadForgetsIsWarnedOf: the second configuration is provisioned while
// the first is in force, as in a reload.
func TestWhatAReloadForgetsIsWarnedOf(t *testing.T) {
	const otherStore, otherName, otherwise = "another store than before the reload", "a handler has another name than before the reload", "a handler identifies deliveries by something else than before the reload"
	file := filepath.ToSlash(filepath.Join(t.TempDir(), "dedupe.db"))
	bolt := func(path string) string { return `{"store":{"store":"bolt","path":"` + path + `"}}` }
	stripe := func(more string) string { return `{"provider":"stripe","secret":["whsec_a"]` + more + `}` }
	github := func(more string) string {
		return `{"provider":"github","secret":["a-long-secret-of-a-test"]` + more + `}`
	}
	for name, c := range map[string]struct {
		app, handler       string
		newApp, newHandler string
		want               []string
	}{
		"nothing":              {"", stripe(""), "", stripe(""), nil},
		"a larger store":       {"", stripe(""), `{"store":{"store":"memory","max_entries":9}}`, stripe(""), nil},
		"another kind":         {"", stripe(""), bolt(file), stripe(""), []string{otherStore + " … before=memory now=bolt " + file}},
		"another file":         {bolt(file), stripe(""), bolt(file + "2"), stripe(""), []string{otherStore + " … before=bolt " + file + " now=bolt " + file + "2"}},
		"a name":               {"", stripe(""), "", stripe(`,"name":"billing"`), []string{otherName + " … before=stripe, by default now=billing"}},
		"the default's name":   {"", stripe(""), "", stripe(`,"name":"stripe"`), []string{otherName + " … before=stripe, by default now=stripe"}},
		"another name":         {"", stripe(`,"name":"a"`), "", stripe(`,"name":"b"`), []string{otherName + " … before=a now=b"}},
		"no name":              {"", stripe(`,"name":"a"`), "", stripe(""), []string{otherName + " … before=a now=stripe, by default"}},
		"both":                 {"", stripe(`,"name":"a"`), bolt(file), stripe(`,"name":"b"`), []string{otherStore, otherName}},
		"methods":              {"", github(""), "", github(`,"methods":["POST","PUT"]`), []string{otherwise + " … name=github, by default"}},
		"an event":             {"", github(""), "", github(`,"require_header":[{"name":"X-GitHub-Event","values":["push"]}]`), []string{otherwise}},
		"a dedupe key":         {"", github(`,"name":"a"`), "", github(`,"name":"a","dedupe":{"key":"content"}`), []string{otherwise + " … name=a"}},
		"a window":             {"", github(""), "", github(`,"dedupe":{"window":"1h"}`), nil},
		"a name and methods":   {"", github(""), "", github(`,"name":"a","methods":["POST","PUT"]`), []string{otherName}},
		"another key and name": {"", stripe(`,"name":"a"`), "", strings.Replace(stripe(`,"name":"b"`), "whsec_a", "whsec_b", 1), nil},
		"another sender":       {"", stripe(""), "", `{"provider":"github","secret":["whsec_a"]}`, nil},
		"nothing remembered":   {"", stripe(`,"name":"a","dedupe":{"off":true}`), "", stripe(`,"name":"b"`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			before := mustProvision(t, c.app, c.handler)
			before.start(t)
			renewed := mustProvision(t, c.newApp, c.newHandler)
			renewed.logs.TakeAll()
			renewed.start(t)
			got := warned(renewed.logs)
			if len(got) != len(c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			for i, want := range c.want {
				if !holdsInOrder(got[i], want) {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
}

// TestAPortThatCountsSinceAReloadIsWarnedOf: it identifies deliveries on sites for any host
// if a path also leads to a handler of the same provider on another such site, at another port.
func TestAPortThatCountsSinceAReloadIsWarnedOf(t *testing.T) {
	site := func(address, more string) string {
		return address + " {\nverify_webhook /hooks/github github a-long-secret-of-a-test {\n" + more + "\n}\nreverse_proxy app:3000\n}\n"
	}
	for name, c := range map[string]struct {
		before, after string
		warned        bool
	}{
		"another port":             {site("http://:8080", ""), site("http://:8080", "") + site("http://:8081", ""), true},
		"beside one with a name":   {site("http://:8080", ""), site("http://:8080", "") + site("http://:8081", "") + site("http://:8082", "name a"), true},
		"behind one with a name":   {site("http://:8080", ""), site("http://:8079", "name a") + site("http://:8080", "") + site("http://:8081", ""), true},
		"one of two keys is gone":  {site("http://:8080", "") + site("http://a.example:8080", "dedupe {\nkey content\n}"), site("http://:8080", ""), false},
		"one of two names is gone": {site("http://:8080", "name a") + site("http://:8081", "name b"), site("http://:8080", "name a"), false},
		"a port less":              {site("http://:8080", "") + site("http://:8081", ""), site("http://:8080", ""), true},
		"nothing":                  {site("http://:8080", "") + site("http://:8081", ""), site("http://:8080", "") + site("http://:8081", ""), false},
		"a listed host":            {site("http://:8080", ""), site("http://:8080", "") + site("http://a.example:8081", ""), false},
		"a path of its own":        {site("http://:8080", ""), site("http://:8080", "") + strings.Replace(site("http://:8081", ""), "/hooks/github", "/hooks/b", 1), false},
		"another port, by name":    {site("http://:8080", "name a"), site("http://:8080", "name a") + site("http://:8081", "name a"), false},
	} {
		t.Run(name, func(t *testing.T) {
			apps := make([]*App, 2)
			for i, text := range []string{c.before, c.after} {
				adapted, err := adapt("Caddyfile", text)
				if err != nil {
					t.Fatal(err)
				}
				apps[i], _ = appOf(t, adapted)
			}
			if findings := apps[1].forgets(apps[0]); len(findings) > 0 != c.warned || c.warned && !strings.HasPrefix(findings[0].Message, "a handler identifies deliveries by something else") {
				t.Errorf("found %v, want a warning: %t", findings, c.warned)
			}
		})
	}
}

// TestDocumentedSecretsAreWarnedOf: in a Caddyfile, a variable and sign_upstream, also
// without the usual prefix. Those in files cause a warning of their own.
func TestDocumentedSecretsAreWarnedOf(t *testing.T) {
	t.Setenv("TEST_DOCUMENTED", "hP7wM3xD9qS5tK1v")
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("whsec_stripe-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for sender, want := range map[string]bool{
		"github hP7wM3xD9qS5tK1v":                                  true,
		"github {env.TEST_DOCUMENTED}":                             true,
		"github n9Wd4kTq2Zx7 hP7wM3xD9qS5tK1v":                     true,
		"github the-secret-that-github-has":                        true,
		"stripe whsec_the-first-secret":                            true,
		"stripe T6zB2cR9nJ4hY8kV1sL5":                              true,
		"github n9Wd4kTq2Zx7 {\nsign_upstream aK3vX9mQ7dT2sW5p\n}": true,
		"github n9Wd4kTq2Zx7":                                      false,
		"stripe {file." + file + "}":                               false,
	} {
		warnings, err := advised(t, "hooks.example.com {\nverify_webhooks /hooks/* {\nsender "+sender+"\nreverse_proxy app:3000\n}\nrespond 404\n}")
		got := slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, "documentation prints") })
		if err != nil || got != want {
			t.Errorf("%s: %v, %q, want a warning: %t", sender, err, warnings, want)
		}
		if text := strings.Join(warnings, "\n"); strings.Contains(text, "hP7w") || strings.Contains(text, "T6zB") {
			t.Errorf("%s: the warning repeats it: %s", sender, text)
		}
	}
}

// TestDocumentedFormsStartWithoutAWarning takes the Caddyfiles that people paste
// first. Stores are left out: they say nothing about where handlers are placed.
// Caddyfile.example has one, of its secrets.
func TestDocumentedFormsStartWithoutAWarning(t *testing.T) {
	fence := regexp.MustCompile("(?s)```caddyfile\n(.*?)```")
	store := regexp.MustCompile(`(?s)\tverify_webhook \{\n\t\tstore .*?\n\t\}\n`)
	variable := regexp.MustCompile(`\{env\.(\w+)\}`)
	var caddyfiles []string
	for _, page := range []string{"../README.md", "../docs/getting-started.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
			caddyfiles = append(caddyfiles, m[1])
		}
	}
	example, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	const printed = "these handlers have a secret that the gateway's documentation prints … openssl rand -base64 32 … names=[aryeo generic github stripe x_signature yapily]"
	if warnings, err := advised(t, string(example)); err != nil || len(warnings) != 1 || !holdsInOrder(warnings[0], printed) {
		t.Errorf("%v, %q, want only that its secrets are printed", err, warnings)
	}
	if len(caddyfiles) < 3 {
		t.Fatalf("only %d Caddyfiles found", len(caddyfiles))
	}
	for _, caddyfile := range caddyfiles {
		for _, m := range variable.FindAllStringSubmatch(caddyfile, -1) {
			sum := sha256.Sum256([]byte(m[1]))
			t.Setenv(m[1], "whsec_"+base64.StdEncoding.EncodeToString(sum[:24]))
		}
		if warnings, err := advised(t, store.ReplaceAllString(caddyfile, "")); err != nil || len(warnings) > 0 {
			t.Errorf("%v\n%s\nof\n%s", err, strings.Join(warnings, "\n"), caddyfile)
		}
	}
}

// TestSlotsThatTouchAreWarnedOf in a message of the operator's own, with or without a
// provider, and not in one of the catalogue.
func TestSlotsThatTouchAreWarnedOf(t *testing.T) {
	const key, own = "7c0e91b4d2f85a36e7d41c9b08f26a53", "no text of the message separates these two slots … name="
	for sender, want := range map[string]string{
		"sender {\n name acme\n secret KEY\n signature header X-Sig\n message {header:X-Time}{body}\n dedupe {\n key content\n }\n }":                           own + "acme first={header:X-Time} second={body}",
		"sender github KEY {\n message {query:n}{body}\n }":                                                                                                     own + "github first={query:n} second={body}",
		"sender {\n name acme\n secret KEY\n signature header X-Sig\n message {header:X-Time}.{body}\n dedupe {\n key content\n }\n }":                          "",
		"sender {\n name acme\n secret KEY\n signature header X-Sig\n timestamp header X-Time\n message {timestamp}{body}\n dedupe {\n key content\n }\n }":     "",
		"sender {\n name acme\n secret KEY\n signature header X-Sig\n timestamp header X-Time\n message {header:X-Time}{body}\n dedupe {\n key content\n }\n }": "",
		"sender quicknode KEY": "",
		"sender twitch KEY":    "",
	} {
		warnings, err := advised(t, strings.ReplaceAll("hooks.example.com, www.example.com:8443 {\n verify_webhooks /hooks/* {\n"+sender+"\n reverse_proxy app:3000\n }\n respond 404\n }", "KEY", key))
		warnings = slices.DeleteFunc(warnings, func(w string) bool { return !strings.HasPrefix(w, "no text of the message") })
		if err != nil || len(warnings) > 1 || (len(warnings) > 0) != (want != "") || want != "" && !holdsInOrder(warnings[0], want) {
			t.Errorf("%s: %v, %q, want %q", sender, err, warnings, want)
		}
	}
}
