package verifier

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHTTPSignatureWithoutCreated: with an optional created, a signature without it is
// of any age; one with it must still be fresh, as nobody can remove it.
func TestHTTPSignatureWithoutCreated(t *testing.T) {
	optional := func(s *Scheme) { s.Timestamp = &Timestamp{KV: "created", Optional: true} }
	v := mustVerifier(t, ofRFC9421(optional), Key{Text: testKey})
	for _, tc := range []struct {
		params string
		want   string
	}{
		{"", genuine},
		{";created=1760000000", genuine},
		{";created=1759999699", string(StaleTimestamp)},
		{";created=1760000301", string(FutureTimestamp)},
		{";created=0", string(MalformedTimestamp)},
		{`;created="1760000000"`, string(MalformedTimestamp)},
		{";expires=1760000000", genuine},
		{";expires=1759999999", string(StaleTimestamp)},
	} {
		expect(t, v, httpPost(signedLines, signedList+tc.params), testBody, tc.want)
	}
	verdict, err := deliver(v, httpPost(signedLines, signedList), testNow.Add(1000*time.Hour), testBody)
	if err != nil || !verdict.Timestamp.IsZero() {
		t.Errorf("got %v, %v", verdict, err)
	}
	removed := httpPost(signedLines, signedList+";created=1759999699")
	removed.Header["Signature-Input"] = []string{"sig1=" + signedList}
	expect(t, v, removed, testBody, SignatureMismatch)
	expect(t, mustVerifier(t, ofRFC9421(nil), Key{Text: testKey}), httpPost(signedLines, signedList), testBody, MissingTimestamp)
	required := mustVerifier(t, ofRFC9421(func(s *Scheme) {
		optional(s)
		s.HTTPSignature = &HTTPSignature{Params: StringList{"created"}}
	}), Key{Text: testKey})
	expect(t, required, httpPost(signedLines, signedList), testBody, MalformedSignature)
}

