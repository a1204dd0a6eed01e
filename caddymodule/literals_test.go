package caddymodule

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestNoProviderIsTakenForAPlaceholder: the slots of the scheme language, separators and
// prefixes are none.
func TestNoProviderIsTakenForAPlaceholder(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if err := new(Handler).checkLiterals(p); err != nil {
			t.Errorf("%s: %v", p.ID, err)
		}
	}
	for _, body := range []string{`{"ok":true}`, `<Response></Response>`, `{"a":{"b":"1.0"}}`, "100 %"} {
		h := &Handler{Dedupe: &Dedupe{DuplicateResponse: &DuplicateResponse{Body: body}}}
		if err := h.checkLiterals(nil); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestPublicURLFromAVariable: it is read when the configuration is loaded.
func TestPublicURLFromAVariable(t *testing.T) {
	t.Setenv("PUBLIC_TEST", "hooks.example.com")
	g, err := provision(t, "", acme(topsecret, `"message":"{url}{body}","public_url":"https://{env.PUBLIC_TEST}"`))
	if err != nil {
		t.Fatal(err)
	}
	if got := g.handlers[0].rules.Scheme().PublicURL; got != "https://hooks.example.com" {
		t.Errorf("public_url became %s", got)
	}
	for _, text := range []string{"https://{env.PUBLIC_TEST}", "https://{http.request.host}"} {
		_, err := adapt("Caddyfile", ":80 {\nverify_webhook standard_webhooks whsec_3vXrT0mQ8KpLz5YdWn2cBfJ7hGsA9eUo {\npublic_url "+text+"\n}\n}")
		if refused := strings.Contains(text, "http."); (err != nil) != refused || refused && !strings.Contains(err.Error(), "public_url: ") {
			t.Errorf("Caddyfile, %s: %v", text, err)
		}
	}
}

// TestOneFileForStoreAndInbox: the error names both options, not a process that does not
// exist.
func TestOneFileForStoreAndInbox(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir())
	config := func(store, inbox string) string {
		return `{"store":{"store":"bolt","path":"` + store + `"},"inbox":{"inbox":"bolt","path":"` + inbox + `"}}`
	}
	if _, err := provision(t, config(dir+"/a.db", dir+"/x/../a.db"), acme(topsecret)); err == nil || !strings.Contains(err.Error(), "store bolt and inbox bolt: path: both name the file "+filepath.FromSlash(dir+"/a.db")) {
		t.Errorf("one file: %v", err)
	}
	if _, err := provision(t, config(dir+"/a.db", dir+"/b.db"), acme(topsecret)); err != nil {
		t.Errorf("two files: %v", err)
	}
}
