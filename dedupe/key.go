package dedupe

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// A Key names one delivery: the first 16 bytes of a SHA-256. Its input (the sender's
// ids, perhaps a body) cannot be recovered, so a Key may be logged and shown. The
// probability of an accidental collision among 1e9 keys is about 1.5e-21; finding
// a second input for a key takes 2^128 trials.
type Key [16]byte

// NewKey hashes the fields. Each is preceded by its length, so that ("ab", "c")
// and ("a", "bc") are different keys.
func NewKey(fields ...string) Key {
	var room [keyRoom]byte
	in := keyInput(room[:0])
	for _, f := range fields {
		in = in.add(f)
	}
	return in.key()
}

// keyRoom is enough for the input of most keys. Longer ones are allocated.
const keyRoom = 512

// keyInput is the input of a [Key].
type keyInput []byte

func (in keyInput) add(field string) keyInput {
	return append(binary.BigEndian.AppendUint64(in, uint64(len(field))), field...)
}

func (in keyInput) key() Key {
	sum := sha256.Sum256(in)
	return Key(sum[:16])
}

// String returns the key as 32 hex digits, the form used in logs, the
// Webhook-Delivery header and the admin API.
func (k Key) String() string {
	var text [2 * len(k)]byte
	hex.Encode(text[:], k[:])
	return string(text[:])
}

// ParseKey is the inverse of [Key.String]. The error does not repeat s.
func ParseKey(s string) (Key, error) {
	var k Key
	if len(s) != hex.EncodedLen(len(k)) {
		return Key{}, errors.New("a delivery key is 32 hex digits")
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return Key{}, errors.New("a delivery key is 32 hex digits")
	}
	return k, nil
}

// A Token marks one attempt's claim. It is never reused, and never leaves the
// gateway and its store.
type Token [16]byte

// NewToken returns a random token from the operating system.
func NewToken() Token {
	var t Token
	rand.Read(t[:]) // never fails since Go 1.24: it crashes the program instead
	return t
}
