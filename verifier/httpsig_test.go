package verifier

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// openssl dgst -sha256 (-sha512) -binary | openssl base64, of testBody.
	digest256 = "8wE/kzufuAq22ZXnrZ2jb2g4N7odgelQyUPUARHqwvA="
	digest512 = "KOMGrHBIrkLAJd1dy0XswqjFtVYngpnLwoZXSmyzz9eDsAr48kVTOUVGZpVdCcMwCoB5/ZimwoCznWIbKUd9RQ=="

	// What a delivery of these tests covers, written out, since the package's own
	// reading of a request would prove nothing.
	signedLines = "\"@method\": POST\n" +
		"\"@target-uri\": http://hooks.example.com/hooks/acme\n" +
		"\"content-digest\": sha-256=:" + digest256 + ":\n"
	signedList = `("@method" "@target-uri" "content-digest")`
)

// httpPost is testBody with one signature of testKey: over lines, with an input that
// may differ.
func httpPost(lines, input string) *Request {
	req := post("Content-Digest", "sha-256=:"+digest256+":")
	addHTTPSignature(req, "sig1", lines, input)
	return req
}

func addHTTPSignature(req *Request, label, lines, input string) {
	add := func(name, value string) {
		if have := req.Header[name]; len(have) > 0 {
			value = have[0] + ", " + value
		}
		req.Header[name] = []string{value}
	}
	add("Signature-Input", label+"="+input)
	add("Signature", label+"=:"+base64MAC(testKey, lines+`"@signature-params": `+input)+":")
}

func setHeader(name, value string) func(*Request) {
	return func(r *Request) { r.Header[name] = []string{value} }
}

func addLine(name, value string) func(*Request) {
	return func(r *Request) { r.Header[name] = append(r.Header[name], value) }
}

