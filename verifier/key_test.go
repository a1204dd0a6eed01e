package verifier

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func unhex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestAlgorithms: the vectors of the standards.
func TestAlgorithms(t *testing.T) {
	for _, tc := range []struct {
		what      string
		algorithm Algorithm
		key       string // hex
		data, sig string
	}{
		{"RFC 4231 §4.2", HMACSHA256, strings.Repeat("0b", 20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{"RFC 4231 §4.2", HMACSHA384, strings.Repeat("0b", 20), "Hi There", "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6"},
		{"RFC 4231 §4.2", HMACSHA512, strings.Repeat("0b", 20), "Hi There", "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
		{"RFC 4231 §4.3", "", hex.EncodeToString([]byte("Jefe")), "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{"RFC 4231 §4.7, a key longer than a block", HMACSHA256, strings.Repeat("aa", 131), "Test Using Larger Than Block-Size Key - Hash Key First", "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
		{"RFC 2202 §3, 1", HMACSHA1, strings.Repeat("0b", 20), "Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"},
		{"RFC 2202 §3, 2", HMACSHA1, hex.EncodeToString([]byte("Jefe")), "what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
		{"RFC 8032 §7.1, TEST 1", Ed25519, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "", "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
		{"RFC 8032 §7.1, TEST 2", Ed25519, edPublic2, edMessage2, edSig2},
		{"RFC 8032 §7.1, TEST 3", Ed25519, edPublic3, edMessage3, edSig3},
	} {
		t.Run(tc.what+" "+string(tc.algorithm), func(t *testing.T) {
			key := Key{Text: tc.key}
			if tc.algorithm == Ed25519 {
				key.Kind = PublicKey
			}
			v := mustVerifier(t, bare(func(s *Scheme) {
				s.Algorithm, s.SecretEncoding, s.PublicKeyEncoding = tc.algorithm, "hex", "hex"
			}), key)
			expect(t, v, post("X-Signature", tc.sig), tc.data, genuine)
			expect(t, v, post("X-Signature", tc.sig), tc.data+"\x00", SignatureMismatch)
			expect(t, v, post("X-Signature", flip(tc.sig)), tc.data, SignatureMismatch)
			expect(t, v, post("X-Signature", tc.sig[2:]), tc.data, MalformedSignature)
			expect(t, v, post("X-Signature", tc.sig+"00"), tc.data, MalformedSignature)
		})
	}
}

// TestMAC: keys of all lengths around a hash's block, in turns with one MAC, make what
// crypto/hmac makes.
func TestMAC(t *testing.T) {
	for _, a := range Algorithms {
		f := facts[a]
		if f.hash == nil || f.plain {
			continue
		}
		size := f.hash().BlockSize()
		var keys []*compiledKey
		for _, n := range []int{1, size - 1, size, size + 1, 2*size + 1} {
			k := &compiledKey{algorithm: a, secret: []byte(strings.Repeat("k", n))}
			if err := k.compileMAC(); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, k)
		}
		for _, content := range []string{"", "x", strings.Repeat("x", 3*size)} {
			for _, k := range keys {
				want := hmac.New(f.hash, k.secret)
				want.Write([]byte(content))
				if got, err := k.sum([]byte(content)); err != nil || !bytes.Equal(got, want.Sum(nil)) {
					t.Errorf("%s, a key of %d bytes, %d of content: %x, %v", a, len(k.secret), len(content), got, err)
				}
			}
		}
	}
}

// TestSecret: how a secret's text becomes the key. key is the key in hex that
// the text must encode; mac is openssl's:
//
//	printf %s '{"n":0}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:KEY
func TestSecret(t *testing.T) {
	for _, tc := range []struct {
		what, text string
		scheme     Scheme
		key, mac   string
	}{
		{"text", "topsecret", Scheme{}, "746f70736563726574", "099751b30562e19eb3fd13f10e0751d4aa5c145225b5095155da194d17e77bee"},
		{"text with spaces and UTF-8", " é ", Scheme{}, "20c3a920", "2ef45c6918a7894b89aea7bc799a1929da1759e863625a2bcb665a9ac04dd37f"},
		{"text that looks like hex", "00ff", Scheme{SecretEncoding: "utf8"}, "30306666", "398a635482bc5372b600420bb6ac63e599f456a6a0a343f0ff47149464bac2ad"},
		{"hex", "00FFab", Scheme{SecretEncoding: "hex"}, "00ffab", "fe9bd87fb056f630be518d7f7bdf56baf01aff75846467049c5a50616cc1ba39"},
		{"base64", "AP+r/w==", Scheme{SecretEncoding: "base64"}, "00ffabff", "cbd501de32bbf8ffa16d89853d7362357c4cc614dd4ca5dab383ce2655130691"},
		{"base64, unpadded", "AP+r/w", Scheme{SecretEncoding: "base64"}, "00ffabff", "cbd501de32bbf8ffa16d89853d7362357c4cc614dd4ca5dab383ce2655130691"},
		{"base64, URL alphabet", "AP-r_w", Scheme{SecretEncoding: "base64"}, "00ffabff", "cbd501de32bbf8ffa16d89853d7362357c4cc614dd4ca5dab383ce2655130691"},
		{"base64url", "AP-r_w", Scheme{SecretEncoding: "base64url"}, "00ffabff", "cbd501de32bbf8ffa16d89853d7362357c4cc614dd4ca5dab383ce2655130691"},
		{"prefix", "whsec_AP+r/w==", Scheme{SecretEncoding: "base64", SecretPrefix: "whsec_"}, "00ffabff", "cbd501de32bbf8ffa16d89853d7362357c4cc614dd4ca5dab383ce2655130691"},
		{"prefix absent", "AP+r/w==", Scheme{SecretEncoding: "base64", SecretPrefix: "whsec_"}, "00ffabff", "cbd501de32bbf8ffa16d89853d7362357c4cc614dd4ca5dab383ce2655130691"},
		{"prefix that is part of the key", "whsec_x", Scheme{}, "77687365635f78", "ad47d6e0668d38183f9f0057139f2a1a029a9e9b1809b004b2447b9057beb83f"},
		{"suffix (Fitbit)", "topsecret", Scheme{SecretSuffix: "&"}, "746f7073656372657426", "f913652d433ad6793b9633dd30c2d2091e10963c43a89f647825a098397da8e9"},
		// printf topsecret | openssl dgst -sha1, -sha256
		{"derived by SHA-1 (Braintree)", "topsecret", Scheme{KeyDerivation: "sha1"}, "12201fe5e202883bd45fc97e87366ea05183e0e4", "d9963a090b702c8b85f8096565034d1147f38463e64f7b6d6aba19735ee4e5b6"},
		{"derived by SHA-256", "topsecret", Scheme{KeyDerivation: "sha256"}, "53336a676c64c1396553b2b7c92f38126768827c93b64d9142069c10eda7a721", "e8464d66a8a6ecd801a7fdd10e7c4d85b6621d7a42a52f612d5f8a867c0f8677"},
		{"suffix, then derived", "topsecret", Scheme{KeyDerivation: "sha256", SecretSuffix: "&"}, "44cd8d50638305b38c3f22cec3ff2f1dafb97a8f9ccc55e6e1f9085793413f51", "73149dea7ee8c67150851af7fe6333c64e56965ed3355d3410ae0e48fa73aeaa"},
		// node: Buffer.from("ﬁ①é".normalize("NFKD")).toString("hex")
		{"NFKD (EasyPost)", "ﬁ①é", Scheme{SecretNormalize: "nfkd"}, "66693165cc81", "7f73f8abdeda8624cc439467c642f23653a350579d9dff8410fd5b207b103eb1"},
		{"not normalised unasked", "é", Scheme{}, "c3a9", "2e4c46779d918bba241cf8a8fda24a47615108d6e964dbd13f20dcb624adbf9d"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := tc.scheme
			s.Signature = &Signature{Header: StringList{"X-Signature"}}
			v := mustVerifier(t, s, Key{Text: tc.text})
			expect(t, v, post("X-Signature", tc.mac), testBody, genuine)
		})
	}
}

// TestKeyErrors: an unusable key is an error that names the key's label and shows
// nothing of its text. An empty key is refused: with it anyone could sign.
func TestKeyErrors(t *testing.T) {
	const shown = "S3cr3t"
	b64 := func(hexText string) string { return base64.StdEncoding.EncodeToString([]byte(unhex(hexText))) }
	x25519 := "302e020100300506032b656e04220420" + strings.Repeat("5a", 32) // PKCS #8 of RFC 8410 with the OID of X25519
	p256, rsa := pemP256, pemRSA
	hmac := func(edit func(*Scheme)) Scheme { return bare(edit) }
	ed := bare(func(s *Scheme) { s.Algorithm = Ed25519; s.PublicKeyPrefix, s.PrivateKeyPrefix = "whpk_", "whsk_" })
	encoded := func(e string) Scheme {
		return hmac(func(s *Scheme) { s.SecretEncoding, s.SecretPrefix = e, "whsec_" })
	}
	for _, tc := range []struct {
		what   string
		scheme Scheme
		key    Key
		want   string
	}{
		{"empty", hmac(nil), Key{}, "the secret is empty"},
		{"blanks", hmac(nil), Key{Text: " \t "}, "the secret is empty"},
		{"zero bytes", hmac(nil), Key{Text: strings.Repeat("\x00", 64)}, "the secret is only zero bytes"},
		{"encoded zero bytes", encoded("base64"), Key{Text: "whsec_AAAAAAAAAAAAAAAA"}, "the secret is only zero bytes"},
		{"blanks behind the prefix", encoded("utf8"), Key{Text: "whsec_  "}, "the secret is empty"},
		{"prefix alone", encoded("base64"), Key{Text: "whsec_"}, "the secret is empty"},
		{"prefix alone, as text", encoded("utf8"), Key{Text: "whsec_"}, "the secret is empty"},
		{"prefix alone, hex", encoded("hex"), Key{Text: "whsec_"}, "the secret is empty"},
		{"empty with a suffix", hmac(func(s *Scheme) { s.SecretSuffix = "&" }), Key{}, "the secret is empty"},
		{"empty and derived", hmac(func(s *Scheme) { s.KeyDerivation = "sha256" }), Key{}, "the secret is empty"},
		{"padding alone", encoded("base64"), Key{Text: "===="}, "set secret_encoding"},
		{"not base64", encoded("base64"), Key{Text: "whsec_" + shown + "!"}, "not valid base64"},
		{"base64 with a line break", encoded("base64"), Key{Text: "QUJD\nQUJD"}, "it holds a space or a line break: remove it"},
		{"base64 with spaces round it", encoded("base64"), Key{Text: " QUJD "}, "it holds a space or a line break: remove it"},
		{"base64 in quotes", encoded("base64"), Key{Text: `"QUJD"`}, "it has quotes around it: remove them"},
		{"base64 with a line break written as two characters", encoded("base64"), Key{Text: `QUJD\n`}, `it holds a line break written as \n: remove it`},
		{"base64 behind v1,", encoded("base64"), Key{Text: "v1,QUJD"}, "it begins with v1,: remove that"},
		{"base64 cut short", encoded("base64"), Key{Text: "QUJDR"}, "copy all of it, or set secret_encoding"},
		{"a version before the prefix", encoded("base64"), Key{Text: "v1,whsec_QUJD"}, "it begins with v1,: remove that"},
		{"prefix twice", encoded("base64"), Key{Text: "whsec_whsec_QUJD"}, "not valid base64"},
		{"standard alphabet as base64url", encoded("base64url"), Key{Text: "AP+r/w"}, "not valid base64url"},
		{"not hex", encoded("hex"), Key{Text: shown}, "not valid hex"},
		{"odd hex", encoded("hex"), Key{Text: "abc"}, "not valid hex"},
		{"public key for HMAC", hmac(nil), Key{Text: b64(edPublic2), Kind: PublicKey}, "give it with secret"},
		{"private key for HMAC", hmac(nil), Key{Text: b64(edSeed2), Kind: PrivateKey}, "give it with secret"},
		{"secret for Ed25519", ed, Key{Text: shown}, "give it with public_key"},
		{"public: empty", ed, Key{Kind: PublicKey}, "not a public key of ed25519"},
		{"public: prefix alone", ed, Key{Text: "whpk_"}, "not a public key of ed25519"},
		{"public: not base64", ed, Key{Text: shown + "!", Kind: PublicKey}, "give PEM"},
		{"public: 31 bytes", ed, Key{Text: b64(edPublic2[2:]), Kind: PublicKey}, "not a public key of ed25519"},
		{"public: 33 bytes", ed, Key{Text: b64("00" + edPublic2), Kind: PublicKey}, "not a public key of ed25519"},
		{"public: in another encoding", ed, Key{Text: edPublic2, Kind: PublicKey}, "public_key_encoding"},
		{"public: PEM of P-256", ed, Key{Text: p256, Kind: PublicKey}, "not a public key of ed25519 but of another algorithm"},
		{"public: PEM of RSA", ed, Key{Text: rsa, Kind: PublicKey}, "not a public key of ed25519 but of another algorithm"},
		{"public: PEM of the private key", ed, Key{Text: pemPrivate2, Kind: PublicKey}, "not a public key of ed25519 but a private one"},
		{"public: two PEM blocks", ed, Key{Text: pemPublic2 + pemPublic2, Kind: PublicKey}, "not a public key of ed25519"},
		{"private: empty", ed, Key{Kind: PrivateKey}, "not a private key of ed25519"},
		{"private: 64 bytes that are no pair", ed, Key{Text: b64(edSeed2 + edPublic3), Kind: PrivateKey}, "not a private key of ed25519"},
		{"private: X25519", ed, Key{Text: b64(x25519), Kind: PrivateKey}, "not a private key of ed25519"},
		{"private: PEM of the public key", ed, Key{Text: pemPublic2, Kind: PrivateKey}, "not a private key of ed25519 but a public one"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			tc.key.Label = "old"
			_, err := New(tc.scheme, []Key{tc.key})
			keyErr, ok := errors.AsType[*KeyError](err)
			if !ok || keyErr.Label != "old" || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want a *KeyError of old with %q", err, tc.want)
			}
			for _, hidden := range []string{shown, "QUJD", "AP+r", edPublic2[:8], b64(edPublic2)[:8], b64(edSeed2)[:8], "MC4CAQ"} {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("%q shows the key", err)
				}
			}
		})
	}
	// the second of two, by its position
	_, err := New(bare(nil), []Key{{Text: "good"}, {Text: ""}})
	if keyErr, ok := errors.AsType[*KeyError](err); !ok || keyErr.Label != "2" {
		t.Errorf("got %v, want a *KeyError of 2", err)
	}
}

// TestEd25519Keys: every form of a public key, and the private half.
func TestEd25519Keys(t *testing.T) {
	const spki = "302a300506032b6570032100" // RFC 8410 §4
	pkcs8 := "302e020100300506032b657004220420"
	raw := func(h string) []byte { return []byte(unhex(h)) }
	for _, tc := range []struct {
		what, encoding, text string
		kind                 KeyKind
	}{
		{"raw, base64", "", base64.StdEncoding.EncodeToString(raw(edPublic2)), PublicKey},
		{"raw, base64 unpadded", "base64", base64.RawStdEncoding.EncodeToString(raw(edPublic2)), PublicKey},
		{"raw, base64url", "base64url", base64.RawURLEncoding.EncodeToString(raw(edPublic2)), PublicKey},
		{"raw, hex", "hex", edPublic2, PublicKey},
		{"raw, hex, upper case", "hex", strings.ToUpper(edPublic2), PublicKey},
		{"PKIX, base64", "", base64.StdEncoding.EncodeToString(raw(spki + edPublic2)), PublicKey},
		{"PKIX, hex", "hex", spki + edPublic2, PublicKey},
		{"PEM", "", pemPublic2, PublicKey},
		{"PEM, whatever the encoding", "hex", "\n" + pemPublic2 + "\n", PublicKey},
		{"prefix", "", "whpk_" + base64.StdEncoding.EncodeToString(raw(edPublic2)), PublicKey},
		{"prefix, given as a secret", "", "whpk_" + base64.StdEncoding.EncodeToString(raw(edPublic2)), Secret},
		{"private: seed", "hex", edSeed2, PrivateKey},
		{"private: seed and public key", "hex", edSeed2 + edPublic2, PrivateKey},
		{"private: prefix", "", "whsk_" + base64.StdEncoding.EncodeToString(raw(edSeed2+edPublic2)), PrivateKey},
		{"private: PKCS #8", "hex", pkcs8 + edSeed2, PrivateKey},
		{"private: PEM", "", pemPrivate2, PrivateKey},
	} {
		t.Run(tc.what, func(t *testing.T) {
			v := mustVerifier(t, bare(func(s *Scheme) {
				s.Algorithm, s.PublicKeyEncoding = Ed25519, tc.encoding
				s.PublicKeyPrefix, s.PrivateKeyPrefix = "whpk_", "whsk_"
			}), Key{Text: tc.text, Kind: tc.kind})
			expect(t, v, post("X-Signature", edSig2), edMessage2, genuine)
			expect(t, v, post("X-Signature", edSig3), edMessage3, SignatureMismatch)
		})
	}
}

// TestEd25519Malleability: S is below the group's order (RFC 8032 §5.1.7), so a
// signature has one text. This one is TEST 2's with the order added to S.
func TestEd25519Malleability(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Algorithm, s.PublicKeyEncoding = Ed25519, "hex" }), Key{Text: edPublic2, Kind: PublicKey})
	expect(t, v, post("X-Signature", "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69daf52db7415978abc61b2c2eb6aeebfca0387b2eaeb4302aeeb00d291612bb0c10"), edMessage2, SignatureMismatch)
}

