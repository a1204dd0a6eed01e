package verifier

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestJWSHasOneForm: RFC 7515 §2 leaves padding away. Where the body is the token
// (Wix), one with padding would be another body: a copy that passes for new.
func TestJWSHasOneForm(t *testing.T) {
	s := jwt(func(s *Scheme) {
		s.Signature = &Signature{Body: true, Syntax: syntaxJWT}
		s.Claims, s.BodyUnsigned = nil, false
		s.Timestamp, s.DeliveryID = nil, nil
	})
	v := mustVerifier(t, s, Key{Text: testKey})
	text := token(hs256, `{"data":"x"}`)
	expect(t, v, post(), text, genuine)
	for _, other := range []string{"=", "==", "\n", " "} {
		expect(t, v, post(), text+other, MalformedSignature)
	}
	header, rest, _ := strings.Cut(text, ".")
	expect(t, v, post(), header+"=."+rest, MalformedSignature)
	for _, size := range []int{1, 2} { // a header that has padding of its own
		padded := base64.URLEncoding.EncodeToString([]byte(hs256 + strings.Repeat(" ", size)))
		_, claims, _ := strings.Cut(strings.TrimSuffix(text, text[strings.LastIndexByte(text, '.'):]), ".")
		content := padded + "." + claims
		expect(t, v, post(), content+"."+base64.RawURLEncoding.EncodeToString(mustHex(macOf(testKey, content))), MalformedSignature)
	}
}