// TestHTTPSignature: the reason for each single change to a delivery. If the
// signature covers the change, the scheme's requirements refuse it, not the
// signature.
func TestHTTPSignature(t *testing.T) {
	const created = ";created=1760000000"
	whole := func(params string) *Request { return httpPost(signedLines, signedList+params) }
	v := mustVerifier(t, ofRFC9421(nil), Key{Text: testKey})
	for _, tc := range []struct {
		what   string
		req    *Request
		change func(*Request)
		want   string
	}{
		{"as sent", whole(created), nil, genuine},
		{"all parameters", whole(created + `;expires=1760000001;nonce="n";keyid="k";alg="hmac-sha256";tag="t";x="unknown";y`), nil, genuine},
		{"white space where RFC 9651 has it", whole(created), setHeader("Signature-Input", `sig1=( "@method"  "@target-uri" "content-digest" ); created=1760000000`), genuine},
		{"another order", httpPost("\"content-digest\": sha-256=:"+digest256+":\n\"@target-uri\": http://hooks.example.com/hooks/acme\n\"@method\": POST\n", `("content-digest" "@target-uri" "@method")`+created), nil, genuine},
		{"one more component", httpPost(signedLines+"\"host\": hooks.example.com\n", `("@method" "@target-uri" "content-digest" "host")`+created), nil, genuine},

		{"no Signature", whole(created), func(r *Request) { delete(r.Header, "Signature") }, string(MissingSignature)},
		{"no Signature-Input", whole(created), func(r *Request) { delete(r.Header, "Signature-Input") }, string(MissingSignature)},
		{"neither", post(), nil, string(MissingSignature)},
		{"Signature on two lines", whole(created), addLine("Signature", "sig2=:YQ==:"), string(MalformedSignature)},
		{"Signature-Input on two lines", whole(created), addLine("Signature-Input", "sig2=()"), string(MalformedSignature)},
		{"Content-Digest on two lines", whole(created), addLine("Content-Digest", "sha-256=:"+digest256+":"), string(MalformedSignature)},
		{"a label in the input alone", whole(created), setHeader("Signature-Input", `sig1=`+signedList+created+`, sig2=`+signedList+created), string(MalformedSignature)},
		{"a label in the signature alone", whole(created), func(r *Request) { r.Header["Signature"][0] += ", sig2=:YQ==:" }, string(MalformedSignature)},
		{"a label twice", whole(created), func(r *Request) {
			for _, name := range []string{"Signature", "Signature-Input"} {
				r.Header[name][0] += ", " + r.Header[name][0]
			}
		}, string(MalformedSignature)},
		{"a parameter twice", httpPost(signedLines, signedList+created+created), nil, string(MalformedSignature)},
		{"no dictionary", whole(created), setHeader("Signature-Input", `"sig1"`), string(MalformedSignature)},
		{"no list", whole(created), setHeader("Signature-Input", `sig1="@method"`), string(MalformedSignature)},
		{"no bytes", whole(created), setHeader("Signature", `sig1="bytes"`), string(MalformedSignature)},
		{"a list for a signature", whole(created), setHeader("Signature", `sig1=()`), string(MalformedSignature)},
		{"too few bytes", whole(created), setHeader("Signature", `sig1=:YQ==:`), string(MalformedSignature)},
		{"loose bits of base64", whole(created), func(r *Request) {
			text := []byte(r.Header["Signature"][0])
			text[len(text)-3]++ // the last two of its six bits are unused and zero
			r.Header["Signature"][0] = string(text)
		}, string(MalformedSignature)},
		{"a component taken away", whole(created), setHeader("Signature-Input", `sig1=("@target-uri" "content-digest")`+created), string(MalformedSignature)},
		{"components exchanged", whole(created), setHeader("Signature-Input", `sig1=("@target-uri" "@method" "content-digest")`+created), string(SignatureMismatch)},
		{"a component added", whole(created), setHeader("Signature-Input", `sig1=("@method" "@target-uri" "content-digest" "host")`+created), string(SignatureMismatch)},
		{"another created", whole(created), setHeader("Signature-Input", `sig1=`+signedList+";created=1760000001"), string(SignatureMismatch)},
		{"a parameter added", whole(created), setHeader("Signature-Input", `sig1=`+signedList+created+`;nonce="x"`), string(SignatureMismatch)},
		{"parameters exchanged", whole(created + `;tag="t"`), setHeader("Signature-Input", `sig1=`+signedList+`;tag="t"`+created), string(SignatureMismatch)},
		{"another method", whole(created), func(r *Request) { r.Method = "PUT" }, string(SignatureMismatch)},
		{"another query", whole(created), func(r *Request) { r.Target += "?x" }, string(SignatureMismatch)},
		{"another digest", whole(created), setHeader("Content-Digest", "sha-512=:"+digest512+":"), string(SignatureMismatch)},
		{"no digest", whole(created), func(r *Request) { delete(r.Header, "Content-Digest") }, string(MissingHeader)},

		{"less than required", httpPost("\"@method\": POST\n\"content-digest\": sha-256=:"+digest256+":\n", `("@method" "content-digest")`+created), nil, string(MalformedSignature)},
		{"the digest not covered", httpPost("\"@method\": POST\n\"@target-uri\": http://hooks.example.com/hooks/acme\n", `("@method" "@target-uri")`+created), nil, string(MalformedSignature)},
		{"a component twice", httpPost("\"@method\": POST\n"+signedLines, `("@method" "@method" "@target-uri" "content-digest")`+created), nil, string(MalformedSignature)},
		{"a response's component", httpPost(signedLines+"\"@status\": 200\n", `("@method" "@target-uri" "content-digest" "@status")`+created), nil, string(MalformedSignature)},
		{"a component of no kind", httpPost(signedLines+"\"@signature-params\": x\n", `("@method" "@target-uri" "content-digest" "@signature-params")`+created), nil, string(MalformedSignature)},
		{"a field in upper case", httpPost(signedLines+"\"Host\": hooks.example.com\n", `("@method" "@target-uri" "content-digest" "Host")`+created), nil, string(MalformedSignature)},
		{"a field from the trailers", httpPost(signedLines+"\"x\";tr: 1\n", `("@method" "@target-uri" "content-digest" "x";tr)`+created), nil, string(MalformedSignature)},
		{"a component with ;req", httpPost(signedLines+"\"@path\";req: /hooks/acme\n", `("@method" "@target-uri" "content-digest" "@path";req)`+created), nil, string(MalformedSignature)},
		{"a component that is no string", httpPost(signedLines, `("@method" "@target-uri" "content-digest" 1)`+created), nil, string(MalformedSignature)},
		{"a query parameter that is not there", httpPost(signedLines, `("@method" "@target-uri" "content-digest" "@query-param";name="x")`+created), nil, string(MalformedSignature)},
		{"a query parameter without a name", httpPost(signedLines, `("@method" "@target-uri" "content-digest" "@query-param")`+created), nil, string(MalformedSignature)},

		{"no created", whole(""), nil, string(MissingTimestamp)},
		{"created is text", whole(`;created="1760000000"`), nil, string(MalformedTimestamp)},
		{"created is a fraction", whole(`;created=1760000000.5`), nil, string(MalformedTimestamp)},
		{"created is negative", whole(`;created=-1`), nil, string(MalformedTimestamp)},
		{"created long ago", whole(`;created=1759999699`), nil, string(StaleTimestamp)},
		{"created far ahead", whole(`;created=1760000301`), nil, string(FutureTimestamp)},
		{"created at the edge", whole(`;created=1759999700`), nil, genuine},
		{"expired", whole(created + `;expires=1759999999`), nil, string(StaleTimestamp)},
		{"expires now", whole(created + `;expires=1760000000`), nil, genuine},
		{"expires is text", whole(created + `;expires="never"`), nil, string(MalformedTimestamp)},
		{"another alg", whole(created + `;alg="ed25519"`), nil, string(MalformedSignature)},
		{"alg is a token", whole(created + `;alg=hmac-sha256`), nil, string(MalformedSignature)},
		{"keyid is a number", whole(created + `;keyid=1`), nil, string(MalformedSignature)},
	} {
		if tc.change != nil {
			tc.change(tc.req)
		}
		if got := judge(v, tc.req, testNow, testBody); got != tc.want {
			t.Errorf("%s: got %s, want %s (%s)", tc.what, got, tc.want, tc.req.Header["Signature-Input"])
		}
		for _, body := range []string{"", testBody + " ", `{"n":1}`} {
			if got := judge(v, tc.req, testNow, body); got == genuine {
				t.Errorf("%s: passes with the body %q", tc.what, body)
			}
		}
	}
}

