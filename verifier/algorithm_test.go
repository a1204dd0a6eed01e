package verifier

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
)

// Keys and signatures of OpenSSL 3.0.19 over testBody, in base64:
//
//	openssl ecparam -name prime256v1 -genkey -noout -out p256.pem   (secp384r1)
//	openssl genrsa -out rsa.pem 2048
//	openssl dgst -sha256 -sign KEY.pem [-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32]
//
// The raw form is r and s of the DER one beside it.
const (
	p256Public = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHVvUOEXJitiIQSBz1M47345FkxzA6kjfSlLxaVdws1BP5L6T2E/ymdz0as6JDLjcJQI65rbRzh5crek/p8JVPw=="
	p256DER    = "MEUCIHPsPY9+nw+m63tN+Wtz+K9DdOLedfqNH70uJVIK1UJwAiEArPeCI6toNBFjDrCTEdQuggLglCPLnbsKBNn/xc7H27U="
	p256Raw    = "c+w9j36fD6bre035a3P4r0N04t51+o0fvS4lUgrVQnCs94Ijq2g0EWMOsJMR1C6CAuCUI8uduwoE2f/FzsfbtQ=="
	p384Public = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEhbnHbi2qcyEMi+KxWJ33AKg/IwR5zwrZApc943VdjUdwEk5JlTCltOmCPcTxMvGpagE2twV+HsJqPq3x9z41uS8GQluTrKKMzkWLS5kNfoFg+pln0ICjwad8ku2KswN2"
	p384DER    = "MGYCMQDip3D9mfJzjW+C5wvQdYAKsLSzeYQ+JMakTr1lWKM0IFgLP3zW6IHmBNKtBXCKtBgCMQCNuLTGF84/0S4EY649S8feVqp2xOCB8v7WG2gU27V5Eo4KBWbcd5nTkY+JZNeOPDs="
	p384Raw    = "4qdw/Znyc41vgucL0HWACrC0s3mEPiTGpE69ZVijNCBYCz981uiB5gTSrQVwirQYjbi0xhfOP9EuBGOuPUvH3laqdsTggfL+1htoFNu1eRKOCgVm3HeZ05GPiWTXjjw7"
	p521Public = "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAqUlUNwUdUxLzJ/zhustWy+h8IB6ZbaVXWFTNNEK3yvASNhKjpjvFmxXz4NStv4Be0LdKERbYQjdqryPWdKsIQxQBBnRdpkLBxSQFG4O31UPYMTqZXiL4Ng4zFQhFBavuCaKzkmKeTM50bzduTbSnAbaS2uM58QcgEmmwtQZVladgIfA="
	p521Raw    = "AFrMeYCXkYptKlp7RP+VeaH4CNQLcYy2LEobnW/ecw00/l94JmpgY6PXndswCmCh7wesRxR9/nF7dK4zN68xqAHNAQ0VC01MPMOR9WtqzocRVu7S2hauaGa70bXGBU78rCuZuCpX63X9nx0aqZtQRjjfl8ZBx+h/ylBo3dVIfg558r0K"
	rsaPublic  = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAvKY7A1SxVY92/fgePDIXqjIyB2GdS9wFXUMIjsronESxxWHPAp0+6BRZFdWyOKNuw2WP8sSqIVxK3ZsVxWX67eyzk0Y5hAIxpb/Qft20+ehnCNr4eb1q8SQ8wNRBSZEyFu2PWcVMRZFoxX7lnwihhrnu4zmIu7ujdDkGxmKmLqJSpCFBxmMOXiIy5nM3GyPDIOEsDuxiRr+5FVj4IO/iBEWKdrAeGX+nlJVSTf1lmk0TmhXsBOvTkSkKaZp4yqDOHIwf5L7pT43fdZz+rzfxfmvAdePh4/AyK93nE29QiPhZfLCX7r8VZvey9tMEJwphLo3kmnmjIn/bUYkwKZIwpQIDAQAB"
	rsaSHA256  = "NCmo023ApRu4ftzr4yVscDI5dK8TwuBWCqjSVrAM6SpTpaNsJ+T4Hmfht5mWW9Nmio2ElJaMZz0P5Dsz5/XjYqrHZp1BoEz1IZsiJX2Qxy/rndkDS36fyRxmI3oa+Zm5Hqj6O55W+W0p9sz7MtFgkobiHIw+KR+t4DsrL0tSgJ1LfNdo5XjL0RtBTLBmnP9MZgXsnw05lajp3Bk/XbYdhZF4oDF1fCLSS6QhXpjdc2UMASDXtQcIBqq8bcfJXzpQeFMiW6QtxTucrVD/fnfmFGLCZ6f6a3h4LzHgji3yTy08c3eyiX8A2N4Ek9YK3bdQ2NAoDMyM9o/DS+6SVGcJ8w=="
	rsaSHA512  = "Ah8S/So0/AlrGlfcysS1Z94Btbjb83YUa2Qccxws4UjLqOST3qurAeFcUOUz6lQ0A0egeHJKIMiP1w9AD9Tj6VTEKf6uvC8S8Ts+hmlWlKJzpXqN53b/ymLmBTnu3U9bpksH2RXGVQEEiKW56rAnqfAf90Ppdfar66xJDIfRDpssijHR79GzSpFLc+AEataaGYuNUuuVi88iIykzZMpmBkzVK2lBIQc++52VQx7xhQ4UJnivZJEWDU9nD29DhTA4q76dx4K+VVRwz8MFRIwau2T51HtUnCG28qbs/OX9TivE8iWMxkxgWHRuE9xrj+jj0XmhjwBS7YDl/u5N2I5BBA=="
	rsaPSS256  = "Hqt838quuKbK1E/LEEneDleT5a+DJ9TdiIQu35bsGccE+DcdFEZ1woLOuVZ2a4u6RHMCMMKJ+YO3DvGT1e0STBx82u72CWcjl6yfijOvzMlDNEg58/74w7wjgOa8VC5Uv0S01nvBM20oC+feNQS/VRqD9GVGl+Pm3Rb6tnYk66pMx7j4RxusXOhXyrQZxHU11JgFjFzLszLtZNpVEUa/5IxDDjnrdbxNiwwlQ5w8ZTWk11INGag7XO3RnqQqtHTF0lfd3wDFMEOutVhGlAbEkrnbnIF/2ifa/MC5FlkcMolZJeQrsN5ehT6wKW5AgUkxv+6ZSjvy/BOhnc5vwIGP4A=="
	rsaPSS512  = "QWS9c76uZDo9B4gMKFxBj39tm+RdOgP12iJdQt/YzcO5WZdLwJOCBY2CEWMpON8w+TQN+amjUbvzFoCGR/OqIHg6ST5vW8yeIk53VHC/cmumdwRc5ZUXKHjGO3KIWOIy/rExCp16SuAqt2JHJUijdUj7HJf/pAeRfZi6W/OxOEU1C0dSx1Vmuhx9fDsZsxs3VL28ThuQarVXIdShzxerWXldcWssXi9Tjjg7o3SSWiiRMVatxnpJjH/i3e72hnWzLPZQr6DZKMPtdtRIheZ7ThLWX79C5bxHyPoKxVI3kqF7LyS702mrrKGGfMU40fPBMuCM7Wd9kbkGkBTg1EIiAQ=="
	rsaSHA1    = "UzjVKl4X6TpLTFLfb4Ml8zXNm7bT9Gs3oLJ6nm65FXd9VEbTnScRecW9qz3Ua3uHo1CMmR7gxNO8qIZhS3cNtCeXJWnruawW2+oWIUTA99avq+oXsw+fBLrxZv1hxN4zgDOBv/lvXkXxPFQ7d0Rac/GcK67gVXqEbCTUEO33WFiuCV7glBsM/MArOo1Ml2JcP+CPY7sl61kXii0Fu5vWwQ1OIVLjPgsQ+kJZISv9vmGDlHa14C4Ti9WQaSaORlWIZnUhsCznhkzDLozMML/4QmANXy7DXcsC+jZg5ILALO4OWJ/aUBdBOPNxm96Y4jvwyQRMiDUYQGzS/2bCoPlPHQ=="

	// openssl dgst -md5 -hmac topsecret; -sha1 and -sha256 of topsecret and the body
	md5Hex       = "b32b31c48e12092eb61889fbf25974ed"
	plainSHA1Hex = "b20f612a2d55b1f24a6cff8c3fb95063281db5cf"
	plainSHA2Hex = "de9e21dfadd05ed77fa7de2156987142471a411d883e59885bdb6561a5132cec"
)

