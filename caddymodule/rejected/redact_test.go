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

// TestKeysInJSONEscapes: a JSON text that holds a key is redacted as serializers write it.
func TestKeysInJSONEscapes(t *testing.T) {
	const secret = `q8ZrTy/3mHd+Lk"9\w`
	v, err := verifier.New(verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}}, []verifier.Key{{Text: secret}})
	if err != nil {
		t.Fatal(err)
	}
	hide := Hide([]*keys.Snapshot{{Verifier: v, Keys: []verifier.Key{{Text: secret}}}})
	for name, text := range map[string]string{
		"PHP":           `{"secret":"q8ZrTy\/3mHd+Lk\"9\\w"}`,
		".NET":          `{"secret":"q8ZrTy/3mHd\u002BLk\u00229\\w"}`,
		"each":          `\u0071\u0038\u005A\u0072\u0054\u0079\u002f\u0033\u006d\u0048\u0064\u002b\u004c\u006b\u0022\u0039\u005c\u0077`,
		"JSON in JSON":  `{"text":"{\"secret\":\"q8ZrTy\\\/3mHd+Lk\\\"9\\\\w\"}"}`,
		"behind others": `\n\t\r\q\u00zz\\` + `q8ZrTy\/3mHd+Lk\"9\\w` + `\`,
	} {
		if got := hide(text); got != redacted {
			t.Errorf("%s: %s is shown as %s", name, text, got)
		}
	}
	const harmless = `{"path":"\/hooks\/github","text":"\u00fc\n\\"}`
	if got := hide(harmless); got != harmless {
		t.Errorf("%s is shown as %s", harmless, got)
	}
}