// TestHTTPSignatureDigest: the body's digest, with a valid signature over the header.
func TestHTTPSignatureDigest(t *testing.T) {
	const right256, right512 = "sha-256=:" + digest256 + ":", "sha-512=:" + digest512 + ":"
	wrong256 := "sha-256=:" + strings.Replace(digest256, "8wE", "9wE", 1) + ":"
	for _, tc := range []struct {
		header  string
		digests StringList
		want    string
	}{
		{right256, nil, genuine},
		{right512, nil, genuine},
		{right512 + "," + right256, nil, genuine},
		{right512 + "\n" + right256, nil, string(MalformedSignature)}, // on two lines
		{"unixsum=1, " + right256, nil, genuine},
		{wrong256, nil, string(SignatureMismatch)},
		{right512 + ", " + wrong256, nil, string(SignatureMismatch)},
		{wrong256 + ", " + right256, nil, string(MalformedSignature)},
		{right256 + ", " + right256, nil, string(MalformedSignature)},
		{"md5=:CY9rzUYh03PK3k6DJie09g==:", nil, string(MalformedSignature)},
		{right256[:20] + "=:", nil, string(MalformedSignature)},
		{"sha-256=" + digest256, nil, string(MalformedSignature)},
		{"sha-256=:AAAA:", nil, string(MalformedSignature)},
		{"sha-256", nil, string(MalformedSignature)},
		{"", nil, string(MalformedSignature)},
		{right256, StringList{"sha-512"}, string(MalformedSignature)},
		{right512 + ", " + wrong256, StringList{"sha-512"}, genuine},
	} {
		v := mustVerifier(t, ofRFC9421(func(s *Scheme) { s.HTTPSignature.Digests = tc.digests }, "content-digest"), Key{Text: testKey})
		req := post()
		req.Header["Content-Digest"] = strings.Split(tc.header, "\n")
		addHTTPSignature(req, "x", "\"content-digest\": "+strings.ReplaceAll(tc.header, "\n", ", ")+"\n", `("content-digest");created=1760000000`)
		if got := judge(v, req, testNow, testBody); got != tc.want {
			t.Errorf("%q: got %s, want %s", tc.header, got, tc.want)
		}
	}
}

