package verifier

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/text/unicode/norm"
)

// Key is one key of the receiver, as the sender's dashboard shows it.
type Key struct {
	// Label is what verdicts, logs and metrics call the key. Default: its
	// position among the keys, from 1.
	Label string
	// Text is the secret or key. Surrounding line breaks are the caller's to cut.
	Text string
	Kind KeyKind
}

// KeyKind says what a key's text is.
type KeyKind uint8

// The kinds of keys.
const (
	Secret     KeyKind = iota // shared with the sender
	PublicKey                 // the sender's
	PrivateKey                // for a Signer; verifies as its public half
)

// A KeyError says which key cannot be used and why, and nothing of its text.
type KeyError struct {
	Label   string
	Problem string
}

func (e *KeyError) Error() string { return "key " + e.Label + ": " + e.Problem }

// compiledKey is one key for one algorithm. One secret is several compiled keys
// where a scheme lets a version choose among algorithms.
type compiledKey struct {
	label     string
	algorithm Algorithm
	index     uint8  // of the algorithm among the scheme's
	secret    []byte // decoded, for {secret}
	macs      *sync.Pool
	public    ed25519.PublicKey
	private   ed25519.PrivateKey
}

// mac is a reusable HMAC with room for what is written around the body.
type mac struct {
	hash.Hash
	w       io.Writer // the hash again: converting one interface to another costs a look-up
	scratch []byte
	sum     [maxSignature]byte // zeros after the algorithm's size
}

func (s *Scheme) compileKeys(keys []Key) ([]compiledKey, error) {
	var out []compiledKey
	for i, k := range keys {
		if k.Label == "" {
			k.Label = strconv.Itoa(i + 1)
		}
		if k.Kind == Secret && s.PublicKeyPrefix != "" && strings.HasPrefix(k.Text, s.PublicKeyPrefix) {
			k.Kind = PublicKey
		}
		compiled, err := s.compileKey(k)
		if k.Kind != PrivateKey && s.PrivateKeyPrefix != "" && strings.HasPrefix(k.Text, s.PrivateKeyPrefix) {
			err = fmt.Errorf("a private key of the sender's (%s…): a receiver holds the secret or the public key", s.PrivateKeyPrefix)
		}
		if err != nil {
			return nil, &KeyError{Label: k.Label, Problem: err.Error()}
		}
		out = append(out, compiled...)
	}
	return out, nil
}

// compileKey makes one key for each of the scheme's algorithms of k's kind.
func (s *Scheme) compileKey(k Key) ([]compiledKey, error) {
	var out []compiledKey
	for i, a := range s.algorithms() {
		if a.asymmetric() == (k.Kind == Secret) {
			continue
		}
		c := compiledKey{label: k.Label, algorithm: a, index: uint8(i)}
		var err error
		switch k.Kind {
		case Secret:
			if c.secret, err = s.decodeSecret(k.Text); err == nil {
				c.macs = newMACPool(a, c.secret)
			}
		case PublicKey:
			if c.public, err = s.decodePublic(k.Text); err == nil && forgeable(c.public) {
				err = errors.New("this public key accepts signatures that nobody made (a placeholder?): copy the sender's own")
			}
		case PrivateKey:
			if c.private, err = s.decodePrivate(k.Text); err == nil {
				c.public = c.private.Public().(ed25519.PublicKey)
			}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) > 0 {
		return out, nil
	}
	if k.Kind == Secret {
		return nil, errors.New("the scheme's algorithm takes a public key, not a secret: give it with public_key")
	}
	return nil, errors.New("the scheme's algorithm takes a shared secret, not a public or private key: give it with secret")
}

func (s *Scheme) decodeSecret(text string) ([]byte, error) {
	text = strings.TrimPrefix(text, s.SecretPrefix)
	if s.SecretNormalize == "nfkd" {
		text = norm.NFKD.String(text)
	}
	encoding := orDefault(s.SecretEncoding, encUTF8)
	key, err := decodeString(text, encoding)
	if err != nil {
		return nil, fmt.Errorf("the secret is not valid %s: copy it whole, without quotes or spaces, or set secret_encoding", encoding)
	}
	if len(key) == 0 {
		return nil, errors.New("the secret is empty: an empty key would accept what anyone signs")
	}
	key = append(key, s.SecretSuffix...)
	switch s.KeyDerivation {
	case "sha1":
		d := sha1.Sum(key)
		return d[:], nil
	case "sha256":
		d := sha256.Sum256(key)
		return d[:], nil
	}
	return key, nil
}

var errPublicKey = errors.New("not an Ed25519 public key: give PEM, or 32 bytes or a PKIX structure in the scheme's public_key_encoding")

func (s *Scheme) decodePublic(text string) (ed25519.PublicKey, error) {
	raw, err := s.keyBytes(strings.TrimPrefix(text, s.PublicKeyPrefix))
	if err != nil {
		return nil, errPublicKey
	}
	if len(raw) == ed25519.PublicKeySize {
		return raw, nil
	}
	parsed, err := x509.ParsePKIXPublicKey(raw)
	if err != nil {
		return nil, errPublicKey
	}
	public, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, errPublicKey
	}
	return public, nil
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

var errPrivateKey = errors.New("not an Ed25519 private key: give PKCS #8 as PEM, or 32 or 64 bytes in the scheme's public_key_encoding")

func (s *Scheme) decodePrivate(text string) (ed25519.PrivateKey, error) {
	raw, err := s.keyBytes(strings.TrimPrefix(text, s.PrivateKeyPrefix))
	if err != nil {
		return nil, errPrivateKey
	}
	switch len(raw) {
	case ed25519.SeedSize:
		return ed25519.NewKeyFromSeed(raw), nil
	case ed25519.PrivateKeySize: // seed and public key, as Svix writes whsk_
		private := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
		if !bytes.Equal(private, raw) {
			return nil, errPrivateKey
		}
		return private, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(raw)
	if err != nil {
		return nil, errPrivateKey
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errPrivateKey
	}
	return private, nil
}

// keyBytes decodes PEM or the scheme's encoding.
func (s *Scheme) keyBytes(text string) ([]byte, error) {
	if block, rest := pem.Decode([]byte(text)); block != nil && len(bytes.TrimSpace(rest)) == 0 {
		return block.Bytes, nil
	}
	return decodeString(text, orDefault(s.PublicKeyEncoding, encBase64))
}

func newMACPool(a Algorithm, key []byte) *sync.Pool {
	newHash := map[Algorithm]func() hash.Hash{
		HMACSHA1: sha1.New, HMACSHA256: sha256.New, HMACSHA384: sha512.New384, HMACSHA512: sha512.New,
	}[a]
	return &sync.Pool{New: func() any {
		h := hmac.New(newHash, key)
		return &mac{Hash: h, w: h, scratch: make([]byte, 0, 256)}
	}}
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
