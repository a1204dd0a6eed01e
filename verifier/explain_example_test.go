package verifier_test

import (
	"context"
	"fmt"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A saved delivery does not verify: an editor put a line break at its end. The
// signature is openssl's, over {"n":0}.
func ExampleExplain() {
	e, err := verifier.Explain(context.Background(), verifier.Case{
		Scheme: verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}},
		Keys:   []verifier.Key{{Text: "topsecret"}},
		Request: &verifier.Request{Method: "POST", Header: map[string][]string{
			"X-Signature": {"099751b30562e19eb3fd13f10e0751d4aa5c145225b5095155da194d17e77bee"},
		}},
		Body: []byte("{\"n\":0}\n"),
		Now:  time.Now(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Reason)
	fmt.Println(e.Hint)
	// Output:
	// signature_mismatch
	// the sender signed the body without the line break at its end: something added it (an editor, echo, a proxy); verify the raw bytes, before anything parses or saves them
}
