package verifier

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Key is a key of the receiver, as the sender's dashboard shows it.
type Key struct {
	// Label names the key in verdicts, logs and metrics. Default: its position among
	// the keys, from 1.
	Label string
	// Text is the secret or key. The caller trims surrounding line breaks.
	Text string
	Kind KeyKind
	// ID is the key's name in deliveries (a key id, the address of a certificate); of a
	// JSON Web Key Set, the address by which deliveries name it, if they do.
	// Default: none, and the key is tried for every delivery.
	ID string
}

// KeyKind is the kind of a key.
type KeyKind uint8

// The kinds of keys.
const (
	Secret     KeyKind = iota // shared with the sender
	PublicKey                 // the sender's
	PrivateKey                // for Sign; also verifies
)

// A KeyError says which key is unusable and why, without any of its text.
type KeyError struct {
	Label   string
	Problem string
}

func (e *KeyError) Error() string { return "key " + e.Label + ": " + e.Problem }

// compiledKey is a key for one algorithm. A secret becomes several if the scheme lets
// a version choose among algorithms.
type compiledKey struct {
	label     string
	id        string // "": tried for every delivery
	set       string // address of the set that has it, if deliveries name theirs
	algorithm Algorithm
	index     uint8             // of the algorithm in the scheme
	text      string            // of a secret, without its prefix: see Verifier.Redact
	secret    []byte            // decoded, for {secret}
	macs      *sync.Pool        // of the algorithm; nil without a MAC
	states    []byte            // of an HMAC: those of its inner and outer hash after the key (RFC 2104 §4)
	token     [sha256.Size]byte // of Token: the secret's digest
	public    crypto.PublicKey
	private   crypto.Signer
	root      *root // instead of public, if deliveries carry certificates
	length    int   // of the decoded secret in bytes
}

// bareSecretPrefix matches a vendor's prefix without a secret (whsec_, sk_live_),
// which anyone can guess.
var bareSecretPrefix = regexp.MustCompile(`^[a-z]{2,12}(_[a-z]{2,8})*[_-]$`)

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
	var pasted pastedKey
	if k.Kind != Secret {
		pasted = unpaste(k.Text)
	}
	if k.Kind == PublicKey && s.X5C == nil && isJWK(pasted.text) {
		k.Text = pasted.text
		return s.compileJWKs(k)
	}
	if s.X5C != nil {
		return s.compileRoot(k, &pasted)
	}
	var out []compiledKey
	var problem error
	for i, a := range s.algorithms() {
		if a.asymmetric() == (k.Kind == Secret) {
			continue
		}
		c := compiledKey{label: k.Label, id: k.ID, algorithm: a, index: uint8(i)}
		var err error
		switch k.Kind {
		case Secret:
			c.text = strings.TrimPrefix(k.Text, s.SecretPrefix)
			if c.secret, c.length, err = s.decodeSecret(k.Text); err == nil && a == Token {
				c.token = sha256.Sum256(c.secret)
			} else if err == nil {
				err = c.compileMAC()
			}
		case PublicKey:
			c.public, err = s.decodePublic(a, &pasted)
		case PrivateKey:
			if c.private, err = s.decodePrivate(a, &pasted); err == nil {
				c.public = c.private.Public()
			}
		}
		if err != nil {
			problem = err
			continue
		}
		out = append(out, c)
	}
	if len(out) > 0 { // a public key fits only one algorithm
		return out, nil
	}
	if problem != nil {
		return nil, problem
	}
	if k.Kind == Secret {
		return nil, errors.New("the scheme's algorithm takes a public key, not a secret: give it with public_key")
	}
	return nil, errors.New("the scheme's algorithm takes a shared secret, not a public or private key: give it with secret")
}

// ShortSecrets returns the labels of shared secrets shorter than the given number of
// bytes.
func (v *Verifier) ShortSecrets(bytes int) (labels []string) {
	for _, k := range v.keys {
		if k.length > 0 && k.length < bytes && !slices.Contains(labels, k.label) {
			labels = append(labels, k.label)
		}
	}
	return labels
}

