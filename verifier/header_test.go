package verifier

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// wrongHex and wrongBase64 are well-formed signatures that match no key here.
var (
	wrongHex    = strings.Repeat("ab", 32)
	wrongBase64 = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="
)

// TestSignatureEncoding: signatures are decoded and compared as bytes; each text has
// one meaning.
func TestSignatureEncoding(t *testing.T) {
	for _, tc := range []struct {
		encoding, what, text string
		want                 Reason
	}{
		{"hex", "lower case", bodyHex, genuine},
		{"hex", "upper case", strings.ToUpper(bodyHex), genuine},
		{"hex", "mixed case", strings.ToUpper(bodyHex[:32]) + bodyHex[32:], genuine},
		{"hex", "another value", wrongHex, SignatureMismatch},
		{"hex", "one bit off", flip(bodyHex), SignatureMismatch},
		{"hex", "a byte short", bodyHex[2:], MalformedSignature},
		{"hex", "a byte long", bodyHex + "00", MalformedSignature},
		{"hex", "a digit short", bodyHex[1:], MalformedSignature},
		{"hex", "the first half alone", bodyHex[:32], MalformedSignature},
		{"hex", "not hex", strings.Repeat("zz", 32), MalformedSignature},
		{"hex", "0x in front", "0x" + bodyHex, MalformedSignature},
		{"hex", "a space in front", " " + bodyHex, MalformedSignature},
		{"hex", "a line break behind", bodyHex + "\n", MalformedSignature},
		{"hex", "quoted", `"` + bodyHex + `"`, MalformedSignature},
		{"hex", "twice, with a comma, as proxies join lines", bodyHex + ", " + bodyHex, MalformedSignature},
		{"hex", "longer than any signature", strings.Repeat("ab", 1<<16), MalformedSignature},
		{"hex", "base64 of the same bytes", bodyBase64, MalformedSignature},

		{"base64", "standard", bodyBase64, genuine},
		{"base64", "without padding", strings.TrimRight(bodyBase64, "="), genuine},
		{"base64", "URL alphabet", bodyURL, genuine},
		{"base64", "URL alphabet with padding", bodyURL + "=", genuine},
		{"base64", "another value", wrongBase64, SignatureMismatch},
		{"base64", "both alphabets", strings.Replace(bodyBase64, "/", "_", 1), MalformedSignature},
		{"base64", "one padding character too many", bodyBase64 + "=", MalformedSignature},
		{"base64", "padding alone", "====", MalformedSignature},
		{"base64", "padding in the middle", bodyBase64[:20] + "=" + bodyBase64[20:43], MalformedSignature},
		{"base64", "non-zero trailing bits", strings.Replace(bodyBase64, "4=", "5=", 1), MalformedSignature},
		{"base64", "non-zero trailing bits without padding", bodyBase64[:42] + "5", MalformedSignature},
		{"base64", "a line break inside", bodyBase64[:22] + "\n" + bodyBase64[22:], MalformedSignature},
		{"base64", "CR and LF inside, without padding", bodyBase64[:22] + "\r\n" + bodyBase64[22:43], MalformedSignature},
		{"base64", "a space inside", bodyBase64[:22] + " " + bodyBase64[22:], MalformedSignature},
		{"base64", "a byte short", "CZdRswVi4Z6z/RPxDgdR1KpcFFIltQlRVdoZTRfneg==", MalformedSignature},
		{"base64", "hex of the same bytes", bodyHex, MalformedSignature},

		{"base64url", "without padding", bodyURL, genuine},
		{"base64url", "with padding", bodyURL + "=", genuine},
		{"base64url", "standard alphabet", bodyBase64, MalformedSignature},
		{"base64url", "non-zero trailing bits", bodyURL[:42] + "5", MalformedSignature},
		{"base64url", "a line break behind", bodyURL + "\n", MalformedSignature},
	} {
		t.Run(tc.encoding+"/"+tc.what, func(t *testing.T) {
			v := mustVerifier(t, bare(func(s *Scheme) { s.Signature.Encoding = tc.encoding }), Key{Text: testKey})
			expect(t, v, post("X-Signature", tc.text), testBody, tc.want)
		})
	}
}

