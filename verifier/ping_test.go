package verifier

import (
	"strings"
	"testing"
)

// ping returns the result of a request in a gateway: "answered", "delivered" or the
// reason of its rejection.
func ping(t *testing.T, v *Verifier, req *Request, body string) string {
	t.Helper()
	check, answer, err := v.Open(req, testNow)
	if answer != nil {
		return "answered before the signature is looked for"
	}
	var verdict Verdict
	if err == nil {
		verdict, answer, err = check.Verify([]byte(body))
	}
	switch {
	case err != nil:
		return string(rejection(t, err).Reason)
	case answer == nil:
		return "delivered"
	case verdict != Verdict{}:
		return "answered although it is a delivery"
	}
	return "answered"
}

func asForm(headers ...string) *Request {
	return post(append([]string{"Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"}, headers...)...)
}

// TestPingWithoutSignature: an unsigned ping is answered; a signed request is a
// delivery, and a wrongly signed one is refused.
func TestPingWithoutSignature(t *testing.T) {
	v := mustGreeting(t, `[{"when":{"form":{"webhook_id":"*"},"signature":"absent"},"respond":{}},
		{"when":{"header":{"X-Event":"ping"},"signature":"absent"},"respond":{}}]`, nil)
	const form, multi = "webhook_id=7", "--b\r\nContent-Disposition: form-data; name=\"webhook_id\"\r\n\r\n7\r\n--b--\r\n"
	signed := macOf(testKey, form)
	for _, tc := range []struct {
		what string
		req  *Request
		body string
		want string
	}{
		{"a form", asForm(), form, "answered"},
		{"multipart", post("Content-Type", "multipart/form-data; boundary=b"), multi, "answered"},
		{"more fields", asForm(), "a=1&" + form, "answered"},
		{"a header", post("X-Event", "ping"), `{"test":true}`, "answered"},
		{"signed", asForm("X-Signature", signed), form, "delivered"},
		{"signed, a header", post("X-Event", "ping", "X-Signature", bodyHex), testBody, "delivered"},
		{"signed wrongly", asForm("X-Signature", flip(signed)), form, "signature_mismatch"},
		{"signed wrongly, a header", post("X-Event", "ping", "X-Signature", flip(bodyHex)), testBody, "signature_mismatch"},
		{"an unreadable signature", asForm("X-Signature", "none"), form, "malformed_signature"},
		{"no form by its type", post("Content-Type", "application/json"), form, "missing_signature"},
		{"no type", post(), form, "missing_signature"},
		{"two types", asForm("Content-Type", "application/x-www-form-urlencoded"), form, "missing_signature"},
		{"JSON that holds the field", post("Content-Type", "application/json"), `{"a":"&webhook_id=7&"}`, "missing_signature"},
		{"no value", asForm(), "webhook_id=", "missing_signature"},
		{"twice", asForm(), form + "&" + form, "missing_signature"},
		{"another event", post("X-Event", "pings"), "{}", "missing_signature"},
		{"another method", &Request{Method: "PUT", Header: asForm().Header, Target: "/"}, form, "missing_signature"},
		{"a long one", asForm(), form + "&a=" + strings.Repeat("0", maxHandshakeBody), "missing_signature"},
	} {
		if got := ping(t, v, tc.req, tc.body); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.what, got, tc.want)
		}
	}
}

// TestPingWithAnySignature: a ping signed with a key that only the sender has.
func TestPingWithAnySignature(t *testing.T) {
	v := mustGreeting(t, `[{"when":{"form":{"events":"[]"},"signature":"any"},"respond":{}}]`, nil)
	const empty, full = "events=%5B%5D", "events=%5B%7B%7D%5D"
	for _, tc := range []struct {
		what string
		req  *Request
		body string
		want string
	}{
		{"none", asForm(), empty, "answered"},
		{"another key's", asForm("X-Signature", macOf("test-webhook", empty)), empty, "answered"},
		{"a key's", asForm("X-Signature", macOf(testKey, empty)), empty, "delivered"},
		{"of more than the ping", asForm("X-Signature", macOf("test-webhook", full)), full, "signature_mismatch"},
		{"unreadable", asForm("X-Signature", "none"), empty, "malformed_signature"},
	} {
		if got := ping(t, v, tc.req, tc.body); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.what, got, tc.want)
		}
	}
}

func TestPingErrors(t *testing.T) {
	for rules, want := range map[string]string{
		`[{"when":{"form":{"a":"1"},"signature":"none"},"respond":{}}]`:                 "write absent or any",
		`[{"when":{"form":{"a":"1"},"signature":"absent"},"signed":true,"respond":{}}]`: "drop it",
		`[{"when":{"signature":"absent"},"respond":{}}]`:                                "does not distinguish it from a delivery",
		`[{"when":{"form":{"":"1"},"signature":"absent"},"respond":{}}]`:                "form:name",
		`[{"when":{"form":{"a":"{b}"},"signature":"absent"},"respond":{}}]`:             "a value is text",
	} {
		if _, err := greeting(t, rules, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want …%s…", rules, err, want)
		}
	}
	published := func(s *Scheme) {
		s.Algorithm, s.PublicKeyEncoding, s.KeySource = Ed25519, "hex", &KeySource{JWKS: "https://example.com/jwks.json"}
	}
	for signature, want := range map[string]string{"any": "key_source", "absent": ""} {
		_, err := greeting(t, `[{"when":{"form":{"a":"1"},"signature":"`+signature+`"},"respond":{}}]`, published, Key{Text: edPublic2, Kind: PublicKey})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s with published keys: %v, want …%s…", signature, err, want)
		}
	}
}
