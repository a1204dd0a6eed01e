package verifier

import (
	"encoding/base64"
	"runtime"
	"strings"
	"testing"
)

// TestJWSHasOneForm: RFC 7515 §2 omits padding. If the token is the body (Wix), a
// padded one would be another body: a copy that passes as new.
func TestJWSHasOneForm(t *testing.T) {
	s := jwt(func(s *Scheme) {
		s.Signature = &Signature{Body: true, Syntax: syntaxJWT}
		s.Claims, s.BodyUnsigned = nil, false
		s.Timestamp, s.DeliveryID = nil, nil
	})
	v := mustVerifier(t, s, Key{Text: testKey})
	text := token(hs256, `{"data":"x"}`)
	expect(t, v, post(), text, genuine)
	for _, other := range []string{"=", "==", "\n", " "} {
		expect(t, v, post(), text+other, MalformedSignature)
	}
	header, rest, _ := strings.Cut(text, ".")
	expect(t, v, post(), header+"=."+rest, MalformedSignature)
	for _, size := range []int{1, 2} { // a header that has padding of its own
		padded := base64.URLEncoding.EncodeToString([]byte(hs256 + strings.Repeat(" ", size)))
		_, claims, _ := strings.Cut(strings.TrimSuffix(text, text[strings.LastIndexByte(text, '.'):]), ".")
		content := padded + "." + claims
		expect(t, v, post(), content+"."+base64.RawURLEncoding.EncodeToString(mustHex(macOf(testKey, content))), MalformedSignature)
	}
}

// TestListedHeadersAreBounded: the list is read before anything is verified, so a
// forged delivery must not make it long or fill the log.
func TestListedHeadersAreBounded(t *testing.T) {
	s := detached(HMACSHA256)
	s.Message = StringList{`{method} {path}\n{jws_headers:list}{body}`}
	v := mustVerifier(t, s, Key{Text: testKey})
	open := func(list string, headers ...string) *Rejection {
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","list":"` + list + `"}`))
		_, err := deliver(v, post(append(headers, "X-Signature", header+".."+base64.RawURLEncoding.EncodeToString(make([]byte, 32)))...), testNow, testBody)
		return rejection(t, err)
	}
	long := strings.Repeat("x", 500<<10)
	for what, tc := range map[string]struct {
		list    string
		headers []string
		want    Reason
	}{
		"one header, which is long":    {"a", []string{"A", long}, SignatureMismatch},
		"a header twice":               {"a,A", []string{"A", "b"}, MalformedSignature},
		"a long header many times":     {strings.Repeat("a,", 1000) + "a", []string{"A", long}, MalformedSignature},
		"more headers than anyone has": {strings.Repeat("a,", 65), nil, MalformedSignature},
		"a name that is none":          {"a b", []string{"A b", "x"}, MalformedSignature},
		"a value that holds two lines": {"a", []string{"A", "x\ny"}, MalformedSignature},
		"a header that is not there":   {"a,b", []string{"A", "x"}, MissingHeader},
		"a long one that is not there": {strings.Repeat("secret", 500), nil, MalformedSignature},
		"an empty list":                {"", nil, MalformedSignature},
		"a comma at the end":           {"a,", []string{"A", "x"}, MalformedSignature},
	} {
		rej := open(tc.list, tc.headers...)
		if rej.Reason != tc.want || len(rej.Detail) > 200 {
			t.Errorf("%s: got %.300s, want %s", what, rej, tc.want)
		}
	}
}

