package verifier

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestChainAttacks: what anyone can do who has seen genuine chains and has an
// authority of their own.
func TestChainAttacks(t *testing.T) {
	top := issue(t, nil, "root", authority)
	between := issue(t, top, "between", both(authority, intermediateUse))
	leaf := issue(t, between, "leaf", leafUse)
	v := mustVerifier(t, chained(nil), Key{Text: pemOf(top), Kind: PublicKey})

	fake := issue(t, nil, "root", authority)
	fakeBetween := issue(t, fake, "between", both(authority, intermediateUse))
	fakeLeaf := issue(t, fakeBetween, "leaf", leafUse)
	byLeaf := issue(t, leaf, "below the leaf", leafUse)
	capable := issue(t, between, "leaf that issues", both(leafUse, intermediateUse))
	large, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	encipher := func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	second := issue(t, between, "second", both(authority, intermediateUse))
	third := issue(t, second, "third", both(authority, intermediateUse))
	unmarked := issue(t, top, "unmarked", authority)

	for name, tc := range map[string]struct {
		token string
		want  Reason
	}{
		"genuine":                         {chainedToken(t, "", claimsOf(""), leaf, between, top), genuine},
		"genuine, without the root":       {chainedToken(t, "", claimsOf(""), leaf, between), genuine},
		"genuine, four certificates":      {chainedToken(t, "", claimsOf(""), issue(t, second, "leaf", leafUse), second, between, top), genuine},
		"five certificates":               {chainedToken(t, "", claimsOf(""), issue(t, third, "leaf", leafUse), third, second, between, top), MalformedSignature},
		"another root of the same name":   {chainedToken(t, "", claimsOf(""), fakeLeaf, fakeBetween, fake), SignatureMismatch},
		"the genuine root behind":         {chainedToken(t, "", claimsOf(""), fakeLeaf, fakeBetween, top), SignatureMismatch},
		"the genuine authorities behind":  {chainedToken(t, "", claimsOf(""), fakeLeaf, between, top), SignatureMismatch},
		"a key that the chain has not":    {chainedToken(t, "", claimsOf(""), &issued{leaf.Certificate, fakeLeaf.key}, between, top), SignatureMismatch},
		"issued by a leaf":                {chainedToken(t, "", claimsOf(""), byLeaf, leaf, between, top), SignatureMismatch},
		"issued by a leaf with the mark":  {chainedToken(t, "", claimsOf(""), issue(t, capable, "x", leafUse), capable, between, top), SignatureMismatch},
		"a leaf of another use":           {chainedToken(t, "", claimsOf(""), issue(t, between, "x", nil), between, top), SignatureMismatch},
		"a leaf that may not sign":        {chainedToken(t, "", claimsOf(""), issue(t, between, "x", both(leafUse, encipher)), between, top), SignatureMismatch},
		"an authority of another use":     {chainedToken(t, "", claimsOf(""), issue(t, unmarked, "x", leafUse), unmarked, top), SignatureMismatch},
		"no authority between":            {chainedToken(t, "", claimsOf(""), issue(t, top, "x", leafUse), top), SignatureMismatch},
		"the root itself":                 {chainedToken(t, "", claimsOf(""), top), SignatureMismatch},
		"out of order":                    {chainedToken(t, "", claimsOf(""), leaf, top, between), MalformedSignature},
		"a certificate twice":             {chainedToken(t, "", claimsOf(""), top, top), MalformedSignature},
		"another curve":                   {chainedToken(t, "", claimsOf(""), &issued{issueFor(t, between, "x", p384, leafUse).Certificate, leaf.key}, between, top), SignatureMismatch},
		"an RSA key":                      {chainedToken(t, "", claimsOf(""), &issued{issueFor(t, between, "x", large, leafUse).Certificate, leaf.key}, between, top), SignatureMismatch},
		"no certificates":                 {token(`{"alg":"ES256"}`, claimsOf("")), MalformedSignature},
		"an empty list":                   {token(`{"alg":"ES256","x5c":[]}`, claimsOf("")), MalformedSignature},
		"text in place of the list":       {token(`{"alg":"ES256","x5c":"MIIB"}`, claimsOf("")), MalformedSignature},
		"no certificate in the list":      {token(`{"alg":"ES256","x5c":["MIIB"]}`, claimsOf("")), MalformedSignature},
		"no base64 in the list":           {token(`{"alg":"ES256","x5c":["%"]}`, claimsOf("")), MalformedSignature},
		"x5c in another case":             {chainedToken(t, `"X5C":[],`, claimsOf(""), leaf, between, top), genuine},
		"x5c twice":                       {chainedToken(t, `"x5c":[],`, claimsOf(""), leaf, between, top), MalformedSignature},
		"a key and addresses beside it":   {chainedToken(t, `"jwk":{"kty":"oct","k":"AA"},"x5u":"https://attacker.example/","kid":"other",`, claimsOf(""), leaf, between, top), genuine},
		"the digest of another body":      {chainedToken(t, "", strings.Replace(claimsOf(""), digestOfBody[:4], "0000", 1), leaf, between, top), SignatureMismatch},
		"a chain that is not valid yet":   {chainedToken(t, "", claimsOf(""), issue(t, between, "x", both(leafUse, func(c *x509.Certificate) { c.NotBefore = testNow.Add(time.Second) })), between, top), SignatureMismatch},
		"a chain that is no longer valid": {chainedToken(t, "", claimsOf(""), issue(t, between, "x", both(leafUse, func(c *x509.Certificate) { c.NotAfter = testNow.Add(-time.Second) })), between, top), SignatureMismatch},
	} {
		t.Run(name, func(t *testing.T) { expect(t, v, post("X-Signature", tc.token), testBody, tc.want) })
	}

	huge := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), maxChainRSA), E: 65537} // of a certificate that costs much
	if usableInChain(huge) || usableInChain(nil) || !usableInChain(large.Public()) {
		t.Error("the size of keys is not limited")
	}

	mixed := mustVerifier(t, chained(nil), Key{Text: pemOf(fake), Kind: PublicKey, Label: "old"}, Key{Text: pemOf(top), Kind: PublicKey, Label: "new"})
	if verdict, err := deliver(mixed, post("X-Signature", chainedToken(t, "", claimsOf(""), leaf, between, top)), testNow, testBody); err != nil || verdict.Key != "new" {
		t.Errorf("two roots: %v, %v", verdict, err)
	}
	unaware := mustVerifier(t, chained(func(s *Scheme) { s.X5C = nil }), Key{Text: pemOf(leaf), Kind: PublicKey})
	expect(t, unaware, post("X-Signature", chainedToken(t, "", claimsOf(""), leaf, between, top)), testBody, genuine)
	expect(t, unaware, post("X-Signature", chainedToken(t, "", claimsOf(""), fakeLeaf, fakeBetween, fake)), testBody, SignatureMismatch)
}

