package verifier

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

func detached(a Algorithm) Scheme {
	return bare(func(s *Scheme) { s.Algorithm, s.Signature.Syntax = a, syntaxDetached })
}

// TestJWSOfTheRFCs: the examples of RFC 7515 appendix A, RFC 7797 §4 and RFC 8037
// appendix A, with their keys, as detached signatures over their payloads.
func TestJWSOfTheRFCs(t *testing.T) {
	const (
		oct = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
		joe = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"
	)
	for name, tc := range map[string]struct {
		algorithm Algorithm
		key       Key
		jws, body string
	}{
		"RFC 7515 A.1": {HMACSHA256, Key{Text: oct}, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9..dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", joe},
		"RFC 7515 A.3": {ECDSAP256SHA256Raw, Key{Kind: PublicKey, Text: `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`},
			"eyJhbGciOiJFUzI1NiJ9..DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", joe},
		"RFC 7515 A.4": {ECDSAP521SHA512Raw, Key{Kind: PublicKey, Text: `{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}`},
			"eyJhbGciOiJFUzUxMiJ9..AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn", "Payload"},
		"RFC 7797 4.2": {HMACSHA256, Key{Text: oct}, "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19..A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY", "$.02"},
		"RFC 8037 A.4": {Ed25519, Key{Kind: PublicKey, Text: `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`},
			"eyJhbGciOiJFZERTQSJ9..hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg", "Example of Ed25519 signing"},
	} {
		t.Run(name, func(t *testing.T) {
			s := detached(tc.algorithm)
			s.SecretEncoding = "base64url"
			v := mustVerifier(t, s, tc.key)
			expect(t, v, post("X-Signature", tc.jws), tc.body, genuine)
			expect(t, v, post("X-Signature", tc.jws), tc.body+" ", SignatureMismatch)
		})
	}
}

// jwt is a scheme with a digest of the body in the claim "body" and the time in iat.
func jwt(edit func(*Scheme)) Scheme {
	s := bare(func(s *Scheme) {
		s.Signature.Syntax = syntaxJWT
		s.Claims = map[string]string{"body": "{body|sha256|hex}"}
		s.Timestamp = &Timestamp{Claim: "iat"}
		s.DeliveryID = &DeliveryID{Claim: "jti"}
	})
	if edit != nil {
		edit(&s)
	}
	return s
}

// openssl dgst -sha256 of testBody.
const digestOfBody = "f3013f933b9fb80ab6d995e7ad9da36f683837ba1d81e950c943d40111eac2f0"

// token puts a JWT together by hand: the key's HMAC over header and claims.
func token(header, claims string) string {
	b64 := base64.RawURLEncoding
	content := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(claims))
	return content + "." + b64.EncodeToString(mustHex(macOf(testKey, content)))
}

// claimsOf returns valid claims for testBody at testNow, preceded by more.
func claimsOf(more string) string {
	return fmt.Sprintf(`{%s"iat":%d,"jti":"evt_1","body":%q}`, more, testNow.Unix(), digestOfBody)
}

const hs256 = `{"alg":"HS256","typ":"JWT"}`

