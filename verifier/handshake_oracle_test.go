package verifier

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// anyHMAC answers with an HMAC of any text that an answer may repeat.
const anyHMAC = `[{"when":{"method":"GET","query":{"c":"*"}},"pattern":{"query:c":".{1,512}"},"respond":{"text":"{hmac:query:c|hex}"}}]`

// TestNoChallengeIsADelivery: for any scheme, a delivery whose signed content a
// stranger can get signed is refused.
func TestNoChallengeIsADelivery(t *testing.T) {
	const header = "X-Signature"
	for name, tc := range map[string]struct {
		messages StringList
		body     string
		headers  []string
		edit     func(*Scheme)
	}{
		"the body":                {messages: StringList{"{body}"}, body: "hello"},
		"alternatives":            {messages: StringList{"v0:{body}", "{body}"}, body: "hello"},
		"a digest":                {messages: StringList{"{body|sha256|hex}"}, body: testBody},
		"time and body":           {messages: StringList{"{timestamp}.{body}"}, body: "hello", headers: []string{"X-Time", "1760000000"}, edit: func(s *Scheme) { s.Timestamp = &Timestamp{Header: StringList{"X-Time"}} }},
		"a form sorted":           {messages: StringList{"{form_sorted}"}, body: "b=2&a=1"},
		"URL and form":            {messages: StringList{"{url_form_sorted}"}, body: "b=2&a=1"},
		"URL and a digest":        {messages: StringList{"{url}{body|sha256|hex}"}, body: testBody},
		"a URL escaped":           {messages: StringList{"{uri_encoded_twice} {body|md5|hex}"}, body: testBody},
		"listed headers":          {messages: StringList{"{signed_headers:X-List}|{body|sha1|hex}"}, body: testBody, headers: []string{"X-List", "x-list"}},
		"JSON members":            {messages: StringList{"{json:a}:{json:b}"}, body: `{"a":"1","b":"2"}`},
		"form fields":             {messages: StringList{"{form:a}:{form:b}"}, body: "a=1&b=2"},
		"another key":             {messages: StringList{"{kv:t}.{body}"}, body: "hello", edit: func(s *Scheme) { s.Signature.Syntax, s.Signature.Key = "kv", StringList{"v1"} }},
		"before it is compressed": {messages: StringList{"{body}"}, body: zipped("hello"), headers: []string{"Content-Encoding", "gzip"}, edit: func(s *Scheme) { s.BodyDecoded = true }},
	} {
		t.Run(name, func(t *testing.T) {
			edit := func(s *Scheme) {
				s.Message, s.BodyUnsigned = tc.messages, true
				if tc.edit != nil {
					tc.edit(s)
				}
			}
			v := mustGreeting(t, anyHMAC, edit)
			sign := func(signature string) *Request {
				if v.signature.Syntax == "kv" {
					signature = "t=1,v1=" + signature
				}
				return post(append(tc.headers, header, signature)...)
			}
			check, _, err := v.Open(sign(bodyHex), testNow)
			if err != nil {
				t.Fatal(err)
			}
			var content bytes.Buffer
			if _, rej := check.write(&content, nil, v.messages[len(v.messages)-1], nil, []byte(tc.body)); rej != nil {
				t.Fatal(rej)
			}
			answer, err := greeted(v, get("/?c="+escapeQuery(content.String())), "")
			if err != nil || answer == nil {
				t.Fatalf("%q is no challenge: %v", content.String(), err)
			}
			silent := mustGreeting(t, "[]", edit)
			expect(t, silent, sign(answer.Body), tc.body, genuine)
			expect(t, v, sign(answer.Body), tc.body, SignatureMismatch)
			if !v.IsOracleFor(silent) || v.IsOracleFor(v) || silent.IsOracleFor(v) {
				t.Error("it is an oracle for what knows no challenges alone")
			}
		})
	}
}

