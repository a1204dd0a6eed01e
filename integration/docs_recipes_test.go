package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestRecipes: a genuine delivery, with each type that its sender uses, reaches each tool
// of docs/recipes.md where the tool listens. The tools read a body by its type, which no
// sender signs: whoever captured the delivery cannot have it read as another one, nor make
// it a duplicate of that. TestDocumentedCaddyfilesHold attacks the same Caddyfiles.
func TestRecipes(t *testing.T) {
	t.Parallel()
	bitbucket := github
	bitbucket.name = "bitbucket"
	type want struct {
		recipe          int
		sender          sender
		path, at, token string
		types           []string // as the sender writes them
	}
	var (
		bare        = []string{"application/json"}
		withCharset = []string{"application/json; charset=utf-8", "application/json"}
	)
	wants := []want{
		{0, github, "/webhook/github", "/webhook/github", "", bare}, // n8n
		{0, stripe, "/webhook/stripe", "/webhook/stripe", "", withCharset},
		{1, github, "/hooks/github", "/hooks/github", "", bare}, // Argo Events
		{1, stripe, "/hooks/stripe", "/hooks/stripe", "", withCharset},
		{2, github, "/hooks/github", "/hooks/github", "", bare},    // Tekton
		{3, github, "/hooks/github", "/github-webhook/", "", bare}, // Jenkins
		{3, bitbucket, "/hooks/bitbucket", "/generic-webhook-trigger/invoke", "JENKINS_TOKEN", withCharset},
	}
	var texts []string
	for _, b := range codeBlocks(t) {
		if strings.HasPrefix(b.place, "docs/recipes.md:") && b.language == "caddyfile" {
			texts = append(texts, attackable(b.text))
		}
	}
	if len(texts) != 4 {
		t.Fatalf("%d Caddyfiles, want 4", len(texts))
	}
	for _, w := range wants {
		t.Run(w.path+" to "+w.at, func(t *testing.T) {
			t.Parallel()
			env := dummyEnv(texts[w.recipe])
			value := func(name string) string {
				for _, e := range env {
					if v, ok := strings.CutPrefix(e, name+"="); ok {
						return v
					}
				}
				return ""
			}
			g := start(t, setup{whole: texts[w.recipe], env: env})
			send := func(m message) (a answer, got []arrival, target string) {
				id := newCase()
				seen, target := id, w.at+"?case="+id
				if w.at != w.path { // the rewrites drop the query
					seen, target = "", w.at
				}
				before := len(g.app.got(seen))
				a = g.do(t, g.h1, g.request(t, id, m))
				return a, g.app.got(seen)[before:], target
			}
			refused := func(what string, m message) {
				t.Helper()
				a, got, _ := send(m)
				if a.status != http.StatusUnauthorized && a.status != http.StatusServiceUnavailable || len(got) != 0 { // the sender's reject_status
					t.Errorf("%s: answered %d, and reached the tool %d times", what, a.status, len(got))
				}
			}
			for _, kind := range w.types {
				m := w.sender.deliver(t, value(strings.ToUpper(w.sender.name)+"_SECRET"), time.Now(), fresh(w.sender.body))
				if w.sender.name == bitbucket.name {
					m.header.Set("X-Hub-Signature", m.header.Get("X-Hub-Signature-256"))
				}
				m.path = w.path
				for _, other := range []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "text/plain", ""} {
					captured := m.clone()
					captured.header.Set("Content-Type", other)
					refused("as "+other, captured)
				}
				m.header.Set("Content-Type", kind)
				a, got, target := send(m)
				wantForwarded(t, "genuine, "+kind, a)
				if len(got) != 1 || got[0].Target != target || got[0].Header.Get("token") != value(w.token) {
					t.Errorf("%s: arrived as %+v, want %s", kind, got, target)
				}
				for name := range m.header {
					if strings.Contains(strings.ToLower(name), "signature") {
						m.header.Set(name, strings.Replace(m.header.Get(name), "=", "=0", 1))
					}
				}
				refused("forged", m)
			}
		})
	}
}
