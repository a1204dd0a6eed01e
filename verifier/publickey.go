package verifier

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// decodePublic reads a sender's public key for an algorithm: PEM (PKIX, PKCS #1
// or a certificate, of which only the key counts), or those structures or the
// bare key in the scheme's encoding.
func (s *Scheme) decodePublic(a Algorithm, p *pastedKey) (crypto.PublicKey, error) {
	wrong := fmt.Errorf("not a public key of %s: give PEM, or the bare key or a PKIX structure in the scheme's public_key_encoding%s", a, p.says())
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
		return nil, errors.New("this public key accepts signatures that nobody made (a placeholder?): copy the sender's own")
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

// forgeable reports whether a key is a point of small order, such as thirty-two
// zeros: for at least one message in eight the empty signature verifies then.
func forgeable(key ed25519.PublicKey) bool {
	signature := make([]byte, ed25519.SignatureSize)
	for _, r := range []byte{0, 1} { // R of a small-order key is one of these often enough
		signature[0] = r
		for i := range byte(64) {
			if ed25519.Verify(key, []byte{i}, signature) {
				return true
			}
		}
	}
	return false
}

// decodePrivate reads a private key, for a Signer.
func (s *Scheme) decodePrivate(a Algorithm, p *pastedKey) (crypto.Signer, error) {
	wrong := fmt.Errorf("not a private key of %s: give PKCS #8 as PEM or in the scheme's public_key_encoding%s", a, p.says())
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
	case ed25519.PrivateKeySize: // seed and public key, as Svix writes whsk_
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
