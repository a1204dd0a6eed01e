package verifier

import (
	"net/http"
	"strings"
	"testing"
)

// TestBodyFormat: a key that signs other texts too does not make them deliveries.
func TestBodyFormat(t *testing.T) {
	redirect := "code=0907a61c&host=YWRtaW4&shop=a.example&state=1&timestamp=1760000000"
	token := "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoibWFsbG9yeSJ9"
	upload := "folder=avatars&public_id=u1&timestamp="
	json, both := StringList{"json"}, StringList{"json", "xml"}
	for name, tc := range map[string]struct {
		formats StringList
		packed  bool
		text    string
		genuine bool
	}{
		"any":                  {nil, false, redirect, true},
		"an object":            {json, false, `{"id":1}`, true},
		"an array":             {json, false, `[{"id":1}]`, true},
		"blanks first":         {json, false, " \t\r\n{}", true},
		"a redirect":           {json, false, redirect, false},
		"a token":              {json, false, token, false},
		"an upload":            {json, false, upload, false},
		"a text":               {json, false, `"{"`, false},
		"a number":             {json, false, "1234", false},
		"nothing":              {json, false, "", false},
		"blanks":               {json, false, "  ", false},
		"XML for JSON":         {json, false, "<id>1</id>", false},
		"XML":                  {both, false, "<?xml version=\"1.0\"?><id/>", true},
		"JSON, XML too":        {both, false, "{}", true},
		"a redirect, XML too":  {both, false, redirect, false},
		"packed":               {json, true, `{"id":1}`, true},
		"packed, blanks first": {json, true, "\n{}", true},
		"packed, a token":      {json, true, token, false},
		"packed, nothing":      {json, true, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			v := mustVerifier(t, bare(func(s *Scheme) { s.BodyFormat, s.BodyDecoded = tc.formats, tc.packed }), Key{Text: testKey})
			want := string(MalformedSignature)
			if tc.genuine {
				want = genuine
			}
			ours, forged := []string{"X-Signature", macOf(testKey, tc.text)}, []string{"X-Signature", macOf("another", tc.text)}
			expect(t, v, post(ours...), tc.text, want)
			expect(t, v, post(forged...), tc.text, SignatureMismatch) // nothing is said of a body that no key has signed
			if tc.packed {
				expect(t, v, post(append(ours, "Content-Encoding", "gzip")...), zipped(tc.text), want)
			}
		})
	}
}

func TestBodyFormatNeedsTheBody(t *testing.T) {
	for want, edit := range map[string]func(*Scheme){
		"known are json, xml": func(s *Scheme) { s.BodyFormat = StringList{"JSON"} },
		"does not cover the body": func(s *Scheme) {
			s.BodyFormat, s.Message, s.BodyUnsigned = StringList{"json"}, StringList{"{json:id}"}, true
		},
	} {
		if err := validate(bare(edit)); err == nil || !strings.HasPrefix(err.Error(), "body_format: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestBodyFormatAllocatesNothing(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.BodyFormat = StringList{"json", "xml"} }), Key{Text: testKey})
	c, body := Check{v: v, req: &Request{Header: http.Header{}}}, []byte(testBody)
	if n := testing.AllocsPerRun(100, func() { c.format(body) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