func asymmetric(a Algorithm) Scheme {
	return bare(func(s *Scheme) {
		s.Algorithm, s.AllowWeak, s.Signature.Encoding = a, true, "base64"
	})
}

// TestPublicAlgorithms: each accepts what openssl signed with its key, and nothing
// else: no other body, no flipped bit, no signature of another algorithm with the
// same key.
func TestPublicAlgorithms(t *testing.T) {
	signatures := map[Algorithm]struct{ key, signature string }{
		ECDSAP256SHA256:    {p256Public, p256DER},
		ECDSAP256SHA256Raw: {p256Public, p256Raw},
		ECDSAP384SHA384:    {p384Public, p384DER},
		ECDSAP384SHA384Raw: {p384Public, p384Raw},
		ECDSAP521SHA512Raw: {p521Public, p521Raw},
		RSAPKCS1v15SHA256:  {rsaPublic, rsaSHA256},
		RSAPKCS1v15SHA512:  {rsaPublic, rsaSHA512},
		RSAPSSSHA256:       {rsaPublic, rsaPSS256},
		RSAPSSSHA512:       {rsaPublic, rsaPSS512},
		RSAPKCS1v15SHA1:    {rsaPublic, rsaSHA1},
	}
	for a, tc := range signatures {
		t.Run(string(a), func(t *testing.T) {
			for what, text := range map[string]string{
				"PKIX in base64": tc.key,
				"PEM":            "-----BEGIN PUBLIC KEY-----\n" + tc.key + "\n-----END PUBLIC KEY-----\n",
			} {
				v, err := New(asymmetric(a), []Key{{Text: text, Kind: PublicKey}})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				expect(t, v, post("X-Signature", tc.signature), testBody, genuine)
				expect(t, v, post("X-Signature", tc.signature), testBody+" ", SignatureMismatch)
			}
			v := mustVerifier(t, asymmetric(a), Key{Text: tc.key, Kind: PublicKey})
			for other, o := range signatures {
				if other == a {
					continue
				}
				if got := judge(v, post("X-Signature", o.signature), testNow, testBody); got == genuine {
					t.Errorf("accepts a signature of %s", other)
				}
				if o.key == tc.key {
					continue
				}
				if _, err := New(asymmetric(a), []Key{{Text: o.key, Kind: PublicKey}}); err == nil && other != ECDSAP256SHA256Raw && other != ECDSAP256SHA256 {
					if facts[a].public.accepts(mustPublic(t, o.key)) {
						continue
					}
					t.Errorf("takes a key of %s", other)
				}
			}
			if _, err := New(asymmetric(a), []Key{{Text: testKey}}); err == nil || !strings.Contains(err.Error(), "public_key") {
				t.Errorf("a secret: got %v", err)
			}
		})
	}
}