// KeyCount returns with how many keys a delivery may be compared: each member of a JSON
// Web Key Set is one, and a secret is one for each algorithm that a version selects.
func (v *Verifier) KeyCount() int { return len(v.keys) }

// SharesSecret reports whether the two have a secret in common: the same bytes, in
// any encoding.
func (v *Verifier) SharesSecret(other *Verifier) bool {
	return slices.ContainsFunc(v.keys, func(a compiledKey) bool {
		return a.length > 0 && slices.ContainsFunc(other.keys, func(b compiledKey) bool {
			return b.length > 0 && bytes.Equal(hmacKey(a.secret), hmacKey(b.secret))
		})
	})
}

// hmacKey removes trailing zeros, with which HMAC pads its key anyway.
func hmacKey(secret []byte) []byte { return bytes.TrimRight(secret, "\x00") }

// decodeSecret returns a key's bytes, and how many of them are the secret's.
func (s *Scheme) decodeSecret(text string) (key []byte, length int, err error) {
	switch p := unpaste(text); {
	case p.isPublic(s.SecretPrefix):
		return nil, 0, errors.New("a public key given as a shared secret: anyone who has it could sign; give it with public_key to a sender that signs with a private key")
	case p.isPEM():
		return nil, 0, errors.New("a PEM key given as a shared secret: anyone who has it could sign; a sender's public key is given with public_key")
	}
	if bareSecretPrefix.MatchString(text) && text != s.SecretPrefix { // it would decode to nothing below
		return nil, 0, errors.New("the secret is only a prefix: copy the whole secret")
	}
	text = strings.TrimPrefix(text, s.SecretPrefix)
	if strings.TrimSpace(text) == "" {
		text = ""
	}
	if s.SecretNormalize == "nfkd" {
		text = norm.NFKD.String(text)
	}
	encoding := orDefault(s.SecretEncoding, encUTF8)
	key, err = decodeString(text, encoding)
	if err != nil && encoding == encBase64 && hasSpareBits(text) {
		return nil, 0, errors.New("the last character of the secret holds extra bits: a character is missing at its end; if the secret is complete, the sender's library ignores those bits: use the output of: printf %s SECRET | base64 -d | base64")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("the secret is not valid %s: %s", encoding, blemish(text))
	}
	if len(key) == 0 {
		return nil, 0, errors.New("the secret is empty: with an empty key anyone could sign")
	}
	if length = len(hmacKey(key)); length == 0 {
		return nil, 0, errors.New("the secret is only zero bytes, which HMAC takes for an empty key: anyone could sign")
	}
	key = append(key, s.SecretSuffix...)
	switch s.KeyDerivation {
	case "sha1":
		d := sha1.Sum(key)
		return d[:], length, nil
	case "sha256":
		d := sha256.Sum256(key)
		return d[:], length, nil
	}
	return key, length, nil
}

// blemish says what is wrong with the text of a secret that does not decode.
func blemish(text string) string {
	switch bare := strings.TrimSpace(text); {
	case len(bare) > 1 && strings.Contains("\"'`", bare[:1]) && bare[0] == bare[len(bare)-1]:
		return "it has quotes around it: remove them"
	case strings.Contains(text, `\n`), strings.Contains(text, `\r`):
		return `it holds a line break written as \n: remove it`
	case strings.HasPrefix(bare, "v1,"):
		return "it begins with v1,: remove that"
	case strings.ContainsFunc(text, unicode.IsSpace):
		return "it holds a space or a line break: remove it"
	}
	return "copy all of it, or set secret_encoding"
}

// hasSpareBits reports whether a text is valid base64 except for bits at its end.
func hasSpareBits(text string) bool {
	n := len(strings.TrimRight(text, "="))
	if n == 0 || n%4 == 0 || strings.ContainsAny(text, "-_") {
		return false
	}
	if _, err := base64.RawStdEncoding.DecodeString(text[:n]); err != nil {
		return false
	}
	_, err := decodeString(text[:n-1]+"A"+text[n:], encBase64)
	return err == nil
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

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
