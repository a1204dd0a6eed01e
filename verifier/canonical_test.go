package verifier

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
)

// canonical is the default scheme with a message that may leave out the body.
func canonical(t *testing.T, message string, edit func(*Scheme)) *Verifier {
	return mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.BodyUnsigned = StringList{message}, true
		if edit != nil {
			edit(s)
		}
	}), Key{Text: testKey})
}

// TestOptionalMembers: an absent or null member is empty text; an object is refused,
// and so is a text with the delimiter.
func TestOptionalMembers(t *testing.T) {
	v := canonical(t, "{json:i[only].a}:{json:i[only].b?}:{json:i[only].c.d?}", nil)
	for _, tc := range []struct{ body, content, want string }{
		{`{"i":[{"a":"1","b":"2","c":{"d":3}}]}`, "1:2:3", genuine},
		{`{"i":[{"a":"1","c":{"d":3}}]}`, "1::3", genuine},
		{`{"i":[{"a":"1","b":null}]}`, "1::", genuine},
		{`{"i":[{"a":"1","b":"","c":{}}]}`, "1::", genuine},
		{`{"i":[{"a":"1","b":{}}]}`, "1::", "malformed_signature"},
		{`{"i":[{"a":"1","b":[]}]}`, "1::", "malformed_signature"},
		{`{"i":[{"a":"1","b":"2","b":"2"}]}`, "1:2:", "malformed_signature"},
		{`{"i":[{"a":"1","b":"2:3"}]}`, "1:2:3:", "malformed_signature"},
		{`{"i":[{"a":"1:2","c":{"d":3}}]}`, "1:2::3", "malformed_signature"},
		{`{"i":[{"b":"2"}]}`, ":2:", "malformed_signature"}, // not optional
		{`{"i":[{"a":"1"},{"a":"1"}]}`, "1::", "malformed_signature"},
		{`{"i":[]}`, "::", "malformed_signature"},
		{`{"i":[{"a":"1"}]`, "1::", "malformed_signature"},
	} {
		expect(t, v, post("X-Signature", macOf(testKey, tc.content)), tc.body, tc.want)
	}
	if err := validate(bare(func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{"{json:i[*].a?}"}, true })); err == nil || !strings.Contains(err.Error(), "drop the ?") {
		t.Errorf("[*] with ?: %v", err)
	}
}

// TestBodyAsJSONString: the texts are those that node's JSON.stringify gives.
func TestBodyAsJSONString(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{`\{"Body":{body|json}\}`} }), Key{Text: testKey})
	for body, content := range map[string]string{
		`{"a":"b\n"}`:               `{"Body":"{\"a\":\"b\\n\"}"}`,
		"\x00\x07\b\t\n\v\f\r\x1f ": `{"Body":"\u0000\u0007\b\t\n\u000b\f\r\u001f "}`,
		"é😀\u2028<&>/\x7f":          `{"Body":"é😀` + "\u2028" + `<&>/` + "\x7f" + `"}`,
		"":                          `{"Body":""}`,
		`"`:                         `{"Body":"\""}`,
	} {
		expect(t, v, post("X-Signature", macOf(testKey, content)), body, genuine)
		expect(t, v, post("X-Signature", macOf(testKey, content)), body+"x", SignatureMismatch)
	}
	for _, lossy := range []string{"{body|json|upper}", "{header:x}{body|hex}", "{body|json|crc32}"} {
		if err := validate(bare(func(s *Scheme) { s.Message = StringList{lossy} })); err == nil {
			t.Errorf("%s is taken to cover the body", lossy)
		}
	}
}

