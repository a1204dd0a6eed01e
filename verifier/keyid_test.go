package verifier

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// TestCertificateAddresses: which addresses a delivery may name.
func TestCertificateAddresses(t *testing.T) {
	source := &Rules{scheme: Scheme{KeySource: &KeySource{CertificateHosts: []string{"sns.*.amazonaws.com", "sns.*.amazonaws.com.cn", "api.paypal.com"}}}}
	for address, want := range map[string]bool{
		"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-7ff5.pem":    true,
		"https://sns.us-gov-west-1.amazonaws.com/SimpleNotificationService-1.pem":   true,
		"https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-1.pem":   true,
		"https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1d93": true,

		"":                                      false,
		"/SimpleNotificationService.pem":        false,
		"http://api.paypal.com/cert":            false,
		"HTTPS://evil.example/cert":             false,
		"https://api.paypal.com":                false, // no file
		"https://api.paypal.com/":               false,
		"https://api.paypal.com:443/cert":       false,
		"https://api.paypal.com:8443/cert":      false,
		"https://API.paypal.com/cert":           false,
		"https://api.paypal.com./cert":          false,
		"https://api.paypal.com.evil.com/cert":  false,
		"https://evil.com/api.paypal.com":       false,
		"https://api.paypal.com@evil.com/cert":  false,
		"https://evil.com#@api.paypal.com/cert": false,
		"https://evil.com\\@api.paypal.com/c":   false,
		"https://a:b@api.paypal.com/cert":       false,
		"https://xapi.paypal.com/cert":          false,
		"https://api.paypal.com/cert?x=1":       false, // a host may return what is requested
		"https://api.paypal.com/cert?":          false,
		"https://api.paypal.com/cert#x":         false,
		"https://api.paypal.com/a/../cert":      false,
		"https://api.paypal.com/a/%2e%2e/cert":  false,
		"https://api.paypal.com//cert":          false,
		"https://api.paypal.com/cert/":          false,
		"https://api.paypal.com/ce rt":          false,
		"https://api.paypal.com/cert\n":         false,
		"https://[::1]/cert":                    false,
		"https://127.0.0.1/cert":                false,
		"https://api.paypal.com/c%zz":           false,

		// A bucket called sns has these addresses, and its owner controls the
		// content.
		"https://sns.s3.amazonaws.com/cert.pem":           false,
		"https://sns.s3-us-west-2.amazonaws.com/cert.pem": false,
		"https://sns.a.us-east-1.amazonaws.com/cert.pem":  false,
		"https://sns..amazonaws.com/cert.pem":             false,
		"https://sns.*.amazonaws.com/cert.pem":            false,
		"https://sns.us-east-1.amazonaws.com.cn.x/c.pem":  false,
	} {
		if got := source.Publishes(address); got != want {
			t.Errorf("%q: %v, want %v", address, got, want)
		}
	}
}

// TestCertificatePath: only paths of the sender's certificates are fetched.
func TestCertificatePath(t *testing.T) {
	s := bare(func(s *Scheme) { s.Algorithm = Ed25519 })
	s.KeyID = &KeyID{Header: "X-Cert"}
	s.KeySource = &KeySource{CertificateHosts: []string{"api.paypal.com"}, CertificatePath: "/certs/CERT-[0-9a-f]{8}|/old\\.pem"}
	v, err := New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"/certs/CERT-360caa42": true, "/old.pem": true, "/certs/CERT-360caa42x": false, "/x/certs/CERT-360caa42": false,
		"/oldxpem": false, "/old.pem/x": false, "/certs/CERT-360caa4g": false, "/certs/": false,
	} {
		if got := v.Publishes("https://api.paypal.com" + path); got != want {
			t.Errorf("%s: %t, want %t", path, got, want)
		}
	}
	if v.Publishes("https://api.example.com/old.pem") {
		t.Error("another host")
	}
	for _, wrongSource := range []*KeySource{{CertificateHosts: []string{"api.paypal.com"}, CertificatePath: "("}, {JWKS: "https://keys.example.com/jwks", CertificatePath: "/x"}} {
		s.KeySource = wrongSource
		if _, err := New(s, nil); err == nil || !strings.Contains(err.Error(), "certificate_path") {
			t.Errorf("%+v: %v", wrongSource, err)
		}
	}
}

