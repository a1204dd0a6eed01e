package verifier

import (
	"strings"
	"testing"
)

// TestQuotedPairsAreNoMistake: the values of key="value" pairs may be in quotes, so a
// renamed header is the only mistake.
func TestQuotedPairsAreNoMistake(t *testing.T) {
	e, err := Explain(t.Context(), Case{
		Scheme:  Scheme{Signature: &Signature{Header: StringList{"X-Signature"}, Syntax: "kv", Key: StringList{"signature"}}},
		Keys:    []Key{{Text: explainSecret}},
		Request: post("X-Acme-Signature", `keyid="1", signature="`+hex256(explainSecret, explainBody)+`"`),
		Body:    []byte(explainBody),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(e.Hint, "signature header X-Acme-Signature kv signature") || strings.Contains(e.Hint, "quotes") {
		t.Errorf("hint %q", e.Hint)
	}
}
