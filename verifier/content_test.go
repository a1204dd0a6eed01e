package verifier

import (
	"bytes"
	"strings"
	"testing"
)

// contentOf verifies a delivery and returns its Content.
func contentOf(t *testing.T, v *Verifier, req *Request, body string) string {
	t.Helper()
	check, _, err := v.Open(req, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := check.Verify([]byte(body)); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return string(check.Content([]byte(body)))
}

// TestContentIsWhatWasSigned: the same signed content in another spelling is the
// same; different content is not.
func TestContentIsWhatWasSigned(t *testing.T) {
	type delivery struct{ target, body string }
	form := delivery{"/", "a=1&b=x+y"}
	for _, tc := range []struct {
		name    string
		message string
		signed  string
		first   delivery
		same    []delivery
	}{
		{"form fields in another order, with other escapes, twice", "{form_sorted}", "a1bx y",
			form, []delivery{{"/", "b=x+y&a=1"}, {"/", "%61=1&b=x%20y"}, {"/", "a=1&b=x+y&a=1"}}},
		{"the URL's query beside a form", "{url_form_sorted}", "http://hooks.example.com/?q=1.a1bx y",
			delivery{"/?q=1", form.body}, []delivery{{"/?q=%31", "b=x+y&a=1"}}},
		{"a query, where there is no body", "{method}{query_sorted}", "POSTa=1&b=2",
			delivery{"/?a=1&b=2", ""}, []delivery{{"/?b=2&a=1", ""}}},
	} {
		v := mustVerifier(t, bare(func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{tc.message}, true }), Key{Text: testKey})
		req := func(d delivery) *Request {
			r := post("X-Signature", macOf(testKey, tc.signed))
			r.Target = d.target
			return r
		}
		want := contentOf(t, v, req(tc.first), tc.first.body)
		if want == "" {
			t.Errorf("%s: no content", tc.name)
		}
		for _, d := range tc.same {
			if got := contentOf(t, v, req(d), d.body); got != want {
				t.Errorf("%s: %q has the content %q, want %q", tc.name, d.body, got, want)
			}
		}
	}
}

// TestContentIsTheBody: otherwise every byte counts.
func TestContentIsTheBody(t *testing.T) {
	v := mustVerifier(t, bare(nil), Key{Text: testKey})
	for _, body := range []string{`{"a":1}`, "a=1&b=2", " "} {
		if got := contentOf(t, v, post("X-Signature", macOf(testKey, body)), body); got != body {
			t.Errorf("%q: %q", body, got)
		}
	}
	token := mustVerifier(t, bare(func(s *Scheme) { s.Algorithm, s.BodyUnsigned = Token, true; s.Signature.Encoding = "" }), Key{Text: testKey})
	if got := contentOf(t, token, post("X-Signature", testKey), "b=2&a=1"); got != "b=2&a=1" {
		t.Errorf("a token: %q", got)
	}
}

// TestNoContent: without a body, nothing signed distinguishes two deliveries.
func TestNoContent(t *testing.T) {
	v := mustVerifier(t, bare(nil), Key{Text: testKey})
	req := post("X-Signature", macOf(testKey, ""))
	req.Target = "/?unsigned=1"
	if got := contentOf(t, v, req, ""); got != "" {
		t.Errorf("an unsigned query: %q", got)
	}
	inQuery := mustVerifier(t, Scheme{Signature: &Signature{Query: "s"}, Message: StringList{"{method}"}, BodyUnsigned: true}, Key{Text: testKey})
	req = post()
	req.Target = "/?s=" + macOf(testKey, "POST")
	if got := contentOf(t, inQuery, req, ""); got != "" {
		t.Errorf("the signature itself: %q", got)
	}
}

