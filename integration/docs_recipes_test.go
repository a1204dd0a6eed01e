package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestRecipes: a genuine delivery reaches each tool of docs/recipes.md where the tool
// listens. TestDocumentedCaddyfilesHold attacks
// the same Caddyfiles.
func TestRecipes(t *testing.T) {
	t.Parallel()
	type want struct{ path, at, token string }
	wants := []want{
		{"/webhook/github", "/webhook/github", ""}, // n8n
		{"/hooks/github", "/hooks/github", ""},     // Argo Events
		{"/hooks/github", "/hooks/github", ""},     // Tekton
		{"/hooks/github", "/github-webhook/", ""},  // Jenkins
		{"/hooks/bitbucket", "/generic-webhook-trigger/invoke", "JENKINS_TOKEN"},
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
	texts = append(texts, texts[3]) // of Jenkins, by its other route
	for i, w := range wants {
		t.Run(w.path+" to "+w.at, func(t *testing.T) {
			t.Parallel()
			env := dummyEnv(texts[i])
			value := func(name string) string {
				for _, e := range env {
					if v, ok := strings.CutPrefix(e, name+"="); ok {
						return v
					}
				}
				return ""
			}
			g := start(t, setup{whole: texts[i], env: env})
			key := "GITHUB_SECRET"
			if w.token != "" {
				key = "BITBUCKET_SECRET"
			}
			m := github.deliver(t, value(key), time.Now(), fresh(jsonBody))
			m.header.Set("X-Hub-Signature", m.header.Get("X-Hub-Signature-256")) // Bitbucket's header
			m.path = w.path
			id := newCase()
			wantForwarded(t, "genuine", g.do(t, g.h1, g.request(t, id, m)))
			got, target := g.app.got(id), w.at+"?case="+id
			if w.at != w.path { // the rewrites drop the query
				got, target = g.app.got(""), w.at
			}
			if len(got) != 1 || got[0].Target != target || got[0].Header.Get("token") != value(w.token) {
				t.Errorf("arrived as %+v, want %s", got, target)
			}
			m.header.Set("X-Hub-Signature", "sha256="+strings.Repeat("0", 64))
			m.header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
			if status := g.status(t, m); status != http.StatusUnauthorized && status != http.StatusServiceUnavailable { // the sender's reject_status
				t.Errorf("forged: %d", status)
			}
		})
	}
}
