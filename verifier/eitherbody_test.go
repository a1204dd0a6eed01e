package verifier

import (
	"strings"
	"testing"
)

// eitherBody is the scheme of a sender that posts JSON or a form, as Mailgun does
// (https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks).
var eitherBody = Scheme{
	Signature: &Signature{JSON: StringList{"s.sign", "s.parent"}, Form: "sign"},
	Message:   StringList{"{timestamp}{id}"}, BodyUnsigned: true,
	Timestamp:  &Timestamp{JSON: "s.time", Form: "time"},
	DeliveryID: &DeliveryID{JSON: "s.token", Form: "token"},
}

// TestEitherBody: only Content-Type decides where signature, time and id are.
func TestEitherBody(t *testing.T) {
	v := mustVerifier(t, eitherBody, Key{Text: testKey})
	mac, other := macOf(testKey, "1760000000tok"), macOf("another", "1760000000tok")
	late := macOf(testKey, "1759990000tok")
	multi := func(sign string) string {
		var b strings.Builder
		for _, f := range [][2]string{{"time", "1760000000"}, {"token", "tok"}, {"sign", sign}} {
			b.WriteString("--b\r\nContent-Disposition: form-data; name=\"" + f[0] + "\"\r\n\r\n" + f[1] + "\r\n")
		}
		return b.String() + "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"sign\"\r\n\r\nx\r\n--b--\r\n"
	}
	form := func(sign string) string { return "time=1760000000&token=tok&sign=" + sign }
	object := func(members string) string {
		return `{"s":{"time":"1760000000","token":"tok",` + members + `}}`
	}
	asMulti := post("Content-Type", "multipart/form-data; boundary=b")
	for _, tc := range []struct {
		what string
		req  *Request
		body string
		want string
	}{
		{"a form", asForm(), form(mac), genuine},
		{"multipart", asMulti, multi(mac), genuine},
		{"JSON", post("Content-Type", "application/json"), object(`"sign":"` + mac + `"`), genuine},
		{"JSON without its type", post(), object(`"sign":"` + mac + `"`), genuine},
		{"the second path", post(), object(`"sign":"` + other + `","parent":"` + mac + `"`), genuine},
		{"the second path alone", post(), object(`"parent":"` + mac + `"`), genuine},
		{"neither path", post(), object(`"x":"` + mac + `"`), "missing_signature"},
		{"neither matches", post(), object(`"sign":"` + other + `","parent":"` + flip(mac) + `"`), "signature_mismatch"},
		{"a path twice", post(), object(`"sign":"` + mac + `","sign":"` + mac + `"`), "malformed_signature"},
		{"a form of another key", asForm(), form(other), "signature_mismatch"},
		{"a form called JSON", post("Content-Type", "application/json"), form(mac), "malformed_signature"},
		{"JSON called a form", asForm(), object(`"sign":"` + mac + `"`), "missing_signature"},
		{"a field twice", asForm(), form(mac) + "&sign=" + mac, "malformed_signature"},
		{"no time in the form", asForm(), "token=tok&sign=" + mac, "missing_timestamp"},
		{"a late form", asForm(), "time=1759990000&token=tok&sign=" + late, "stale_timestamp"},
	} {
		if got := judge(v, tc.req, testNow, tc.body); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.what, got, tc.want)
		}
	}

	for _, tc := range []struct {
		req  *Request
		body string
	}{{asForm(), form(mac)}, {asMulti, multi(mac)}, {post(), object(`"sign":"` + mac + `"`)}} {
		check, _, err := v.Open(tc.req, testNow)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := check.Verify([]byte(tc.body)); err != nil {
			t.Fatal(err)
		}
		if id, signed := check.DeliveryID([]byte(tc.body)); id != "tok" || !signed {
			t.Errorf("%.40s: id %q, signed: %t", tc.body, id, signed)
		}
	}
}

// TestEitherBodyErrors: a form field proves no more than a JSON member.
func TestEitherBodyErrors(t *testing.T) {
	for what, tc := range map[string]struct {
		edit func(*Scheme)
		want string
	}{
		"a header beside a form": {func(s *Scheme) { s.Signature = &Signature{Header: StringList{"X-S"}, Form: "s"} }, "exactly one source"},
		"all of several paths":   {func(s *Scheme) { s.Signature = &Signature{JSON: StringList{"a", "b"}, Match: "all"} }, "match applies to headers"},
		"a time that the form alone does not sign": {func(s *Scheme) {
			s.Message, s.Timestamp = StringList{"{json:s.time}"}, &Timestamp{JSON: "s.time", Form: "time"}
		}, "the message does not contain it"},
		"a form field and a header for the time": {func(s *Scheme) { s.Timestamp = &Timestamp{Header: StringList{"X-T"}, Form: "time"} }, "exactly one source"},
	} {
		s := eitherBody
		tc.edit(&s)
		if err := validate(s); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want …%s…", what, err, tc.want)
		}
	}
}

// TestEitherBodyThatIsSigned: an unsigned header cannot choose which id a signed body
// has.
func TestEitherBodyThatIsSigned(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.DeliveryID = &DeliveryID{JSON: "id", Form: "id"} }), Key{Text: testKey})
	for _, kind := range []string{"application/json", "application/x-www-form-urlencoded", "text/plain", ""} {
		for body, want := range map[string]string{` {"id":"a"}`: "a", "id=b": "b"} {
			req := post("X-Signature", macOf(testKey, body), "Content-Type", kind)
			check, _, err := v.Open(req, testNow)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := check.Verify([]byte(body)); err != nil {
				t.Fatal(err)
			}
			if id, signed := check.DeliveryID([]byte(body)); id != want || !signed {
				t.Errorf("%s called %q: id %q, signed: %t", body, kind, id, signed)
			}
		}
	}
}
