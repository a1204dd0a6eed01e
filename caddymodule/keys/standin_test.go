package keys

import (
	"encoding/base64"
	"encoding/hex"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// TestStandIns: no stand-in for a secret in a folder of keys is used without a word, as it
// is or encoded, and none that is used today is refused.
func TestStandIns(t *testing.T) {
	open := func(text string) (used, warned bool) {
		dir := t.TempDir()
		write(t, text, dir, "current")
		core, logs := observer.New(zap.WarnLevel)
		k, err := Open(Config{
			Rules:  mustCompile(verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}}),
			Secret: []Value{{Value: "{file." + dir + "}"}}, Logger: zap.New(core),
		})
		if err != nil {
			t.Fatal(err)
		}
		k.warnOfShort()
		k.warnOfDoubtful()
		return k.Current() != nil, logs.Len() > 0
	}
	spelled := func(text string) []string {
		b := []byte(text)
		return []string{
			text, "Bearer " + text, hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b),
			base64.StdEncoding.EncodeToString(append(b, '\n')), "whsec_" + base64.StdEncoding.EncodeToString(b),
		}
	}
	for _, text := range []string{ // what no renderer should leave
		"ServiceUnavailable", "<no value>", "null", "undefined", "Bad Gateway", "<html><body>503 Service Unavailable</body></html>", "no healthy upstream",
	} {
		for _, text := range spelled(text) {
			if _, warned := open(text); !warned {
				t.Errorf("%s: no warning", text)
			}
		}
	}
	for _, text := range []string{
		"please-change-me-now", "changeme-please-now", "REPLACE_ME_BEFORE_DEPLOY", "replace-with-real-secret", "put-your-key-here", "not-a-real-secret",
		"fill-me-in-later", "to_be_defined_soon", "webhook-placeholder-value", "Moved Permanently", "Temporary Redirect",
	} {
		for _, text := range spelled(text) {
			if used, warned := open(text); !used || !warned {
				t.Errorf("%s: used %t, warned %t", text, used, warned)
			}
		}
	}
	for _, text := range []string{"refill-member-anchor-maple", "exchange-metal-orbit-maple", "whiskey-hereditary-maple", "tomato-be-settled-anchor", "9f31c0a2d47be586", "notable-realm-anchor-maple"} {
		for _, text := range spelled(text) {
			if used, warned := open(text); !used || warned {
				t.Errorf("%s: used %t, warned %t", text, used, warned)
			}
		}
	}
}
