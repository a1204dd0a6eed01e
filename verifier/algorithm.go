package verifier

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/sha3"
)

// Algorithm names how a signature is made. A key belongs to exactly one.
type Algorithm string

// The supported algorithms. Those of the last group are weak: a scheme must set
// allow_weak to use one, because its sender offers nothing better.
const (
	HMACSHA256 Algorithm = "hmac-sha256" // RFC 2104 with FIPS 180-4
	HMACSHA1   Algorithm = "hmac-sha1"
	HMACSHA384 Algorithm = "hmac-sha384"
	HMACSHA512 Algorithm = "hmac-sha512"

	Ed25519            Algorithm = "ed25519"               // RFC 8032
	ECDSAP256SHA256    Algorithm = "ecdsa-p256-sha256"     // FIPS 186-5, ASN.1 DER
	ECDSAP256SHA256Raw Algorithm = "ecdsa-p256-sha256:raw" // r and s, 32 bytes each
	ECDSAP384SHA384    Algorithm = "ecdsa-p384-sha384"
	ECDSAP384SHA384Raw Algorithm = "ecdsa-p384-sha384:raw"
	ECDSAP521SHA512Raw Algorithm = "ecdsa-p521-sha512:raw"
	RSAPKCS1v15SHA256  Algorithm = "rsa-pkcs1v15-sha256" // RFC 8017 §8.2
	RSAPKCS1v15SHA512  Algorithm = "rsa-pkcs1v15-sha512"
	RSAPSSSHA256       Algorithm = "rsa-pss-sha256" // RFC 8017 §8.1, salt of any length
	RSAPSSSHA512       Algorithm = "rsa-pss-sha512"

	// Token is not a signature: the request carries the secret itself, or
	// user:password of Basic authentication. It proves who sends, not what.
	Token Algorithm = "token"

	// Keccak256 is Keccak before FIPS 202, over a message that holds {secret}. A
	// sponge has no length extension, so this is not a weak MAC.
	Keccak256 Algorithm = "keccak256"

	HMACMD5         Algorithm = "hmac-md5"
	RSAPKCS1v15SHA1 Algorithm = "rsa-pkcs1v15-sha1"
	SHA1            Algorithm = "sha1"   // over a message that holds {secret}
	SHA256          Algorithm = "sha256" // the same
)

// Algorithms lists every Algorithm, the default first.
var Algorithms = []Algorithm{
	HMACSHA256, HMACSHA1, HMACSHA384, HMACSHA512,
	Ed25519, ECDSAP256SHA256, ECDSAP256SHA256Raw, ECDSAP384SHA384, ECDSAP384SHA384Raw, ECDSAP521SHA512Raw,
	RSAPKCS1v15SHA256, RSAPKCS1v15SHA512, RSAPSSSHA256, RSAPSSSHA512,
	Token, Keccak256, HMACMD5, RSAPKCS1v15SHA1, SHA1, SHA256,
}

// algorithmFacts holds the properties of an algorithm.
type algorithmFacts struct {
	size   int              // of a signature in bytes; 0 if it varies
	hash   func() hash.Hash // of an algorithm with a shared secret
	plain  bool             // a plain hash, not HMAC: the secret is in the message
	weak   bool
	public publicAlgorithm // nil for a shared secret
}

var facts = map[Algorithm]algorithmFacts{
	HMACSHA256: {size: 32, hash: sha256.New},
	HMACSHA1:   {size: 20, hash: sha1.New}, // HMAC does not need collision resistance (RFC 6151 §2.3)
	HMACSHA384: {size: 48, hash: sha512.New384},
	HMACSHA512: {size: 64, hash: sha512.New},

	Ed25519:            {size: 64, public: ed25519Algorithm{}},
	ECDSAP256SHA256:    {public: ecdsaAlgorithm{curve: elliptic.P256(), hash: crypto.SHA256}},
	ECDSAP256SHA256Raw: {size: 64, public: ecdsaAlgorithm{curve: elliptic.P256(), hash: crypto.SHA256, raw: true}},
	ECDSAP384SHA384:    {public: ecdsaAlgorithm{curve: elliptic.P384(), hash: crypto.SHA384}},
	ECDSAP384SHA384Raw: {size: 96, public: ecdsaAlgorithm{curve: elliptic.P384(), hash: crypto.SHA384, raw: true}},
	ECDSAP521SHA512Raw: {size: 132, public: ecdsaAlgorithm{curve: elliptic.P521(), hash: crypto.SHA512, raw: true}},
	RSAPKCS1v15SHA256:  {public: rsaAlgorithm{hash: crypto.SHA256}},
	RSAPKCS1v15SHA512:  {public: rsaAlgorithm{hash: crypto.SHA512}},
	RSAPSSSHA256:       {public: rsaAlgorithm{hash: crypto.SHA256, pss: true}},
	RSAPSSSHA512:       {public: rsaAlgorithm{hash: crypto.SHA512, pss: true}},

	Token: {size: sha256.Size}, // compared as digests, which hides its length

	Keccak256: {size: 32, hash: sha3.NewLegacyKeccak256, plain: true},

	HMACMD5:         {size: 16, hash: md5.New, weak: true},
	RSAPKCS1v15SHA1: {public: rsaAlgorithm{hash: crypto.SHA1}, weak: true},
	SHA1:            {size: 20, hash: sha1.New, plain: true, weak: true},
	SHA256:          {size: 32, hash: sha256.New, plain: true, weak: true}, // length extension
}