// TestOraclesForOthers: a scheme that answers strangers with an HMAC signs for another
// with the same secret and algorithm, unless that refuses the same challenges.
func TestOraclesForOthers(t *testing.T) {
	v := mustGreeting(t, hmacEcho, nil)
	base64Secret := func(s *Scheme) { s.SecretEncoding = "base64" }
	for name, tc := range map[string]struct {
		other *Verifier
		want  bool
	}{
		"the same secret":              {mustGreeting(t, "[]", nil), true},
		"among others":                 {mustGreeting(t, "[]", nil, Key{Text: "another"}, Key{Text: testKey}), true},
		"in another encoding":          {mustGreeting(t, "[]", base64Secret, Key{Text: base64.StdEncoding.EncodeToString([]byte(testKey))}), true},
		"that only echoes":             {mustGreeting(t, echo, nil), true},
		"that refuses other texts":     {mustGreeting(t, strings.Replace(hmacEcho, "[a-z]", "[0-9]", 1), nil), true},
		"that refuses the same":        {mustGreeting(t, hmacEcho, nil), false},
		"another secret":               {mustGreeting(t, "[]", nil, Key{Text: "another"}), false},
		"another algorithm":            {mustGreeting(t, "[]", func(s *Scheme) { s.Algorithm = HMACSHA1 }), false},
		"the secret itself as a token": {mustGreeting(t, "[]", func(s *Scheme) { s.Algorithm, s.BodyUnsigned = Token, true }), false},
	} {
		if got := v.IsOracleFor(tc.other); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	if mustGreeting(t, echo, nil).IsOracleFor(mustGreeting(t, "[]", nil)) {
		t.Error("an echo is an oracle")
	}
}

func escapeQuery(text string) string {
	return strings.NewReplacer("%", "%25", "&", "%26", "+", "%2B", "#", "%23").Replace(text)
}

// TestOraclesDoNotCompile: a rule that answers an HMAC is refused if the signed
// content cannot be compared with a challenge, or if anyone can choose the challenge
// although the handshake is signed.
func TestOraclesDoNotCompile(t *testing.T) {
	signed := func(rule string) string { return strings.Replace(rule, `"respond"`, `"signed":true,"respond"`, 1) }
	const inHeader = `[{"when":{"header":{"X-Kind":"hello"}},"respond":{"text":"{hmac:header:X-Kind|hex}"}}]`
	const inBody = `[{"when":{"json":{"event":"hello"}},"respond":{"text":"{hmac:json:token|hex}"}}]`
	jwt := func(s *Scheme) {
		s.Signature = &Signature{Header: StringList{"X-Jwt"}, Syntax: syntaxJWT}
		s.Claims = map[string]string{"payload_hash": "{body|sha256|hex}"}
	}
	detached := func(s *Scheme) { s.Signature = &Signature{Header: StringList{"X-Jws"}, Syntax: syntaxDetached} }
	fields := func(s *Scheme) {
		s.Signature = &Signature{Header: StringList{"Signature"}, Syntax: syntaxHTTPSignature}
	}
	unsigned := func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{"{json:event}"}, true }
	for name, tc := range map[string]struct {
		rules string
		edit  func(*Scheme)
		want  string // "": compiles
	}{
		"jwt":                              {anyHMAC, jwt, "with the syntax jwt"},
		"jwt, signed":                      {signed(inBody), jwt, "with the syntax jwt"},
		"detached JWS":                     {anyHMAC, detached, "with the syntax jws_detached"},
		"RFC 9421":                         {anyHMAC, fields, "with the syntax http_signature"},
		"jwt that only echoes":             {echo, jwt, ""},
		"unsigned, without a pattern":      {strings.Replace(anyHMAC, `"pattern":{"query:c":".{1,512}"},`, "", 1), nil, "pattern: missing"},
		"signed, of the URL":               {signed(strings.Replace(anyHMAC, `"pattern":{"query:c":".{1,512}"},`, "", 1)), nil, "pattern: missing"},
		"signed, of a header":              {signed(inHeader), nil, "pattern: missing"},
		"signed, of a body that is not":    {signed(inBody), unsigned, "pattern: missing"},
		"signed, of the body":              {signed(inBody), nil, ""},
		"signed, of the URL, with pattern": {signed(anyHMAC), nil, ""},
	} {
		_, err := greeting(t, tc.rules, tc.edit)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}
