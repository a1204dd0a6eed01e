package verifier

import (
	"strings"
	"testing"
)

// hooked is the scheme of Hook0.
func hooked(edit func(*Scheme)) Scheme {
	return bare(func(s *Scheme) {
		s.Signature.Syntax, s.Signature.Key = "kv", StringList{"v1"}
		s.Timestamp = &Timestamp{KV: "t"}
		s.Message = StringList{"{timestamp}.{kv_headers:h}.{body}"}
		if edit != nil {
			edit(s)
		}
	})
}

// TestHeadersListedBeside: whatever can be done to the list, to the listed headers and
// to the boundary of the body.
func TestHeadersListedBeside(t *testing.T) {
	v := mustVerifier(t, hooked(func(s *Scheme) { s.DeliveryID = &DeliveryID{Header: StringList{"X-Id"}} }), Key{Text: testKey})
	if !v.SignsID() {
		t.Error("the id is not signed")
	}
	for name, tc := range map[string]struct {
		list    string
		headers []string
		signed  string // after the timestamp
		body    string
		want    Reason
	}{
		"genuine":                         {"x-id x-type", []string{"X-Id", "1", "X-Type", "a.b"}, "x-id x-type.1.a.b." + testBody, testBody, genuine},
		"one header":                      {"x-id", []string{"X-Id", "1"}, "x-id.1." + testBody, testBody, genuine},
		"the other order":                 {"x-type x-id", []string{"X-Id", "1", "X-Type", "a"}, "x-type x-id.a.1." + testBody, testBody, genuine},
		"an array":                        {"x-id", []string{"X-Id", "1"}, "x-id.1.[1.5]", "[1.5]", genuine},
		"the list in another order":       {"x-type x-id", []string{"X-Id", "1", "X-Type", "a"}, "x-id x-type.1.a." + testBody, testBody, SignatureMismatch},
		"another value":                   {"x-id x-type", []string{"X-Id", "2", "X-Type", "a.b"}, "x-id x-type.1.a.b." + testBody, testBody, SignatureMismatch},
		"a value with a blank":            {"x-id", []string{"X-Id", "1 "}, "x-id.1." + testBody, testBody, SignatureMismatch},
		"a listed header is absent":       {"x-id x-type", []string{"X-Id", "1"}, "x-id x-type.1.a.b." + testBody, testBody, MissingHeader},
		"a listed header on two lines":    {"x-id", []string{"X-Id", "1", "X-Id", "1"}, "x-id.1." + testBody, testBody, MalformedSignature},
		"without the id":                  {"x-type", []string{"X-Id", "1", "X-Type", "a"}, "x-type.a." + testBody, testBody, MalformedSignature},
		"without the id, nor is it there": {"x-type", []string{"X-Type", "a"}, "x-type.a." + testBody, testBody, genuine},
		"no list":                         {"", []string{"X-Id", "1"}, "x-id.1." + testBody, testBody, MalformedSignature},
		"a header twice":                  {"x-id X-ID", []string{"X-Id", "1"}, "x-id X-ID.1.1." + testBody, testBody, MalformedSignature},
		"two blanks":                      {"x-id  x-type", []string{"X-Id", "1", "X-Type", "a"}, "x-id  x-type.1.a." + testBody, testBody, MalformedSignature},
		"a name with a dot":               {"x-id.1", []string{"X-Id", "1", "X-Id.1", "2"}, "x-id.1.2." + testBody, testBody, MalformedSignature},
		"a dot in a value but the last":   {"x-id x-type", []string{"X-Id", "1.a", "X-Type", "b"}, "x-id x-type.1.a.b." + testBody, testBody, MalformedSignature},
		"the body begins in a header":     {"x-id x-type", []string{"X-Id", "1", "X-Type", `a.{"n":1`}, `x-id x-type.1.a.{"n":1.5}`, "5}", MalformedSignature},
		"the body ends a header":          {"x-id x-type", []string{"X-Id", "1", "X-Type", "a"}, "x-id x-type.1.a.b." + testBody, "b." + testBody, MalformedSignature},
		"an empty body":                   {"x-id", []string{"X-Id", "1"}, "x-id.1.", "", MalformedSignature},
		"too many":                        {"x-id" + strings.Repeat(" x", maxListed), []string{"X-Id", "1"}, "", testBody, MalformedSignature},
	} {
		t.Run(name, func(t *testing.T) {
			signature := "t=1760000000,h=" + tc.list + ",v1=" + macOf(testKey, "1760000000."+tc.signed)
			expect(t, v, post(append(tc.headers, "X-Signature", signature)...), tc.body, tc.want)
		})
	}
	req := post()
	if err := v.Sign(req, "evt_1", testNow, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	if got := req.Header["X-Signature"]; len(got) != 1 || !strings.HasPrefix(got[0], "t=1760000000,h=x-id,v1=") {
		t.Errorf("signed as %q", got)
	}
	expect(t, v, req, testBody, genuine)

	one, other := post("X-Id", "1", "X-Type", "a"), post("X-Id", "1", "X-Type", "b")
	var contents []string
	for _, req := range []*Request{one, other} {
		signed := "1760000000.x-id x-type.1." + req.Header["X-Type"][0] + "." + testBody
		req.Header["X-Signature"] = []string{"t=1760000000,h=x-id x-type,v1=" + macOf(testKey, signed)}
		check, _, err := v.Open(req, testNow)
		if err == nil {
			_, _, err = check.Verify([]byte(testBody))
		}
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, string(check.Content([]byte(testBody))))
	}
	if contents[0] == contents[1] || !strings.Contains(contents[0], "x-type") || strings.Contains(contents[0], "x-id") {
		t.Errorf("contents %q", contents)
	}

	for _, edit := range []func(*Scheme){
		func(s *Scheme) { s.Message = StringList{"{timestamp}.{kv_headers:h}{body}"} },
		func(s *Scheme) { s.Message = StringList{"{kv_headers:h}.{body}"} },
		func(s *Scheme) { s.Message = StringList{"{timestamp}.{kv_headers:h}.{body}x"} },
		func(s *Scheme) { s.Message = StringList{"{timestamp}.{kv_headers:h|lower}.{body}"} },
		func(s *Scheme) { s.Message = StringList{"{timestamp}.{kv_headers:}.{body}"} },
		func(s *Scheme) { s.Message = StringList{"{timestamp}.{kv_headers:v1}.{body}"} },
		func(s *Scheme) { s.Timestamp = &Timestamp{Header: StringList{"X-Time"}} },
		func(s *Scheme) { s.Signature.Syntax, s.Signature.Key = "raw", nil },
	} {
		if validate(hooked(edit)) == nil {
			t.Errorf("compiles: %v", hooked(edit).Message)
		}
	}
}