// TestBodyInBase64: the body may be encoded if its end is certain. The MAC is that of a
// test of Lago, which receives such deliveries.
func TestBodyInBase64(t *testing.T) {
	scheme := bare(func(s *Scheme) {
		s.Message, s.Timestamp = StringList{"{body|base64}{timestamp}"}, &Timestamp{Header: StringList{"X-Time"}, Unit: "s"}
	})
	v := mustVerifier(t, scheme, Key{Text: "test_signature_key"})
	now := time.Unix(1743090080, 0)
	const mac = "ca13480c8142f2f2b44822c764909027974e84b3e8c94457a314f129d8d60148"
	for _, tc := range []struct {
		at, body string
		want     string
	}{
		{"1743090080", `"webhook_payload"`, genuine},
		{"1743090080", `"webhook_payload" `, string(SignatureMismatch)},
		{"1743090081", `"webhook_payload"`, string(SignatureMismatch)},
		{"01743090080", `"webhook_payload"`, string(MalformedTimestamp)},
	} {
		if got := judge(v, post("X-Signature", mac, "X-Time", tc.at), now, tc.body); got != tc.want {
			t.Errorf("%s at %s: got %s, want %s", tc.body, tc.at, got, tc.want)
		}
	}
	for _, open := range []string{"{body|base64}{header:x}", "{header:x}{body|base64}{timestamp}", "{body|base64|lower}", "{body|base64}{id}{timestamp}"} {
		scheme.Message, scheme.DeliveryID = StringList{open}, &DeliveryID{Header: StringList{"X-Id"}}
		if err := validate(scheme); err == nil {
			t.Errorf("%s is taken to cover the body", open)
		}
	}
}

