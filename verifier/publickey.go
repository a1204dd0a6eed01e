package verifier

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
)

// decodePublic reads a sender's public key: PEM (PKIX, PKCS #1, or a certificate, of
// which only the key is used), or those structures or the bare key in the scheme's
// encoding.
func (s *Scheme) decodePublic(a Algorithm, p *pastedKey) (crypto.PublicKey, error) {
	wrong := fmt.Errorf("not a public key of %s: give PEM, or the bare key or a PKIX structure in the scheme's public_key_encoding%s", a, p.seenText())
	raw, err := p.bytes(s.PublicKeyPrefix, orDefault(s.PublicKeyEncoding, encBase64))
	if p.isPrivate() || err == nil && len(raw) > ed25519.PrivateKeySize && parsePrivate(raw) != nil {
		return nil, fmt.Errorf("not a public key of %s but a private one: give the sender's public key (openssl pkey -pubout makes it of your own)", a)
	}
	if err != nil || p.broken != "" {
		return nil, wrong
	}
	public := facts[a].public
	key := public.fromRaw(raw)
	if key == nil {
		key = parsePublic(raw)
	}
	if key == nil {
		return nil, wrong
	}
	if !public.accepts(key) {
		return nil, fmt.Errorf("not a public key of %s but of another algorithm: copy the one that belongs to this sender, or set algorithm", a)
	}
	if k, ok := key.(ed25519.PublicKey); ok && forgeable(k) {
		return nil, errors.New("this public key accepts forged signatures (a placeholder?): copy the sender's own")
	}
	return key, nil
}

func parsePublic(der []byte) crypto.PublicKey {
	if key, err := x509.ParsePKIXPublicKey(der); err == nil {
		return key
	}
	if key, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return key
	}
	if certificate, err := x509.ParseCertificate(der); err == nil {
		return certificate.PublicKey
	}
	return nil
}

// forgeable reports whether a key is a point of small order, such as 32 zero bytes:
// an empty signature is then valid for at least one message in eight.
func forgeable(key ed25519.PublicKey) bool {
	y := hex.EncodeToString(append(key[:31:31], key[31]&0x7f)) // without the sign of x
	return slices.Contains(smallOrder, y)
}

// smallOrder are all y of the points of small order, modulo the prime or not: -1, 0, 1 of
// orders 2, 4, 1, and the two of order 8.
var smallOrder = []string{
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
}

func (s *Scheme) decodePrivate(a Algorithm, p *pastedKey) (crypto.Signer, error) {
	wrong := fmt.Errorf("not a private key of %s: give PKCS #8 as PEM or in the scheme's public_key_encoding%s", a, p.seenText())
	if strings.HasSuffix(p.label, "PUBLIC KEY") || p.label == "CERTIFICATE" {
		return nil, fmt.Errorf("not a private key of %s but a public one, which cannot sign", a)
	}
	raw, err := p.bytes(s.PrivateKeyPrefix, orDefault(s.PublicKeyEncoding, encBase64))
	if err != nil || p.broken != "" {
		return nil, wrong
	}
	key := parsePrivate(raw)
	if key == nil || !facts[a].public.accepts(key.Public()) {
		return nil, wrong
	}
	return key, nil
}

func parsePrivate(raw []byte) crypto.Signer {
	switch len(raw) {
	case ed25519.SeedSize:
		return ed25519.NewKeyFromSeed(raw)
	case ed25519.PrivateKeySize: // seed and public key, as in Svix's whsk_
		if key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize]); bytes.Equal(key, raw) {
			return key
		}
		return nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(raw); err == nil {
		signer, _ := key.(crypto.Signer) // X25519 keys cannot sign
		return signer
	}
	if key, err := x509.ParseECPrivateKey(raw); err == nil {
		return key
	}
	if key, err := x509.ParsePKCS1PrivateKey(raw); err == nil {
		return key
	}
	return nil
}

