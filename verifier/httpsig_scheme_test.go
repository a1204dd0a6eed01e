package verifier

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestHTTPSignatureSign: Verify accepts what Sign writes, and the first example
// equals openssl's result for the RFC's base.
func TestHTTPSignatureSign(t *testing.T) {
	for _, tc := range []struct {
		what  string
		edit  func(*Scheme)
		key   Key
		input string
	}{
		{"the default", nil, Key{Text: testKey}, `sig1=("@method" "@target-uri" "content-digest");created=1760000000;alg="hmac-sha256"`},
		{"all that may be required", func(s *Scheme) {
			s.HTTPSignature = &HTTPSignature{Label: "acme", Tag: "t", Components: StringList{"content-digest", `@query-param;name="x"`, "x-id", "@authority", "@path", "@query", "@scheme", "@request-target", "host"},
				Params: StringList{"expires", "nonce", "keyid", "alg", "tag", "created"}, Digests: StringList{"sha-512"}}
			s.DeliveryID = &DeliveryID{Header: StringList{"X-Id"}}
		}, Key{Text: testKey, ID: "k"}, `acme=("content-digest" "@query-param";name="x" "x-id" "@authority" "@path" "@query" "@scheme" "@request-target" "host");created=1760000000;alg="hmac-sha256";keyid="k";tag="t";expires=1760000300;nonce="id-1"`},
		{"a private key", func(s *Scheme) { s.Algorithm, s.PublicKeyEncoding = Ed25519, "hex" }, Key{Text: edSeed2, Kind: PrivateKey}, ""},
	} {
		v := mustVerifier(t, ofRFC9421(tc.edit), tc.key)
		req := post()
		req.Target += "?x=1"
		if err := v.Sign(req, "id-1", testNow, []byte(testBody)); err != nil {
			t.Errorf("%s: %v", tc.what, err)
			continue
		}
		if got := req.Header["Signature-Input"]; tc.input != "" && !slices.Equal(got, []string{tc.input}) {
			t.Errorf("%s: got %s", tc.what, got)
		}
		expect(t, v, req, testBody, genuine)
		expect(t, v, req, testBody+" ", SignatureMismatch)
		req.Method = "PUT"
		if tc.what == "the default" {
			expect(t, v, req, testBody, SignatureMismatch)
		}
	}
	missing := mustVerifier(t, ofRFC9421(nil, "content-digest", "x-other"), Key{Text: testKey})
	if err := missing.Sign(post(), "", testNow, nil); err == nil || !strings.Contains(err.Error(), "x-other") {
		t.Errorf("a header that is not there: %v", err)
	}
	nonce := mustVerifier(t, ofRFC9421(func(s *Scheme) { s.HTTPSignature.Params = StringList{"nonce"} }), Key{Text: testKey})
	if err := nonce.Sign(post(), "", testNow, nil); err == nil || !strings.Contains(err.Error(), "nonce") {
		t.Errorf("a nonce that nobody gives: %v", err)
	}
}