// TestMessageDigest: Bridge prints this delivery in its documentation; openssl says that
// the signature is one of the digest, hashed again, and not of the message.
func TestMessageDigest(t *testing.T) {
	const (
		key       = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtqsEE4eI7EmzhcquGJXtLX9PMK0UH6Kl1WIR21sv8HtueG8BuvvpP3MiN7ltzmIhS8KaynCjN4l+620PnXeuxWG+CSnEdkinL9hCqbEid5vv9zl0j9LWiJx3FkKHqADU7cgm46aa8dKUdIQYF2X+O7WmyLkC4wUM/mWhBPMsIQBznashRMZxx7XJjsVp27ACUE4eNIjEXbVYN6U8jSbUhG++CfL8xXu+GHDqKmFE6Po6HnuURvLFVnCtE3mXXBcVFlPy+octfx8nOMLT3X8O9UehIigJ34o2yMm/Fq3HUJzg2BsiAiGgtr0vmeoV9Q7upSNj9TuOumAzZFi4pYA+qwIDAQAB"
		signature = "jz/0dmHJ63FAzacGutrDTEoq+iSz/PHm/ugdooXDQu5NwuVIT2LmZGjsnCsBHgR9Py6OBP9zurzW4dHgygU4EDqmMPTUOvhvndYb4lWt+TY66LihaFI2whL6DAf/jb1QjYjNU0A6x9SLzC45dgE6X7zTDUM+2Z+scG/WEQf6SxQMt4E2sEipl5PqMK5lYUe3otdJV+X2c9D64bGwCEE7QSia+Vhozg8QNOQEk/rdz2IEONIg6oC43CeiN4E2kF9XLAGuy9uAHx9O9OJH5ZPLJZjyo4VcXYeWQgxaQ1gZ1Qu6hEEzgiPSff/1nou58dm4bIIazgCWli/mO0NyGcpfFw=="
		body      = `{"message":"Hello World!"}`
	)
	scheme := bare(func(s *Scheme) {
		s.Algorithm, s.MessageDigest, s.Signature.Encoding = RSAPKCS1v15SHA256, "sha256", "base64"
		s.Message = StringList{"1705854411204.{body}"}
	})
	v := mustVerifier(t, scheme, Key{Kind: PublicKey, Text: key})
	expect(t, v, post("X-Signature", signature), body, genuine)
	expect(t, v, post("X-Signature", signature), body+" ", SignatureMismatch)

	scheme.MessageDigest = ""
	expect(t, mustVerifier(t, scheme, Key{Kind: PublicKey, Text: key}), post("X-Signature", signature), body, SignatureMismatch)
	for name, edit := range map[string]func(*Scheme){
		"an HMAC":      func(s *Scheme) { s.Algorithm = HMACSHA256 },
		"a token":      func(s *Scheme) { s.Algorithm, s.Message, s.BodyUnsigned = Token, nil, true },
		"a JWS":        func(s *Scheme) { s.Signature.Syntax, s.Signature.Encoding = syntaxDetached, "" },
		"another hash": func(s *Scheme) { s.MessageDigest = "md5" },
	} {
		s := scheme
		signatureOf := *s.Signature
		s.Signature, s.MessageDigest = &signatureOf, "sha256"
		edit(&s)
		if err := validate(s); err == nil || !strings.HasPrefix(err.Error(), "message_digest: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSignedHeaders: the content is what @contentful/node-apps-toolkit joins.
func TestSignedHeaders(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.Timestamp = StringList{"{method}\\n{uri_encoded_twice}\\n{signed_headers:X-List}\\n{body}"}, &Timestamp{Header: StringList{"X-Time"}}
	}), Key{Text: testKey})
	sign := func(headers string) string { return macOf(testKey, "POST\n/hooks/acme\n"+headers+"\n"+testBody) }
	for _, tc := range []struct {
		what, list, content, topic, want string
	}{
		{"two", "x-list,x-time", "x-list:x-list,x-time;x-time:1760000000", "", genuine},
		{"three", "x-list,x-time,x-topic", "x-list:x-list,x-time,x-topic;x-time:1760000000;x-topic:a", "a", genuine},
		{"unsorted and in capitals", "X-Topic, x-list,x-time", "x-list:X-Topic, x-list,x-time;x-time:1760000000;x-topic:a", "a", genuine},
		{"another value", "x-list,x-time,x-topic", "x-list:x-list,x-time,x-topic;x-time:1760000000;x-topic:a", "b", "signature_mismatch"},
		{"a header that is not there", "x-list,x-time,x-topic", "x-list:x-list,x-time,x-topic;x-time:1760000000;x-topic:", "", "missing_header"},
		{"the list is not in the list", "x-time", "x-time:1760000000", "", "malformed_signature"},
		{"the time is not in the list", "x-list", "x-list:x-list", "", "malformed_signature"},
		{"a name twice", "x-list,x-list,x-time", "x-list:x-list,x-list,x-time;x-time:1760000000", "", "malformed_signature"},
		{"an empty name", "x-list,,x-time", ":;x-list:x-list,,x-time;x-time:1760000000", "", "malformed_signature"},
		{"a value like the next header", "x-list,x-time,x-topic", "x-list:x-list,x-time,x-topic;x-time:1760000000;x-topic:;x-time:1", ";x-time:1", "malformed_signature"},
		{"a value with a semicolon", "x-list,x-time,x-topic", "x-list:x-list,x-time,x-topic;x-time:1760000000;x-topic:a;b", "a;b", genuine},
	} {
		req := post("X-Signature", sign(tc.content), "X-Time", "1760000000", "X-List", tc.list)
		if tc.topic != "" {
			req.Header["X-Topic"] = []string{tc.topic}
		}
		if got := judge(v, req, testNow, testBody); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.what, got, tc.want)
		}
	}
	expect(t, v, post("X-Signature", bodyHex, "X-Time", "1760000000"), testBody, MissingHeader)
	twice := post("X-Signature", sign("x-list:x-list,x-time,x-topic;x-time:1760000000;x-topic:a"), "X-Time", "1760000000", "X-List", "x-list,x-time,x-topic", "X-Topic", "a", "X-Topic", "b")
	expect(t, v, twice, testBody, MalformedSignature)
}