func TestJWT(t *testing.T) {
	unix := func(d time.Duration) string { return strconv.FormatInt(testNow.Add(d).Unix(), 10) }
	for name, tc := range map[string]struct {
		token string
		want  Reason
	}{
		"genuine":                          {token(hs256, claimsOf("")), genuine},
		"a fraction of a second in iat":    {token(hs256, strings.Replace(claimsOf(""), `,"jti"`, `.25,"jti"`, 1)), genuine},
		"alg none":                         {unsigned(`{"alg":"none"}`), MalformedSignature},
		"alg None":                         {unsigned(`{"alg":"None"}`), MalformedSignature},
		"no alg":                           {token(`{"typ":"JWT"}`, claimsOf("")), MalformedSignature},
		"alg twice":                        {token(`{"alg":"HS256","alg":"none"}`, claimsOf("")), MalformedSignature},
		"alg of another family":            {token(`{"alg":"RS256"}`, claimsOf("")), MalformedSignature},
		"alg of another size":              {token(`{"alg":"HS512"}`, claimsOf("")), MalformedSignature},
		"an extension that must be known":  {token(`{"alg":"HS256","crit":["exp"],"exp":1}`, claimsOf("")), MalformedSignature},
		"b64 false in a compact JWS":       {token(`{"alg":"HS256","crit":["b64"],"b64":false}`, claimsOf("")), MalformedSignature},
		"b64 false without crit":           {token(`{"alg":"HS256","b64":false}`, claimsOf("")), MalformedSignature},
		"a key's address is not looked at": {token(`{"alg":"HS256","jku":"https://attacker.example/keys","jwk":{"kty":"oct","k":"AA"}}`, claimsOf("")), genuine},
		"two parts":                        {strings.Join(strings.Split(token(hs256, claimsOf("")), ".")[:2], "."), MalformedSignature},
		"four parts":                       {token(hs256, claimsOf("")) + ".AA", MalformedSignature},
		"no claims":                        {token(hs256, ""), MalformedSignature},
		"claims that are no object":        {token(hs256, "[]"), MalformedSignature},
		"padding":                          {token(hs256, claimsOf("")) + "==", MalformedSignature},
		"no digest of the body":            {token(hs256, `{"iat":`+unix(0)+`}`), SignatureMismatch},
		"the digest of another body":       {token(hs256, strings.Replace(claimsOf(""), digestOfBody[:4], "0000", 1)), SignatureMismatch},
		"the digest in capitals":           {token(hs256, strings.Replace(claimsOf(""), digestOfBody, strings.ToUpper(digestOfBody), 1)), genuine},
		"the digest twice":                 {token(hs256, claimsOf(`"body":"",`)), MalformedSignature},
		"no time":                          {token(hs256, `{"body":"`+digestOfBody+`"}`), MissingTimestamp},
		"a time that is text":              {token(hs256, strings.Replace(claimsOf(""), unix(0), `"yesterday"`, 1)), MalformedTimestamp},
		"too old":                          {token(hs256, strings.Replace(claimsOf(""), unix(0), unix(-6*time.Minute), 1)), StaleTimestamp},
		"from the future":                  {token(hs256, strings.Replace(claimsOf(""), unix(0), unix(6*time.Minute), 1)), FutureTimestamp},
		"not yet expired":                  {token(hs256, claimsOf(`"exp":`+unix(time.Second)+`,`)), genuine},
		"expired within the leeway":        {token(hs256, claimsOf(`"exp":`+unix(-time.Minute)+`,`)), genuine},
		"expired":                          {token(hs256, claimsOf(`"exp":`+unix(-61*time.Second)+`,`)), StaleTimestamp},
		"an expiry that cannot be read":    {token(hs256, claimsOf(`"exp":"never",`)), MalformedTimestamp},
		"not valid yet":                    {token(hs256, claimsOf(`"nbf":`+unix(61*time.Second)+`,`)), FutureTimestamp},
		"not valid for ages":               {token(hs256, claimsOf(`"nbf":99999999999999999,`)), FutureTimestamp},
		"another key":                      {flipLast(token(hs256, claimsOf(""))), SignatureMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, mustVerifier(t, jwt(nil), Key{Text: testKey}), post("X-Signature", tc.token), testBody, tc.want)
		})
	}
}

// TestJWTKeyConfusion: the text of a public key is not a shared secret.
func TestJWTKeyConfusion(t *testing.T) {
	public := "-----BEGIN PUBLIC KEY-----\n" + rsaPublic + "\n-----END PUBLIC KEY-----\n"
	if _, err := New(jwt(nil), []Key{{Text: public}}); err == nil || !strings.Contains(err.Error(), "public_key") {
		t.Errorf("a public key given as a secret: %v", err)
	}
	v := mustVerifier(t, jwt(func(s *Scheme) { s.Algorithm = RSAPKCS1v15SHA256 }), Key{Kind: PublicKey, Text: public})
	content := strings.Join(strings.Split(token(hs256, claimsOf("")), ".")[:2], ".")
	forged := content + "." + base64.RawURLEncoding.EncodeToString(mustHex(macOf(public, content)))
	expect(t, v, post("X-Signature", forged), testBody, MalformedSignature)
}