func mustPublic(t *testing.T, text string) any {
	t.Helper()
	raw, err := decodeString(text, "base64")
	if err != nil {
		t.Fatal(err)
	}
	return parsePublic(raw)
}

// TestWeakAlgorithms: weak algorithms require allow_weak.
func TestWeakAlgorithms(t *testing.T) {
	for _, tc := range []struct {
		algorithm Algorithm
		message   string
		signature string
	}{
		{HMACMD5, "{body}", md5Hex},
		{SHA1, "{secret}{body}", plainSHA1Hex},
		{SHA256, "{secret}{body}", plainSHA2Hex},
	} {
		t.Run(string(tc.algorithm), func(t *testing.T) {
			s := bare(func(s *Scheme) { s.Algorithm, s.Message = tc.algorithm, StringList{tc.message} })
			if err := validate(s); err == nil || !strings.Contains(err.Error(), "allow_weak") {
				t.Errorf("without allow_weak: got %v", err)
			} else if keyless := tc.algorithm != HMACMD5; strings.Contains(err.Error(), "write hmac-"+string(tc.algorithm)) != keyless {
				t.Errorf("whoever writes sha256 means hmac-sha256, mostly: got %v", err)
			}
			s.AllowWeak = true
			v := mustVerifier(t, s, Key{Text: testKey})
			expect(t, v, post("X-Signature", tc.signature), testBody, genuine)
			expect(t, v, post("X-Signature", tc.signature), testBody+" ", SignatureMismatch)
			expect(t, mustVerifier(t, s, Key{Text: testKey + "x"}), post("X-Signature", tc.signature), testBody, SignatureMismatch)
		})
	}
	err := validate(bare(func(s *Scheme) { s.Algorithm, s.AllowWeak = SHA256, true }))
	if err == nil || !strings.Contains(err.Error(), "{secret}") {
		t.Errorf("a hash of the body alone: got %v", err)
	}
}