// TestSignedHeadersAreFew: the request's list of signed headers is read once, and
// limited before any header is looked up or quoted.
func TestSignedHeadersAreFew(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.Timestamp = StringList{"{signed_headers:X-List}\\n{body}"}, &Timestamp{Header: StringList{"X-Time"}}
	}), Key{Text: testKey})
	signed := func(extra int) *Request {
		req := post("X-Time", "1760000000")
		content := "x-time:1760000000"
		names := "x-list,x-time"
		for i := range extra {
			name := fmt.Sprintf("y-%02d", i)
			req.Header[canonicalHeader(name)] = []string{"1"}
			names, content = names+","+name, content+";"+name+":1"
		}
		req.Header["X-List"] = []string{names}
		req.Header["X-Signature"] = []string{macOf(testKey, "x-list:"+names+";"+content+"\n"+testBody)}
		return req
	}
	expect(t, v, signed(maxListed-2), testBody, genuine)
	expect(t, v, signed(maxListed-1), testBody, MalformedSignature)
	long := strings.Repeat("a", 70000)
	for what, list := range map[string]string{
		"a long name":           "x-list,x-time," + long,
		"a long name, shown":    "x-list,x-time," + long[:maxHeaderName],
		"many names":            strings.Repeat("a,", 35000),
		"many names, all alike": strings.Repeat(",", 70000),
	} {
		_, err := deliver(v, post("X-Signature", bodyHex, "X-Time", "1760000000", "X-List", list), testNow, testBody)
		if rej := rejection(t, err); len(rej.Detail) > maxDetail {
			t.Errorf("%s: a detail of %d bytes", what, len(rej.Detail))
		}
	}
	names := []string{"host", "x-a", "x-b"}
	for value, want := range map[string]bool{
		"a;x-a:1": true, ";x-b:": true, "a;b;host:": true, "a;b:x-a:": false, "x-a:1": false, ";X-A:1": false, ";x-a;x-c:1": false, ";x-a": false, "": false,
		strings.Repeat(";", 70000): false, strings.Repeat(";:", 70000): false,
	} {
		if got := holdsHeader(value, names); got != want {
			t.Errorf("holdsHeader(%.40q) = %v", value, got)
		}
	}
}

// TestURIEncodedTwice: the texts are node's encodeURI(path + "?" +
// querystring.escape(query)).
func TestURIEncodedTwice(t *testing.T) {
	for target, want := range map[string]string{
		"/a":                    "/a",
		"/a?":                   "/a",
		"/a?q=1&w=2":            "/a?q%253D1%2526w%253D2",
		"/a%20b/é?x=%C3%A9+y!~": "/a%2520b/%C3%A9?x%253D%2525C3%2525A9%252By!~",
		"/a;b,c:@$?(x)'*":       "/a;b,c:@$?(x)'*",
	} {
		if got, rej := uriEncodedTwice(target); rej != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", target, got, rej, want)
		}
	}
	if _, rej := uriEncodedTwice("/a?b?c"); rej == nil {
		t.Error("two question marks pass")
	}
}

// TestURLFormSorted: the rules of Plivo's SDKs, written out by hand.
func TestURLFormSorted(t *testing.T) {
	v := canonical(t, "{url_form_sorted}.{header:X-Nonce}", nil)
	const base = "http://hooks.example.com/p"
	for _, tc := range []struct{ method, target, body, content string }{
		{"POST", "/p", "", base},
		{"POST", "/p", "B=2&A=x+y", base + "?Ax yB2"},
		{"POST", "/p?b=2&a=%7E", "C", base + "?a=~&b=2.C"},
		{"POST", "/p?b=2&a=1", "D=4&C=&C=1", base + "?a=1&b=2.CC1D4"},
		{"GET", "/p?b=2&a=1&a=0", "", base + "?a=0&a=1&b=2"},
		{"GET", "/p", "", base},
	} {
		req := post("X-Signature", macOf(testKey, tc.content+".n0"), "X-Nonce", "n0")
		req.Method, req.Target = tc.method, tc.target
		expect(t, v, req, tc.body, genuine)
		if tc.method == "POST" {
			expect(t, v, req, tc.body+"&Z=1", SignatureMismatch)
			expect(t, v, req, "%zz", MalformedSignature)
		}
		req.Target += "x"
		expect(t, v, req, tc.body, SignatureMismatch)
	}
	req := post("X-Signature", bodyHex, "X-Nonce", "n0")
	req.Target = "/p?%zz"
	expect(t, v, req, "", MalformedSignature)
}