// TestHTTPSignedMembers: the examples of RFC 9421 §2.1.2, and what else a member of a
// dictionary may be.
func TestHTTPSignedMembers(t *testing.T) {
	const dictionary = "a=1,    b=2;x=1;y=2,   c=(a   b    c), d"
	v := mustVerifier(t, ofRFC9421(nil), Key{Text: testKey})
	for _, tc := range []struct {
		lines  []string // of the header
		list   string   // what the signature covers besides
		signed string
		want   Reason
	}{
		{[]string{dictionary}, `"example-dict";key="a"`, `1`, genuine},
		{[]string{dictionary}, `"example-dict";key="d"`, `?1`, genuine},
		{[]string{dictionary}, `"example-dict";key="b"`, `2;x=1;y=2`, genuine},
		{[]string{dictionary}, `"example-dict";key="c"`, `(a b c)`, genuine},
		{[]string{"a=1", "b=2"}, `"example-dict";key="b"`, `2`, genuine},
		{[]string{dictionary}, `"example-dict";key="b"`, `2`, SignatureMismatch},
		{[]string{dictionary}, `"example-dict";key="e"`, ``, MissingHeader},
		{nil, `"example-dict";key="a"`, ``, MissingHeader},
		{[]string{"a=1, a=2"}, `"example-dict";key="a"`, `2`, MalformedSignature},
		{[]string{"a=1", "a=2"}, `"example-dict";key="a"`, `2`, MalformedSignature},
		{[]string{"no dictionary;"}, `"example-dict";key="no"`, `?1`, MalformedSignature},
		{[]string{"x" + strings.Repeat("x", maxMembers)}, `"example-dict";key="x"`, ``, MalformedSignature},
		{[]string{dictionary}, `"example-dict";key=a`, `1`, MalformedSignature},
		{[]string{dictionary}, `"example-dict";key="a";sf`, `1`, MalformedSignature},
		{[]string{dictionary}, `"example-dict";sf`, `a=1, b=2;x=1;y=2, c=(a b c), d`, MalformedSignature},
		{[]string{dictionary}, `"@method";key="a"`, `POST`, MalformedSignature},
		{[]string{dictionary}, `"Example-Dict";key="a"`, `1`, MalformedSignature},
	} {
		input := strings.TrimSuffix(signedList, ")") + " " + tc.list + ");created=1760000000"
		req := httpPost(signedLines+tc.list+": "+tc.signed+"\n", input)
		req.Header["Example-Dict"] = tc.lines
		expect(t, v, req, testBody, tc.want)
	}

	// A member that is required is covered by itself, not by the header.
	member := `"signature-agent";key="sig1": "https://a.example/"` + "\n"
	whole := `"signature-agent": sig1="https://a.example/"` + "\n"
	required := mustVerifier(t, ofRFC9421(nil, "@method", "@target-uri", "content-digest", `signature-agent;key="sig1"`), Key{Text: testKey})
	for _, tc := range []struct {
		lines, list string
		want        Reason
	}{
		{member, `"signature-agent";key="sig1"`, genuine},
		{whole, `"signature-agent"`, MalformedSignature},
		{"", "", MalformedSignature},
	} {
		req := httpPost(signedLines+tc.lines, strings.TrimSuffix(signedList, ")")+strings.TrimRight(" "+tc.list, " ")+");created=1760000000")
		req.Header["Signature-Agent"] = []string{`sig1="https://a.example/"`}
		expect(t, required, req, testBody, tc.want)
	}
	if v := mustVerifier(t, ofRFC9421(nil, `content-digest;key="sha-256"`, "content-digest"), Key{Text: testKey}); !v.coversBody() {
		t.Error("the body is not covered")
	}
	for _, name := range []string{`content-digest;key="sha-256"`, `x;key=a`, `x;key`, `X;key="a"`, `@path;key="a"`} {
		if err := validate(ofRFC9421(nil, name)); err == nil || !strings.HasPrefix(err.Error(), "http_signature") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	req := post("Signature-Agent", `sig1="https://a.example/"`)
	if err := required.Sign(req, "", testNow, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	expect(t, required, req, testBody, genuine)
	if names := ofRFC9421(nil, "content-digest", `signature-agent;key="sig1"`).HeaderNames(); !slices.Contains(names, "Signature-Agent") {
		t.Errorf("headers %q", names)
	}
}

// TestHTTPSignatureAlgorithms: of several algorithms the key decides, and alg must
// agree with it.
func TestHTTPSignatureAlgorithms(t *testing.T) {
	scheme := ofRFC9421(func(s *Scheme) {
		s.PublicKeyEncoding = "hex"
		s.Signature.Accept = map[string]Algorithm{"ed25519": Ed25519, "ecdsa-p256-sha256": ECDSAP256SHA256Raw, "ecdsa-p384-sha384": ECDSAP384SHA384Raw}
	})
	v := mustVerifier(t, scheme, Key{Text: edSeed2, Kind: PrivateKey, Label: "ed"}, Key{Text: pemP256, Kind: PublicKey, Label: "p256"})
	req := post()
	if err := v.Sign(req, "", testNow, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	if verdict, err := deliver(v, req, testNow, testBody); err != nil || verdict.Key != "ed" {
		t.Errorf("got %v, %v", verdict, err)
	}
	input := req.Header["Signature-Input"][0]
	for alg, want := range map[string]Reason{"ecdsa-p256-sha256": SignatureMismatch, "hmac-sha256": MalformedSignature, "none": MalformedSignature} {
		req.Header["Signature-Input"] = []string{strings.Replace(input, `"ed25519"`, `"`+alg+`"`, 1)}
		expect(t, v, req, testBody, want)
	}
	for want, edit := range map[string]func(*Scheme){
		"signature: accept: secrets and public keys do not mix":    func(s *Scheme) { s.Signature.Accept["hmac-sha256"] = HMACSHA256 },
		"signature: accept eddsa: RFC 9421 has another name":       func(s *Scheme) { s.Signature.Accept = map[string]Algorithm{"eddsa": Ed25519} },
		"algorithm: ecdsa-p256-sha256 is not an algorithm of RFC ": func(s *Scheme) { s.Signature.Accept = map[string]Algorithm{"x": ECDSAP256SHA256} },
	} {
		s := scheme
		s.Signature = new(Signature)
		*s.Signature = *scheme.Signature
		s.Signature.Accept = map[string]Algorithm{"ed25519": Ed25519}
		edit(&s)
		if err := validate(s); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestHTTPSignatureInBase64URL: byte sequences of senders that do not follow RFC 9651.
func TestHTTPSignatureInBase64URL(t *testing.T) {
	lenient := mustVerifier(t, ofRFC9421(func(s *Scheme) { s.Signature.Encoding = encBase64URL }), Key{Text: testKey})
	strict := mustVerifier(t, ofRFC9421(nil), Key{Text: testKey})
	req := httpPost(signedLines, signedList+";created=1760000000")
	expect(t, lenient, req, testBody, genuine)
	standard := strings.Trim(strings.TrimPrefix(req.Header["Signature"][0], "sig1="), ":")
	raw, err := base64.StdEncoding.DecodeString(standard)
	if err != nil || !strings.ContainsAny(standard, "+/") {
		t.Fatal("take another message, whose signature has a + or /", err)
	}
	set := func(text string) { req.Header["Signature"] = []string{"sig1=:" + text + ":"} }
	set(base64.RawURLEncoding.EncodeToString(raw))
	expect(t, lenient, req, testBody, genuine)
	expect(t, strict, req, testBody, MalformedSignature)
	set(base64.URLEncoding.EncodeToString(raw))
	expect(t, lenient, req, testBody, genuine)
	i := strings.IndexAny(standard, "+/")
	set(standard[:i+1] + "-" + standard[i+2:]) // both alphabets
	expect(t, lenient, req, testBody, MalformedSignature)
	for _, text := range []string{"", "=", "A", "%%%%"} {
		set(text)
		expect(t, lenient, req, testBody, MalformedSignature)
	}

	digest := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(digest256), "=")
	lines := strings.Replace(signedLines, digest256, digest, 1)
	unpadded := httpPost(lines, signedList+";created=1760000000")
	unpadded.Header["Content-Digest"] = []string{"sha-256=:" + digest + ":"}
	expect(t, lenient, unpadded, testBody, genuine)
	expect(t, lenient, unpadded, testBody+" ", SignatureMismatch)
	expect(t, strict, unpadded, testBody, MalformedSignature)
}

// TestHTTPSignatureOfOneLabel: with a label, others do not matter, wherever they are.
func TestHTTPSignatureOfOneLabel(t *testing.T) {
	v := mustVerifier(t, ofRFC9421(func(s *Scheme) { s.HTTPSignature = &HTTPSignature{Label: "sig1"} }), Key{Text: testKey})
	any := mustVerifier(t, ofRFC9421(nil), Key{Text: testKey})
	for header, more := range map[string]string{"Signature-Input": `relay=("@method");created=1`, "Signature": "relay=:YQ==:"} {
		req := httpPost(signedLines, signedList+";created=1760000000")
		req.Header[header][0] += ", " + more
		expect(t, v, req, testBody, genuine)
		expect(t, any, req, testBody, MalformedSignature)
	}
	alone := httpPost(signedLines, signedList+";created=1760000000")
	alone.Header["Signature"] = []string{strings.Replace(alone.Header["Signature"][0], "sig1", "sig2", 1)}
	expect(t, v, alone, testBody, MalformedSignature)
}
