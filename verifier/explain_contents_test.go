package verifier

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

// TestContents: what the sender signed, where a guess shows it, beside what the scheme
// would have signed.
func TestContents(t *testing.T) {
	const body, none = `{"n":1}`, "(nil)"
	withSecret := bare(func(s *Scheme) { s.Algorithm, s.AllowWeak, s.Message = SHA256, true, StringList{"{secret}{body}"} })
	plain := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	mac := func(text string) string {
		h := hmac.New(sha256.New, []byte(explainSecret))
		h.Write([]byte(text))
		return hex.EncodeToString(h.Sum(nil))
	}
	stamped := bare(func(s *Scheme) {
		s.Message, s.Timestamp = StringList{"{timestamp}.{body}"}, &Timestamp{Header: StringList{"X-Time"}}
	})
	digested := bare(func(s *Scheme) {
		s.Message, s.Timestamp = StringList{"{timestamp}.{body|sha256|hex}"}, &Timestamp{Header: StringList{"X-Time"}}
	})
	for name, tc := range map[string]struct {
		scheme           Scheme
		signature, body  string
		expected, signed string // none: not known
	}{
		"genuine":               {bare(nil), mac(body), body, body, body},
		"a secret in a message": {withSecret, plain(explainSecret + body), body, "(redacted)" + body, "(redacted)" + body},
		"a line break added":    {bare(nil), mac(body), body + "\n", body + "\n", body},
		"an empty body signed":  {bare(nil), mac(""), body, body, ""},
		"another message":       {stamped, mac(body), body, explainNow + "." + body, body},
		"only a digest":         {digested, mac(explainNow + "." + plain(body)), body + "\n", body + "\n", body},
		"digests that differ":   {digested, mac(explainNow + plain(body)), body, explainNow + "." + plain(body), none},
		"unexplained":           {bare(nil), mac("else"), body, body, none},
		"without a timestamp":   {stamped, mac("else"), body, "." + body, none},
	} {
		req := post("X-Signature", tc.signature, "X-Time", explainNow)
		if name == "without a timestamp" {
			delete(req.Header, "X-Time")
		}
		e, err := Explain(t.Context(), Case{Scheme: tc.scheme, Keys: []Key{{Text: explainSecret}}, Request: req, Body: []byte(tc.body), Now: testNow, Contents: true})
		if err != nil {
			t.Fatal(err)
		}
		text := func(b []byte) string {
			if b == nil {
				return none
			}
			return string(b)
		}
		if e.Contents == nil || text(e.Contents.Expected) != tc.expected || text(e.Contents.Signed) != tc.signed {
			t.Errorf("%s: %q, want %q and %q; %s", name, e.Contents, tc.expected, tc.signed, e.Hint)
		}
	}
}

// TestContentsHoldNoSecret: none are shown where one would, and where nobody asks.
func TestContentsHoldNoSecret(t *testing.T) {
	for name, tc := range map[string]struct {
		scheme Scheme
		header string
		body   string
		unset  bool
	}{
		"a token":                   {explainToken, "Authorization", "{}", false},
		"a secret in the body":      {bare(nil), "X-Signature", `{"secret":"` + strings.ToUpper(explainSecret) + `"}`, false},
		"a param that is signed":    {explainParam, "X-Signature", "{}", false},
		"a case that does not ask":  {bare(nil), "X-Signature", "{}", true},
		"a signature that names it": {Scheme{Signature: &Signature{Header: StringList{"X-Signature"}, Syntax: "jws_detached"}}, "X-Signature", "{}", false},
	} {
		e, err := Explain(t.Context(), Case{Scheme: tc.scheme, Keys: []Key{{Text: explainSecret}}, Request: post(tc.header, strings.Repeat("ab", 32)), Body: []byte(tc.body), Now: testNow, Contents: !tc.unset})
		if err != nil {
			t.Fatal(name, err)
		}
		if e.Contents != nil {
			t.Errorf("%s: %q", name, e.Contents)
		}
	}
}