// TestFormPHP: the text is what PHP's ksort and serialize make of the fields.
func TestFormPHP(t *testing.T) {
	for body, want := range map[string]string{
		"":                      `a:0:{}`,
		"p_signature=x":         `a:0:{}`,
		"b=2&a=1&p_signature=x": `a:2:{s:1:"a";s:1:"1";s:1:"b";s:1:"2";}`,
		"n=caf%C3%A9&m=a+b&l=":  `a:3:{s:1:"l";s:0:"";s:1:"m";s:3:"a b";s:1:"n";s:5:"café";}`,
		"a_b=%22%3B&B=1":        `a:2:{s:1:"B";s:1:"1";s:3:"a_b";s:2:"";";}`,
		"a=1&a=2":               "", // twice
		"a=1&%61=2":             "",
		"a[]=1":                 "",
		"a.b=1":                 "",
		"1=2":                   "",
		"=2":                    "",
		"a=%zz":                 "",
	} {
		got, rej := formPHP([]byte(body), "p_signature")
		if got != want || (rej == nil) != (want != "") {
			t.Errorf("%s: got %s, %v, want %s", body, got, rej, want)
		}
	}
}

// keccakOfBodyAndKey is what ethereumjs-util 7.1.5 (npm) keccak256 makes of
// testBody and testKey.
const keccakOfBodyAndKey = "2133b66cfafa7352dab92554ee0c6ed118aae39679bdfbcfa40e73adcf26c364"

// TestKeccak256: Keccak as it was before FIPS 202 changed its padding.
func TestKeccak256(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.Algorithm, s.Message, s.Signature.Prefix = Keccak256, StringList{"{body}{secret}"}, "0x"
	}), Key{Text: testKey})
	expect(t, v, post("X-Signature", "0x"+keccakOfBodyAndKey), testBody, genuine)
	expect(t, v, post("X-Signature", keccakOfBodyAndKey), testBody, MalformedSignature)
	expect(t, v, post("X-Signature", "0x"+flip(keccakOfBodyAndKey)), testBody, SignatureMismatch)
	expect(t, v, post("X-Signature", "0x"+keccakOfBodyAndKey), testBody+" ", SignatureMismatch)
	err := validate(bare(func(s *Scheme) { s.Algorithm = Keccak256 }))
	if err == nil || !strings.Contains(err.Error(), "{secret}") {
		t.Errorf("without the secret: %v", err)
	}
}

// TestCanonicalFormsAndIDs: a form that marks its own end proves the id in it; one
// with movable parts proves nothing after it.
func TestCanonicalFormsAndIDs(t *testing.T) {
	php := Scheme{Signature: &Signature{Form: "s"}, Message: StringList{"{form_php}"}, BodyUnsigned: true, DeliveryID: &DeliveryID{Form: "id"}}
	if !signsID(php) {
		t.Error("the id in a form as PHP serializes it is not taken for signed")
	}
	sorted := bare(func(s *Scheme) {
		s.Message, s.BodyUnsigned, s.DeliveryID = StringList{"{url_form_sorted}.{id}."}, true, &DeliveryID{Header: StringList{"X-Id"}}
	})
	if signsID(sorted) {
		t.Error("an id behind fields without separators is taken for signed")
	}
}