// TestEveryBitCounts: each bit of a signature matters, in every place.
func TestEveryBitCounts(t *testing.T) {
	for algorithm, mac := range map[Algorithm]string{HMACSHA256: bodyHex, HMACSHA512: body512Hex} {
		v := mustVerifier(t, bare(func(s *Scheme) { s.Algorithm = algorithm }), Key{Text: testKey})
		expect(t, v, post("X-Signature", mac), testBody, genuine)
		for i := range len(mac) * 4 {
			altered := []byte(unhex(mac))
			altered[i/8] ^= 1 << (i % 8)
			expect(t, v, post("X-Signature", hex.EncodeToString(altered)), testBody, SignatureMismatch)
		}
	}
}

// TestSignatureSyntax: how each syntax is read, what is skipped and what is refused.
func TestSignatureSyntax(t *testing.T) {
	raw := func(prefix string, optional bool) *Signature {
		return &Signature{Prefix: prefix, PrefixOptional: optional}
	}
	kv := &Signature{Syntax: "kv", Key: StringList{"v1", "s"}}
	list := &Signature{Syntax: "list", Encoding: "base64", Accept: map[string]Algorithm{"v1": HMACSHA256, "v1a": Ed25519}}
	positional := &Signature{Syntax: "positional", Names: []string{"x", "sig"}, Key: StringList{"sig"}}
	keyed := &Signature{Syntax: "keyed_list"}
	keyedOne := &Signature{Syntax: "keyed_list", Key: StringList{"pub-1"}, ItemSeparator: ";", VersionSeparator: ":"}
	algorithm := &Signature{Syntax: "algorithm_prefix", Accept: map[string]Algorithm{"sha256": HMACSHA256, "sha512": HMACSHA512}}
	sha1 := "c2c8a6a11e2c0cd4d3d2ac2d0e4d2f9ed3b9c2b1" // any 20 bytes

	for _, tc := range []struct {
		what  string
		sig   *Signature
		value string
		want  Reason
	}{
		{"raw", raw("", false), bodyHex, genuine},
		{"raw: empty", raw("", false), "", MissingSignature},
		{"raw: prefix", raw("sha256=", false), "sha256=" + bodyHex, genuine},
		{"raw: prefix missing", raw("sha256=", false), bodyHex, MalformedSignature},
		{"raw: prefix in another case", raw("sha256=", false), "SHA256=" + bodyHex, MalformedSignature},
		{"raw: prefix twice", raw("sha256=", false), "sha256=sha256=" + bodyHex, MalformedSignature},
		{"raw: prefix alone", raw("sha256=", false), "sha256=", MalformedSignature},
		{"raw: prefix of another algorithm", raw("sha256=", false), "sha1=" + sha1, MalformedSignature},
		{"raw: optional prefix there", raw("sha256=", true), "sha256=" + bodyHex, genuine},
		{"raw: optional prefix absent", raw("sha256=", true), bodyHex, genuine},

		{"kv", kv, "v1=" + bodyHex, genuine},
		{"kv: spaces round pairs", kv, " a=b , v1=" + bodyHex + " ,c=d", genuine},
		{"kv: in quotes", kv, `a="b", v1="` + bodyHex + `"`, genuine},
		{"kv: a quote on one side", kv, `v1="` + bodyHex, MalformedSignature},
		{"kv: a single quote mark", kv, `v1="`, MalformedSignature},
		{"kv: empty quotes", kv, `v1=""`, MalformedSignature},
		{"kv: quotes in quotes", kv, `v1=""` + bodyHex + `""`, MalformedSignature},
		{"kv: second key of two", kv, "s=" + bodyHex, genuine},
		{"kv: unknown keys, even twice", kv, "v0=zz,v0=zz,v1=" + bodyHex, genuine},
		{"kv: last of several", kv, "v1=" + wrongHex + ",v1=" + bodyHex, genuine},
		{"kv: first of several", kv, "v1=" + bodyHex + ",v1=" + wrongHex, genuine},
		{"kv: unreadable beside a good one", kv, "v1=zz,v1=" + bodyHex, genuine},
		{"kv: unreadable alone", kv, "v1=zz", MalformedSignature},
		{"kv: empty value", kv, "v1=", MalformedSignature},
		{"kv: only unknown keys", kv, "v0=" + bodyHex, MalformedSignature},
		{"kv: key in another case", kv, "V1=" + bodyHex, MalformedSignature},
		{"kv: space before =", kv, "v1 =" + bodyHex, MalformedSignature},
		{"kv: part without = first", kv, "x,v1=" + bodyHex, MalformedSignature},
		{"kv: part without = behind the signature, which is one more value", kv, "v1=" + bodyHex + ",x", genuine},
		{"kv: trailing separator", kv, "v1=" + bodyHex + ",", MalformedSignature},
		{"kv: another separator", kv, "v1=" + bodyHex + ";v1=" + bodyHex, MalformedSignature},
		{"kv: none matches", kv, "v1=" + wrongHex + ",s=" + wrongHex, SignatureMismatch},

		{"list", list, "v1," + bodyBase64, genuine},
		{"list: unknown versions skipped", list, "v9,zz v2," + bodyBase64 + " v1," + bodyBase64, genuine},
		{"list: only unknown versions", list, "v2," + bodyBase64, MalformedSignature},
		{"list: no version", list, bodyBase64, MalformedSignature},
		{"list: version in another case", list, "V1," + bodyBase64, MalformedSignature},
		{"list: empty signature", list, "v1,", MalformedSignature},
		{"list: empty signature beside a wrong one", list, "v1, v1," + wrongBase64, SignatureMismatch},
		{"list: prefix of the signature alone", list, "v1,CZdRswVi", MalformedSignature},
		{"list: several spaces", list, "  v1," + wrongBase64 + "   v1," + bodyBase64 + " ", genuine},
		{"list: HMAC under the public-key version", list, "v1a," + bodyBase64, MalformedSignature},
		{"list: separator inside", list, "v1," + bodyBase64 + ",x", MalformedSignature},

		{"positional", positional, "anything," + bodyHex, genuine},
		{"positional: spaces", positional, "anything, " + bodyHex, genuine},
		{"positional: a part too many", positional, "anything," + bodyHex + ",more", MalformedSignature},
		{"positional: a part too few", positional, bodyHex, MalformedSignature},
		{"positional: exchanged", positional, bodyHex + ",anything", MalformedSignature},

		{"keyed_list", keyed, "key-1|" + bodyHex, genuine},
		{"keyed_list: several", keyed, "key-1|" + wrongHex + "&key-2|" + bodyHex, genuine},
		{"keyed_list: no key id", keyed, bodyHex, MalformedSignature},
		{"keyed_list: the id that counts", keyedOne, "pub-2:" + wrongHex + ";pub-1:" + bodyHex, genuine},
		{"keyed_list: an id that does not", keyedOne, "pub-2:" + bodyHex, MalformedSignature},

		{"algorithm_prefix", algorithm, "sha256=" + bodyHex, genuine},
		{"algorithm_prefix: one not accepted", algorithm, "sha1=" + sha1, MalformedSignature},
		{"algorithm_prefix: none", algorithm, "none=", MalformedSignature},
		{"algorithm_prefix: without", algorithm, bodyHex, MalformedSignature},
		{"algorithm_prefix: empty", algorithm, "=" + bodyHex, MalformedSignature},
		{"algorithm_prefix: another accepted one claimed", algorithm, "sha512=" + bodyHex, MalformedSignature},
		// openssl dgst -sha512 -hmac topsecret
		{"algorithm_prefix: the other accepted one", algorithm, "sha512=" + body512Hex, genuine},
	} {
		t.Run(tc.what, func(t *testing.T) {
			sig := *tc.sig
			sig.Header = StringList{"X-Signature"}
			v := mustVerifier(t, Scheme{Signature: &sig}, Key{Text: testKey})
			expect(t, v, post("X-Signature", tc.value), testBody, tc.want)
		})
	}
}

