package integration

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	caddycore "github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// documentedOptions reads the tables of configuration.md: by section, each
// option with its default.
func documentedOptions(t testing.TB) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	bySection, section, inOptions := make(map[string]map[string]string), "", false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = title
		}
		inOptions = strings.HasPrefix(line, "|") && (inOptions || strings.HasPrefix(line, "| option |"))
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if !inOptions || len(cells) != 5 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		word := strings.Fields(strings.Trim(cells[1], " `"))[0]
		if bySection[section] == nil {
			bySection[section] = make(map[string]string)
		}
		if _, twice := bySection[section][word]; twice {
			t.Errorf("configuration.md: %s is listed twice under %s", word, section)
		}
		bySection[section][word] = strings.TrimSpace(cells[3])
	}
	return bySection
}

// knownOptions returns the options that a block accepts, from the error for an
// unknown one.
func knownOptions(t testing.TB, before, after string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(path, []byte(before+"\nqqqqqqqq\n"+after), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := caddy(t, filepath.Dir(path), nil, "adapt", "--adapter", "caddyfile", "--config", path)
	m := regexp.MustCompile(`known are ([a-z_<>, ]+), at `).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no list of options in: %s", lastLines(out, 3))
	}
	var all []string
	for _, part := range strings.Split(m[1], ", ") {
		if f := strings.Fields(part); len(f) > 0 {
			all = append(all, f[0])
		}
	}
	return all
}

// TestConfigurationReference: configuration.md has exactly the program's options.
func TestConfigurationReference(t *testing.T) {
	t.Parallel()
	tables := documentedOptions(t)
	const handler, store = "http://:8080 {\nverify_webhook github a-secret {", "{\nverify_webhook {\nstore "
	for _, c := range []struct {
		sections      []string
		before, after string
	}{
		{[]string{"Who", "The scheme", "Limits and answers"}, handler, "}\n}"},
		{[]string{"dedupe"}, handler + "\ndedupe {", "}\n}\n}"},
		{[]string{"Global"}, "{\nverify_webhook {", "}\n}"},
		{[]string{"store memory"}, store + "memory {", "}\n}\n}"},
		{[]string{"store bolt"}, store + "bolt {", "}\n}\n}"},
		{[]string{"store redis"}, store + "redis {", "}\n}\n}"},
	} {
		known := knownOptions(t, c.before, c.after)
		documented := make(map[string]string)
		for _, s := range c.sections {
			for word, def := range tables[s] {
				documented[word] = def
			}
		}
		for _, word := range known {
			if word == "dedupe" { // has a section
				continue
			}
			if _, ok := documented[word]; !ok {
				t.Errorf("configuration.md: %v: %s is missing", c.sections, word)
			}
		}
		for word, def := range documented {
			if def == "" {
				t.Errorf("configuration.md: %v: %s: no default", c.sections, word)
			}
			if !slices.Contains(known, word) {
				t.Errorf("configuration.md: %v: the program has no %s, but %v", c.sections, word, known)
			}
		}
	}
}

// TestDocumentedDefaults compares defaults with those of the code.
func TestDocumentedDefaults(t *testing.T) {
	t.Parallel()
	tables := documentedOptions(t)
	says := func(section, option, want string) {
		t.Helper()
		if got := tables[section][option]; !strings.Contains(got, "`"+want+"`") {
			t.Errorf("configuration.md: %s: default %q, want %s", option, got, want)
		}
	}
	base, err := caddycore.ProvisionContext(&caddycore.Config{Admin: &caddycore.AdminConfig{Disabled: true}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddycore.NewContext(base) // with a storage
	defer cancel()
	app := new(caddymodule.App)
	if err := app.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		section, option, words string
		same                   bool
	}{
		{"Global", "max_buffered", "256MiB", *app.MaxBuffered == 256<<20},
		{"store memory", "max_entries", "131072", dedupe.DefaultMaxEntries == 131072},
		{"store bolt", "max_entries", "131072", dedupe.DefaultMaxEntries == 131072},
		{"The scheme", "tolerance", "5m", verifier.DefaultTolerance == 5*time.Minute},
		{"dedupe", "window", "7d", dedupe.DefaultTTL == 7*24*time.Hour},
	} {
		says(c.section, c.option, c.words)
		if !c.same {
			t.Errorf("%s: the code's default is no longer %s", c.option, c.words)
		}
	}
	for _, c := range []struct{ file, section, option, code, value string }{
		{"handler.go", "Limits and answers", "max_body", `defaultMaxBody += 1 << 20`, "1MiB"},
		{"handler.go", "Limits and answers", "body_timeout", `defaultBodyTimeout += caddy\.Duration\(10 \* time\.Second\)`, "10s"},
		{"handler.go", "Limits and answers", "upstream_timeout", `defaultUpstreamTimeout += caddy\.Duration\(60 \* time\.Second\)`, "60s"},
		{"dedupe.go", "dedupe", "wait", `defaultWait += 10 \* time\.Second`, "10s"},
	} {
		says(c.section, c.option, c.value)
		source, err := os.ReadFile(filepath.Join("..", "caddymodule", c.file))
		if err != nil || !regexp.MustCompile(c.code).Match(source) {
			t.Errorf("%s: the code says no longer %s (%v): is %s still its default?", c.option, c.code, err, c.value)
		}
	}

	g := start(t, setup{site: "verify_webhook {\nname plain\nsecret {env.GENERIC_KEY}\nsignature header X-Webhook-Signature\ndedupe {\nkey content\n}\n}\nreverse_proxy APP"})
	body := bytes.Repeat([]byte("x"), 1<<20)
	whole := generic.deliver(t, genericKey, time.Now(), body)
	whole.path = "/"
	wantForwarded(t, "max_body", g.once(t, whole))
	wantDuplicate(t, "duplicate_response", g.once(t, whole))
	for what, want := range map[string]struct {
		message
		status int
	}{
		"methods":       {message{path: "/", method: "PUT"}, http.StatusMethodNotAllowed},
		"reject_status": {message{path: "/", body: []byte("{}")}, http.StatusUnauthorized},
	} {
		if status := g.status(t, want.message); status != want.status {
			t.Errorf("%s: %d, want %d", what, status, want.status)
		}
	}
	announced := g.dial(t) // only announced: the response does not wait for the body
	announced.head("POST", "/", length(1<<20+1))
	if a := announced.answer(); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("max_body and a byte: %d, want 413", a.status)
	}
	says("Limits and answers", "methods", "POST")
	says("Limits and answers", "reject_status", "401")
	says("dedupe", "duplicate_response", "200")
	says("The scheme", "algorithm", "hmac-sha256")
	says("The scheme", "secret_encoding", "utf8")
	says("The scheme", "signature", "hex")
	says("The scheme", "message", "{body}")
}