// TestCanonicalErrors: what these slots require of the rest of a scheme.
func TestCanonicalErrors(t *testing.T) {
	for _, tc := range []struct {
		what  string
		edit  func(*Scheme)
		field string
		want  string
	}{
		{"a key, and no keys", func(s *Scheme) { s.Message = StringList{"{kv:env}{body}"} }, "message", "set its syntax to kv"},
		{"a key that is the signature", func(s *Scheme) {
			s.Message, s.Signature.Syntax, s.Signature.Key = StringList{"{kv:v1}{body}"}, "kv", StringList{"v1"}
		}, "message", "is the signature"},
		{"a key that no position has", func(s *Scheme) {
			s.Message, s.Signature.Syntax, s.Signature.Key, s.Signature.Names = StringList{"{kv:x}{body}"}, "positional", StringList{"s"}, []string{"s"}
		}, "message", "not one of the names"},
		{"PHP's form without a form", func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{"{form_php}"}, true }, "message", "leaves out the signature's field"},
		{"a list that is no header", func(s *Scheme) { s.Message = StringList{"{signed_headers:a b}{body}"} }, "message", "invalid header name"},
		{"groups of raw", func(s *Scheme) { s.Signature.GroupSeparator = " " }, "signature", "goes with kv"},
		{"all lines", func(s *Scheme) { s.Signature.Lines = "all" }, "signature", `only "any"`},
		{"lines of a form", func(s *Scheme) {
			s.Signature = &Signature{Form: "s", Lines: "any"}
			s.Message = StringList{"{form:a}"}
			s.BodyUnsigned = true
		}, "signature", `only "any"`},
		{"base64-hex of RSA", func(s *Scheme) { s.Algorithm, s.Signature.Encoding = RSAPSSSHA256, "base64-hex" }, "signature", "at most 64 bytes"},
		{"decoded, and a path into it", func(s *Scheme) { s.BodyDecoded, s.DeliveryID = true, &DeliveryID{JSON: "id"} }, "body_decoded", "only with {body}"},
		{"decoded, and a digest", func(s *Scheme) { s.BodyDecoded, s.Message = true, StringList{"{body|sha256|hex}"} }, "body_decoded", "only with {body}"},
		{"decoded, and a slot of it", func(s *Scheme) { s.BodyDecoded, s.Message = true, StringList{"{json:id}.{body}"} }, "body_decoded", "only with {body}"},
	} {
		err := validate(bare(tc.edit))
		scheme, ok := errors.AsType[*SchemeError](err)
		if !ok || scheme.Field != tc.field || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %s: …%s…", tc.what, err, tc.field, tc.want)
		}
	}
}

// TestManyFields: an unauthenticated form is not kept beyond the needed fields, in
// any kind of signed content.
func TestManyFields(t *testing.T) {
	const size = 1 << 20
	for _, message := range []string{"{form:a}{body}", "{form_sorted}", "{url_form_sorted}", "{form_php}"} {
		v := mustVerifier(t, bare(func(s *Scheme) {
			s.Message, s.BodyUnsigned = StringList{message}, true
			if message == "{form_php}" {
				s.Signature = &Signature{Form: "signature"}
			}
		}), Key{Text: testKey})
		for _, filler := range []string{"&", "a&", "=&", "a=1&b=2&", "%41&", "a=%41+&"} {
			body := "signature=" + bodyHex + "&" + strings.Repeat(filler, size/len(filler))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			reason := judge(v, post("X-Signature", bodyHex), testNow, body)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 4*uint64(len(body)) {
				t.Errorf("%s of %q: %d KiB allocated for a body of %d KiB", message, filler, got>>10, len(body)>>10)
			}
			if filler != "&" && reason != string(MalformedSignature) {
				t.Errorf("%s of %q: %s", message, filler, reason)
			}
		}
	}
	query := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{"{query_sorted}\n{body}"} }), Key{Text: testKey})
	req := post("X-Signature", bodyHex)
	req.Target += "?" + strings.Repeat("a&", formdata.MaxFields+1)
	expect(t, query, req, testBody, MalformedSignature)
}
