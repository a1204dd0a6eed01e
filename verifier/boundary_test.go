package verifier

import (
	"strings"
	"testing"
)

// TestNothingMovesBetweenURLAndBody: if a URL and the following text are signed as
// one, bytes of a captured delivery moved from one to the other are refused, and what
// senders really send is accepted.
func TestNothingMovesBetweenURLAndBody(t *testing.T) {
	const origin = "http://hooks.example.com"
	form := func(fields string) string { return strings.NewReplacer("=", "", "&", "").Replace(fields) }
	type moved struct{ method, target, body string }
	for _, tc := range []struct {
		message, target, body string
		moved                 []moved
	}{
		{"{url}{body}", "/h?shop=42", `{"id":1}`, []moved{
			{"POST", "/h?shop=4", `2{"id":1}`}, {"POST", "/h?shop=", `42{"id":1}`}, {"POST", "/h?", `shop=42{"id":1}`}, {"POST", "/h", `?shop=42{"id":1}`}, {"POST", "/", `h?shop=42{"id":1}`},
			{"GET", "/h?shop=4", `2{"id":1}`}, {"POST", `/h?shop=42{`, `"id":1}`}, {"POST", `/h?shop=42{"id":1}`, ""}}},
		{"{url}{body}", "/h?shop=42", `[{"id":1}]`, []moved{{"POST", "/h?shop=42[", `{"id":1}]`}, {"POST", "/h?shop=4", `2[{"id":1}]`}}},
		{"{url}{body}", "/h?f[0]=4", `{"id":1}`, []moved{{"POST", "/h?f", `[0]=4{"id":1}`}, {"POST", "/h?f[", `0]=4{"id":1}`}, {"POST", "/h?f[0]", `=4{"id":1}`}}},
		{"{url}{body}", "/h?f[]", ` {"id":1}`, []moved{{"POST", "/h?f", `[] {"id":1}`}, {"POST", "/h?f[", `] {"id":1}`}}},
		{"{url}{body}", "/h?shop=42", "", []moved{{"GET", "/h?shop=4", "2"}, {"POST", "/h", "?shop=42"}}},
		{"{uri}.{body}", "/h?v=1.5", `{"id":1}`, []moved{{"POST", "/h?v=1", `5.{"id":1}`}}},
		{"{path}{body}", "/h/4", "<a/>", []moved{{"POST", "/h/", "4<a/>"}}},
		{"{url}{form_sorted}", "/h?shop=42", "Body=x&From=1", []moved{
			{"POST", "/h?shop=4", "2=&Body=x&From=1"}, {"POST", "/h?shop=4", "2Body=x&From=1"}, {"POST", "/h?shop=", "42=&Body=x&From=1"}, {"POST", "/h?", "shop=42BodyxFrom1"},
			{"POST", "/h", "?shop=42BodyxFrom1"}, {"POST", "/h", "%3Fshop=42&Body=x&From=1"}, {"POST", "/h?shop=42BodyxFrom1", ""}, {"GET", "/h?shop=42", "Body=x&From=1"}, {"HEAD", "/h?shop=42", "Body=x&From=1"}}},
		{"{url}{form_sorted}", "/h?shop=4%20", "Body=x", []moved{{"POST", "/h?shop=4%2", "0Body=x"}, {"POST", "/h?shop=4%", "20Body=x"}}},
		{"{url}{form_sorted}", "/h?a=1&b=C", "Da=x", []moved{{"POST", "/h?a=1&", "b=CDax"}, {"POST", "/h?a=1&b=", "CDa=x"}}},
		{"{url_form_sorted}", "/h?shop=42", "From=1&Text=a.b", []moved{
			{"POST", "/h?shop=42.From1Texta", "b="}, {"POST", "/h?shop=42.From1Texta.b", ""}, {"GET", "/h?shop=42", "From=1&Text=a.b"}}},
	} {
		v := mustVerifier(t, bare(func(s *Scheme) {
			s.Message, s.BodyUnsigned = StringList{tc.message}, true
		}), Key{Text: testKey})
		path, _, _ := strings.Cut(tc.target, "?")
		content := strings.NewReplacer("{url}", origin+tc.target, "{uri}", tc.target, "{path}", path, "{body}", tc.body,
			"{form_sorted}", form(tc.body), "{url_form_sorted}", origin+tc.target+"."+form(tc.body)).Replace(tc.message)
		try := func(m moved) *Request {
			req := post("X-Signature", macOf(testKey, content))
			req.Method, req.Target = m.method, m.target
			return req
		}
		method := "POST"
		if tc.body == "" {
			method = "GET"
		}
		expect(t, v, try(moved{method, tc.target, ""}), tc.body, genuine)
		for _, m := range tc.moved {
			if got := judge(v, try(m), testNow, m.body); got == genuine {
				t.Errorf("%s: %s and %q pass as %s %s and %q", tc.message, tc.target, tc.body, m.method, m.target, m.body)
			}
		}
	}
}