// TestDetachedIsNoToken: Saleor signs webhooks with the key of its customers' access
// tokens. Without its middle part a token is a detached signature over it, in a form
// that the sender never uses for deliveries.
func TestDetachedIsNoToken(t *testing.T) {
	sign := func(header, content string) *Request {
		header = base64.RawURLEncoding.EncodeToString([]byte(header))
		return post("X-Signature", header+".."+base64.RawURLEncoding.EncodeToString(mustHex(macOf(testKey, header+"."+content))))
	}
	const claims = `{"token":"access"}`
	encoded := base64.RawURLEncoding.EncodeToString([]byte(claims))
	s := detached(HMACSHA256)
	standard := mustVerifier(t, s, Key{Text: testKey})
	s.Signature.Unencoded = true
	unencoded := mustVerifier(t, s, Key{Text: testKey})
	for _, tc := range []struct{ header, content, standard, unencoded string }{
		{`{"alg":"HS256"}`, encoded, genuine, string(MalformedSignature)},
		{`{"alg":"HS256","b64":true}`, encoded, genuine, string(MalformedSignature)},
		{`{"alg":"HS256","b64":false,"crit":["b64"]}`, claims, genuine, genuine},
		{`{"alg":"HS256","b64":false,"typ":"JWT"}`, claims, string(MalformedSignature), genuine}, // as PyJWT writes it
		{`{"alg":"HS256","B64":false}`, encoded, genuine, string(MalformedSignature)},
		{`{"alg":"HS256","b64":false,"b64":true}`, encoded, string(MalformedSignature), string(MalformedSignature)},
		{`{"alg":"HS256","b64":true,"b64":false}`, claims, string(MalformedSignature), string(MalformedSignature)},
		{`{"alg":"HS256","b64":"false"}`, claims, string(MalformedSignature), string(MalformedSignature)},
		{`{"alg":"HS256","b64":null}`, encoded, string(MalformedSignature), string(MalformedSignature)},
		{`{"alg":"HS256","b64":false,"crit":[]}`, claims, string(MalformedSignature), string(MalformedSignature)},
		{`{"alg":"HS256","b64":false,"crit":null}`, claims, string(MalformedSignature), string(MalformedSignature)},
		{`{"alg":"HS256","b64":false,"crit":["b64","exp"]}`, claims, string(MalformedSignature), string(MalformedSignature)},
		{`{"alg":"HS256","b64":true,"crit":["x"],"CRIT":["b64"]}`, encoded, string(MalformedSignature), string(MalformedSignature)},
		{`{"alg":"HS256","b64":true,"crit":["x"],"crit":["b64"]}`, encoded, string(MalformedSignature), string(MalformedSignature)},
	} {
		expect(t, standard, sign(tc.header, tc.content), claims, tc.standard)
		expect(t, unencoded, sign(tc.header, tc.content), claims, tc.unencoded)
	}
	req := post()
	if err := unencoded.Sign(req, "", testNow, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	expect(t, unencoded, req, testBody, genuine)
	s.Signature = &Signature{Header: StringList{"X-Signature"}, Unencoded: true}
	if err := validate(s); err == nil || !strings.Contains(err.Error(), "jws_detached") {
		t.Errorf("without a JWS: %v", err)
	}
}

// TestKeySetOfOthers: only keys of a set that verify signatures are used, and none
// that lets its publisher choose the cost of verification.
func TestKeySetOfOthers(t *testing.T) {
	s := detached(RSAPKCS1v15SHA256)
	n := func(size int) string {
		return base64.RawURLEncoding.EncodeToString(append([]byte{0xc0}, append(make([]byte, size-2), 1)...))
	}
	for what, tc := range map[string]struct {
		member string
		ok     bool
	}{
		"2048 bits":                 {`{"kty":"RSA","e":"AQAB","n":"` + n(256) + `"}`, true},
		"1024 bits":                 {`{"kty":"RSA","e":"AQAB","n":"` + n(128) + `"}`, true},
		"8192 bits":                 {`{"kty":"RSA","e":"AQAB","n":"` + n(1024) + `"}`, true},
		"512 bits":                  {`{"kty":"RSA","e":"AQAB","n":"` + n(64) + `"}`, false},
		"more than a signature has": {`{"kty":"RSA","e":"AQAB","n":"` + n(1025) + `"}`, false},
		"exponent 1":                {`{"kty":"RSA","e":"AQ","n":"` + n(256) + `"}`, false},
		"an even exponent":          {`{"kty":"RSA","e":"Ag","n":"` + n(256) + `"}`, false},
		"an even modulus":           {`{"kty":"RSA","e":"AQAB","n":"` + n(256)[:340] + `AA"}`, false},
		"for encryption":            {`{"kty":"RSA","e":"AQAB","key_ops":["encrypt"],"n":"` + n(256) + `"}`, false},
		"to verify with":            {`{"kty":"RSA","e":"AQAB","key_ops":["verify"],"n":"` + n(256) + `"}`, true},
		"a private key":             {`{"kty":"RSA","e":"AQAB","d":"AQAB","n":"` + n(256) + `"}`, false},
		"a secret":                  {`{"kty":"oct","k":"AQAB"}`, false},
	} {
		for _, text := range []string{tc.member, `{"keys":[` + tc.member + `]}`} {
			_, err := New(s, []Key{{Kind: PublicKey, Text: text}})
			if (err == nil) != tc.ok {
				t.Errorf("%s: got %v", what, err)
			}
			if err != nil && strings.Contains(err.Error(), "AQAB") {
				t.Errorf("%s: the error holds the key: %v", what, err)
			}
		}
	}
}

// TestJWSWork: a JWS without a kid is tried with every key, but its content is built
// once.
func TestJWSWork(t *testing.T) {
	keys := make([]Key, 10)
	for i := range keys {
		keys[i] = Key{Text: strings.Repeat("x", i+1)}
	}
	v, body := mustVerifier(t, detached(HMACSHA256), keys...), strings.Repeat("x", 1<<20)
	req := post("X-Signature", base64.RawURLEncoding.EncodeToString([]byte(hs256))+".."+bodyURL)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	expect(t, v, req, body, SignatureMismatch)
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; made > 16<<20 {
		t.Errorf("%d bytes made of a body of 1 MiB", made)
	}
}