func (a Algorithm) known() bool { _, ok := facts[a]; return ok }

// asymmetric reports whether the receiver holds a public key, not a secret.
func (a Algorithm) asymmetric() bool { return facts[a].public != nil }

// A publicAlgorithm verifies with a sender's public key and signs with its private
// one.
type publicAlgorithm interface {
	// accepts reports whether a key suits the algorithm.
	accepts(crypto.PublicKey) bool
	// fromRaw returns the key that unstructured bytes encode, or nil.
	fromRaw([]byte) crypto.PublicKey
	verify(key crypto.PublicKey, content, signature []byte) bool
	sign(key crypto.Signer, content []byte) ([]byte, error)
}

type ed25519Algorithm struct{}

func (ed25519Algorithm) accepts(key crypto.PublicKey) bool {
	_, ok := key.(ed25519.PublicKey)
	return ok
}

func (ed25519Algorithm) fromRaw(raw []byte) crypto.PublicKey {
	if len(raw) != ed25519.PublicKeySize {
		return nil
	}
	return ed25519.PublicKey(raw)
}

func (ed25519Algorithm) verify(key crypto.PublicKey, content, signature []byte) bool {
	return ed25519.Verify(key.(ed25519.PublicKey), content, signature)
}

func (ed25519Algorithm) sign(key crypto.Signer, content []byte) ([]byte, error) {
	return key.Sign(nil, content, crypto.Hash(0))
}

type ecdsaAlgorithm struct {
	curve elliptic.Curve
	hash  crypto.Hash
	raw   bool // r and s side by side, not DER
}

func (a ecdsaAlgorithm) accepts(key crypto.PublicKey) bool {
	k, ok := key.(*ecdsa.PublicKey)
	return ok && k.Curve == a.curve
}

func (a ecdsaAlgorithm) fromRaw(raw []byte) crypto.PublicKey {
	key, err := ecdsa.ParseUncompressedPublicKey(a.curve, raw)
	if err != nil {
		return nil
	}
	return key
}

func (a ecdsaAlgorithm) verify(key crypto.PublicKey, content, signature []byte) bool {
	if a.raw {
		half := len(signature) / 2
		var b cryptobyte.Builder
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1BigInt(new(big.Int).SetBytes(signature[:half]))
			b.AddASN1BigInt(new(big.Int).SetBytes(signature[half:]))
		})
		der, err := b.Bytes()
		if err != nil {
			return false
		}
		signature = der
	}
	return ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), digestOf(a.hash, content), signature)
}

func (a ecdsaAlgorithm) sign(key crypto.Signer, content []byte) ([]byte, error) {
	der, err := key.Sign(rand.Reader, digestOf(a.hash, content), a.hash)
	if err != nil || !a.raw {
		return der, err
	}
	var inner cryptobyte.String
	var r, s big.Int
	input := cryptobyte.String(der)
	input.ReadASN1(&inner, asn1.SEQUENCE) // built above, so it parses
	inner.ReadASN1Integer(&r)
	inner.ReadASN1Integer(&s)
	size := (a.curve.Params().BitSize + 7) / 8
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
}

type rsaAlgorithm struct {
	hash crypto.Hash
	pss  bool
}

func (rsaAlgorithm) accepts(key crypto.PublicKey) bool {
	_, ok := key.(*rsa.PublicKey)
	return ok
}

func (rsaAlgorithm) fromRaw([]byte) crypto.PublicKey { return nil }

func (a rsaAlgorithm) verify(key crypto.PublicKey, content, signature []byte) bool {
	if a.pss {
		return rsa.VerifyPSS(key.(*rsa.PublicKey), a.hash, digestOf(a.hash, content), signature, nil) == nil
	}
	return rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), a.hash, digestOf(a.hash, content), signature) == nil
}

func (a rsaAlgorithm) sign(key crypto.Signer, content []byte) ([]byte, error) {
	if a.pss {
		return key.Sign(rand.Reader, digestOf(a.hash, content), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.hash})
	}
	return key.Sign(rand.Reader, digestOf(a.hash, content), a.hash)
}

func digestOf(h crypto.Hash, content []byte) []byte {
	d := h.New()
	d.Write(content)
	return d.Sum(nil)
}
