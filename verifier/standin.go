package verifier

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"sync"
)

// StandIns returns random keys under one label, one of each kind that the scheme takes:
// to verify a delivery whose key is unknown with as much work as one that has a key.
// Nobody knows what signs for them. A SelfKeyed scheme needs none.
func (v *Rules) StandIns(label string) ([]Key, error) {
	var keys []Key
	secret := false
	for _, a := range v.algorithms {
		if !a.asymmetric() {
			secret = true
			continue
		}
		public, err := randomPublicKey(facts[a].public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, Key{Label: label, Text: public, Kind: PublicKey})
	}
	if secret {
		keys = append(keys, Key{Label: label, Text: v.scheme.randomSecret()})
	}
	return keys, nil
}

// randomSecret returns a secret as a sender writes it.
func (s *Scheme) randomSecret() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	switch orDefault(s.SecretEncoding, encUTF8) {
	case encBase64:
		return s.SecretPrefix + base64.StdEncoding.EncodeToString(raw)
	case encBase64URL:
		return s.SecretPrefix + base64.RawURLEncoding.EncodeToString(raw)
	}
	return s.SecretPrefix + hex.EncodeToString(raw)
}

// randomRSA takes a tenth of a second to make, so all schemes share it.
var randomRSA = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// randomPublicKey returns a public key that an algorithm accepts, in PEM.
func randomPublicKey(a publicAlgorithm) (string, error) {
	for _, generate := range []func() (crypto.Signer, error){
		func() (crypto.Signer, error) { _, key, err := ed25519.GenerateKey(nil); return key, err },
		func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) },
		func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P521(), rand.Reader) },
		func() (crypto.Signer, error) { return randomRSA() },
	} {
		key, err := generate()
		if err != nil {
			return "", err
		}
		if !a.accepts(key.Public()) {
			continue
		}
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return "", err
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
	}
	return "", fmt.Errorf("no kind of key suits %T", a)
}