// openssl dgst -sha512 -hmac topsecret over testBody
const body512Hex = "406a26bdc0dc21d1ec81b724d021fee40946f464805dcbd1f6a1ea3e0244951264acc56b7354132ffb06e556edd290b0b6f830999483901020e08d9f272a4286"

// TestPrefixParam: a param in a prefix is literal, and rejections do not show it.
func TestPrefixParam(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.Signature.Prefix = "{param:account}:"
		s.Params = map[string]string{"account": "hush{body}"}
	}), Key{Text: testKey})
	expect(t, v, post("X-Signature", "hush{body}:"+bodyHex), testBody, genuine)
	expect(t, v, post("X-Signature", "other:"+bodyHex), testBody, MalformedSignature)
	_, _, err := v.Open(post("X-Signature", "other:"+bodyHex), testNow)
	if strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "{param:account}") {
		t.Errorf("got %q, want the prefix as it was written", err)
	}
}

// TestCandidateLimit: 32 signatures in all headers together, malformed ones included.
func TestCandidateLimit(t *testing.T) {
	s := Scheme{Signature: &Signature{Header: StringList{"X-A", "X-B"}, Syntax: "kv", Key: StringList{"v1"}}}
	v := mustVerifier(t, s, Key{Text: testKey})
	repeat := func(pair string, n int) string { return strings.TrimSuffix(strings.Repeat(pair+",", n), ",") }
	bad, good := "v1="+wrongHex, "v1="+bodyHex
	for _, tc := range []struct {
		what, a, b string
		want       Reason
	}{
		{"the 32nd matches", repeat(bad, 31) + "," + good, "", genuine},
		{"33 in one header", good + "," + repeat(bad, 32), "", MalformedSignature},
		{"16 and 16", repeat(bad, 16), repeat(bad, 15) + "," + good, genuine},
		{"16 and 17", good + "," + repeat(bad, 15), repeat(bad, 17), MalformedSignature},
		{"unreadable ones count", good + "," + repeat("v1=zz", 32), "", MalformedSignature},
		{"unknown keys do not", repeat("v0=zz", 500) + "," + good, "", genuine},
	} {
		t.Run(tc.what, func(t *testing.T) {
			expect(t, v, post("X-A", tc.a, "X-B", tc.b), testBody, tc.want)
			check, _, err := v.Open(post("X-A", tc.a, "X-B", tc.b), testNow)
			if err == nil && check.count > maxCandidates {
				t.Errorf("%d candidates kept", check.count)
			}
		})
	}
}

