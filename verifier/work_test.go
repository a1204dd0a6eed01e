package verifier

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
)

// jwkOf is a public key as a member of a JSON Web Key Set.
func jwkOf(tb testing.TB, public crypto.PublicKey, kid string) string {
	tb.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	m := map[string]string{"kid": kid, "use": "sig"}
	switch k := public.(type) {
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			tb.Fatal(err)
		}
		half := len(point) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", k.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	}
	text, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// setOf is a set of n keys, all one but the last, each with a kid if that is not empty.
func setOf(tb testing.TB, n int, others, last crypto.PublicKey, kid string) Key {
	var members []string
	for i := range n {
		key, id := others, ""
		if i == n-1 {
			key = last
		}
		if kid != "" {
			id = fmt.Sprintf("%s%d", kid, i)
		}
		members = append(members, jwkOf(tb, key, id))
	}
	return Key{Kind: PublicKey, Text: `{"keys":[` + strings.Join(members, ",") + `]}`}
}

// newKey returns a key that an algorithm takes; RSA has 2048 bits.
func newKey(tb testing.TB, a Algorithm) crypto.Signer {
	tb.Helper()
	var key crypto.Signer
	var err error
	public := facts[a].public
	if counting, ok := public.(countingPublic); ok {
		public = counting.publicAlgorithm
	}
	switch public := public.(type) {
	case ed25519Algorithm:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case ecdsaAlgorithm:
		key, err = ecdsa.GenerateKey(public.curve, rand.Reader)
	default:
		key, err = randomRSA()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// rsaOf is a key of a size for which nobody can sign.
func rsaOf(bits, e int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(12345)), E: e}
}

// kvOf is a scheme of signatures v1=…,v1=… of an algorithm.
func kvOf(a Algorithm) Scheme {
	return Scheme{Algorithm: a, AllowWeak: true, Signature: &Signature{Header: StringList{"X-Signature"}, Syntax: "kv", Key: StringList{"v1"}, Encoding: encBase64}}
}

// forged is n signatures of a size, all different or all equal.
func forged(n, size int, equal bool) (pairs []string) {
	for i := range n {
		signature := make([]byte, size)
		if signature[0] = 1; !equal {
			signature[size-1] = byte(i + 1)
		}
		pairs = append(pairs, "v1="+base64.StdEncoding.EncodeToString(signature))
	}
	return pairs
}

// unmatched counts checks and makes none.
type unmatched struct {
	publicAlgorithm
	checks *int
}

func (u unmatched) verify(crypto.PublicKey, []byte, []byte) bool { *u.checks++; return false }

// TestForgeryCosts: a forged delivery costs few checks with public keys, whatever the
// algorithm, the keys and the signatures.
func TestForgeryCosts(t *testing.T) {
	type row struct {
		algorithm Algorithm
		key       crypto.PublicKey
		size      int // of a signature
		work      int // of one check
	}
	var rows []row
	for _, a := range Algorithms {
		switch public := facts[a].public.(type) {
		case ed25519Algorithm:
			rows = append(rows, row{a, newKey(t, a).Public(), 64, 1})
		case ecdsaAlgorithm:
			r := row{a, newKey(t, a).Public(), max(70, facts[a].size), 4}
			if public.curve == elliptic.P256() {
				r.work = 1
			}
			rows = append(rows, r)
		case rsaAlgorithm:
			for _, k := range []struct{ bits, e, work int }{{2048, 3, 1}, {2048, 65537, 1}, {4096, 65537, 2}, {8192, 65537, 4}, {2048, 1<<31 - 1, 4}, {8192, 1<<31 - 1, 16}} {
				rows = append(rows, row{a, rsaOf(k.bits, k.e), k.bits / 8, k.work})
			}
		}
	}
	old, checks := maps.Clone(facts), 0
	t.Cleanup(func() { facts = old })
	for a, f := range facts {
		if f.public != nil {
			f.public = unmatched{f.public, &checks}
			facts[a] = f
		}
	}
	for _, r := range rows {
		if r.algorithm == ECDSAP256SHA256Raw {
			r.size = 64
		}
		for _, keys := range []int{1, 2, 16, 17, 64} {
			v := mustVerifier(t, kvOf(r.algorithm), setOf(t, keys, r.key, r.key, ""))
			for _, n := range []int{1, 2, 4, maxPublic} {
				what := fmt.Sprintf("%s %d bytes: %d keys, %d signatures", r.algorithm, r.size, keys, n)
				want := min(keys*n, 64/r.work)
				if r.work <= 2 {
					want = min(keys*n, max(64, 2*keys)/r.work)
				}
				checks = 0
				_, err := deliver(v, post("X-Signature", strings.Join(forged(n, r.size, false), ",")), testNow, testBody)
				rej := rejection(t, err)
				if checks != want || rej.Reason != SignatureMismatch {
					t.Errorf("%s: %d checks, want %d; %v", what, checks, want, rej)
				}
				if gaveUp := strings.HasPrefix(rej.Detail, "not every key was tried"); gaveUp != (want < keys*n) {
					t.Errorf("%s: %v", what, rej)
				}
				checks = 0
				expect(t, v, post("X-Signature", strings.Join(forged(n, r.size, true), ",")), testBody, SignatureMismatch)
				if want := min(keys, want); checks != want {
					t.Errorf("%s, all equal: %d checks, want %d", what, checks, want)
				}
			}
		}
	}
}

// TestGenuineAmongMany: what a genuine delivery needs is below the limit, also if the
// last signature is made with the last key.
func TestGenuineAmongMany(t *testing.T) {
	for _, tc := range []struct {
		algorithm        Algorithm
		keys, signatures int
		others           crypto.PublicKey
	}{
		{Ed25519, 1, maxPublic, nil},
		{Ed25519, 8, maxPublic, nil},
		{Ed25519, 16, 4, nil},
		{Ed25519, 64, 1, nil},
		{Ed25519, 64, 2, nil}, // each customer's key, and one customer rotates
		{ECDSAP256SHA256, 64, 2, nil},
		{RSAPKCS1v15SHA256, 64, 2, nil},
		{RSAPSSSHA512, 62, 1, rsaOf(4096, 65537)},
		{ECDSAP384SHA384, 16, 1, nil},
		{ECDSAP384SHA384Raw, 2, maxPublic, nil},
		{ECDSAP521SHA512Raw, 16, 1, nil},
		{ECDSAP521SHA512Raw, 2, maxPublic, nil},
	} {
		key := newKey(t, tc.algorithm)
		if tc.others == nil {
			tc.others = newKey(t, tc.algorithm).Public()
		}
		signature, err := facts[tc.algorithm].public.sign(key, []byte(testBody))
		if err != nil {
			t.Fatal(err)
		}
		pairs := forged(tc.signatures, len(signature), false)
		pairs[tc.signatures-1] = "v1=" + base64.StdEncoding.EncodeToString(signature)
		v := mustVerifier(t, kvOf(tc.algorithm), setOf(t, tc.keys, tc.others, key.Public(), ""))
		if _, err := deliver(v, post("X-Signature", strings.Join(pairs, ",")), testNow, testBody); err != nil {
			t.Errorf("%s, %d keys, %d signatures: %v", tc.algorithm, tc.keys, tc.signatures, err)
		}
	}
}

// TestSecretAfterManyKeys: signatures for public keys that are not compared do not keep
// a secret from matching.
func TestSecretAfterManyKeys(t *testing.T) {
	s := kvOf("")
	s.Signature.Syntax, s.Signature.Key, s.Signature.VersionSeparator, s.Signature.ItemSeparator = "list", nil, "=", ","
	s.Signature.Accept = map[string]Algorithm{"v1": Ed25519, "v2": HMACSHA256}
	key := newKey(t, Ed25519).Public()
	v := mustVerifier(t, s, setOf(t, 64, key, key, ""), Key{Text: testKey})
	header := strings.Join(append(forged(maxPublic, 64, false), "v2="+bodyBase64), ",")
	expect(t, v, post("X-Signature", header), testBody, genuine)
}

// TestEqualSignaturesOfAll: a copy of a signature costs no check, and counts for its
// header.
func TestEqualSignaturesOfAll(t *testing.T) {
	cost := CountCosts(t)
	key := newKey(t, ECDSAP384SHA384Raw)
	s := kvOf(ECDSAP384SHA384Raw)
	s.Signature.Header, s.Signature.Match = StringList{"X-A", "X-B"}, "all"
	v := mustVerifier(t, s, setOf(t, 1, nil, key.Public(), ""))
	signature, err := facts[ECDSAP384SHA384Raw].public.sign(key, []byte(testBody))
	if err != nil {
		t.Fatal(err)
	}
	pair := "v1=" + base64.StdEncoding.EncodeToString(signature)
	expect(t, v, post("X-A", pair, "X-B", pair+","+pair), testBody, genuine)
	if cost.Public != 1 {
		t.Errorf("%d checks of one signature", cost.Public)
	}
}

// TestNamedKeyIsTriedFirst: with a key id, the number of other keys does not matter.
func TestNamedKeyIsTriedFirst(t *testing.T) {
	cost := CountCosts(t)
	key, other := newKey(t, ECDSAP521SHA512Raw), newKey(t, ECDSAP521SHA512Raw).Public()
	v := mustVerifier(t, detached(ECDSAP521SHA512Raw), setOf(t, 20, other, other, ""), setOf(t, 64, other, key.Public(), "k"))
	signed := func(header string) *Request {
		b64 := base64.RawURLEncoding.EncodeToString
		header = b64([]byte(header))
		sum, err := facts[ECDSAP521SHA512Raw].public.sign(key, []byte(header+"."+b64([]byte(testBody))))
		if err != nil {
			t.Fatal(err)
		}
		return post("X-Signature", header+".."+b64(sum))
	}
	expect(t, v, signed(`{"alg":"ES512","kid":"k63"}`), testBody, genuine)
	if cost.Public != 1 {
		t.Errorf("%d checks with the key that is named", cost.Public)
	}
	for _, header := range []string{`{"alg":"ES512"}`, `{"alg":"ES512","kid":"k1"}`, `{"alg":"ES512","kid":"new"}`} {
		*cost = Cost{}
		_, err := deliver(v, signed(header), testNow, testBody)
		if rej := rejection(t, err); rej.Reason != SignatureMismatch || !strings.HasPrefix(rej.Detail, "not every key was tried") || cost.Public != 16 {
			t.Errorf("%s: %v, %d checks", header, rej, cost.Public)
		}
	}
}

// TestForgedHTTPSignaturesCost: each signature of RFC 9421 names a key or none.
func TestForgedHTTPSignaturesCost(t *testing.T) {
	cost := CountCosts(t)
	for _, a := range []Algorithm{Ed25519, ECDSAP384SHA384Raw} {
		key := newKey(t, a).Public()
		v := mustVerifier(t, ofRFC9421(func(s *Scheme) { s.Algorithm, s.BodyUnsigned = a, true }, "@method"), setOf(t, 64, key, key, ""))
		var inputs, signatures []string
		for i := range maxPublic {
			inputs = append(inputs, fmt.Sprintf(`s%d=("@method");created=%d;keyid="%d"`, i, testNow.Unix(), i))
			signatures = append(signatures, fmt.Sprintf("s%d=:%s:", i, base64.StdEncoding.EncodeToString(make([]byte, facts[a].size))))
		}
		*cost = Cost{}
		expect(t, v, post("Signature-Input", strings.Join(inputs, ","), "Signature", strings.Join(signatures, ",")), testBody, SignatureMismatch)
		if want := map[Algorithm]int{Ed25519: 128, ECDSAP384SHA384Raw: 16}[a]; cost.Public != want {
			t.Errorf("%s: %d checks, want %d", a, cost.Public, want)
		}
	}
}

// TestForgedChainCosts: anyone can make a chain, the signatures of which are genuine
// until its end.
func TestForgedChainCosts(t *testing.T) {
	var keys []Key
	for i := range 16 {
		keys = append(keys, Key{Kind: PublicKey, Text: pemOf(issue(t, nil, fmt.Sprintf("root %d", i), authority))})
	}
	v := mustVerifier(t, chained(nil), keys...)
	for name, least := range map[string]int{"another root": 0, "root 3": 9} { // it is checked only with a root of the name that it ends in
		top := issueFor(t, nil, name, newKey(t, ECDSAP521SHA512Raw), authority)
		between := issueFor(t, top, "between", newKey(t, ECDSAP521SHA512Raw), both(authority, intermediateUse))
		leaf := issue(t, between, "leaf", leafUse)
		check, _, err := v.Open(post("X-Signature", chainedToken(t, "", claimsOf(""), leaf, between, top)), testNow)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = check.Verify([]byte(testBody))
		if rej := rejection(t, err); rej.Reason != SignatureMismatch || check.work > maxWork || check.work < least || least == 0 && check.work > 0 {
			t.Errorf("%s: %v, work %d", name, rej, check.work)
		}
	}
}

// TestChainAmongManyRoots: the root of a genuine chain is found among 16, whatever the keys
// of its certificates, also where its name is that of the chain's last issuer alone.
func TestChainAmongManyRoots(t *testing.T) {
	for _, a := range []Algorithm{ECDSAP256SHA256Raw, ECDSAP384SHA384Raw} {
		var keys []Key
		for i := range 15 {
			keys = append(keys, Key{Kind: PublicKey, Text: pemOf(issue(t, nil, fmt.Sprintf("root %d", i), authority))})
		}
		top := issueFor(t, nil, "the root", newKey(t, a), authority)
		v := mustVerifier(t, chained(nil), append(keys, Key{Kind: PublicKey, Text: pemOf(top)})...)
		between := issueFor(t, top, "between", newKey(t, a), both(authority, intermediateUse))
		leaf := issue(t, between, "leaf", leafUse)
		for name, token := range map[string]string{"whole": chainedToken(t, "", claimsOf(""), leaf, between, top), "without the root": chainedToken(t, "", claimsOf(""), leaf, between)} {
			if _, err := deliver(v, post("X-Signature", token), testNow, testBody); err != nil {
				t.Errorf("%s, %s: %v", a, name, err)
			}
		}
	}
}

// TestPublicLimit: of signatures that take a public key few are tried, and what
// they sign is put together once.
func TestPublicLimit(t *testing.T) {
	cost := CountCosts(t)
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	other, _, _ := ed25519.GenerateKey(rand.Reader)
	s := Scheme{Signature: &Signature{
		Header: StringList{"X-Signature"}, Syntax: "list", Encoding: encBase64,
		Accept: map[string]Algorithm{"v1": HMACSHA256, "v1a": Ed25519},
	}, Message: StringList{"{body|sha256|hex}"}}
	key := func(k ed25519.PublicKey) Key {
		return Key{Text: base64.StdEncoding.EncodeToString(k), Kind: PublicKey}
	}
	v := mustVerifier(t, s, key(other), key(public), Key{Text: testKey})
	digest := sha256.Sum256([]byte(testBody))
	content := hex.EncodeToString(digest[:])
	good := "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(content)))
	var bad [maxPublic]string // all different: a copy costs no check
	for i := range bad {
		bad[i] = "v1a," + base64.StdEncoding.EncodeToString(append(make([]byte, 63), byte(i)))
	}
	full := strings.Join(bad[:], " ") + " "
	expect(t, v, post("X-Signature", strings.Join(bad[1:], " ")+" "+good), testBody, genuine)
	expect(t, v, post("X-Signature", full+good), testBody, MalformedSignature)
	expect(t, v, post("X-Signature", full+"v1,"+base64.StdEncoding.EncodeToString([]byte(unhex(macOf(testKey, content))))), testBody, genuine)
	*cost = Cost{}
	expect(t, v, post("X-Signature", full), testBody, SignatureMismatch)
	if cost.Public != 2*maxPublic || cost.Hashed != len(testBody)+sha256.Size {
		t.Errorf("%d checks with public keys, %d bytes through the filters", cost.Public, cost.Hashed)
	}
}