// TestKeyPaths: a delivery that names only the path of a key on the sender's host
// cannot name another host.
func TestKeyPaths(t *testing.T) {
	s := bare(func(s *Scheme) { s.Algorithm, s.PublicKeyEncoding = Ed25519, "hex" })
	s.KeyID = &KeyID{Header: "X-Path"}
	s.KeySource = &KeySource{CertificateHosts: []string{"static.acme.example"}, CertificatePath: "/keys/[a-z0-9]+\\.pem", Paths: true}
	v, err := New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/keys/k1.pem":   "https://static.acme.example/keys/k1.pem",
		"/keys/../x.pem": "", "//keys/k1.pem": "", "//attacker.example/keys/k1.pem": "", "/keys/k1.pem?x": "", "/keys/k1.pem#x": "",
		"keys/k1.pem": "", ".attacker.example/keys/k1.pem": "", "@attacker.example/keys/k1.pem": "", "https://static.acme.example/keys/k1.pem": "",
		"/keys/%6b1.pem": "", "/keys/k1.pem\\": "", "/": "", "/keys/K1.pem": "",
	} {
		req := post("X-Signature", edSig2, "X-Path", path)
		_, err := deliver(v, req, testNow, testBody)
		rej := rejection(t, err)
		if want == "" && rej.Reason != MalformedSignature || want != "" && (!rej.UnknownKey || rej.KeyID != want) {
			t.Errorf("%q: got %+v", path, rej)
		}
	}
	key := Key{Text: edPublic2, Kind: PublicKey, ID: "https://static.acme.example/keys/k1.pem"}
	other := key
	other.ID = "https://static.acme.example/keys/k2.pem"
	signer := mustVerifier(t, bare(func(s *Scheme) { s.Algorithm, s.PublicKeyEncoding = Ed25519, "hex" }), Key{Text: edSeed2, Kind: PrivateKey})
	req := post("X-Path", "/keys/k1.pem")
	if err := signer.Sign(req, "", testNow, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	expect(t, mustVerifier(t, s, key), req, testBody, genuine)
	expect(t, mustVerifier(t, s, other), req, testBody, SignatureMismatch)
	for _, wrongSource := range []*KeySource{
		{CertificateHosts: []string{"a.b.example", "c.b.example"}, CertificatePath: "/x", Paths: true},
		{CertificateHosts: []string{"a.*.b.example"}, CertificatePath: "/x", Paths: true},
		{CertificateHosts: []string{"a.b.example"}, Paths: true},
		{JWKS: "https://keys.example.com/jwks", Paths: true},
	} {
		s.KeySource = wrongSource
		if _, err := New(s, nil); err == nil || !strings.Contains(err.Error(), "paths needs one host") {
			t.Errorf("%+v: %v", wrongSource, err)
		}
	}
}

func TestKeySourceErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		id     *KeyID
		source *KeySource
		a      Algorithm
		want   string
	}{
		"no place":           {id: &KeyID{}, want: "key_id: needs exactly one source"},
		"two places":         {id: &KeyID{Header: "X-Key", JSON: "key"}, want: "key_id: needs exactly one source"},
		"no header name":     {id: &KeyID{Header: "X Key"}, want: "key_id: invalid header name"},
		"no path":            {id: &KeyID{JSON: "a..b"}, want: "key_id: json: write a JSON path"},
		"nothing":            {source: &KeySource{}, want: "key_source: needs exactly one of jwks, sets and certificate_hosts"},
		"both":               {source: &KeySource{JWKS: "https://a.example/j", CertificateHosts: []string{"a.b.c"}}, want: "key_source: needs exactly one"},
		"a secret":           {source: &KeySource{JWKS: "https://a.example/j"}, a: HMACSHA256, want: "key_source: hmac-sha256 uses a shared secret"},
		"a plain address":    {source: &KeySource{JWKS: "http://a.example/j"}, want: "key_source: jwks: write an https address"},
		"a user":             {source: &KeySource{JWKS: "https://u@a.example/j"}, want: "key_source: jwks: write an https address"},
		"unnamed":            {source: &KeySource{CertificateHosts: []string{"api.a.example"}}, want: "key_source: certificate_hosts needs key_id"},
		"a star first":       {id: &KeyID{JSON: "c"}, source: &KeySource{CertificateHosts: []string{"*.a.example"}}, want: "key_source: certificate_hosts: \"*.a.example\""},
		"a star in a domain": {id: &KeyID{JSON: "c"}, source: &KeySource{CertificateHosts: []string{"sns.*.com"}}, want: "key_source: certificate_hosts"},
		"half a label":       {id: &KeyID{JSON: "c"}, source: &KeySource{CertificateHosts: []string{"sns.eu-*.a.example"}}, want: "key_source: certificate_hosts"},
		"capitals":           {id: &KeyID{JSON: "c"}, source: &KeySource{CertificateHosts: []string{"API.a.example"}}, want: "key_source: certificate_hosts"},
		"two labels":         {id: &KeyID{JSON: "c"}, source: &KeySource{CertificateHosts: []string{"a.example"}}, want: "key_source: certificate_hosts"},
	} {
		if tc.a == "" {
			tc.a = Ed25519
		}
		err := validate(Scheme{Algorithm: tc.a, Signature: &Signature{Header: StringList{"X-Signature"}}, KeyID: tc.id, KeySource: tc.source})
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

// TestKeyID: which of two keys with ids and one without are tried, and when the
// caller is told to fetch.
func TestKeyID(t *testing.T) {
	var texts [3]string
	var private [3]ed25519.PrivateKey
	for i := range texts {
		public, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		texts[i], private[i] = base64.StdEncoding.EncodeToString(public), key
	}
	scheme := Scheme{
		Algorithm: Ed25519, Signature: &Signature{Header: StringList{"X-Signature"}, Encoding: encBase64},
		KeyID: &KeyID{Header: "X-Key"}, KeySource: &KeySource{JWKS: "https://sender.example/jwks.json"},
	}
	keys := []Key{{ID: "a", Text: texts[0], Kind: PublicKey}, {ID: "b", Text: texts[1], Kind: PublicKey}}
	always := append(keys[:1:1], Key{Text: texts[2], Kind: PublicKey})
	for name, tc := range map[string]struct {
		keys    []Key
		signer  int
		id      []string // lines of the header
		want    string
		unknown bool
	}{
		"its own":                   {keys: keys, signer: 1, id: []string{"b"}, want: genuine},
		"another's":                 {keys: keys, signer: 1, id: []string{"a"}, want: "signature_mismatch", unknown: true}, // or a new one under its id
		"unnamed, any":              {keys: keys, signer: 1, want: genuine},
		"unnamed, none":             {keys: keys, signer: 2, want: "signature_mismatch", unknown: true},
		"an id that nobody has":     {keys: keys, signer: 1, id: []string{"c"}, want: "signature_mismatch", unknown: true},
		"no keys yet":               {signer: 1, id: []string{"b"}, want: "signature_mismatch", unknown: true},
		"a key without id counts":   {keys: always, signer: 2, id: []string{"c"}, want: genuine},
		"and for ids that it hides": {keys: always, signer: 2, id: []string{"a"}, want: genuine},
		"two lines":                 {keys: keys, signer: 1, id: []string{"b", "b"}, want: "malformed_signature"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := New(scheme, tc.keys)
			if err != nil {
				t.Fatal(err)
			}
			req := post("X-Signature", base64.StdEncoding.EncodeToString(ed25519.Sign(private[tc.signer], []byte(testBody))))
			if tc.id != nil {
				req.Header["X-Key"] = tc.id
			}
			expect(t, v, req, testBody, tc.want)
			_, err = deliver(v, req, testNow, testBody)
			rej, _ := errors.AsType[*Rejection](err)
			if rej != nil && rej.UnknownKey != tc.unknown {
				t.Errorf("unknown key: %v, want %v", rej.UnknownKey, tc.unknown)
			}
			if rej != nil && rej.UnknownKey && tc.id != nil && rej.KeyID != tc.id[0] {
				t.Errorf("key id %q, want %q", rej.KeyID, tc.id[0])
			}
		})
	}
	scheme.KeySource = nil
	v, err := New(scheme, keys)
	if err != nil {
		t.Fatal(err)
	}
	_, err = deliver(v, post("X-Signature", strings.Repeat("A", 86)+"==", "X-Key", "c"), testNow, testBody)
	if rej, _ := errors.AsType[*Rejection](err); rej == nil || rej.UnknownKey {
		t.Errorf("a sender that publishes nothing: %v, want no unknown key", err)
	}
	if _, err := New(scheme, nil); err == nil {
		t.Error("a scheme without source takes no keys at all")
	}
}
