package verifier

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"
)

// appleCertificates are those of Apple's own library and of its tests, by the names in
// the file.
func appleCertificates(t *testing.T) map[string]*x509.Certificate {
	t.Helper()
	text, err := os.ReadFile("testdata/x5c/apple.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Certificates map[string][]byte }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]*x509.Certificate)
	for name, der := range file.Certificates {
		if out[name], err = x509.ParseCertificate(der); err != nil {
			t.Fatal(name, err)
		}
	}
	return out
}

const (
	appleRoot            = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"
	appleLeafOID         = "1.2.840.113635.100.6.11.1"
	appleIntermediateOID = "1.2.840.113635.100.6.2.1"
)

// chained is a scheme of JWTs that carry certificates, with the time in iat.
func chained(edit func(*Scheme)) Scheme {
	s := bare(func(s *Scheme) {
		s.Algorithm = ECDSAP256SHA256Raw
		s.Signature.Syntax = syntaxJWT
		s.Claims = map[string]string{"body": "{body|sha256|hex}"}
		s.Timestamp = &Timestamp{Claim: "iat"}
		s.X5C = &X5C{Leaf: appleLeafOID, Intermediate: appleIntermediateOID}
	})
	if edit != nil {
		edit(&s)
	}
	return s
}

// TestApplesChains: the certificates of the App Store, and what Apple's tests say of
// theirs.
func TestApplesChains(t *testing.T) {
	all := appleCertificates(t)
	rules := mustVerifier(t, chained(func(s *Scheme) { s.X5C.Roots = StringList{appleRoot} })).x5c
	pinned := &root{fingerprint: rules.pins[0]}
	if sum := sha256.Sum256(all["apple root"].Raw); hex.EncodeToString(sum[:]) != appleRoot {
		t.Fatalf("the root's fingerprint is %x", sum)
	}
	for name, tc := range map[string]struct {
		root  *root
		chain []string
		at    string
		want  error
	}{
		"the App Store's":         {pinned, []string{"apple leaf", "apple intermediate", "apple root"}, "2025-11-01", nil},
		"before it":               {pinned, []string{"apple leaf", "apple intermediate", "apple root"}, "2025-09-01", errExpired},
		"after it":                {pinned, []string{"apple leaf", "apple intermediate", "apple root"}, "2027-11-01", errExpired},
		"without its root":        {pinned, []string{"apple leaf", "apple intermediate"}, "2025-11-01", errOtherRoot},
		"a given root":            {&root{certificate: all["apple root"]}, []string{"apple leaf", "apple intermediate"}, "2025-11-01", nil},
		"without intermediate":    {&root{certificate: all["apple root"]}, []string{"apple leaf"}, "2025-11-01", errOtherRoot},
		"another root after it":   {pinned, []string{"leaf", "intermediate", "root"}, "2025-11-01", errOtherRoot},
		"that of Apple's tests":   {&root{certificate: all["root"]}, []string{"leaf", "intermediate", "root"}, "2025-11-01", nil},
		"the tests' under Apple":  {&root{certificate: all["apple root"]}, []string{"leaf", "intermediate", "root"}, "2025-11-01", errOtherRoot},
		"expired in Apple's test": {&root{certificate: all["root"]}, []string{"leaf", "intermediate", "root"}, "2042-04-12", errExpired},
		"another leaf's use":      {&root{certificate: all["root"]}, []string{"leaf of another use", "intermediate", "root"}, "2025-11-01", errOtherUse},
		"another CA's use":        {&root{certificate: all["root"]}, []string{"leaf under it", "intermediate of another use", "root"}, "2025-11-01", errOtherUse},
		"Apple's root put behind": {pinned, []string{"leaf", "intermediate", "apple root"}, "2025-11-01", errOtherRoot},
	} {
		at, err := time.Parse(time.DateOnly, tc.at)
		if err != nil {
			t.Fatal(err)
		}
		var chain []*x509.Certificate
		for _, name := range tc.chain {
			chain = append(chain, all[name])
		}
		if got := tc.root.trusts(chain, at, rules); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// issued is a certificate with its key.
type issued struct {
	*x509.Certificate
	key crypto.Signer
}

// issue makes a certificate that is valid around testNow. by is nil for a root.
func issue(t *testing.T, by *issued, name string, edit func(*x509.Certificate)) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issueFor(t, by, name, key, edit)
}

func issueFor(t *testing.T, by *issued, name string, key crypto.Signer, edit func(*x509.Certificate)) *issued {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if edit != nil {
		edit(c)
	}
	if by == nil {
		by = &issued{c, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.Certificate, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &issued{c, key}
}

func authority(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
}

// use marks a certificate with an extension.
func use(oid ...int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier(oid), Value: []byte{5, 0}})
	}
}

var (
	leafUse         = use(1, 2, 840, 113635, 100, 6, 11, 1)
	intermediateUse = use(1, 2, 840, 113635, 100, 6, 2, 1)
)

func both(edits ...func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, edit := range edits {
			edit(c)
		}
	}
}

