package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestDocumentedHandleErrors runs the blocks of handle-errors.md: a refusal keeps its
// status and the headers that senders act on, and no failure becomes a 2xx.
func TestDocumentedHandleErrors(t *testing.T) {
	t.Parallel()
	n := 0
	for _, b := range codeBlocks(t) {
		if b.language != "caddyfile" || !strings.HasPrefix(b.place, "docs/handle-errors.md") {
			continue
		}
		n++
		site := strings.TrimSuffix(strings.TrimPrefix(b.text, "hooks.example.com {\n"), "}\n")
		site = strings.NewReplacer("app:3000", "127.0.0.1:1", "standby:3000", "127.0.0.1:1", "{env.GITHUB_SECRET}", "{file.DIR/key}").Replace(site)
		g := start(t, setup{site: site})
		const path = "/hooks/github"
		signed := github.message(t)
		signed.path = path
		for what, c := range map[string]struct {
			m       message
			status  int
			headers string
		}{
			"no key yet":   {signed, http.StatusServiceUnavailable, "Retry-After"},
			"wrong method": {message{path: path, method: http.MethodPut}, http.StatusMethodNotAllowed, "Allow"},
		} {
			a, _ := g.send(t, "HTTP/1.1", c.m)
			if a.status != c.status || a.header.Get(c.headers) == "" || !strings.HasPrefix(a.body, strconv.Itoa(c.status)) {
				t.Errorf("%s: %s: answered %d %q, %s %q; want %d in words, and the header", b.place, what, a.status, a.body, c.headers, a.header.Get(c.headers), c.status)
			}
		}
		if err := os.WriteFile(filepath.Join(g.dir, "key"), []byte(githubKey), 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the key is there, the app is not: 502", func() bool {
			m := github.message(t)
			m.path = path
			return g.status(t, m) == http.StatusBadGateway
		})
		if status := g.status(t, message{path: path, body: []byte("{}")}); status != http.StatusUnauthorized && status != http.StatusForbidden {
			t.Errorf("%s: unsigned: %d", b.place, status)
		}
	}
	if n == 0 {
		t.Error("handle-errors.md has no Caddyfile")
	}
}
