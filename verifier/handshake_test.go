package verifier

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// greeting compiles the default scheme with handshake rules in the form of a provider
// file.
func greeting(tb testing.TB, rules string, edit func(*Scheme), keys ...Key) (*Verifier, error) {
	tb.Helper()
	s := bare(edit)
	if err := json.Unmarshal([]byte(rules), &s.Handshakes); err != nil {
		tb.Fatal(err)
	}
	if len(keys) == 0 {
		keys = []Key{{Text: testKey}}
	}
	return New(s, keys)
}

func mustGreeting(tb testing.TB, rules string, edit func(*Scheme), keys ...Key) *Verifier {
	tb.Helper()
	v, err := greeting(tb, rules, edit, keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func get(target string, headers ...string) *Request {
	req := post(headers...)
	req.Method, req.Target = "GET", target
	return req
}

// greeted returns the answer to a handshake, or why it is refused. Both are nil if
// the request is not a handshake.
func greeted(v *Verifier, req *Request, body string) (*Answer, error) {
	j, err := v.Judge(req, []byte(body), testNow)
	if rej, ok := errors.AsType[*Rejection](err); ok && rej.Reason != HandshakeMismatch {
		return nil, nil
	}
	return j.Answer, err
}

const echo = `[{"when":{"method":"GET","query":{"challenge":"*"}},"respond":{"text":"{query:challenge}"}}]`

func TestHandshakeWhen(t *testing.T) {
	v := mustGreeting(t, `[
		{"when":{"method":"GET","query":{"mode":["a","b"],"challenge":"*"}},"respond":{"text":"1"}},
		{"when":{"header":{"x-kind":"hello"}},"respond":{"text":"2"}},
		{"when":{"method":["HEAD","OPTIONS"]},"respond":{"text":"3"}}]`, nil)
	for _, tc := range []struct {
		req  *Request
		want string
	}{
		{get("/?mode=a&challenge=x"), "1"},
		{get("/?challenge=x&mode=b&more="), "1"},
		{get("/?mode=c&challenge=x"), ""},
		{get("/?mode=a&challenge="), ""},
		{get("/?mode=a"), ""},
		{get("/?mode=a&challenge=x&mode=a"), ""},
		{get("/?mode=a&challenge=%zz"), ""},
		{get("/", "X-Kind", "hello"), ""},
		{post("X-Kind", "hello"), "2"},
		{post("X-Kind", "hello", "X-Kind", "hello"), ""},
		{post("X-Kind", "Hello"), ""},
		{&Request{Method: "HEAD", Target: "/"}, "3"},
		{&Request{Method: "OPTIONS", Target: "/"}, "3"},
		{&Request{Method: "PUT", Target: "/"}, ""},
	} {
		answer, err := greeted(v, tc.req, "")
		if err != nil {
			t.Errorf("%s %s: %v", tc.req.Method, tc.req.Target, err)
		}
		got := ""
		if answer != nil {
			got = answer.Body
		}
		if got != tc.want {
			t.Errorf("%s %s %v: got %q, want %q", tc.req.Method, tc.req.Target, tc.req.Header, got, tc.want)
		}
	}
	for method, want := range map[string]bool{"GET": true, "HEAD": true, "POST": true, "PUT": false, "get": false} {
		if v.Greets(&Request{Method: method, Target: "/?mode=a&challenge=x", Header: map[string][]string{"X-Kind": {"hello"}}}) != want {
			t.Errorf("Greets with %s is not %t", method, want)
		}
	}
}

func TestHandshakeBounds(t *testing.T) {
	v := mustGreeting(t, echo, nil)
	spaced := mustGreeting(t, strings.Replace(echo, `"respond"`, `"pattern":{"query:challenge":"(?s).*"},"respond"`, 1), nil)
	digits := mustGreeting(t, strings.Replace(echo, `"respond"`, `"pattern":{"query:challenge":"[0-9]+|x"},"respond"`, 1), nil)
	for _, tc := range []struct {
		value                  string // of the query, escaped
		plain, spaced, numbers bool
	}{
		{"abc", true, true, false},
		{"123", true, true, true},
		{"x", true, true, true},
		{"123%0a", false, false, false}, // $ would accept it
		{"x123", true, true, false},
		{"~!%23$%25()*%2b,-./:;=?@[]^_%60{|}", true, true, false},
		{"a%20b", false, true, false},
		{"a+b", false, true, false},
		{"%3c", false, false, false}, {"%3e", false, false, false}, {"%22", false, false, false},
		{"%27", false, false, false}, {"a%26b", false, false, false}, {"%5c", false, false, false},
		{"%0d%0aX: y", false, false, false}, {"%00", false, false, false}, {"%7f", false, false, false},
		{"%c3%a4", false, false, false}, {"%ff", false, false, false},
		{strings.Repeat("1", 512), true, true, true},
		{strings.Repeat("1", 513), false, false, false},
	} {
		for i, check := range []struct {
			v    *Verifier
			want bool
		}{{v, tc.plain}, {spaced, tc.spaced}, {digits, tc.numbers}} {
			answer, err := greeted(check.v, get("/?challenge="+tc.value), "")
			if (answer != nil) != check.want {
				t.Errorf("%.40s, verifier %d: answered: %t, want %t (%v)", tc.value, i, answer != nil, check.want, err)
			}
			if err != nil && rejection(t, err).Reason != HandshakeMismatch {
				t.Errorf("%.40s: %v", tc.value, err)
			}
			if err != nil && len(err.Error()) > 120 {
				t.Errorf("the error may repeat the value: %v", err)
			}
		}
	}
}

// TestHandshakeRequire: a token is required and appears in no error.
func TestHandshakeRequire(t *testing.T) {
	rules := `[{"when":{"method":"GET","query":{"challenge":"*"}},"require":{"query":{"token":"{param:token}"},"header":{"X-From":["me","you"]}},"respond":{"text":"ok"}}]`
	v := mustGreeting(t, rules, func(s *Scheme) { s.Params = map[string]string{"token": "to*ken{}"} })
	for _, tc := range []struct {
		target, from string
		want         bool
	}{
		{"/?challenge=1&token=to*ken{}", "me", true},
		{"/?challenge=1&token=to*ken{}", "you", true},
		{"/?challenge=1&token=to*ken{}", "them", false},
		{"/?challenge=1&token=to*ken{}", "", false},
		{"/?challenge=1&token=to*ken", "me", false},
		{"/?challenge=1&token=*", "me", false},
		{"/?challenge=1&token=", "me", false},
		{"/?challenge=1", "me", false},
		{"/?challenge=1&token=to*ken{}&token=to*ken{}", "me", false},
	} {
		answer, err := greeted(v, get(tc.target, "X-From", tc.from), "")
		if (answer != nil) != tc.want || (err == nil) != tc.want {
			t.Errorf("%s, %s: got %+v, %v", tc.target, tc.from, answer, err)
		}
		if err != nil && strings.Contains(err.Error(), "to*ken") {
			t.Errorf("the error holds the token: %v", err)
		}
	}
	if _, err := greeting(t, rules, nil); err == nil || !strings.Contains(err.Error(), "give it with: param token <value>") || !strings.Contains(err.Error(), "handshake off") {
		t.Errorf("a param without a value: %v", err)
	}
}

const hmacEcho = `[{"when":{"method":"GET","query":{"c":"*"}},"pattern":{"query:c":"[a-z]{1,9}"},"respond":{"text":"{hmac:query:c|hex}"}}]`

// TestHandshakeIsNoOracle: what anyone can get signed is not a delivery.
func TestHandshakeIsNoOracle(t *testing.T) {
	for name, edit := range map[string]func(*Scheme){
		"body":      nil,
		"digest":    func(s *Scheme) { s.Message = StringList{"{body|sha256|hex|lower}"} },
		"json":      func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{"{json:data}"}, true },
		"alternate": func(s *Scheme) { s.Message = StringList{"v0:{body}", "{body}"} },
	} {
		t.Run(name, func(t *testing.T) {
			rules, body, content := hmacEcho, "abc", "abc"
			switch name {
			case "digest":
				rules = strings.Replace(rules, "[a-z]{1,9}", "[a-f0-9]{64}", 1)
				content = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // SHA-256 of abc, FIPS 180-4
			case "json":
				body = `{"data":"abc"}`
			}
			v := mustGreeting(t, rules, edit)
			answer, err := greeted(v, get("/?c="+content), "")
			if err != nil || answer.Body != macOf(testKey, content) {
				t.Fatalf("got %+v, %v", answer, err)
			}
			expect(t, v, post("X-Signature", answer.Body), body, SignatureMismatch)
			if name != "digest" { // there nothing else is signed
				expect(t, v, post("X-Signature", macOf(testKey, strings.Replace(content, "abc", testBody, 1))), strings.Replace(body, `abc`, testBody, 1), map[bool]string{true: genuine, false: string(MalformedSignature)}[name != "json"])
			}
			without := mustGreeting(t, "[]", edit)
			expect(t, without, post("X-Signature", answer.Body), body, genuine)
		})
	}
}

// TestHandshakeKey: the first secret answers an unsigned handshake; a signed one is
// answered with the secret that signed it, whatever the labels.
func TestHandshakeKey(t *testing.T) {
	keys := []Key{{Label: "current", Text: "one"}, {Label: "current", Text: "two"}}
	v := mustGreeting(t, hmacEcho, nil, keys...)
	answer, err := greeted(v, get("/?c=abc"), "")
	if err != nil || answer.Body != macOf("one", "abc") {
		t.Errorf("unsigned: got %+v, %v", answer, err)
	}
	v = mustGreeting(t, `[{"when":{"json":{"event":"hello"}},"signed":true,"respond":{"json":{"t":"{hmac:json:token|hex}","n":[1,true,"{json:token}"]}}}]`, nil, keys...)
	body := `{"event":"hello","token":"abc"}`
	for _, key := range []string{"one", "two"} {
		answer, err := greeted(v, post("X-Signature", macOf(key, body)), body)
		if want := `{"t":"` + macOf(key, "abc") + `","n":[1,true,"abc"]}`; err != nil || answer.Body != want || answer.ContentType != "application/json" {
			t.Errorf("%s: got %+v, %v, want %s", key, answer, err, want)
		}
	}
	if _, answer, err := v.Open(post(), testNow); answer != nil || rejection(t, err).Reason != MissingSignature || v.Greets(post()) {
		t.Errorf("a signed handshake needs no reading without a signature: %+v, %v", answer, err)
	}
}

// TestHandshakeInBody: unsigned handshakes recognised only by the body.
func TestHandshakeInBody(t *testing.T) {
	v := mustGreeting(t, `[{"when":{"header":{"X-Kind":"*"},"json":{"kind":"hello"}},"respond":{"json":{"challenge":"{json:challenge}"}}}]`, nil)
	req := post("X-Kind", "a")
	for _, other := range []*Request{post(), get("/", "X-Kind", "a")} {
		if _, _, err := v.Open(other, testNow); err == nil {
			t.Errorf("%s with %v: only a POST with the header is worth reading", other.Method, other.Header)
		}
	}
	for body, want := range map[string]string{
		`{"kind":"hello","challenge":"abc"}`:                              `{"challenge":"abc"}`,
		`{"kind":"other","challenge":"hello"}`:                            "",
		`{"kind":"hello","kind":"hello","challenge":"abc"}`:               "",
		`{"kind":["hello"],"challenge":"abc"}`:                            "",
		`{"kind":"hello","challenge":"abc"`:                               "",
		`{"kind":"hello","challenge":"a\"}"}`:                             "refused",
		`{"kind":"hello","challenge":{"a":1}}`:                            "refused",
		`{"kind":"hello"}`:                                                "refused",
		`{"kind":"hello","challenge":"\u003cscript\u003e"}`:               "refused",
		`{"kind":"hello","challenge":12}`:                                 `{"challenge":"12"}`,
		`{"kind":"hello","challenge":"abc"` + pad(maxHandshakeBody) + `}`: "",
		"hello": "",
		"":      "",
	} {
		answer, err := greeted(v, req, body)
		got := ""
		if err != nil {
			got = "refused"
		} else if answer != nil {
			got = answer.Body
		}
		if got != want {
			t.Errorf("%.60s: got %s, want %s", body, got, want)
		}
		if _, early, err := v.Open(req, testNow); early != nil || err != nil {
			t.Errorf("answered or refused without the body: %+v, %v", early, err)
		}
	}
}

func pad(n int) string { return strings.Repeat(" ", n) }

// TestHandshakeErrors: errors say what is wrong with a rule.
func TestHandshakeErrors(t *testing.T) {
	for rules, want := range map[string]string{
		`[{"when":{},"respond":{}}]`:                                                                       "does not distinguish it from a delivery",
		`[{"when":{"method":"PUT"},"respond":{}}]`:                                                         "does not distinguish it from a delivery",
		`[{"when":{"method":"GET"},"signed":true,"respond":{}}]`:                                           "does not distinguish it from a delivery",
		`[{"when":{"method":"GET"},"respond":{"status":302}}]`:                                             "write a 2xx",
		`[{"when":{"method":"GET"},"respond":{"status":204,"text":"x"}}]`:                                  "204 has no body",
		`[{"when":{"method":"GET"},"respond":{"text":"x","json":{}}}]`:                                     "text or json",
		`[{"when":{"method":"GET"},"respond":{"text":"{query:a"}}]`:                                        "without its }",
		`[{"when":{"method":"GET"},"respond":{"text":"{body}"}}]`:                                          "unknown source",
		`[{"when":{"method":"GET"},"respond":{"text":"{query:}"}}]`:                                        "unknown source",
		`[{"when":{"method":"GET"},"respond":{"text":"{json:a..b}"}}]`:                                     "JSON path",
		`[{"when":{"method":"GET"},"respond":{"text":"{header:a b}"}}]`:                                    "invalid header name",
		`[{"when":{"method":"GET"},"respond":{"text":"{hmac:query:a}"}}]`:                                  "|base64url",
		`[{"when":{"method":"GET"},"respond":{"text":"{hmac:query:a|hex}"}}]`:                              "anyone could get any text signed",
		`[{"when":{"method":"GET"},"respond":{"text":"{param:x}"}}]`:                                       "param x <value>",
		`[{"when":{"method":"GET"},"respond":{"header":{"Location":"{query:a}"}}}]`:                        "only a header named in when",
		`[{"when":{"header":{"X-A":"*"}},"respond":{"header":{"X-A":"a\r\nb"}}}]`:                          "control character",
		`[{"when":{"method":"GET"},"pattern":{"query:a":"("},"respond":{"text":"{query:a}"}}]`:             "pattern: query:a",
		`[{"when":{"method":"GET"},"pattern":{"query:b":"a"},"respond":{"text":"{query:a}"}}]`:             "does not use query parameter b",
		`[{"when":{"method":"GET"},"pattern":{"b":"a"},"respond":{"text":"{query:a}"}}]`:                   "unknown source",
		`[{"when":{"query":{"a":[]}},"respond":{}}]`:                                                       "no value",
		`[{"when":{"query":{"a":""}},"respond":{}}]`:                                                       "a value is text",
		`[{"when":{"query":{"a":"{param:x}"}},"respond":{}}]`:                                              "in require it may be",
		`[{"when":{"method":"GET"},"require":{"json":{"a[":"x"}},"respond":{}}]`:                           "JSON path",
		`[{"when":{"method":"GET"},"respond":{}},{"when":{"method":"GET"},"respond":{"json":"{query:a"}}]`: "rule 2",
	} {
		_, err := greeting(t, rules, nil)
		e, ok := err.(*SchemeError)
		if !ok || e.Field != "handshake" || !strings.Contains(e.Error(), want) {
			t.Errorf("%s: got %v, want %q", rules, err, want)
		}
	}
	if _, err := greeting(t, hmacEcho, func(s *Scheme) { s.Algorithm = Ed25519 }, Key{Text: edPublic2, Kind: PublicKey}); err == nil || !strings.Contains(err.Error(), "not an HMAC") {
		t.Errorf("an HMAC without a secret: %v", err)
	}
}

// TestHandshakeJSON: params and literals are escaped as their place requires.
func TestHandshakeJSON(t *testing.T) {
	v := mustGreeting(t, `[{"when":{"method":"GET","query":{"c":"*"}},"respond":{"status":201,"json":{ "a" : "{param:p}-{query:c}", "b\n": {"c":[null,1.50]} }}}]`,
		func(s *Scheme) { s.Params = map[string]string{"p": "\"\\\n<"} })
	answer, err := greeted(v, get("/?c=x"), "")
	if want := `{"a":"\"\\\n\u003c-x","b\n":{"c":[null,1.50]}}`; err != nil || answer.Body != want || answer.Status != 201 {
		t.Errorf("got %+v, %v, want %s", answer, err, want)
	}
}

// TestHandshakesCostDeliveriesNothing: no cost without handshakes, and no allocation
// if a method or a word of the body identifies a delivery at once.
func TestHandshakesCostDeliveriesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool allocates under the race detector")
	}
	for _, rules := range []string{"[]", echo, `[{"when":{"json":{"type":"url_verification"}},"signed":true,"respond":{"text":"{json:challenge}"}}]`} {
		v := mustGreeting(t, rules, nil)
		req := post("X-Signature", bodyHex)
		body := []byte(testBody)
		if n := testing.AllocsPerRun(200, func() {
			check, answer, err := v.Open(req, testNow)
			if answer != nil || err != nil {
				t.Error(answer, err)
			}
			if _, answer, err := check.Verify(body); answer != nil || err != nil {
				t.Error(answer, err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", rules, n)
		}
	}
}

// FuzzHandshake: for any request, the answer cannot break out of its header, JSON or
// content type, and does not exceed its limit.
func FuzzHandshake(f *testing.F) {
	v := mustGreeting(f, `[
		{"when":{"method":"GET","query":{"c":"*"}},"respond":{"text":"{query:c}"}},
		{"when":{"header":{"X-A":"*"}},"pattern":{"header:X-A":"[ -~]*"},"respond":{"header":{"X-A":"{header:X-A}"}}},
		{"when":{"json":{"c":"*"}},"respond":{"json":{"c":"{json:c}","d":["{json:c} {json:c}"]}}}]`, nil)
	for _, seed := range []string{"", "abc", "<script>", `","a":"`, "a\r\nb: c", "\xff", strings.Repeat("a", 600)} {
		quoted, _ := json.Marshal(map[string]string{"c": seed})
		f.Add("c="+seed, seed, quoted)
	}
	f.Fuzz(func(t *testing.T, query, header string, body []byte) {
		for _, req := range []*Request{get("/?" + query), post("X-A", header), post()} {
			answer, err := greeted(v, req, string(body))
			if err != nil && answer != nil {
				t.Fatal("an answer beside an error")
			}
			if err != nil && rejection(t, err).Reason != HandshakeMismatch || answer == nil {
				continue
			}
			for _, text := range []string{answer.Body, answer.Header["X-A"]} {
				if len(text) > 4*maxEcho || !utf8.ValidString(text) || strings.ContainsAny(text, "<>'&\\\r\n\x00\x7f") {
					t.Fatalf("answers %q", text)
				}
			}
			if answer.ContentType == "application/json" {
				var got struct {
					C string
					D []string
				}
				if err := json.Unmarshal([]byte(answer.Body), &got); err != nil || len(got.D) != 1 || got.D[0] != got.C+" "+got.C {
					t.Fatalf("answers %s: %v", answer.Body, err)
				}
			} else if strings.Contains(answer.Body, `"`) {
				t.Fatalf("answers %q", answer.Body)
			}
		}
	})
}
