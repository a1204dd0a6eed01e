package providerpage

import (
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestRotation: the order of the steps depends on who makes the key, and what the file says
// of the sender replaces what the scheme alone allows.
func TestRotation(t *testing.T) {
	header := verifier.StringList{"X-Signature"}
	raw, kv := &verifier.Signature{Header: header}, &verifier.Signature{Header: header, Syntax: "kv"}
	const several, refused, bothKeys = "may have several signatures", "is refused. Remove the old one", "`secret {env.ACME_OLD_SECRET} {env.ACME_SECRET}`"
	for name, tc := range map[string]struct {
		key       providers.Key
		signature *verifier.Signature
		algorithm verifier.Algorithm
		want, not []string
	}{
		"chosen by you":      {providers.Key{Where: "Settings; you choose it"}, raw, "", []string{"You choose the secret: configure both (" + bothKeys, "before you change it at the sender. Remove the old one"}, []string{"create the new one", several}},
		"made by the sender": {providers.Key{Prefix: verifier.StringList{"whsec_"}}, raw, "", []string{"The sender makes the secret: create the new one there", bothKeys, refused}, []string{"you choose", several}},
		"unknown":            {providers.Key{}, raw, "", []string{"If you choose the secret, configure both (" + bothKeys, "If the sender makes it, create the new one there", refused}, []string{several}},
		"several signatures": {providers.Key{}, kv, "", []string{several}, nil},
		"as the file says":   {providers.Key{Rotation: "The old secret stays valid for 24 hours."}, kv, "", []string{"The old secret stays valid for 24 hours.\n"}, []string{several}},
		"a public key":       {providers.Key{}, raw, verifier.Ed25519, []string{"As soon as the sender names its new key, configure both (`public_key {env.ACME_OLD_PUBLIC_KEY} {env.ACME_PUBLIC_KEY}`"}, []string{"secret"}},
	} {
		text := strings.Join(rotation(&providers.Provider{ID: "acme", Key: tc.key, Scheme: verifier.Scheme{Signature: tc.signature, Algorithm: tc.algorithm}}), "\n")
		for _, want := range tc.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %s", name, want, text)
			}
		}
		for _, not := range tc.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: %q in %s", name, not, text)
			}
		}
	}
}
