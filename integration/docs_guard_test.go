package integration

import (
	"net/http"
	"strings"
	"testing"
)

// TestDocumentedGuardAgainstStrangers runs the block of dedupe.md that refuses others than
// the sender's addresses: an inbox stores nothing of theirs, however they write the path.
func TestDocumentedGuardAgainstStrangers(t *testing.T) {
	t.Parallel()
	site := ""
	for _, b := range codeBlocks(t) {
		if b.language == "caddyfile" && strings.HasPrefix(b.place, "docs/dedupe.md") && strings.Contains(b.text, "@strangers") {
			site = strings.TrimSuffix(strings.TrimPrefix(b.text, "hooks.example.com {\n"), "}\n")
		}
	}
	if site == "" {
		t.Fatal("dedupe.md has no such block")
	}
	const path = "/hooks/github"
	site = strings.NewReplacer("app:3000", "127.0.0.1:1", "{env.GITHUB_SECRET}", "{env.GITHUB_KEY}", "require_header X-GitHub-Event push", "inbox first").Replace(site)
	for addresses, want := range map[string]string{"192.30.252.0/22": "", "127.0.0.0/8": "true"} {
		g := startInbox(t, setup{site: strings.Replace(site, "192.30.252.0/22", addresses, 1)})
		for _, path := range []string{path, "/HOOKS/GitHub", "/hooks/g%69thub", "/hooks//github", "/hooks/./github", "/hooks/github/"} {
			m := github.message(t)
			m.path = path
			a, _ := g.send(t, "HTTP/1.1", m)
			if stored := a.header.Get("Webhook-Stored"); stored != "" && stored != want {
				t.Errorf("%s: a stranger's is answered %d, and stored", path, a.status)
			} else if path == "/hooks/github" && stored != want {
				t.Errorf("the sender's is answered %d, stored %q", a.status, stored)
			} else if want == "" && path == "/hooks/github" && a.status != http.StatusForbidden {
				t.Errorf("a stranger's is answered %d", a.status)
			}
		}
	}
}
