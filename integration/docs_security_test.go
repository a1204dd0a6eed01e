package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	namedTest  = regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
	testSource = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// TestSecurityNamesItsTests: the tests named in SECURITY.md exist in the named
// packages, and every class has one.
func TestSecurityNamesItsTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	byPackage := make(map[string][]string)
	tests := func(dir string) []string {
		if names, read := byPackage[dir]; read {
			return names
		}
		files, _ := filepath.Glob(filepath.Join("..", filepath.FromSlash(dir), "*_test.go"))
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range testSource.FindAllSubmatch(source, -1) {
				byPackage[dir] = append(byPackage[dir], string(m[1]))
			}
		}
		return byPackage[dir]
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || !strings.Contains(cells[2], "CVE-") && !strings.Contains(cells[2], "no CVE") {
			continue
		}
		rows++
		held := 0
		for part := range strings.SplitSeq(cells[4], ";") {
			dir, _, _ := strings.Cut(strings.TrimSpace(part), ":")
			for _, m := range namedTest.FindAllStringSubmatch(part, -1) {
				held++
				if !slices.Contains(tests(dir), m[1]) {
					t.Errorf("SECURITY.md: %s: package %q has no %s", strings.TrimSpace(cells[1]), dir, m[1])
				}
			}
		}
		if held == 0 {
			t.Errorf("SECURITY.md: %s: no test holds it", strings.TrimSpace(cells[1]))
		}
	}
	if rows < 10 {
		t.Errorf("SECURITY.md: %d classes, want ten or more", rows)
	}
}

// TestRequestsAreNeverExpanded: a request's content is text, wherever it is used or
// shown. Caddy's vars_regexp once expanded it again (CVE-2026-30852).
func TestRequestsAreNeverExpanded(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: `
		verify_webhook {
			name generic
			secret {env.GENERIC_KEY}
			signature header X-Webhook-Signature
			message "{header:X-Text}\n{body}"
			delivery_id json id
		}
		reverse_proxy APP {
			header_up X-Shown {http.verify_webhook.delivery_id}
		}`})
	for _, text := range []string{"{env.GENERIC_KEY}", "{file./etc/hostname}", "{http.verify_webhook.key}", "{body}", "{header:Host}"} {
		id := newCase()
		body := `{"id":"` + text + `","serial":"` + newID() + `"}`
		m := message{path: "/", body: []byte(body), header: http.Header{
			"X-Text":              {text},
			"X-Webhook-Signature": {hmacHex(genericKey, text+"\n"+body)},
		}}
		a := g.do(t, g.h1, g.request(t, id, m))
		got := g.app.got(id)
		wantTaken(t, text, a, got)
		if len(got) == 1 && (string(got[0].Body) != body || got[0].Header.Get("X-Shown") != text || got[0].Header.Get("X-Text") != text) {
			t.Errorf("%s: the app got %q, shown %q", text, got[0].Body, got[0].Header.Get("X-Shown"))
		}
	}
}
