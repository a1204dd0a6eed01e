package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"

	"github.com/verify-webhook/caddy-verify-webhook/integration/differential"
)

// A keyPair is as the catalogue's schemes read it.
type keyPair struct {
	private, public string
	signer          crypto.Signer
}

func ed25519Hex(r *rand.Rand) keyPair { return ed25519Pair(r, hex.EncodeToString) }

func ed25519Base64(r *rand.Rand) keyPair { return ed25519Pair(r, base64.StdEncoding.EncodeToString) }

func ed25519Pair(r *rand.Rand, encode func([]byte) string) keyPair {
	key := ed25519.NewKeyFromSeed(randomBytes(r, ed25519.SeedSize))
	return keyPair{private: encode(key.Seed()), public: encode(key.Public().(ed25519.PublicKey)), signer: key}
}

func ecdsaKey(r *rand.Rand) keyPair {
	for {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), randomBytes(r, 32))
		if err != nil {
			continue // not a scalar of the curve
		}
		public, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			continue
		}
		return keyPair{public: base64.StdEncoding.EncodeToString(public), signer: key}
	}
}

// sendgridSigns signs as RFC 6979 has it: the fixtures stay the same.
func sendgridSigns(d *differential.Delivery, key keyPair) error {
	timestamp := d.Headers["X-Twilio-Email-Event-Webhook-Timestamp"][0]
	digest := sha256.Sum256(append([]byte(timestamp), d.Bytes()...))
	der, err := key.signer.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	d.Headers["X-Twilio-Email-Event-Webhook-Signature"] = []string{base64.StdEncoding.EncodeToString(der)}
	return nil
}
