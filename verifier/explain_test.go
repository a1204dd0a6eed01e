package verifier

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"strings"
	"testing"
)

// The schemes of the tests, as in the catalogue.
var (
	explainGitHub = Scheme{Signature: &Signature{Header: StringList{"X-Hub-Signature-256"}, Prefix: "sha256="}}
	explainStripe = Scheme{Signature: &Signature{Header: StringList{"Stripe-Signature"}, Syntax: "kv", Key: StringList{"v1"}},
		Message: StringList{"{timestamp}.{body}"}, Timestamp: &Timestamp{KV: "t"}}
	explainStandard = Scheme{SecretEncoding: "base64", SecretPrefix: "whsec_",
		Signature: &Signature{Header: StringList{"webhook-signature"}, Syntax: "list", Encoding: "base64", Accept: map[string]Algorithm{"v1": HMACSHA256}},
		Message:   StringList{"{id}.{timestamp}.{body}"}, Timestamp: &Timestamp{Header: StringList{"webhook-timestamp"}},
		DeliveryID: &DeliveryID{Header: StringList{"webhook-id"}}}
	explainAryeo = Scheme{Signature: &Signature{Header: StringList{"Signature"}}}
	explainTwin  = Scheme{Signature: &Signature{Header: StringList{"webhook-signature", "webhook-rotation-signature"}}}
	explainSlack = Scheme{Signature: &Signature{Header: StringList{"X-Slack-Signature"}, Prefix: "v0="},
		Message: StringList{"v0:{timestamp}:{body}"}, Timestamp: &Timestamp{Header: StringList{"X-Slack-Request-Timestamp"}}}
	explainSquare = Scheme{Signature: &Signature{Header: StringList{"x-square-hmacsha256-signature"}, Encoding: "base64"}, Message: StringList{"{url}{body}"}}
	explainTwilio = Scheme{Algorithm: HMACSHA1, BodyUnsigned: true, Signature: &Signature{Header: StringList{"X-Twilio-Signature"}, Encoding: "base64"},
		Message: StringList{"{url}{form_sorted}"}}
	explainPacked = Scheme{BodyDecoded: true, Signature: &Signature{Header: StringList{"X-Hub-Signature-256"}, Prefix: "sha256="}}
	explainParam  = bare(func(s *Scheme) {
		s.Message, s.Params = StringList{"{param:webhook_id}|{body}"}, map[string]string{"webhook_id": "hook-1"}
	})
	explainPlaceholder = bare(func(s *Scheme) {
		s.Message, s.Params = StringList{"{param:webhook_id}|{body}"}, map[string]string{"webhook_id": "WEBHOOK_ID"}
	})
	explainInBody = Scheme{BodyUnsigned: true, Signature: &Signature{JSON: StringList{"sig.value"}},
		Message: StringList{"{json:sig.time}{json:sig.token}"}}
	explainToken   = Scheme{Algorithm: Token, BodyUnsigned: true, Signature: &Signature{Header: StringList{"Authorization"}, Prefix: "Bearer "}}
	explainBasic   = Scheme{Algorithm: Token, BodyUnsigned: true, Signature: &Signature{Header: StringList{"Authorization"}, Prefix: "Basic ", Encoding: "base64"}}
	explainEd25519 = Scheme{Algorithm: Ed25519, Signature: &Signature{Header: StringList{"X-Signature-Ed25519"}},
		Message: StringList{"{timestamp}{body}"}, Timestamp: &Timestamp{Header: StringList{"X-Signature-Timestamp"}}}
)

const (
	explainSecret = "s3cr3t-of-the-sender"
	explainBody   = `{"id":"evt_7","url":"https://shop.invalid/ä?a=1&b=<2>","list":[1,2.50,{}],"name":"Zoë \"Z\" 🐛"}`
	explainNow    = "1760000000"
)

// made signs content with the standard library's HMAC, independently of this package.
func made(h func() hash.Hash, key, content string) []byte {
	m := hmac.New(h, []byte(key))
	m.Write([]byte(content))
	return m.Sum(nil)
}

func hex256(key, content string) string { return hex.EncodeToString(made(sha256.New, key, content)) }
func b64of(sum []byte) string           { return base64.StdEncoding.EncodeToString(sum) }

func explain(t *testing.T, c Case) Explanation {
	t.Helper()
	if c.Now.IsZero() {
		c.Now = testNow
	}
	e, err := Explain(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// github signs as GitHub does.
func github(signed string) *Request {
	return post("X-Hub-Signature-256", "sha256="+hex256(explainSecret, signed))
}

// TestExplainPublicKeys makes some of the mistakes with public keys.
func TestExplainPublicKeys(t *testing.T) {
	public, private, _ := ed25519.GenerateKey(nil)
	curve, _ := ecdsa.GenerateKey(elliptic.P256(), nil)
	der, _ := x509.MarshalPKIXPublicKey(&curve.PublicKey)
	digest := sha256.Sum256([]byte(explainBody))
	asn1, _ := curve.Sign(nil, digest[:], crypto.SHA256)
	ed := func(content string) *Request {
		return post("X-Signature-Timestamp", explainNow, "X-Signature-Ed25519", hex.EncodeToString(ed25519.Sign(private, []byte(content))))
	}
	curves := bare(func(s *Scheme) { s.Algorithm = ECDSAP256SHA256Raw })
	inBase64 := ed("")
	inBase64.Header["X-Signature-Ed25519"] = []string{b64of(ed25519.Sign(private, []byte(explainNow+explainBody)))}
	for _, test := range []struct {
		mistake string
		scheme  Scheme
		key     []byte
		req     *Request
		body    string
		hint    string
	}{
		{"a line break after the body", explainEd25519, public, ed(explainNow + explainBody), explainBody + "\n", "without the line break"},
		{"the body alone is signed", explainEd25519, public, ed(explainBody), explainBody, `message "{body}"`},
		{"base64 for hex", explainEd25519, public, inBase64, explainBody, "written in base64"},
		{"DER for r and s", curves, der, post("X-Signature", hex.EncodeToString(asn1)), explainBody, "write: algorithm ecdsa-p256-sha256"},
		{"another body", explainEd25519, public, ed(explainNow + "{}"), explainBody, ""},
	} {
		e := explain(t, Case{Scheme: test.scheme, Keys: []Key{{Text: b64of(test.key), Kind: PublicKey}}, Request: test.req, Body: []byte(test.body)})
		if e.Genuine || !strings.Contains(e.Hint, test.hint) || test.hint == "" && e.Hint != "" {
			t.Errorf("%s: got %q, want %q", test.mistake, e.Hint, test.hint)
		}
	}
}

func TestExplainGenuineAndUnusable(t *testing.T) {
	if e := explain(t, Case{Scheme: explainGitHub, Keys: []Key{{Text: explainSecret}}, Request: github(explainBody), Body: []byte(explainBody)}); e != (Explanation{Genuine: true}) {
		t.Errorf("a genuine delivery: %+v", e)
	}
	_, err := Explain(t.Context(), Case{Scheme: Scheme{Algorithm: Ed25519, Signature: &Signature{Header: StringList{"Sig"}}}, Keys: []Key{{Text: explainSecret}}})
	if wrong, ok := errors.AsType[*KeyError](err); !ok || !strings.Contains(wrong.Problem, "public_key") {
		t.Errorf("a secret for a public key: %v", err)
	}
	if e := explain(t, Case{Scheme: explainGitHub, Keys: []Key{{Text: explainSecret}}}); e.Reason != MissingSignature {
		t.Errorf("no request at all: %+v", e)
	}
}