// openssl pkey over the DER of RFC 8410 with the keys of RFC 8032 TEST 2.
const (
	pemPublic2 = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=
-----END PUBLIC KEY-----
`
	pemPrivate2 = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7
-----END PRIVATE KEY-----
`
)

// openssl ecparam -name prime256v1 -genkey | openssl ec -pubout; openssl genrsa 1024 | openssl rsa -pubout
const (
	pemP256 = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbgjKsff7WcaMUyqai2GmJ8sMmlTZ
nm8uDaQ/+bb9WHvfGevX1FH4llvXhcQwRlf9Zb1er6KhIIgUu8c2a2nQFg==
-----END PUBLIC KEY-----
`
	pemRSA = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCpPusPd2byNTkfIUlP18QaJnvU
Pu1AnKAC/++i3QPxcRJt4pJn/BFJ4n0r6SLSmohr0zsinMMuoSYG/dbdCUykrhAb
nk6kofKgb97rIqm9vxMYqRPfroo4bAeHE2q/sN7l/8+UJG2WA4C1xV8NMPjaWvAI
TCzeDb2GkOdDOKH1oQIDAQAB
-----END PUBLIC KEY-----
`
)

// TestForgeableKeys: points of small order (RFC 8032 §8.7 leaves them to the
// verifier) accept signatures made without a private key. The eight encodings are
// from libsodium's deny list; the others have a y above the prime, or -0 as x.
func TestForgeableKeys(t *testing.T) {
	for _, key := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		if !acceptsForged(ed25519.PublicKey(unhex(key))) {
			t.Errorf("%s… accepts no forged signature", key[:8])
		}
		_, err := New(Scheme{
			Algorithm: Ed25519, PublicKeyEncoding: "hex", Signature: &Signature{Header: StringList{"X"}},
		}, []Key{{Text: key, Kind: PublicKey}})
		if err == nil {
			t.Errorf("the small-order key %s… is taken", key[:8])
		}
	}
	for i := range byte(200) { // any bytes: half of them are keys
		if key := sha256.Sum256([]byte{i}); forgeable(key[:]) || i < 4 && acceptsForged(key[:]) {
			t.Errorf("%x… is refused", key[:4])
		}
	}
}