// jwk is a JSON Web Key (RFC 7517) that can verify signatures.
type jwk struct {
	Kty string `json:"kty"`
	Kid string `json:"kid"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
	N   string `json:"n"`
	E   string `json:"e"`

	Ops []string        `json:"key_ops"`
	D   json.RawMessage `json:"d"` // only in a private key
}

// maxSetKeys limits a set: each key costs milliseconds, and all are tried for a
// delivery without a key id. Real sets have a handful.
const maxSetKeys = 64

// isJWK reports whether the text of a public key is a JSON Web Key or a set of them.
func isJWK(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), "{") }

// compileJWKs makes a key of each member of a JSON Web Key Set (RFC 7517), or of a
// single JSON Web Key, that fits one of the scheme's algorithms. Others are skipped:
// senders publish keys for other uses in the same set.
func (s *Scheme) compileJWKs(k Key) ([]compiledKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal([]byte(k.Text), &set); err != nil {
		return nil, errors.New("begins like a JSON Web Key Set but is not valid JSON: copy all of it")
	}
	if set.Keys == nil {
		set.Keys = []json.RawMessage{json.RawMessage(k.Text)}
	}
	if len(set.Keys) > maxSetKeys {
		return nil, fmt.Errorf("a set of %d keys: at most %d are read", len(set.Keys), maxSetKeys)
	}
	var out []compiledKey
	private := false
	for _, raw := range set.Keys {
		var member jwk
		if json.Unmarshal(raw, &member) != nil || !member.verifies() {
			private = private || member.D != nil
			continue
		}
		public := member.public()
		if key, ok := public.(ed25519.PublicKey); public == nil || ok && forgeable(key) {
			continue
		}
		for i, a := range s.algorithms() {
			if !a.asymmetric() || !facts[a].public.accepts(public) || member.Alg != "" && joseAlgorithms[member.Alg].kind() != a.kind() {
				continue
			}
			c := compiledKey{label: k.Label, id: member.Kid, set: k.ID, algorithm: a, index: uint8(i), public: public}
			if member.Kid != "" && len(set.Keys) > 1 {
				c.label += "/" + member.Kid
			}
			out = append(out, c)
		}
	}
	if len(out) == 0 && private {
		return nil, fmt.Errorf("the JSON Web Key Set holds no public key for %s but a private one: give the sender's public key", join(s.algorithms()))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the JSON Web Key Set holds no public key for %s", join(s.algorithms()))
	}
	return out, nil
}

// verifies reports whether a JWK is for verifying (RFC 7517 §4.2 and §4.3).
func (j *jwk) verifies() bool {
	return (j.Use == "" || j.Use == "sig") && (j.Ops == nil || slices.Contains(j.Ops, "verify")) && j.D == nil
}

// public returns the key that a JWK describes (RFC 7518 §6, RFC 8037 §2), nil if its
// type is not supported.
func (j *jwk) public() crypto.PublicKey {
	x, errX := decodeString(j.X, encBase64URL)
	y, errY := decodeString(j.Y, encBase64URL)
	n, errN := decodeString(j.N, encBase64URL)
	e, errE := decodeString(j.E, encBase64URL)
	if errors.Join(errX, errY, errN, errE) != nil {
		return nil
	}
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[j.Crv]
	switch {
	case j.Kty == "OKP" && j.Crv == "Ed25519" && len(x) == ed25519.PublicKeySize:
		return ed25519.PublicKey(x)
	case j.Kty == "RSA" && len(n) <= maxLong && len(e) <= 4:
		return rsaKey(new(big.Int).SetBytes(n), new(big.Int).SetBytes(e).Int64())
	case j.Kty == "EC" && curve != nil:
		size := (curve.Params().BitSize + 7) / 8
		if len(x) > size || len(y) > size {
			return nil
		}
		// RFC 7518 §6.2.1.2 requires the full length; TrueLayer's set drops zeros.
		point := make([]byte, 1+2*size)
		point[0] = 4 // uncompressed, SEC 1 §2.3.3
		copy(point[1+size-len(x):], x)
		copy(point[1+2*size-len(y):], y)
		if key, err := ecdsa.ParseUncompressedPublicKey(curve, point); err == nil {
			return key
		}
	}
	return nil
}

// rsaKey returns nil for keys that crypto/rsa refuses as well, but here regardless of
// GODEBUG: fewer than 1024 bits, or an unusable exponent.
func rsaKey(n *big.Int, e int64) crypto.PublicKey {
	if n.BitLen() < 1024 || n.Bit(0) == 0 || e < 3 || e&1 == 0 || e > math.MaxInt32 {
		return nil
	}
	return &rsa.PublicKey{N: n, E: int(e)}
}

// kind is the algorithm without the form of its signatures.
func (a Algorithm) kind() string {
	kind, _, _ := strings.Cut(string(a), ":")
	return kind
}