// TestHTTPSignatureRequirements: what a scheme may require.
func TestHTTPSignatureRequirements(t *testing.T) {
	full := func() *Request {
		return httpPost(signedLines, signedList+`;created=1760000000;tag="a";nonce="n"`)
	}
	for _, tc := range []struct {
		what string
		edit func(*Scheme)
		want string
	}{
		{"its label", func(s *Scheme) { s.HTTPSignature.Label = "sig1" }, genuine},
		{"another label", func(s *Scheme) { s.HTTPSignature.Label = "sig2" }, string(MalformedSignature)},
		{"its tag", func(s *Scheme) { s.HTTPSignature.Tag = "a" }, genuine},
		{"another tag", func(s *Scheme) { s.HTTPSignature.Tag = "b" }, string(MalformedSignature)},
		{"its parameters", func(s *Scheme) { s.HTTPSignature.Params = StringList{"nonce", "tag"} }, genuine},
		{"one more parameter", func(s *Scheme) { s.HTTPSignature.Params = StringList{"nonce", "expires"} }, string(MalformedSignature)},
		{"one more component", func(s *Scheme) { s.HTTPSignature.Components = StringList{"content-digest", "@path"} }, string(MalformedSignature)},
		{"no requirement", func(s *Scheme) { s.HTTPSignature = nil }, genuine},
		{"less tolerance", func(s *Scheme) { d := Duration(time.Nanosecond); s.Tolerance = &d }, genuine},
	} {
		if got := judge(mustVerifier(t, ofRFC9421(tc.edit), Key{Text: testKey}), full(), testNow, testBody); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.what, got, tc.want)
		}
	}
	off := ofRFC9421(nil).With(Scheme{Timestamp: &Timestamp{Off: true}})
	v := mustVerifier(t, off, Key{Text: testKey})
	expect(t, v, httpPost(signedLines, signedList+";created=1"), testBody, genuine)
	expect(t, v, httpPost(signedLines, signedList), testBody, genuine)
	expect(t, v, httpPost(signedLines, signedList+";expires=1759999999"), testBody, StaleTimestamp)
}

// TestHTTPSignatures: one acceptable signature is enough; those of intermediaries are
// harmless, and too many are refused.
func TestHTTPSignatures(t *testing.T) {
	v := mustVerifier(t, ofRFC9421(nil), Key{Text: testKey})
	several := func(others ...string) *Request {
		req := post("Content-Digest", "sha-256=:"+digest256+":")
		for i, input := range others {
			addHTTPSignature(req, fmt.Sprintf("proxy%d", i), "anything", input)
		}
		addHTTPSignature(req, "sig1", signedLines, signedList+`;created=1760000000`)
		return req
	}
	expect(t, v, several(`("@method")`, `("@nothing");created=1`, signedList+";created=1", signedList+";created=1760000000"), testBody, genuine)
	expect(t, v, several(slices.Repeat([]string{"()"}, maxPublic-1)...), testBody, genuine)
	expect(t, v, several(slices.Repeat([]string{"()"}, maxPublic)...), testBody, MalformedSignature)

	first := several()
	addHTTPSignature(first, "sig2", "anything", signedList+";created=1759999990")
	verdict, err := deliver(v, first, testNow, testBody)
	if err != nil || !verdict.Timestamp.Equal(testNow) {
		t.Errorf("got %+v, %v: the time is that of the signature that matched", verdict, err)
	}
	expect(t, v, several(signedList+";created=1759999990"), testBody+"x", SignatureMismatch)
}

