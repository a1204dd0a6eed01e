package providerpage

import (
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestSearchPageHasEverySender: a row for each, with a category and a kind of signature
// to filter by.
func TestSearchPageHasEverySender(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	page, err := SearchPage(all)
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`<tr data-category="([a-z]+)" data-kind="([^"]+)"`).FindAllSubmatch(page, -1)
	if len(rows) != len(all) {
		t.Errorf("%d complete rows of %d senders", len(rows), len(all))
	}
	for _, p := range all {
		if link := `<a href="` + p.ID + `.md">`; strings.Count(string(page), link) != 1 {
			t.Errorf("%s: not one link to its page", p.ID)
		}
	}
}

// TestEverySignatureHasAKind: no algorithm is missing from the filter.
func TestEverySignatureHasAKind(t *testing.T) {
	for _, a := range verifier.Algorithms {
		if signatureKind(string(a)) == "" {
			t.Errorf("%s has none", a)
		}
	}
}

// TestSearchPageTrustsOnlyItself: nothing is loaded, and neither a script nor a style
// runs but the page's own; what a provider file says is text.
func TestSearchPageTrustsOnlyItself(t *testing.T) {
	p := example()
	p.Name = `<script>alert(1)</script>"'`
	page, err := SearchPage([]*providers.Provider{p})
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	policy := html.UnescapeString(regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(text)[1])
	for tag, directive := range map[string]string{"style": "style-src", "script": "script-src"} {
		_, rest, _ := strings.Cut(text, "<"+tag+">")
		own, _, _ := strings.Cut(rest, "</"+tag+">")
		if want := directive + " " + contentHash(own) + ";"; !strings.Contains(policy, want) {
			t.Errorf("the policy %s has no %s", policy, want)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none';") {
		t.Errorf("the policy %s allows more than it names", policy)
	}
	if strings.Count(text, "<script") != 1 || !strings.Contains(text, "&lt;script&gt;alert(1)") {
		t.Error("the name is markup")
	}
	if regexp.MustCompile(`(?:src|href)="(?:https?:)?//`).MatchString(text) {
		t.Error("it names another site")
	}
}