// TestSeveralHeaders: the modes of match. Yapily sends a rotation header in addition
// to the first, Svix one of two names.
func TestSeveralHeaders(t *testing.T) {
	good, bad, junk := bodyHex, wrongHex, "junk"
	for _, tc := range []struct {
		match, a, b string
		want        Reason
	}{
		{"", good, bad, genuine}, // any is the default
		{"", bad, good, genuine},
		{"any", good, "", genuine},
		{"any", "", good, genuine},
		{"any", good, junk, genuine},
		{"any", junk, good, genuine},
		{"any", bad, bad, SignatureMismatch},
		{"any", junk, junk, MalformedSignature},
		{"any", "", "", MissingSignature},
		{"first_present", good, bad, genuine},
		{"first_present", bad, good, SignatureMismatch},
		{"first_present", junk, good, MalformedSignature},
		{"first_present", "", good, genuine},
		{"first_present", "", "", MissingSignature},
		{"all", good, good, genuine},
		{"all", good, bad, SignatureMismatch},
		{"all", bad, good, SignatureMismatch},
		{"all", good, junk, SignatureMismatch},
		{"all", good, "", MissingSignature},
		{"all", "", good, MissingSignature},
	} {
		t.Run(fmt.Sprintf("%s %.4s %.4s", tc.match, tc.a, tc.b), func(t *testing.T) {
			v := mustVerifier(t, Scheme{Signature: &Signature{Header: StringList{"X-A", "x-b"}, Match: tc.match}}, Key{Text: testKey})
			expect(t, v, post("X-A", tc.a, "X-B", tc.b), testBody, tc.want)
			if tc.a == "" { // absent is the same as empty
				expect(t, v, post("X-B", tc.b), testBody, tc.want)
			}
		})
	}
}

// TestAllNeedsEveryHeader: with all, one signature in 32 headers is not enough.
func TestAllNeedsEveryHeader(t *testing.T) {
	var names StringList
	var headers []string
	for i := range maxCandidates {
		names = append(names, fmt.Sprintf("X-S%d", i))
		headers = append(headers, names[i], bodyHex)
	}
	v := mustVerifier(t, Scheme{Signature: &Signature{Header: names, Match: "all"}}, Key{Text: testKey})
	expect(t, v, post(headers...), testBody, genuine)
	for i := range names {
		altered := post(headers...)
		altered.Header[names[i]] = []string{wrongHex}
		expect(t, v, altered, testBody, SignatureMismatch)
	}
}

