package verifier

import (
	"testing"
)

// TestHTTPSignedIDIsOne: HTTP/2 hands on blanks around a value. The signature
// does not cover them, so an id with some would be a new one of an old delivery.
func TestHTTPSignedIDIsOne(t *testing.T) {
	scheme := ofRFC9421(func(s *Scheme) { s.DeliveryID = &DeliveryID{Header: StringList{"X-Id"}} }, "@method", "@target-uri", "content-digest", "x-id")
	v := mustVerifier(t, scheme, Key{Text: testKey})
	req := httpPost(signedLines+"\"x-id\": evt_1\n", `("@method" "@target-uri" "content-digest" "x-id");created=1760000000`)
	req.Header["X-Id"] = []string{"evt_1"}
	expect(t, v, req, testBody, genuine)
	for _, blanks := range []string{" evt_1", "evt_1 ", "\tevt_1", "evt_1\t "} {
		req.Header["X-Id"] = []string{blanks}
		expect(t, v, req, testBody, MalformedSignature)
	}
}