// TestQueryParameterInMessage: the decoded value of one parameter of the URL.
func TestQueryParameterInMessage(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{"id:{query:data.id|lower};{body}"} }), Key{Text: testKey})
	for target, want := range map[string]Reason{
		"/hooks?data.id=ORD1":              genuine,
		"/hooks?type=x&data.id=ord1":       genuine,
		"/hooks?data.id=%6frd1":            genuine,
		"/hooks?data%2Eid=ord1":            genuine,
		"/hooks?data.id=ord2":              SignatureMismatch,
		"/hooks":                           MalformedSignature,
		"/hooks?data.id=":                  MalformedSignature,
		"/hooks?data.id=ord1&data.id=ord1": MalformedSignature,
		"/hooks?data.id=ord1&data%2Eid=x":  MalformedSignature,
		"/hooks?data.id=ord1;x":            MalformedSignature,
		"/hooks?data.id=ord1%3Bx":          MalformedSignature,
		"/hooks?Data.Id=ord1":              MalformedSignature,
	} {
		req := post("X-Signature", macOf(testKey, "id:ord1;"+testBody))
		req.Target = target
		expect(t, v, req, testBody, want)
	}
	for _, text := range []string{"{query:}{body}", "{query:a|}{body}"} {
		if validate(bare(func(s *Scheme) { s.Message = StringList{text} })) == nil {
			t.Errorf("%s compiles", text)
		}
	}
	var contents []string
	unsigned := mustVerifier(t, bare(func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{"id:{query:id};"}, true }), Key{Text: testKey})
	for _, id := range []string{"1", "2"} {
		req := post("X-Signature", macOf(testKey, "id:"+id+";"))
		req.Target = "/hooks?id=" + id
		check, _, err := unsigned.Open(req, testNow)
		if err == nil {
			_, _, err = check.Verify([]byte(testBody))
		}
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, string(check.Content([]byte(testBody))))
	}
	if contents[0] == contents[1] {
		t.Errorf("contents %q", contents)
	}
	req := post()
	req.Target = "/hooks?data.id=7"
	if err := v.Sign(req, "", testNow, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	expect(t, v, req, testBody, genuine)
}