// TestHTTPSignatureBounds: the limits of unauthenticated work.
func TestHTTPSignatureBounds(t *testing.T) {
	v := mustVerifier(t, ofRFC9421(nil, "content-digest"), Key{Text: testKey})
	const digest = "\"content-digest\": sha-256=:" + digest256 + ":\n"
	for _, tc := range []struct {
		components int
		value      string
		want       string
	}{
		{maxComponents - 1, "v", genuine},
		{maxComponents, "v", string(MalformedSignature)},
		{10, strings.Repeat("v", 1000), genuine},
		{10, strings.Repeat("v", maxBase/10), string(MalformedSignature)},
	} {
		req := post("Content-Digest", "sha-256=:"+digest256+":")
		lines, list := digest, `("content-digest"`
		for i := range tc.components {
			name := fmt.Sprintf("x-%d", i)
			req.Header[canonicalHeader(name)] = []string{tc.value}
			lines += fmt.Sprintf("%q: %s\n", name, tc.value)
			list += fmt.Sprintf(" %q", name)
		}
		addHTTPSignature(req, "sig1", lines, list+");created=1760000000")
		if got := judge(v, req, testNow, testBody); got != tc.want {
			t.Errorf("%d components of %d bytes: got %s, want %s", tc.components, len(tc.value), got, tc.want)
		}
	}
	good := func() *Request { return httpPost(digest, `("content-digest");created=1760000000`) }
	one := good() // too large itself: skipped
	one.Header["X-Large"] = []string{strings.Repeat("x", maxBase)}
	addHTTPSignature(one, "large", "anything", `("content-digest" "x-large");created=1760000000`)
	expect(t, v, one, testBody, genuine)
	all := good() // too large together
	all.Header["X-Large"] = []string{strings.Repeat("x", maxBase/2)}
	for _, label := range []string{"a", "b"} {
		addHTTPSignature(all, label, "anything", `("content-digest" "x-large");created=1760000000`)
	}
	expect(t, v, all, testBody, MalformedSignature)
	field := good() // a long field that is not needed
	addHTTPSignature(field, "long", "anything", `("@path");x="`+strings.Repeat("x", maxStructured)+`"`)
	expect(t, v, field, testBody, MalformedSignature)
}

// TestHTTPSignatureKeyID: keyid selects among keys that have an id.
func TestHTTPSignatureKeyID(t *testing.T) {
	req := httpPost(signedLines, signedList+`;created=1760000000;keyid="k1"`)
	for want, keys := range map[string][]Key{
		"of no id":    {{Label: "of no id", Text: testKey}},
		"of its id":   {{Label: "other", Text: "other", ID: "k1"}, {Label: "of its id", Text: testKey, ID: "k1"}},
		"of any":      {{Label: "of another id", Text: testKey, ID: "k2"}, {Label: "of any", Text: testKey}},
		"none at all": {{Label: "of another id", Text: testKey, ID: "k2"}},
	} {
		v := mustVerifier(t, ofRFC9421(nil), keys...)
		verdict, err := deliver(v, req, testNow, testBody)
		if want == "none at all" {
			if rejection(t, err).Reason != SignatureMismatch {
				t.Errorf("%s: %v", want, err)
			}
		} else if err != nil || verdict.Key != want {
			t.Errorf("%s: %+v, %v", want, verdict, err)
		}
	}
}