// TestSignatureElsewhere: a signature in the URL, in a form or in JSON. The MAC
// is of what the message names, made by the standard library.
func TestSignatureElsewhere(t *testing.T) {
	query := mustVerifier(t, bare(func(s *Scheme) { s.Signature = &Signature{Query: "signature"} }), Key{Text: testKey})
	at := func(target string) *Request { r := post(); r.Target = target; return r }
	expect(t, query, at("/h?signature="+bodyHex), testBody, genuine)
	expect(t, query, at("/h?a=1&signature="+bodyHex), testBody+" ", SignatureMismatch)
	expect(t, query, at("/h?a=1"), testBody, MissingSignature)
	expect(t, query, at("/h"), testBody, MissingSignature)
	expect(t, query, at("/h?signature="+bodyHex+"&signature="+bodyHex), testBody, MalformedSignature)
	expect(t, query, at("/h?signature=%zz"), testBody, MalformedSignature)

	mac := macOf(testKey, "1700tok")
	inJSON := mustVerifier(t, bare(func(s *Scheme) {
		s.Signature, s.Message, s.BodyUnsigned = &Signature{JSON: StringList{"signature.signature"}}, StringList{"{json:signature.timestamp}{json:signature.token}"}, true
	}), Key{Text: testKey})
	text := func(timestamp, signature string) string {
		return `{"signature":{"timestamp":"` + timestamp + `","token":"tok","signature":"` + signature + `"},"event":1}`
	}
	expect(t, inJSON, post(), text("1700", mac), genuine)
	expect(t, inJSON, post(), text("1701", mac), SignatureMismatch)
	expect(t, inJSON, post(), text("1700", ""), MissingSignature)
	expect(t, inJSON, post(), `{"event":1}`, MissingSignature)
	expect(t, inJSON, post(), `{"signature":{},"signature":{}}`, MalformedSignature)
	expect(t, inJSON, post(), `event=1`, MalformedSignature)

	inForm := mustVerifier(t, bare(func(s *Scheme) {
		s.Signature, s.Message, s.BodyUnsigned = &Signature{Form: "sig"}, StringList{"{form:payload}"}, true
	}), Key{Text: testKey})
	expect(t, inForm, post(), "sig="+macOf(testKey, "a b")+"&payload=a+b", genuine)
	expect(t, inForm, post(), "sig="+macOf(testKey, "a b")+"&payload=a+c", SignatureMismatch)
	expect(t, inForm, post(), "payload=a+b", MissingSignature)
	expect(t, inForm, post(), "sig=1&sig=2&payload=a", MalformedSignature)

	for what, s := range map[string]Scheme{
		"two sources":                       bare(func(s *Scheme) { s.Signature.Query = "x" }),
		"no source":                         bare(func(s *Scheme) { s.Signature = &Signature{} }),
		"the body that holds the signature": bare(func(s *Scheme) { s.Signature = &Signature{JSON: StringList{"sig"}} }),
	} {
		if validate(s) == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// TestToken: the secret itself, as a header, as Basic authentication, in a body.
// The Basic value is printf user:pass | openssl base64.
func TestToken(t *testing.T) {
	token := func(edit func(*Signature)) Scheme {
		return bare(func(s *Scheme) { s.Algorithm, s.BodyUnsigned = Token, true; edit(s.Signature) })
	}
	plain := mustVerifier(t, token(func(s *Signature) { s.Header = StringList{"X-Gitlab-Token"} }), Key{Text: "old"}, Key{Text: "new"})
	expect(t, plain, post("X-Gitlab-Token", "old"), testBody, genuine)
	expect(t, plain, post("X-Gitlab-Token", "new"), testBody, genuine)
	expect(t, plain, post("X-Gitlab-Token", "ol"), testBody, SignatureMismatch)
	expect(t, plain, post("X-Gitlab-Token", "oldx"), testBody, SignatureMismatch)
	expect(t, plain, post("X-Gitlab-Token", ""), testBody, MissingSignature)
	expect(t, plain, post("X-Gitlab-Token", "old", "X-Gitlab-Token", "old"), testBody, MalformedSignature)

	bearer := mustVerifier(t, token(func(s *Signature) { s.Header, s.Prefix = StringList{"Authorization"}, "Bearer " }), Key{Text: "abc"})
	expect(t, bearer, post("Authorization", "Bearer abc"), testBody, genuine)
	expect(t, bearer, post("Authorization", "abc"), testBody, MalformedSignature)

	basic := mustVerifier(t, token(func(s *Signature) {
		s.Header, s.Prefix, s.Encoding = StringList{"Authorization"}, "Basic ", "base64"
	}), Key{Text: "user:pass"})
	expect(t, basic, post("Authorization", "Basic dXNlcjpwYXNz"), testBody, genuine)
	expect(t, basic, post("Authorization", "Basic dXNlcjpwYXNy"), testBody, SignatureMismatch)
	expect(t, basic, post("Authorization", "Basic dXNlcjpwYXN!"), testBody, MalformedSignature)

	inBody := mustVerifier(t, token(func(s *Signature) { *s = Signature{JSON: StringList{"auth.token"}} }), Key{Text: "abc"})
	expect(t, inBody, post(), `{"auth":{"token":"abc"}}`, genuine)
	expect(t, inBody, post(), `{"auth":{"token":"abd"}}`, SignatureMismatch)
	expect(t, inBody, post(), `{"auth":{"token":"abc","token":"abc"}}`, MalformedSignature)

	withID := token(func(*Signature) {}).With(Scheme{DeliveryID: &DeliveryID{JSON: "id"}})
	if signsID(withID) {
		t.Error("a token is said to prove an id")
	}
	for what, s := range map[string]Scheme{
		"the body is said to be covered":     bare(func(s *Scheme) { s.Algorithm = Token }),
		"a message":                          token(func(*Signature) {}).With(Scheme{Message: StringList{"{body}"}}),
		"a timestamp that it does not prove": token(func(*Signature) {}).With(Scheme{Timestamp: &Timestamp{Header: StringList{"X-Time"}}}),
		"another syntax":                     token(func(s *Signature) { s.Syntax, s.Key = "kv", StringList{"t"} }),
	} {
		if validate(s) == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// TestMultipart: fields of a multipart/form-data body, RFC 7578.
func TestMultipart(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.BodyForm, s.BodyUnsigned = "json", true
		s.Signature, s.Message = &Signature{JSON: StringList{"hash"}}, StringList{"{json:time}{form:kind}"}
		s.DeliveryID = &DeliveryID{Form: "id"}
	}), Key{Text: testKey})
	req := func() *Request { return post("Content-Type", `multipart/form-data; boundary="--b"`) }
	part := func(header, value string) string {
		return "----b\r\nContent-Disposition: form-data; " + header + "\r\n\r\n" + value + "\r\n"
	}
	const end = "----b--\r\n"
	json := part(`name="json"`, `{"time":"1","hash":"`+macOf(testKey, "1sent")+`"}`)
	kind, id := part(`name="kind"`, "sent"), part(`name=id`, "e1")

	expect(t, v, req(), json+kind+end, genuine)
	expect(t, v, req(), part(`name="other"; filename="a.txt"`, "x")+id+kind+json+end, genuine)
	expect(t, v, req(), json+part(`name="kind"`, "seen")+end, SignatureMismatch)
	expect(t, v, req(), json+kind+kind+end, MalformedSignature)
	expect(t, v, req(), json+json+kind+end, MalformedSignature)
	expect(t, v, req(), json+part(`name="kind"; filename="a.txt"`, "sent")+end, MalformedSignature)
	expect(t, v, req(), json+part("name=\"kind\"\r\nContent-Transfer-Encoding: quoted-printable", "sent")+end, MalformedSignature)
	expect(t, v, req(), json+kind, MalformedSignature) // truncated
	expect(t, v, req(), "json={}&kind=sent", MalformedSignature)
	expect(t, v, post(), json+kind+end, MalformedSignature)
	expect(t, v, post("Content-Type", "multipart/form-data"), json+kind+end, MalformedSignature)

	check, _, err := v.Open(req(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := check.DeliveryID([]byte(json + kind + id + end)); got != "e1" {
		t.Errorf("got id %q", got)
	}
}

// TestBodyForm: JSON inside a form field, as some senders wrap it.
func TestBodyForm(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.BodyForm, s.BodyUnsigned = "json", true
		s.Signature, s.Message = &Signature{JSON: StringList{"event.event_hash"}}, StringList{"{json:event.event_time}{json:event.event_type}"}
		s.DeliveryID = &DeliveryID{JSON: "event.id"}
	}), Key{Text: testKey})
	body := func(event string) string {
		return "json=" + url.QueryEscape(`{"event":{"id":"e1","event_time":"1","event_type":"`+event+`","event_hash":"`+macOf(testKey, "1sent")+`"}}`)
	}
	expect(t, v, post(), body("sent"), genuine)
	expect(t, v, post(), body("seen"), SignatureMismatch)
	expect(t, v, post(), `{"event":{}}`, MalformedSignature)
	expect(t, v, post(), body("sent")+"&json=1", MalformedSignature)
	check, _, err := v.Open(post(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	if id, signed := check.DeliveryID([]byte(body("sent"))); id != "e1" || signed {
		t.Errorf("id %q, signed %t", id, signed)
	}
}

// TestBodyDigest: a digest of the body in the signed URL covers the body (openssl
// dgst -sha256 of testBody), and a URL without it covers none.
func TestBodyDigest(t *testing.T) {
	const digest = "4a4b1ae5d3a4e0ff6ac6a9b4a3a6d9e0"
	s := bare(func(s *Scheme) { s.Message = StringList{"{url}{body_digest:bodySHA256|sha256|hex}"} })
	v := mustVerifier(t, s, Key{Text: testKey})
	sum := sha256.Sum256([]byte(testBody))
	deliver := func(query string) *Request {
		target := "/hooks/acme" + query
		r := post("X-Signature", macOf(testKey, "http://hooks.example.com"+target))
		r.Target = target
		return r
	}
	signed := "?bodySHA256=" + hex.EncodeToString(sum[:])
	expect(t, v, deliver(signed), testBody, genuine)
	expect(t, v, deliver(signed), testBody+" ", SignatureMismatch)
	expect(t, v, deliver("?bodySHA256="+digest), testBody, SignatureMismatch)
	expect(t, v, deliver(""), testBody, SignatureMismatch)
	expect(t, v, deliver(signed+"&bodySHA256=0"), testBody, SignatureMismatch)

	// With an alternative for forms, a URL with a digest requires the digest, or an
	// empty body would pass for any JSON.
	v = mustVerifier(t, bare(func(s *Scheme) {
		s.Message = StringList{"{url}{form_sorted}", "{url}{body_digest:bodySHA256|sha256|hex}"}
		s.BodyUnsigned = true
	}), Key{Text: testKey})
	expect(t, v, deliver(signed), testBody, genuine)
	expect(t, v, deliver(signed), "", SignatureMismatch)
	expect(t, v, deliver("?body%53HA256=0"), "", SignatureMismatch)
	expect(t, v, deliver("?x=1"), "", MalformedSignature) // its fields could be in the query
	get := deliver("?x=1")
	get.Method = "GET"
	expect(t, v, get, "", genuine)
	expect(t, v, deliver(signed+"&x=1"), testBody, MalformedSignature) // the parameter could be the text of a field

	// The operator is not told about a digest that was not sent.
	forged := deliver("?x=1")
	forged.Header["X-Signature"] = []string{macOf("another key", "x")}
	check, _, err := v.Open(forged, testNow)
	if err == nil {
		_, _, err = check.Verify(nil)
	}
	if want := "signature_mismatch: no key matches the signature"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}

	for _, message := range []string{
		"{body_digest:bodySHA256|sha256|hex}",     // nothing signs the digest
		"{url}{body_digest:bodySHA256|crc32|hex}", // not a digest
		"{url}{body_digest:bodySHA256}",
	} {
		if validate(bare(func(s *Scheme) { s.Message = StringList{message} })) == nil {
			t.Errorf("%s: no error", message)
		}
	}
}