// acceptsForged reports whether a signature that anyone can make is valid: R is -kA, for
// some k, if A is of small order.
func acceptsForged(key ed25519.PublicKey) bool {
	signature := make([]byte, ed25519.SignatureSize)
	for _, r := range []byte{0, 1} {
		signature[0] = r
		for i := range byte(255) {
			if ed25519.Verify(key, []byte{i}, signature) {
				return true
			}
		}
	}
	return false
}

// BenchmarkEd25519Key measures what a sender's public key costs at the start.
func BenchmarkEd25519Key(b *testing.B) {
	scheme := Scheme{Algorithm: Ed25519, PublicKeyEncoding: "hex", Signature: &Signature{Header: StringList{"X"}}}
	for b.Loop() {
		if _, err := New(scheme, []Key{{Text: edPublic2, Kind: PublicKey}}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestPrivateKeyAsSecret: the sender's private key would decode as a secret, but
// verify nothing.
func TestPrivateKeyAsSecret(t *testing.T) {
	s := Scheme{SecretEncoding: "base64", SecretPrefix: "whsec_", PrivateKeyPrefix: "whsk_", Signature: &Signature{Header: StringList{"X"}}}
	_, err := New(s, []Key{{Text: "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="}})
	if _, ok := errors.AsType[*KeyError](err); !ok || !strings.Contains(err.Error(), "private key") {
		t.Errorf("got %v", err)
	}
}

// TestSecretsWithSpareBits: base64 -d accepts a possibly truncated secret; this
// package refuses it with a remedy.
func TestSecretsWithSpareBits(t *testing.T) {
	base64 := bare(func(s *Scheme) { s.SecretEncoding = encBase64 })
	for _, secret := range []string{"AAECAwQFBgcICQoLDA0ODx==", "AAECAwQFBgcICQoLDA0ODx"} {
		if _, err := New(base64, []Key{{Text: secret}}); err == nil || !strings.Contains(err.Error(), "base64 -d | base64") || strings.Contains(err.Error(), secret[:5]) {
			t.Errorf("%s: %v", secret, err)
		}
	}
	mustVerifier(t, base64, Key{Text: "AAECAwQFBgcICQoLDA0ODw=="}) // base64 prints this for either
}
