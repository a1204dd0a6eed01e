package verifier

import (
	"strconv"
	"strings"
	"testing"
)

// TestClaimPaths: a claim may be in one of several places, and must be the same in all
// that have it.
func TestClaimPaths(t *testing.T) {
	v := mustVerifier(t, jwt(func(s *Scheme) {
		s.Claims["$.data.app|$.summary.app.id"] = "{param:app}"
		s.Params = map[string]string{"app": "shop"}
	}), Key{Text: testKey})
	for claims, want := range map[string]Reason{
		`"data":{"app":"shop"},`:                                 genuine,
		`"summary":{"app":{"id":"shop"}},`:                       genuine,
		`"data":{"app":"shop"},"summary":{"app":{"id":"shop"}},`: genuine,
		`"data":{"app":"shop"},"summary":{"app":{"id":"x"}},`:    SignatureMismatch,
		`"data":{"app":"other"},`:                                SignatureMismatch,
		`"data":{"app":""},`:                                     SignatureMismatch,
		`"data":{"App":"shop"},`:                                 SignatureMismatch,
		`"data":{"app":null},`:                                   SignatureMismatch,
		``:                                                       SignatureMismatch,
		`"$.data.app":"shop","data.app":"shop",`:                 SignatureMismatch,
		`"data":{"app":["shop"]},`:                               MalformedSignature,
		`"data":[{"app":"shop"}],`:                               MalformedSignature,
		`"data":{"app":"shop","app":"shop"},`:                    MalformedSignature,
		`"data":{"app":"x"},"data":{"app":"shop"},`:              MalformedSignature,
	} {
		expect(t, v, post("X-Signature", token(hs256, claimsOf(claims))), testBody, want)
	}
	req := post()
	if err := v.Sign(req, "evt_1", testNow, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	expect(t, v, req, testBody, genuine)
	for _, name := range []string{"$.", "$.a|b", "$.a|", "$.a[0]", "$.a..b", "$.[*]"} {
		err := validate(jwt(func(s *Scheme) { s.Claims[name] = "x" }))
		if err == nil || !strings.HasPrefix(err.Error(), "claims: write paths of members, separated by |") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestJWTInJSONIsAlone: of a JWT in a member of the body, the app must read the one
// that was verified.
func TestJWTInJSONIsAlone(t *testing.T) {
	v := mustVerifier(t, jwt(func(s *Scheme) {
		s.Signature.Header, s.Signature.JSON, s.Claims, s.BodyUnsigned = nil, StringList{"payload"}, nil, true
	}), Key{Text: testKey})
	genuineToken := token(hs256, claimsOf(""))
	for body, want := range map[string]Reason{
		`{"payload":"` + genuineToken + `"}`:                                  genuine,
		`{"payload":"` + genuineToken + `","other":1}`:                        genuine,
		`{"payload":"` + genuineToken + `","payload":"` + genuineToken + `"}`: MalformedSignature,
		`{"payload":"` + genuineToken + `","Payload":"x.y.z"}`:                MalformedSignature,
		`{"payload":["` + genuineToken + `"]}`:                                MissingSignature,
		`{"payload":"` + unsigned(`{"alg":"none"}`) + `"}`:                    MalformedSignature,
		`{"payload":"` + genuineToken[:len(genuineToken)-4] + `AAAA"}`:        SignatureMismatch,
		`{"payload":null}`:        MissingSignature,
		`payload=` + genuineToken: MalformedSignature,
	} {
		expect(t, v, post("Content-Type", "application/json"), body, want)
	}
	expect(t, v, post("Content-Type", "application/x-www-form-urlencoded"), `{"payload":"`+genuineToken+`"}`, MalformedSignature)
}

// TestClaimInBase64URL: senders write a digest with its padding or without.
func TestClaimInBase64URL(t *testing.T) {
	const digest = "8wE_kzufuAq22ZXnrZ2jb2g4N7odgelQyUPUARHqwvA" // openssl
	v := mustVerifier(t, jwt(func(s *Scheme) { s.Claims = map[string]string{"body": "{body|sha256|base64url}"} }), Key{Text: testKey})
	for text, want := range map[string]Reason{
		digest: genuine, digest + "=": genuine,
		"":                                   SignatureMismatch,
		"=":                                  SignatureMismatch,
		"=" + digest:                         SignatureMismatch,
		digest[:42]:                          SignatureMismatch,
		strings.ToLower(digest):              SignatureMismatch,
		strings.Replace(digest, "_", "/", 1): SignatureMismatch,
	} {
		req := post("X-Signature", token(hs256, strings.Replace(claimsOf(""), digestOfBody, text, 1)))
		expect(t, v, req, testBody, want)
		expect(t, v, req, testBody+" ", SignatureMismatch)
	}
}

// TestJWTClaimMayBeAbsent: only if the body is empty and the scheme says so: LiveKit
// signs its participants' tokens with the same secret.
func TestJWTClaimMayBeAbsent(t *testing.T) {
	without := post("X-Signature", token(hs256, `{"iat":`+strconv.FormatInt(testNow.Unix(), 10)+`}`))
	optional := mustVerifier(t, jwt(func(s *Scheme) { s.Claims = map[string]string{"body?": "{body|sha256|hex}"} }), Key{Text: testKey})
	expect(t, optional, without, "", genuine)
	expect(t, optional, without, testBody, SignatureMismatch)
	expect(t, mustVerifier(t, jwt(nil), Key{Text: testKey}), without, "", SignatureMismatch)
}