// TestMovedBytesAreOneDelivery: moving bytes in a way that looks like a genuine form
// (letters at the end of the query, a first field absorbed by it) makes no new
// delivery.
func TestMovedBytesAreOneDelivery(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.BodyUnsigned = StringList{"{url}{form_sorted}"}, true
	}), Key{Text: testKey})
	content := func(signed, method, target, body string) string {
		t.Helper()
		req := post("X-Signature", macOf(testKey, "http://hooks.example.com"+signed))
		req.Method, req.Target = method, target
		check, _, err := v.Open(req, testNow)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := check.Verify([]byte(body)); err != nil {
			t.Fatalf("%s %s %s: %v", method, target, body, err)
		}
		return string(check.Content([]byte(body)))
	}
	const signed = "/h?step=MAINAa1Body2"
	want := content(signed, "POST", "/h?step=MAIN", "Aa=1&Body=2")
	for _, m := range [][3]string{{"POST", "/h?step=MAIN", "Body=2&A%61=1"}, {"POST", "/h?step=MAINAa1", "Body=2"}, {"POST", "/h?step=M", "AINAa1=Body2"}, {"GET", signed, ""}} {
		if got := content(signed, m[0], m[1], m[2]); got != want {
			t.Errorf("%v is another delivery", m)
		}
	}
	if content("/h?step=2Aa1", "POST", "/h?step=2", "Aa=1") == content("/h?step=1Aa1", "POST", "/h?step=1", "Aa=1") {
		t.Error("two steps of a call with equal forms are one delivery")
	}
}

// TestTheSignedURLTellsDeliveriesApart: equal bodies signed for two addresses are two
// deliveries; the origin makes no difference.
func TestTheSignedURLTellsDeliveriesApart(t *testing.T) {
	for _, message := range []string{"{url}{body}", "{body}{url}", "{uri}\n{body}", "{path}\n{query}\n{body}", "{path}\n{query_sorted}\n{body|sha256|hex}", "{uri_encoded_twice}\n{body}"} {
		v := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{message} }), Key{Text: testKey})
		content := func(target, host, body string) string {
			t.Helper()
			req := post()
			req.Target, req.Host, req.Method = target, host, "POST"
			if err := v.Sign(req, "", testNow, []byte(body)); err != nil {
				t.Fatal(err)
			}
			check, _, err := v.Open(req, testNow)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := check.Verify([]byte(body)); err != nil {
				t.Fatal(err)
			}
			return string(check.Content([]byte(body)))
		}
		a := content("/h?loc=a", "h.example", testBody)
		if a != content("/h?loc=a", "h.example:443", testBody) {
			t.Errorf("%s: another port is another delivery", message)
		}
		for _, other := range []string{content("/h?loc=b", "h.example", testBody), content("/i?loc=a", "h.example", testBody), content("/h?loc=a", "h.example", testBody+" ")} {
			if other == a {
				t.Errorf("%s: another delivery is the same", message)
			}
		}
		if content("/h", "h.example", "") != "" {
			t.Errorf("%s: no body and no query tell something", message)
		}
	}
}
