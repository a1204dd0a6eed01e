package verifier

import (
	"fmt"
	"strings"
	"testing"
)

// openssl over testBody, with the keys' names as keys
var rotated = map[string]string{
	"alpha": "385728d29764419ba7d397c5a367ae8956b65a0403ee4fb0208aae1e9b11c351",
	"beta":  "1db83232d052a3591a1f1b733d8ab1ac0fab126cabb650d3cd079525cff9c5eb",
	"gamma": "42df2dda96a4e2710aeed761d7dad900b563c4495dc114c484315304be1dfb4b",
}

// TestRotation: any number of keys, signatures and headers. The verdict names the key
// that matched, wherever its signature is.
func TestRotation(t *testing.T) {
	v := mustVerifier(t,
		Scheme{Signature: &Signature{Header: StringList{"X-A", "X-B"}, Syntax: "kv", Key: StringList{"v1"}}},
		Key{Label: "current", Text: "alpha"}, Key{Text: "beta"})
	a, b, c := "v1="+rotated["alpha"], "v1="+rotated["beta"], "v1="+rotated["gamma"]
	for _, tc := range []struct{ a, b, key string }{
		{a, "", "current"},
		{"", a, "current"},
		{b, "", "2"}, // without a label, the position
		{"", b, "2"},
		{c + "," + b, "", "2"},
		{c, b, "2"},
		{b, c, "2"},
		{c + "," + c + "," + c, c + "," + c + "," + a, "current"},
		{b + "," + a, "", "current"}, // both: the first of the keys
		{b, a, "current"},
		{c, "", ""},
		{c, c, ""},
	} {
		verdict, err := deliver(v, post("X-A", tc.a, "X-B", tc.b), testNow, testBody)
		if (err == nil) != (tc.key != "") || verdict.Key != tc.key {
			t.Errorf("%q %q: got %q, %v, want %q", tc.a, tc.b, verdict.Key, err, tc.key)
		}
	}

	// every place of 3 keys × 4 signatures × 3 headers
	keys := []Key{{Label: "a", Text: "alpha"}, {Label: "b", Text: "beta"}, {Label: "c", Text: "gamma"}}
	s := Scheme{Signature: &Signature{Header: StringList{"X-0", "X-1", "X-2"}, Syntax: "kv", Key: StringList{"v1"}}}
	v = mustVerifier(t, s, keys...)
	for _, k := range keys {
		for place := range 12 {
			var headers []string
			for h := range 3 {
				pairs := []string{"v1=" + wrongHex, "v1=" + wrongHex, "v1=" + wrongHex, "v1=" + wrongHex}
				if place/4 == h {
					pairs[place%4] = "v1=" + rotated[k.Text]
				}
				headers = append(headers, fmt.Sprintf("X-%d", h), strings.Join(pairs, ","))
			}
			verdict, err := deliver(v, post(headers...), testNow, testBody)
			if err != nil || verdict.Key != k.Label {
				t.Errorf("key %s at %d: got %q, %v", k.Label, place, verdict.Key, err)
			}
		}
	}

	// all: the headers may be signed with different keys
	s = Scheme{Signature: &Signature{Header: StringList{"X-0", "X-1"}, Match: "all"}}
	v = mustVerifier(t, s, keys...)
	verdict, err := deliver(v, post("X-0", rotated["gamma"], "X-1", rotated["beta"]), testNow, testBody)
	if err != nil || verdict.Key != "b" {
		t.Errorf("all: got %q, %v, want the first key that matched", verdict.Key, err)
	}
	expect(t, v, post("X-0", rotated["gamma"], "X-1", wrongHex), testBody, SignatureMismatch)
}

// RFC 8032 §7.1, TEST 2 and TEST 3.
const (
	edPublic2  = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
	edMessage2 = "\x72"
	edSig2     = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
	edSeed2    = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"

	edPublic3  = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
	edMessage3 = "\xaf\x82"
	edSig3     = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)

// TestKeyBelongsToOneAlgorithm: an item's version selects among the configured
// algorithms; no key checks another algorithm's signature.
func TestKeyBelongsToOneAlgorithm(t *testing.T) {
	mixed := func() *Signature {
		return &Signature{Header: StringList{"S"}, Syntax: "list", Accept: map[string]Algorithm{"v1": HMACSHA256, "v1a": Ed25519, "v5": HMACSHA512}}
	}
	s := Scheme{Signature: mixed(), PublicKeyEncoding: "hex", PublicKeyPrefix: "whpk_"}
	secret, public := Key{Label: "secret", Text: testKey}, Key{Label: "public", Text: edPublic2, Kind: PublicKey}
	hmac256, hmac512 := macOf(testKey, edMessage2), "d6be956a08caacf4356ead748a20ccd978ba3b571cc83588e1eb3d8d2420591c47422167d1261c46793e9b9cd637260dc0fedc5b7fb3572dedd23d2ae1b8676c"
	for _, tc := range []struct {
		what   string
		keys   []Key
		header string
		want   Reason
		label  string
	}{
		{"v1 by the secret", []Key{public, secret}, "v1," + hmac256, genuine, "secret"},
		{"v5 by the secret", []Key{public, secret}, "v5," + hmac512, genuine, "secret"},
		{"v1a by the public key", []Key{secret, public}, "v1a," + edSig2, genuine, "public"},
		{"all of them", []Key{public, secret}, "v1a," + edSig2 + " v1," + hmac256, genuine, "public"},
		{"a prefix makes a public key", []Key{{Label: "p", Text: "whpk_" + edPublic2}}, "v1a," + edSig2, genuine, "p"},
		{"v1a without a public key", []Key{secret}, "v1a," + edSig2, SignatureMismatch, ""},
		{"v1 without a secret", []Key{public}, "v1," + hmac256, SignatureMismatch, ""},
		{"SHA-512 under v1a", []Key{secret, public}, "v1a," + hmac512, SignatureMismatch, ""},
		{"Ed25519 under v5", []Key{secret, public}, "v5," + edSig2, SignatureMismatch, ""},
		{"SHA-512 under v1a, beside a v5", []Key{secret, public}, "v5," + wrongHex + wrongHex + " v1a," + hmac512, SignatureMismatch, ""},
		{"Ed25519 under v5, beside a v1a", []Key{secret, public}, "v1a," + wrongHex + wrongHex + " v5," + edSig2, SignatureMismatch, ""},
		{"SHA-256 under v5", []Key{secret, public}, "v5," + hmac256, MalformedSignature, ""},
		// the public key is public: a MAC made with it must be worthless
		{"MAC under the public key's text", []Key{public}, "v1," + macOf(edPublic2, edMessage2), SignatureMismatch, ""},
		{"MAC under the public key's bytes", []Key{public}, "v1," + macOf(unhex(edPublic2), edMessage2), SignatureMismatch, ""},
		{"MAC under no key", []Key{public, secret}, "v1," + macOf("", edMessage2), SignatureMismatch, ""},
		{"another pair's signature", []Key{public}, "v1a," + edSig3, SignatureMismatch, ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			v := mustVerifier(t, s, tc.keys...)
			expect(t, v, post("S", tc.header), edMessage2, tc.want)
			if verdict, _ := deliver(v, post("S", tc.header), testNow, edMessage2); verdict.Key != tc.label {
				t.Errorf("key %q, want %q", verdict.Key, tc.label)
			}
		})
	}
}