// TestRepeatedLines: a header on two lines is refused, even with equal values: the
// app might read the other line.
func TestRepeatedLines(t *testing.T) {
	s := Scheme{
		Signature:     &Signature{Header: StringList{"X-Signature", "X-Other"}},
		Message:       StringList{"{id}.{timestamp}.{header:X-Topic}.{body}"},
		Timestamp:     &Timestamp{Header: StringList{"X-Time"}},
		DeliveryID:    &DeliveryID{Header: StringList{"X-Id"}},
		RequireHeader: []RequiredHeader{{Name: "X-Team", Values: StringList{"blue"}}},
	}
	v := mustVerifier(t, s, Key{Text: testKey})
	// openssl
	mac := "01e4f4fc770089eedfb4238666b3dc9139d226e63239afd8d85c33732c24a36b"
	headers := []string{"X-Signature", mac, "X-Time", "1760000000", "X-Id", "id-1", "X-Topic", "paid", "X-Team", "blue"}
	expect(t, v, post(headers...), testBody, genuine)
	for name, want := range map[string]Reason{
		"X-Signature": MalformedSignature, "X-Time": MalformedTimestamp, "X-Id": MalformedSignature,
		"X-Topic": MalformedSignature, "X-Team": HeaderMismatch,
	} {
		again := post(headers...).Header[name][0]
		expect(t, v, post(append(headers, name, again)...), testBody, want)
		expect(t, v, post(append(headers, name, "other")...), testBody, want)
		expect(t, v, post(append([]string{name, "other"}, headers...)...), testBody, want)
		expect(t, v, post(append(headers, name, "")...), testBody, want)
	}
	expect(t, v, post(append(headers, "X-Other", "a", "X-Other", "b")...), testBody, MalformedSignature)
	expect(t, v, post(append(headers, "X-Unread", "a", "X-Unread", "b")...), testBody, genuine)
}

// TestEmptyHeaders: an empty value counts as absent, never as a signature or a value.
func TestEmptyHeaders(t *testing.T) {
	s := Scheme{
		Signature:  &Signature{Header: StringList{"X-Signature"}},
		Message:    StringList{"{id}.{timestamp}.{header:X-Topic}.{body}"},
		Timestamp:  &Timestamp{Header: StringList{"X-Time"}},
		DeliveryID: &DeliveryID{Header: StringList{"X-Id"}},
	}
	v := mustVerifier(t, s, Key{Text: testKey})
	for name, want := range map[string]Reason{
		"X-Signature": MissingSignature, "X-Time": MissingTimestamp, "X-Id": MissingHeader, "X-Topic": MissingHeader,
	} {
		// accepted by a receiver that reads "" as the value
		values := map[string]string{"X-Time": "1760000000", "X-Id": "id-1", "X-Topic": "paid"}
		values[name] = ""
		mac := macOf(testKey, values["X-Id"]+"."+values["X-Time"]+"."+values["X-Topic"]+"."+testBody)
		if name == "X-Signature" {
			mac = ""
		}
		req := post("X-Signature", mac, "X-Time", values["X-Time"], "X-Id", values["X-Id"], "X-Topic", values["X-Topic"])
		expect(t, v, req, testBody, want)
		delete(req.Header, name)
		expect(t, v, req, testBody, want)
		req.Header[name] = []string{}
		expect(t, v, req, testBody, want)
	}
}

// TestSeparators: a provider file may choose them.
func TestSeparators(t *testing.T) {
	v := mustVerifier(t, Scheme{Signature: &Signature{Header: StringList{"S"}, Syntax: "kv", Key: StringList{"h1"}, PairSeparator: ";"}}, Key{Text: testKey})
	expect(t, v, post("S", "ts=1;h1="+bodyHex), testBody, genuine)
	expect(t, v, post("S", "ts=1,h1="+bodyHex), testBody, MalformedSignature)
	v = mustVerifier(t, Scheme{Signature: &Signature{Header: StringList{"S"}, Syntax: "list", ItemSeparator: ",", VersionSeparator: "=", Accept: map[string]Algorithm{"v1": HMACSHA256}}}, Key{Text: testKey})
	expect(t, v, post("S", "v1="+wrongHex+", v1="+bodyHex), testBody, genuine)
}

// TestRejectionTexts: log texts contain nothing received or expected.
func TestRejectionTexts(t *testing.T) {
	s := Scheme{
		Signature: &Signature{Header: StringList{"X-Signature"}},
		Message:   StringList{"{json:shown}.{body}"},
	}
	v := mustVerifier(t, s, Key{Text: testKey})
	for _, tc := range []struct{ signature, body string }{
		{"present-signature", `{"shown":"body-text"}`},
		{wrongHex, `{"shown":"body-text"}`},
		{wrongHex, `{"shown":"body-text","shown":1}`},
		{wrongHex, `{"shown":["body-text"]}`},
		{wrongHex, `body-text`},
		{wrongHex, `{"shown":"body.text"}`},
	} {
		_, err := deliver(v, post("X-Signature", tc.signature), testNow, tc.body)
		text := err.Error()
		for _, hidden := range []string{testKey, "present", wrongHex[:8], "body-text", "body.text", macOf(testKey, "body-text."+tc.body)[:8]} {
			if strings.Contains(text, hidden) {
				t.Errorf("%q shows %q", text, hidden)
			}
		}
	}
}