// TestHTTPSignatureErrors: invalid schemes.
func TestHTTPSignatureErrors(t *testing.T) {
	for field, edits := range map[string][]func(*Scheme){
		"signature": {
			func(s *Scheme) { s.Signature.Header = StringList{"X-Signature"} },
			func(s *Scheme) { s.Signature.Header = StringList{"Signature", "X-Signature"} },
			func(s *Scheme) { s.Signature = &Signature{Query: "sig", Syntax: "http_signature"} },
			func(s *Scheme) { s.Signature.Encoding = "hex" },
			func(s *Scheme) { s.Signature.Key = StringList{"v1"} },
			func(s *Scheme) { s.Signature.Accept = map[string]Algorithm{"v1": HMACSHA256} },
			func(s *Scheme) { s.Signature.Prefix = "v1=" },
		},
		"algorithm": {
			func(s *Scheme) { s.Algorithm = HMACSHA512 },
			func(s *Scheme) { s.Algorithm = ECDSAP256SHA256 }, // DER
			func(s *Scheme) { s.Algorithm, s.BodyUnsigned = Token, true },
		},
		"http_signature": {
			func(s *Scheme) { s.Signature.Syntax = "raw" },
			func(s *Scheme) { s.HTTPSignature.Components = StringList{"@method"} },
			func(s *Scheme) { s.HTTPSignature.Components = StringList{"content-digest;sf"} },
			func(s *Scheme) { s.HTTPSignature.Components = StringList{"content-digest", "Date"} },
			func(s *Scheme) { s.HTTPSignature.Components = StringList{"content-digest", "@status"} },
			func(s *Scheme) { s.HTTPSignature.Components = StringList{"content-digest", "@query-param"} },
			func(s *Scheme) { s.HTTPSignature.Components = StringList{"content-digest", `a"b`} },
			func(s *Scheme) { s.HTTPSignature.Components = StringList{"content-digest", "content-digest"} },
			func(s *Scheme) {
				s.HTTPSignature.Components = slices.Repeat(StringList{"content-digest"}, maxComponents+1)
			},
			func(s *Scheme) { s.HTTPSignature.Params = StringList{"Key Id"} },
			func(s *Scheme) { s.HTTPSignature.Params = StringList{""} },
			func(s *Scheme) { s.HTTPSignature.Params = StringList{"a=1"} },
			func(s *Scheme) { s.HTTPSignature.Tag = "ü" },
			func(s *Scheme) { s.HTTPSignature.Digests = StringList{"md5"} },
		},
		"timestamp": {
			func(s *Scheme) { s.Timestamp = &Timestamp{Header: StringList{"Date"}} },
			func(s *Scheme) { s.Timestamp = &Timestamp{KV: "t"} },
			func(s *Scheme) { s.Timestamp = &Timestamp{KV: "created", Unit: "ms"} },
		},
		"message": {func(s *Scheme) { s.Message = StringList{"{body}"} }},
		"key_id":  {func(s *Scheme) { s.KeyID = &KeyID{Header: "X-Key"} }},
	} {
		for i, edit := range edits {
			err := validate(ofRFC9421(edit))
			if e, ok := errors.AsType[*SchemeError](err); !ok || e.Field != field {
				t.Errorf("%s %d: got %v", field, i, err)
			}
		}
	}
	names := ofRFC9421(nil, "content-digest", "@path", "x-other").HeaderNames()
	if want := []string{"Signature", "Signature-Input", "Content-Digest", "X-Other"}; !slices.Equal(names, want) {
		t.Errorf("headers: got %q, want %q", names, want)
	}
}

// FuzzDictionary: parsing is unambiguous: serialized and parsed again, a dictionary
// is the same, and no key is dropped.
func FuzzDictionary(f *testing.F) {
	for _, seed := range []string{
		`sig1=("@method" "content-digest");created=1;keyid="a\"b"`, `sig1=:YQ==:, sig2=:Yg==:`, `a=1,a=2`, `a;x;x`, `a=?1`, `a=( "x"  );y`,
		`a=1.0`, `a=01`, `a=-0`, `a=:YR==:`, `a=@1`, `a=%"x"`, `a="` + "\t" + `"`, `a=1,`, ``, ` a=1 `, `*a=tok/en:*`, "a=1\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := dictionary(text)
		if err != nil {
			return
		}
		for _, name := range d.Names() {
			if _, ok := d.Get(name); !ok {
				t.Errorf("%q: %s has no value", text, name)
			}
		}
		again, err := dictionary(strings.Trim(text, " "))
		if err != nil || !slices.Equal(again.Names(), d.Names()) {
			t.Errorf("%q is read another way without white space around: %v", text, err)
		}
		if strings.Contains(text, "\n") || strings.Contains(text, "\x00") {
			t.Errorf("%q is read although it holds control characters", text)
		}
	})
}

// FuzzHTTPSignature: no header makes an unsigned delivery genuine, or a check panic.
func FuzzHTTPSignature(f *testing.F) {
	good := httpPost(signedLines, signedList+";created=1760000000")
	f.Add(good.Header["Signature-Input"][0], good.Header["Signature"][0], good.Header["Content-Digest"][0], "/hooks/acme")
	f.Add(`sig1=("@query-param";name="x" "content-digest" "@path" "@query");created=1760000000`, `sig1=:`+digest256+`:`, "sha-512=:"+digest512+":", "/?x=%zz")
	f.Add(`a=("host"), b=();created=-1`, `a=1, b=()`, "sha-256", "?")
	v := mustVerifier(f, ofRFC9421(nil), Key{Text: testKey})
	f.Fuzz(func(t *testing.T, input, signature, digest, target string) {
		req := post("Signature-Input", input, "Signature", signature, "Content-Digest", digest)
		req.Target = target
		if judge(v, req, testNow, testBody) != genuine {
			return
		}
		if target != "/hooks/acme" || !strings.Contains(withoutBlanks.Replace(signature), withoutBlanks.Replace(good.Header["Signature"][0])[len("sig1="):]) {
			t.Errorf("passes: %q %q %q %q", input, signature, digest, target)
		}
	})
}
