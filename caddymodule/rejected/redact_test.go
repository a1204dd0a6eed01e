package rejected

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// TestPasswordOfPublicURL: the credentials in a signed URL are redacted too, in
// Authorization and in any text.
func TestPasswordOfPublicURL(t *testing.T) {
	scheme := verifier.Scheme{PublicURL: "https://hook:pass-9f31c0@hooks.example.com", Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}, Message: verifier.StringList{"{url}{body}"}}
	v, err := verifier.New(scheme, []verifier.Key{{Text: "a-secret-of-the-sender"}})
	if err != nil {
		t.Fatal(err)
	}
	hide := Hide([]*keys.Snapshot{{Verifier: v}})
	for _, text := range []string{"pass-9f31c0", "https://hook:pass-9f31c0@x", "Basic " + base64.StdEncoding.EncodeToString([]byte("hook:pass-9f31c0"))} {
		if got := hide(text); strings.Contains(got, text) {
			t.Errorf("%s is shown as %s", text, got)
		}
	}
}