// TestHTTPSignatureQueryParam: the examples of RFC 9421 §2.2.8, with the digest
// and what follows a parameter put together here.
func TestHTTPSignatureQueryParam(t *testing.T) {
	const target = "/path?param=value&foo=bar&baz=batman&qux=&var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&two=1&two=2"
	for name, want := range map[string]string{
		"baz": "batman", "qux": "", "param": "value", "var": "this%20is%20a%20big%0Amultiline%20value",
		"bar": "with%20plus%20whitespace", "fa%C3%A7ade%22%3A%20": "something", "two": "refused", "none": "refused",
	} {
		v := mustVerifier(t, ofRFC9421(nil, "content-digest", `@query-param;name="`+name+`"`), Key{Text: testKey})
		req := post("Content-Digest", "sha-256=:"+digest256+":")
		req.Target = target
		addHTTPSignature(req, "s", "\"content-digest\": sha-256=:"+digest256+":\n\"@query-param\";name=\""+name+"\": "+want+"\n",
			`("content-digest" "@query-param";name="`+name+`");created=1760000000`)
		got := judge(v, req, testNow, testBody)
		if want == "refused" && got != string(MalformedSignature) || want != "refused" && got != genuine {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestTwinsOfAQueryParam: a parameter that is signed alone is the one that the app reads,
// whatever it takes for the same name: PHP, Express, Rack, ASP.NET.
func TestTwinsOfAQueryParam(t *testing.T) {
	inMessage := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{"id:{query:data.id};{body}"} }), Key{Text: testKey})
	inSignature := mustVerifier(t, ofRFC9421(nil, "content-digest", `@query-param;name="data.id"`), Key{Text: testKey})
	for query, want := range map[string]string{
		"data.id=1": genuine, "data.id=1&type=payment&id=9": genuine, "a=2&a=3&data%2Eid=1": genuine,
		"data.id=1&data_id=9": "refused", "data_id=9&data.id=1": "refused", "data.id=1&data%20id=9": "refused", "data.id=1&data%5Bid=9": "refused",
		"data.id=1&DATA.ID=9": "refused", "x=;data.id=9&data.id=1": "refused", "data.id=1&data.id=1": "refused", "data.id=1&data.id[]=9": "refused",
		"data.id=1&+data.id=9": "refused", "data.id=1&x[data.id]=9": genuine,
	} {
		req := post("X-Signature", macOf(testKey, "id:1;"+testBody))
		req.Target = "/hooks?" + query
		if got := judge(inMessage, req, testNow, testBody); (got == genuine) != (want == genuine) {
			t.Errorf("in a message, %s: %s", query, got)
		}
		req = post("Content-Digest", "sha-256=:"+digest256+":")
		req.Target = "/hooks?" + query
		addHTTPSignature(req, "s", "\"content-digest\": sha-256=:"+digest256+":\n\"@query-param\";name=\"data.id\": 1\n",
			`("content-digest" "@query-param";name="data.id");created=1760000000`)
		if got := judge(inSignature, req, testNow, testBody); (got == genuine) != (want == genuine) {
			t.Errorf("in a signature, %s: %s", query, got)
		}
	}
}

// TestMemberOfAQueryParam: a[b] is what Express and Rack read where a.b was signed.
func TestMemberOfAQueryParam(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{"id:{query:data.id};{body}"} }), Key{Text: testKey})
	req := post("X-Signature", macOf(testKey, "id:1;"+testBody))
	req.Target = "/hooks?data.id=1&data[id]=9"
	expect(t, v, req, testBody, MalformedSignature)
}

// TestHTTPSignatureID: an id counts as signed only if every signature covers it.
func TestHTTPSignatureID(t *testing.T) {
	for _, tc := range []struct {
		id         DeliveryID
		components StringList
		want       bool
	}{
		{DeliveryID{Header: StringList{"Webhook-Id"}}, nil, false},
		{DeliveryID{Header: StringList{"Webhook-Id"}}, StringList{"content-digest", "webhook-id"}, true},
		{DeliveryID{Header: StringList{"Webhook-Id", "X-Id"}}, StringList{"content-digest", "webhook-id"}, false},
		{DeliveryID{JSON: "id"}, nil, true},
		{DeliveryID{Form: "id"}, nil, true},
	} {
		if got := signsID(ofRFC9421(func(s *Scheme) { s.DeliveryID = &tc.id }, tc.components...)); got != tc.want {
			t.Errorf("%+v by %v: signed is %v", tc.id, tc.components, got)
		}
	}
	unsigned := ofRFC9421(func(s *Scheme) { s.BodyUnsigned, s.DeliveryID = true, &DeliveryID{JSON: "id"} }, "@method")
	if signsID(unsigned) {
		t.Error("an id in a body that nobody signs counts as signed")
	}
}