// TestJWSKeyID: a key of a set is tried only for its id; if none of a published set
// matches, it may have changed.
func TestJWSKeyID(t *testing.T) {
	set := `{"keys":[
		{"kty":"OKP","crv":"Ed25519","kid":"other","x":"` + publicX(t, 1) + `"},
		{"kty":"OKP","crv":"Ed25519","kid":"mine","use":"sig","alg":"EdDSA","x":"` + publicX(t, 2) + `"},
		{"kty":"OKP","crv":"Ed25519","kid":"enc","use":"enc","x":"` + publicX(t, 3) + `"},
		{"kty":"OKP","crv":"X25519","kid":"no","x":"` + publicX(t, 3) + `"},
		{"kty":"oct","kid":"no","k":"AAAA"}, 7]}`
	s := detached(Ed25519)
	s.KeySource = &KeySource{JWKS: "https://sender.example/jwks.json"}
	v := mustVerifier(t, s, Key{Kind: PublicKey, Text: set})
	sign := func(kid string, seed byte) *Request {
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"` + kid + `"}`))
		content := header + "." + base64.RawURLEncoding.EncodeToString([]byte(testBody))
		return post("X-Signature", header+".."+base64.RawURLEncoding.EncodeToString(ed25519.Sign(privateX(seed), []byte(content))))
	}
	expect(t, v, sign("mine", 2), testBody, genuine)
	expect(t, v, sign("other", 1), testBody, genuine)
	for name, req := range map[string]*Request{
		"another member's key":    sign("other", 2),
		"a key for encryption":    sign("enc", 3),
		"an id that none has":     sign("new", 2),
		"the id of another curve": sign("no", 3),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := deliver(v, req, testNow, testBody)
			if rej := rejection(t, err); rej.Reason != SignatureMismatch || !rej.UnknownKey {
				t.Errorf("got %s, unknown key %v", rej, rej.UnknownKey)
			}
		})
	}
	many := `{"keys":[` + strings.TrimSuffix(strings.Repeat(`{"kty":"OKP","crv":"Ed25519","x":"`+publicX(t, 2)+`"},`, maxSetKeys+1), ",") + `]}`
	if _, err := New(s, []Key{{Kind: PublicKey, Text: many}}); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a set without end: %v", err)
	}
	if _, err := New(s, nil); err != nil {
		t.Errorf("a scheme whose keys are published wants none: %v", err)
	}
}

func privateX(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
}

func publicX(t *testing.T, seed byte) string {
	t.Helper()
	return base64.RawURLEncoding.EncodeToString(privateX(seed).Public().(ed25519.PublicKey))
}

// TestSignJWS: Verify accepts what Sign makes, for every JOSE name.
func TestSignJWS(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private := map[string]any{"RS": rsaKey, "PS": rsaKey, "Ed": privateX(1)}
	for name, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if private[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	for name, a := range joseAlgorithms {
		for _, syntax := range []string{syntaxJWT, syntaxDetached} {
			t.Run(name+" "+syntax, func(t *testing.T) {
				s := detached(a)
				if syntax == syntaxJWT {
					s = jwt(func(s *Scheme) { s.Algorithm = a })
				}
				key := Key{Text: testKey}
				if a.asymmetric() {
					k, ok := private[name]
					if !ok {
						k = private[name[:2]]
					}
					der, err := x509.MarshalPKCS8PrivateKey(k)
					if err != nil {
						t.Fatal(err)
					}
					key = Key{Kind: PrivateKey, Text: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}
				}
				v, req := mustVerifier(t, s, key), post()
				if err := v.Sign(req, "evt_1", testNow, []byte(testBody)); err != nil {
					t.Fatal(err)
				}
				expect(t, v, req, testBody, genuine)
				expect(t, v, req, testBody+" ", SignatureMismatch)
				if syntax == syntaxDetached {
					return
				}
				check, _, err := v.Open(req, testNow)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := check.Verify([]byte(testBody)); err != nil {
					t.Fatal(err)
				}
				if id, signed := check.DeliveryID([]byte(testBody)); id != "evt_1" || !signed {
					t.Errorf("id %q, signed %v", id, signed)
				}
			})
		}
	}
}

// TestListedHeaders: the list is the sender's, and must hold the timestamp.
func TestListedHeaders(t *testing.T) {
	s := detached(HMACSHA256)
	s.Message = StringList{`{method} {path}\n{jws_headers:list}{body}`}
	s.Timestamp = &Timestamp{Header: StringList{"X-Time"}}
	v := mustVerifier(t, s, Key{Text: testKey})
	now := strconv.FormatInt(testNow.Unix(), 10)
	sign := func(list, lines string) string {
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","list":"` + list + `"}`))
		content := header + "." + base64.RawURLEncoding.EncodeToString([]byte("POST /hooks/acme\n"+lines+testBody))
		return header + ".." + base64.RawURLEncoding.EncodeToString(mustHex(macOf(testKey, content)))
	}
	expect(t, v, post("X-Time", now, "X-Signature", sign("X-Time", "X-Time: "+now+"\n")), testBody, genuine)
	expect(t, v, post("X-Time", now, "A", "b", "X-Signature", sign("a,X-Time", "a: b\nX-Time: "+now+"\n")), testBody, genuine)
	expect(t, v, post("X-Time", now, "A", "c", "X-Signature", sign("a,X-Time", "a: b\nX-Time: "+now+"\n")), testBody, SignatureMismatch)
	expect(t, v, post("X-Time", now, "A", "b", "X-Signature", sign("a", "a: b\n")), testBody, MalformedSignature)
	expect(t, v, post("X-Time", now, "X-Signature", sign("a,X-Time", "a: b\nX-Time: "+now+"\n")), testBody, MissingHeader)
}

func TestJWSSchemeErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(*Scheme)
		want string
	}{
		"a claim without the body": {func(s *Scheme) { s.Claims = map[string]string{"iss": "acme"} }, "none covers the body"},
		"a message":                {func(s *Scheme) { s.Message = StringList{"{body}"} }, "drop the message"},
		"two headers":              {func(s *Scheme) { s.Signature.Header = StringList{"A", "B"} }, "name one header"},
		"an encoding":              {func(s *Scheme) { s.Signature.Encoding = "hex" }, "base64url by itself"},
		"a body that ECDSA signs":  {func(s *Scheme) { s.Algorithm, s.Signature.Header, s.Signature.Body = ECDSAP256SHA256Raw, nil, true }, "derive a second valid"},
		"DER":                      {func(s *Scheme) { s.Algorithm = ECDSAP256SHA256 }, "ecdsa-p256-sha256:raw"},
		"two families": {func(s *Scheme) {
			s.Signature.Accept = map[string]Algorithm{"HS256": HMACSHA256, "RS256": RSAPKCS1v15SHA256}
		}, "do not mix"},
		"none":                 {func(s *Scheme) { s.Signature.Accept = map[string]Algorithm{"none": HMACSHA256} }, "does not mean"},
		"an optional constant": {func(s *Scheme) { s.Claims["iss?"] = "acme" }, "may be absent"},
		"claims without a JWT": {func(s *Scheme) { s.Signature.Syntax, s.Timestamp, s.DeliveryID = "raw", nil, nil }, "only a jwt has claims"},
		"an id in no claims": {func(s *Scheme) {
			s.Signature.Syntax, s.Claims, s.Timestamp = syntaxDetached, nil, nil
		}, "only a jwt has claims"},
		"a list without a JWS": {func(s *Scheme) {
			*s = bare(func(s *Scheme) { s.Message = StringList{"{jws_headers:x}{body}"} })
		}, "detached JWS"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := validate(jwt(tc.edit)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// FuzzJWS: no header of a JWS verifies without the key, and nothing panics.
func FuzzJWS(f *testing.F) {
	f.Add(hs256, claimsOf(""), "AA")
	f.Add(`{"alg":"HS256","crit":["b64"],"b64":false}`, "", "")
	f.Add(`{"alg":"none"}`, "{}", "")
	compact, err := New(jwt(nil), []Key{{Text: testKey}})
	if err != nil {
		f.Fatal(err)
	}
	loose, err := New(detached(HMACSHA256), []Key{{Text: testKey}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header, claims, signature string) {
		b64 := base64.RawURLEncoding
		text := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(claims)) + "." + signature
		for _, v := range []*Verifier{compact, loose} {
			for _, value := range []string{text, header + "." + claims + "." + signature} {
				if got := judge(v, post("X-Signature", value), testNow, testBody); got == genuine {
					t.Fatalf("genuine without the key: %q", value)
				}
			}
		}
	})
}

func unsigned(header string) string {
	b64 := base64.RawURLEncoding
	return b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(claimsOf(""))) + "."
}

func mustHex(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}

func flipLast(token string) string {
	at := strings.LastIndexByte(token, '.') + 1
	if token[at] == 'A' {
		return token[:at] + "B" + token[at+1:]
	}
	return token[:at] + "A" + token[at+1:]
}
