package verifier

import (
	"strings"
	"testing"
)

// TestCertificateAddress: anyone who sends a request chooses the address. It must be
// on a host that every URL parser reads as one of the sender's.
func TestCertificateAddress(t *testing.T) {
	source := &Rules{scheme: Scheme{KeySource: &KeySource{CertificateHosts: []string{"sns.*.amazonaws.com", "api.paypal.com"}}}}
	for _, address := range []string{
		"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123.pem",
		"https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77",
	} {
		if !source.Publishes(address) {
			t.Errorf("%s is the sender's", address)
		}
	}
	for _, address := range []string{
		"",
		"http://api.paypal.com/x.pem",
		"https://api.paypal.com",
		"https://api.paypal.com.evil.example/x.pem",
		"https://evil.example/api.paypal.com/x.pem",
		"https://evil.example\\@api.paypal.com/x.pem",
		"https://evil.example#@api.paypal.com/x.pem",
		"https://evil.example?@api.paypal.com/x.pem",
		"https://api.paypal.com@evil.example/x.pem",
		"https://user@api.paypal.com/x.pem",
		"https://@api.paypal.com/x.pem",
		"https://api.paypal.com:444/x.pem",
		"https://api.paypal.com:/x.pem",
		"https://api.paypal.com./x.pem",
		"https://API.paypal.com/x.pem",
		"https://api.paypal.com%2eevil.example/x.pem",
		"https://api.paypal.com/x.pem?redirect=evil.example",
		"https://api.paypal.com/x.pem?",
		"https://api.paypal.com/x.pem#",
		"https://api.paypal.com/a/../x.pem",
		"https://api.paypal.com/a/%2e%2e/x.pem",
		"https://api.paypal.com//x.pem",
		"https://api.paypal.com/a%2fx.pem",
		"https://api.paypal.com/a%5c..%5cx.pem",
		"https://api.paypal.com/x.pem\n",
		"https://api.paypal.com/\u202ex.pem",
		"//api.paypal.com/x.pem",
		"https:api.paypal.com/x.pem",
		"https://sns..amazonaws.com/x.pem",
		"https://sns.a.b.amazonaws.com/x.pem",
		"https://sns.amazonaws.com/x.pem",
		"https://sns.bucket\u3002s3.amazonaws.com/x.pem", // a full stop in IDNA
		"https://sns.bucket%E3%80%82s3.amazonaws.com/x.pem",
		"https://sns.a,b.amazonaws.com/x.pem",
		"https://sns.*.amazonaws.com/x.pem",
		"https://sns.s3.amazonaws.com/x.pem", // the S3 bucket "sns", which anyone may own
		"https://sns.s3-us-west-2.amazonaws.com/x.pem",
		"https://api.paypal.com/" + strings.Repeat("x", 4<<10),
	} {
		if source.Publishes(address) {
			t.Errorf("%.80q passes for the sender's", address)
		}
	}
	for _, pattern := range []string{"sns.*.com", "sns.*.*", "*.example.com", "s*.example.com", "a..example.com", "a.example.com.", ".a.example.com", "example", "a.*.b", "a.b.*"} {
		s := detached(Ed25519)
		s.KeyID, s.KeySource = &KeyID{Header: "X-Key"}, &KeySource{CertificateHosts: []string{pattern}}
		if validate(s) == nil {
			t.Errorf("%s is a pattern for anyone's host", pattern)
		}
	}
}

// TestUnknownKeyOfSeveral: intermediaries sign too. Their signature must not hide
// that the sender's was made with an unknown key.
func TestUnknownKeyOfSeveral(t *testing.T) {
	s := ofRFC9421(func(s *Scheme) {
		s.Algorithm, s.KeySource = Ed25519, &KeySource{JWKS: "https://sender.example/jwks.json"}
	})
	v := mustVerifier(t, s, Key{Kind: PublicKey, Text: `{"kty":"OKP","crv":"Ed25519","kid":"old","x":"` + publicX(t, 1) + `"}`})
	sum := ":" + strings.Repeat("A", 86) + "==:"
	for _, tc := range []struct {
		ids []string
		id  string
	}{
		{[]string{"old"}, "old"}, // another key may have the id by now
		{[]string{"new"}, "new"},
		{[]string{"new", "proxy"}, "new"},
		{[]string{"new", "old"}, "new"},
		{[]string{"old", "new"}, "new"},
	} {
		var inputs, sums []string
		for i, id := range tc.ids {
			label := string(rune('a'+i)) + "="
			inputs = append(inputs, label+signedList+`;created=1760000000;keyid="`+id+`"`)
			sums = append(sums, label+sum)
		}
		_, err := deliver(v, post("Content-Digest", "sha-256=:"+digest256+":", "Signature-Input", strings.Join(inputs, ", "), "Signature", strings.Join(sums, ", ")), testNow, testBody)
		if rej := rejection(t, err); rej.Reason != SignatureMismatch || !rej.UnknownKey || rej.KeyID != tc.id {
			t.Errorf("%v: got %s, unknown %v, key id %q", tc.ids, rej, rej.UnknownKey, rej.KeyID)
		}
	}
}