// TestChainWork: the cost of chains that anyone can make: as long as a header may be,
// and certified by an authority of the genuine one's name.
func TestChainWork(t *testing.T) {
	top := issue(t, nil, "root", authority)
	long := func(c *x509.Certificate) { c.DNSNames = slices.Repeat([]string{"a.example"}, 60) }
	fake := issue(t, nil, "root", both(authority, long))
	first := issue(t, fake, "first", both(authority, intermediateUse, long))
	second := issue(t, first, "second", both(authority, intermediateUse, long))
	leaf := issue(t, second, "leaf", both(leafUse, long))
	v := mustVerifier(t, chained(nil), Key{Text: pemOf(top), Kind: PublicKey}, Key{Text: pemOf(top), Kind: PublicKey})
	req := post("X-Signature", chainedToken(t, "", claimsOf(""), leaf, second, first, fake))
	if header, _, _ := strings.Cut(req.Header["X-Signature"][0], "."); len(header) > maxJWSHeader || len(header) < maxJWSHeader*3/4 {
		t.Fatalf("a header of %d bytes: make it nearly as long as may be", len(header))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	expect(t, v, req, testBody, SignatureMismatch)
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; made > 1<<20 {
		t.Errorf("%d bytes made of it", made)
	}
	expect(t, v, post("X-Signature", chainedToken(t, `"pad":"`+strings.Repeat("x", maxJWSHeader)+`",`, claimsOf(""), leaf, second)), testBody, MalformedSignature)
}

// FuzzChain: for any header of a JWS, nothing panics, and no chain but the genuine one
// is trusted.
func FuzzChain(f *testing.F) {
	scheme := chained(func(s *Scheme) { s.X5C.Roots = StringList{appleRoot} })
	v, err := New(scheme, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"alg":"ES256","x5c":["MIIB"]}`)
	f.Add(`{"alg":"ES256","x5c":[]}`)
	f.Add(`{"alg":"ES256","x5c":["MIIB","MIIB","MIIB","MIIB","MIIB"]}`)
	f.Fuzz(func(t *testing.T, header string) {
		b64 := base64.RawURLEncoding
		signed := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(claimsOf("")))
		if got := judge(v, post("X-Signature", signed+"."+b64.EncodeToString(make([]byte, 64))), testNow, testBody); got == genuine {
			t.Errorf("%q is trusted", header)
		}
	})
}
