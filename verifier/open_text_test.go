package verifier

import (
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

// TestTextThatHoldsItsEnd: Adyen separates eight fields with colons and escapes
// nothing (https://github.com/Adyen/adyen-python-api-library/issues/117). Only one
// may hold colons, so that no two bodies have the same message.
func TestTextThatHoldsItsEnd(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.BodyUnsigned = StringList{"{json:a}:{json:b?|any}:{json:c}:{json:d}"}, true
	}), Key{Text: testKey})
	for body, want := range map[string]string{
		`{"a":"1","b":"x","c":"2","d":"3"}`:     genuine,
		`{"a":"1","b":"x:y","c":"2","d":"3"}`:   genuine,
		`{"a":"1","b":":x::","c":"2","d":"3"}`:  genuine,
		`{"a":"1","c":"2","d":"3"}`:             genuine,
		`{"a":"1:x","b":"y","c":"2","d":"3"}`:   "malformed_signature",
		`{"a":"1","b":"x","c":"y:2","d":"3"}`:   "malformed_signature",
		`{"a":"1","b":"x","c":"2","d":"3:4"}`:   "malformed_signature",
		`{"a":"1","b":"x","c":"2:3","d":"4"}`:   "malformed_signature",
		`{"a":"1","b":["x"],"c":"2","d":"3"}`:   "malformed_signature",
		`{"a":"1","b":"x","b":"y","c":"","d":}`: "malformed_signature",
	} {
		var parts []string
		for _, name := range []string{"a", "b", "c", "d"} {
			path, err := jsonpath.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := path.Lookup([]byte(body))
			parts = append(parts, text)
		}
		expect(t, v, post("X-Signature", macOf(testKey, strings.Join(parts, ":"))), body, want)
	}
}

// TestOneTextMayHoldItsEnd: with two such texts, or one next to a text without an
// end, a message would be ambiguous.
func TestOneTextMayHoldItsEnd(t *testing.T) {
	for _, message := range []string{
		"{json:a|any}:{json:b|any}", "{json:a|any}{json:b}", "{json:a}{json:b|any}", "{json:a|any}:{body}", "{body}:{json:a|any}",
		"{json:a|any}:{header:X}", "{url}:{json:a|any}", "{json:a|any|lower}:{json:b}", "{json:a|any}:{json:b|sha256|hex}", "{body|any}",
	} {
		err := validate(bare(func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{message}, true }))
		if err == nil || !strings.Contains(err.Error(), "any goes with one") {
			t.Errorf("%s: got %v", message, err)
		}
	}
}

// TestTimeThatMayBeMissing: the age is unchecked only for a kind of delivery without
// a timestamp.
func TestTimeThatMayBeMissing(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Timestamp = &Timestamp{JSON: "meta.at", Unit: "rfc3339", Optional: true} }), Key{Text: testKey})
	for body, want := range map[string]string{
		`{"meta":{"at":"2025-10-09T08:53:20.123Z"}}`: genuine,
		`{"meta":{"at":"2025-10-08T08:53:20Z"}}`:     "stale_timestamp",
		`{"meta":{"at":"2025-10-10T08:53:20Z"}}`:     "future_timestamp",
		`{"meta":{"at":"yesterday"}}`:                "malformed_timestamp",
		`{"meta":{"at":"a","at":"b"}}`:               "malformed_timestamp",
		`{"meta":{}}`:                                genuine,
		`{"card":{}}`:                                genuine,
	} {
		expect(t, v, post("X-Signature", macOf(testKey, body)), body, want)
	}
	for what, edit := range map[string]func(*Scheme){
		"in a header": func(s *Scheme) {
			s.Timestamp, s.Message = &Timestamp{Header: StringList{"X-T"}, Optional: true}, StringList{"{timestamp}.{body}"}
		},
		"in the message": func(s *Scheme) {
			s.Timestamp, s.Message = &Timestamp{JSON: "t", Optional: true}, StringList{"{timestamp}.{body}"}
		},
		"in an unsigned one": func(s *Scheme) {
			s.Timestamp, s.Message, s.BodyUnsigned = &Timestamp{JSON: "t", Optional: true}, StringList{"{json:t?}"}, true
		},
	} {
		if err := validate(bare(edit)); err == nil || !strings.Contains(err.Error(), "optional") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// TestClaimOfAParam: a claim with a param is checked only if the param has a value.
func TestClaimOfAParam(t *testing.T) {
	scheme := func(params map[string]string) Scheme {
		return Scheme{
			Signature: &Signature{Header: StringList{"Authorization"}, Syntax: "jwt", JWSHeader: map[string]string{"kind": "hook"}},
			Claims:    map[string]string{"sha256": "{body|sha256|base64}", "iss": "{param:api_key?}"},
			Params:    params,
		}
	}
	signed := func(params map[string]string) *Request {
		req := post()
		if err := mustVerifier(t, scheme(params), Key{Text: testKey}).Sign(req, "", testNow, []byte(testBody)); err != nil {
			t.Fatal(err)
		}
		return req
	}
	without, with := signed(nil), signed(map[string]string{"api_key": "APIabc"})
	for _, tc := range []struct {
		params map[string]string
		req    *Request
		want   string
	}{
		{nil, without, genuine},
		{nil, with, genuine},
		{map[string]string{"api_key": "APIabc"}, with, genuine},
		{map[string]string{"api_key": "APIabc"}, without, "signature_mismatch"},
		{map[string]string{"api_key": "other"}, with, "signature_mismatch"},
	} {
		expect(t, mustVerifier(t, scheme(tc.params), Key{Text: testKey}), tc.req, testBody, tc.want)
	}
	other := scheme(nil)
	other.Signature.JWSHeader = map[string]string{"kind": "token"}
	expect(t, mustVerifier(t, other, Key{Text: testKey}), with, testBody, MalformedSignature)
	if err := validate(bare(func(s *Scheme) { s.Signature.JWSHeader = map[string]string{"a": "b"} })); err == nil {
		t.Error("jws_header without a JWS")
	}
}
