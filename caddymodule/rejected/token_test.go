package rejected

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestTokensAreNotShown: whatever a proxy makes of a token, in its header or in
// another, a rejection does not show it, for any provider with a token.
func TestTokensAreNotShown(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	shown, hinted := 0, 0
	for _, p := range all {
		if p.Scheme.Signature == nil || !p.Scheme.UsesToken() || len(p.Scheme.Signature.Header) == 0 {
			continue
		}
		scheme := p.Scheme
		if len(p.Vectors) > 0 {
			scheme.Params = p.Vectors[0].Params
		}
		for _, secret := range []string{"q7Zx", "kW3q-8Zx", "s3cr3t-7Hq9abX", strings.Repeat("pQ9-", 10)} {
			own := []verifier.Key{{Text: secret}}
			v, err := verifier.New(scheme, own)
			if err != nil {
				continue
			}
			h := Handler{Name: "acme", Provider: p.ID, Keys: &keys.Snapshot{Verifier: v, Keys: own}}
			for _, join := range []string{"", " ", ",", ", ", ";", " old, ", "=", ":"} {
				for _, name := range []string{scheme.Signature.Header[0], "X-Acme-Token", "X-Acme-Event", "X-" + secret} {
					var s Store
					r := refused(h)
					r.Header = map[string][]string{http.CanonicalHeaderKey(name): {scheme.Signature.Prefix + secret + join + scheme.Signature.Prefix + secret}}
					s.Add(r, 16)
					d, err := s.List("")[0].ShowAll(t.Context(), []Handler{h})
					text, _ := json.Marshal(d)
					if err != nil || strings.Contains(strings.ToLower(string(text)), strings.ToLower(secret)) {
						t.Errorf("%s, joined by %q in %s: %s, %v", p.ID, join, name, text, err)
					}
					if shown++; d.Hint != "" {
						hinted++
					}
				}
			}
		}
	}
	if shown < 1000 || hinted < 500 {
		t.Errorf("%d shown, %d with a hint", shown, hinted)
	}
}

// TestHintWithKeyIsHidden: should a hint hold a key of any handler, it is not shown. A
// word that is also a key remains.
func TestHintWithKeyIsHidden(t *testing.T) {
	hide := hiding([]string{"s3cr3t-7hq9abx", "signature", "signature-of-acme-9f31c0"})
	for hint, want := range map[string]string{
		`the token follows "s3cr3t-7Hq9abX, "`: redacted, "the signature in header X-Sig is in quotes": "the signature in header X-Sig is in quotes",
		`the token follows "signature-of-acme-9f31c0, "`: redacted,
	} {
		if got := hide.sentence(hint); got != want {
			t.Errorf("%q is shown as %q", hint, got)
		}
	}
}
