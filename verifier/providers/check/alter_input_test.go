package check

import (
	"slices"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestInputAlterationsBite: what is done to Signature-Input is found by nobody who
// reads the signature alone; and each is done to a delivery that has it all.
func TestInputAlterationsBite(t *testing.T) {
	p, err := providers.Get("rfc9421")
	if err != nil {
		t.Fatal(err)
	}
	vec := p.Vectors[0]
	alone := *p
	alone.Scheme = token("Signature")
	judged := vec
	judged.Secret = vec.Headers["Signature"]
	judge, err := newTrial(&alone, &judged)
	if err != nil {
		t.Fatal(err)
	}
	a := newAlterer(p, &vec)
	tried := 0
	for _, alteration := range a.ofInput() {
		altered := judge.clone()
		if !alteration.apply(altered) {
			t.Errorf("%s: not done to %s", alteration.name, vec.Headers[signatureInput])
			continue
		}
		tried++
		if got := altered.run(); (got == providers.Genuine) == (alteration.name == "a label twice") {
			t.Errorf("%s: got %s", alteration.name, got)
		}
	}
	if tried < 9 {
		t.Errorf("%d alterations", tried)
	}
	if !a.signs(template.Method) || !a.signs(template.URL) || !slices.Contains(a.signedHeaders(), "Content-Digest") {
		t.Errorf("the alterations do not know all that is signed: %s", a.messages)
	}
}