// TestVarying: members that vary between attempts are ignored, others count, and if
// they are ambiguous the entire body counts.
func TestVarying(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Varies = StringList{"[*].attempt", "[*].context.again"} }), Key{Text: testKey})
	content := func(body string) string {
		return contentOf(t, v, post("X-Signature", macOf(testKey, body)), body)
	}
	first := content(`[{"id":1,"attempt":0,"context":{"again":false}},{"id":2,"attempt":0}]`)
	for body, same := range map[string]bool{
		`[{"id":1,"attempt":1,"context":{"again":true}},{"id":2,"attempt":12}]`:         true,
		`[{"id":1,"attempt":{"n":[1]},"context":{"again":null}},{"id":2,"attempt":""}]`: true,
		`[{"id":1,"attempt":1,"context":{"again":true}},{"id":3,"attempt":1}]`:          false,
		`[{"id":1,"attempt":1,"context":{"again":true}}]`:                               false,
		`[{"id":1,"attempt":0,"context":{"again":false}},{"id":2,"attempt":0} ]`:        false,
		`[{"id":1,"context":{"again":false}},{"id":2,"attempt":0}]`:                     false,
	} {
		if got := content(body) == first; got != same {
			t.Errorf("%s: the same: %v, want %v", body, got, same)
		}
	}
	for _, whole := range []string{`[{"attempt":0,"attempt":1}]`, `[{"attempt":0}`, `attempt=0`, `{"attempt":0}`, `[]`} {
		if got := content(whole); got != whole {
			t.Errorf("%s: %q", whole, got)
		}
	}
	if err := validate(bare(func(s *Scheme) { s.Varies = StringList{"a..b"} })); err == nil {
		t.Error("a path that is none is taken")
	}
}

// FuzzVarying: varying members are removed completely, and nothing else.
func FuzzVarying(f *testing.F) {
	v := mustVerifier(f, bare(func(s *Scheme) { s.Varies = StringList{"a", "b.c", "b", "d[*].e"} }), Key{Text: testKey})
	for _, seed := range []string{`{"a":1,"b":{"c":[2]},"d":[{"e":"x"},{"e":null},{}]}`, `{"b":{"c":1},"b":2}`, `{"a" : "\u0061" }`, `[]`, `{`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := v.withoutVarying(bytes.Clone(body))
		if len(got) > len(body) {
			t.Fatalf("%q grew to %q", body, got)
		}
		i := 0
		for _, c := range body { // got is a subsequence
			if i < len(got) && got[i] == c {
				i++
			}
		}
		if i != len(got) {
			t.Fatalf("%q became %q", body, got)
		}
	})
}

// TestFormIDIsReadAsTheBytesAre: the signed body determines the kind of form; the
// unsigned Content-Type cannot hide the id in it.
func TestFormIDIsReadAsTheBytesAre(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.DeliveryID = &DeliveryID{Form: "id"} }), Key{Text: testKey})
	multipart := "--b\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\ne1\r\n--b--\r\n"
	for _, body := range []string{"x=y&id=e1", multipart} {
		for _, kind := range []string{"", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "multipart/form-data", "application/json"} {
			if strings.Contains(kind, "boundary") && body != multipart {
				continue // refused
			}
			id, signed := acceptedID(t, v, post("Content-Type", kind, "X-Signature", macOf(testKey, body)), body)
			if id != "e1" || !signed {
				t.Errorf("%q as %q: id %q, signed %v", body, kind, id, signed)
			}
		}
	}
}

func TestCoverage(t *testing.T) {
	for name, tc := range map[string]struct {
		scheme Scheme
		body   bool
		header bool // X-Topic
	}{
		"the body":                 {bare(nil), true, false},
		"a digest of it":           {bare(func(s *Scheme) { s.Message = StringList{"{header:X-Topic}.{body|sha256|hex}"} }), true, true},
		"a checksum":               {bare(func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{"{body|crc32}"}, true }), false, false},
		"a form's fields":          {bare(func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{"{url}{form_sorted}"}, true }), true, false},
		"one field":                {bare(func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{"{form:a}"}, true }), false, false},
		"alternatives":             {bare(func(s *Scheme) { s.Message = StringList{"{header:X-Topic}.{body}", "{body}"} }), true, false},
		"a header behind the body": {bare(func(s *Scheme) { s.Message = StringList{"{body}.{header:X-Topic}"} }), true, false},
		"a token":                  {bare(func(s *Scheme) { s.Algorithm, s.BodyUnsigned = Token, true }), false, false},
		"components":               {ofRFC9421(nil, "content-digest", "x-topic"), true, true},
		"other components":         {ofRFC9421(func(s *Scheme) { s.BodyUnsigned = true }, "@method"), false, false},
	} {
		r, err := Compile(tc.scheme)
		if err != nil {
			t.Fatal(err)
		}
		if r.SignsContent() != tc.body || r.SignsHeader("X-Topic") != tc.header || r.SignsHeader("x-topic") != tc.header {
			t.Errorf("%s: content %v, header %v", name, r.SignsContent(), r.SignsHeader("X-Topic"))
		}
	}
}