func pemOf(c *issued) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// chainedToken is a JWT of testBody that carries a chain and is signed with the key of
// its first certificate.
func chainedToken(t *testing.T, header, claims string, chain ...*issued) string {
	t.Helper()
	var list []string
	for _, c := range chain {
		list = append(list, base64.StdEncoding.EncodeToString(c.Raw))
	}
	x5c, _ := json.Marshal(list)
	b64 := base64.RawURLEncoding
	content := b64.EncodeToString([]byte(fmt.Sprintf(`{"alg":"ES256",%s"x5c":%s}`, header, x5c))) + "." + b64.EncodeToString([]byte(claims))
	sum, err := facts[ECDSAP256SHA256Raw].public.sign(chain[0].key, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return content + "." + b64.EncodeToString(sum)
}

// TestPinnedRoots: the fingerprint of a root is enough, unless the receiver names
// another root.
func TestPinnedRoots(t *testing.T) {
	top := issue(t, nil, "root", authority)
	between := issue(t, top, "between", both(authority, intermediateUse))
	leaf := issue(t, between, "leaf", leafUse)
	other := issue(t, nil, "other", authority)
	sum := sha256.Sum256(top.Raw)
	scheme := chained(func(s *Scheme) { s.X5C.Roots = StringList{appleRoot, hex.EncodeToString(sum[:])} })
	req := post("X-Signature", chainedToken(t, "", claimsOf(""), leaf, between, top))

	v := mustVerifier(t, scheme)
	verdict, err := deliver(v, req, testNow, testBody)
	if err != nil || verdict.Key != LabelPinned {
		t.Errorf("got %v, %v", verdict, err)
	}
	expect(t, v, post("X-Signature", chainedToken(t, "", claimsOf(""), leaf, between)), testBody, SignatureMismatch)
	expect(t, mustVerifier(t, scheme, Key{Text: pemOf(other), Kind: PublicKey}), req, testBody, SignatureMismatch)
	expect(t, mustVerifier(t, scheme, Key{Text: base64.StdEncoding.EncodeToString(top.Raw), Kind: PublicKey}), req, testBody, genuine)

	if _, err := New(chained(nil), nil); err == nil {
		t.Error("without any root the scheme needs a key")
	}
}

// TestChainIsValidWhenSigned: a retry may come after a certificate has expired, but no
// longer than the tolerance; without a time in the claims the clock decides.
func TestChainIsValidWhenSigned(t *testing.T) {
	top := issue(t, nil, "root", authority)
	between := issue(t, top, "between", both(authority, intermediateUse))
	leaf := issue(t, between, "leaf", leafUse)
	key := Key{Text: pemOf(top), Kind: PublicKey}
	day := Duration(24 * time.Hour)
	req := post("X-Signature", chainedToken(t, "", claimsOf(""), leaf, between, top))
	patient := mustVerifier(t, chained(func(s *Scheme) { s.Tolerance = &day }), key)
	for _, tc := range []struct {
		v     *Verifier
		after time.Duration
		want  string
	}{
		{patient, 23 * time.Hour, genuine},
		{patient, 25 * time.Hour, string(StaleTimestamp)},
		{mustVerifier(t, chained(func(s *Scheme) { s.Timestamp = nil }), key), 59 * time.Minute, genuine},
		{mustVerifier(t, chained(func(s *Scheme) { s.Timestamp = nil }), key), 61 * time.Minute, string(SignatureMismatch)},
		{mustVerifier(t, chained(func(s *Scheme) { s.Timestamp.Off = true }), key), 61 * time.Minute, string(SignatureMismatch)},
	} {
		if got := judge(tc.v, req, testNow.Add(tc.after), testBody); got != tc.want {
			t.Errorf("%s after signing: got %s, want %s", tc.after, got, tc.want)
		}
	}
}

func TestX5CSchemes(t *testing.T) {
	for want, edit := range map[string]func(*Scheme){
		"x5c: only a JWS carries certificates":      func(s *Scheme) { s.Signature.Syntax, s.Claims, s.Timestamp = "", nil, nil },
		"x5c: hmac-sha256 uses a shared secret":     func(s *Scheme) { s.Algorithm = HMACSHA256 },
		"x5c: deliveries carry the certificate":     func(s *Scheme) { s.KeySource = &KeySource{JWKS: "https://keys.example.com/jwks"} },
		"x5c: roots: write the SHA-256 fingerprint": func(s *Scheme) { s.X5C.Roots = StringList{strings.ToUpper(appleRoot[:62])} },
		"x5c: leaf: write the OID":                  func(s *Scheme) { s.X5C.Leaf = "1.2.x" },
		"x5c: intermediate: write the OID":          func(s *Scheme) { s.X5C.Intermediate = "apple" },
	} {
		if err := validate(chained(edit)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	top := issue(t, nil, "root", authority)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(top.key)
	if err != nil {
		t.Fatal(err)
	}
	for want, key := range map[string]Key{
		"not the certificate of a root":                {Text: pemP256, Kind: PublicKey},
		"not the certificate of a root: deliveries":    {Text: "secret"},
		"nothing can sign as this sender does":         {Text: base64.StdEncoding.EncodeToString(pkcs8), Kind: PrivateKey},
		"deliveries carry the other certificates them": {Text: `{"kty":"EC"}`, Kind: PublicKey},
		"give the root's as public_key, PEM or base64": {Text: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", Kind: PublicKey},
	} {
		if _, err := New(chained(nil), []Key{key}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestChainHints: what the operator is told about certificates.
func TestChainHints(t *testing.T) {
	top := issue(t, nil, "root", authority)
	between := issue(t, top, "between", both(authority, intermediateUse))
	leaf := issue(t, between, "leaf", leafUse)
	late := issue(t, between, "leaf", both(leafUse, func(c *x509.Certificate) { c.NotAfter = testNow.Add(-time.Minute) }))
	other := Key{Text: pemOf(issue(t, nil, "root", authority)), Kind: PublicKey}
	pinned := chained(func(s *Scheme) { s.X5C.Roots = StringList{appleRoot} })
	for want, c := range map[string]Case{
		"a root that is not the sender's":      {Scheme: pinned, Request: post("X-Signature", chainedToken(t, "", claimsOf(""), leaf, between, top))},
		"another root than that of public_key": {Scheme: pinned, Keys: []Key{other}, Request: post("X-Signature", chainedToken(t, "", claimsOf(""), leaf, between, top))},
		"was not valid when it was signed":     {Scheme: chained(nil), Keys: []Key{{Text: pemOf(top), Kind: PublicKey}}, Request: post("X-Signature", chainedToken(t, "", claimsOf(""), late, between, top))},
		"is that of another body":              {Scheme: chained(nil), Keys: []Key{{Text: pemOf(top), Kind: PublicKey}}, Request: post("X-Signature", chainedToken(t, "", claimsOf(""), leaf, between, top)), Body: []byte("x")},
	} {
		c.Now = testNow
		if c.Body == nil {
			c.Body = []byte(testBody)
		}
		e, err := Explain(t.Context(), c)
		if err != nil || !strings.Contains(e.Hint, want) {
			t.Errorf("got %+v, %v, want %s", e, err, want)
		}
	}
}

// BenchmarkChain verifies a JWT with Apple's three certificates, and one of another
// authority that looks the same.
func BenchmarkChain(b *testing.B) {
	text, err := os.ReadFile("testdata/x5c/apple.json")
	if err != nil {
		b.Fatal(err)
	}
	var file struct{ Certificates map[string]string }
	if err := json.Unmarshal(text, &file); err != nil {
		b.Fatal(err)
	}
	list, _ := json.Marshal([]string{file.Certificates["apple leaf"], file.Certificates["apple intermediate"], file.Certificates["apple root"]})
	v, err := New(chained(func(s *Scheme) { s.X5C.Roots = StringList{appleRoot} }), nil)
	if err != nil {
		b.Fatal(err)
	}
	b64 := base64.RawURLEncoding
	req := post("X-Signature", b64.EncodeToString([]byte(`{"alg":"ES256","x5c":`+string(list)+`}`))+"."+b64.EncodeToString([]byte(claimsOf("")))+"."+b64.EncodeToString(make([]byte, 64)))
	for b.Loop() {
		if judge(v, req, testNow, testBody) == genuine {
			b.Fatal("not signed")
		}
	}
}
