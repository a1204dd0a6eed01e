package verifier

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strings"
	"testing"
)

const plainSecret = "f3c9d1e5-b2a4-8067-app-secret"

// padding is what a hash adds to content of n bytes.
func padding(n int) []byte {
	p := append([]byte{0x80}, make([]byte, (119-n%64)%64)...)
	return binary.BigEndian.AppendUint64(p, uint64(n)*8)
}

// continued returns the hash of content of n bytes with this hash, its padding and more.
func continued(t *testing.T, h hash.Hash, sum []byte, n int, more string) []byte {
	t.Helper()
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	copy(state[4:], sum)
	binary.BigEndian.PutUint64(state[len(state)-8:], uint64(n+len(padding(n))))
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		t.Fatal(err)
	}
	h.Write([]byte(more))
	return h.Sum(nil)
}

// TestLengthExtension: who has one delivery of a sender that signs with a plain hash
// cannot add to its body.
func TestLengthExtension(t *testing.T) {
	for algorithm, newHash := range map[Algorithm]func() hash.Hash{SHA1: sha1.New, SHA256: sha256.New} {
		for name, tc := range map[string]struct{ message, before string }{
			"secret first":     {"{secret}{body}", ""},
			"secret in middle": {"{header:X-Nonce}{secret}{body}", "n1"},
			"more in between":  {"{secret}{method}{body}", "POST"},
		} {
			for _, length := range []int{0, 1, 20, 38, 39, 40, 47, 48, 64, 200} {
				body := strings.Repeat("x", length)
				s := bare(func(s *Scheme) {
					s.Algorithm, s.AllowWeak, s.Message = algorithm, true, StringList{tc.message}
				})
				v := mustVerifier(t, s, Key{Text: plainSecret})
				h := newHash()
				switch {
				case strings.HasPrefix(tc.message, "{header"):
					h.Write([]byte(tc.before + plainSecret + body))
				default:
					h.Write([]byte(plainSecret + tc.before + body))
				}
				sum, n := h.Sum(nil), len(tc.before)+len(plainSecret)+length
				expect(t, v, post("X-Signature", hex.EncodeToString(sum), "X-Nonce", "n1"), body, genuine)
				for _, more := range []string{"", `{"more":1}`} {
					forged := body + string(padding(n)) + more
					expect(t, v, post("X-Signature", hex.EncodeToString(continued(t, newHash(), sum, n, more)), "X-Nonce", "n1"), forged, SignatureMismatch)
					if t.Failed() {
						t.Fatalf("%s, %s, a body of %d bytes", algorithm, name, length)
					}
				}
			}
		}
	}
}

// TestBinaryBodyIsNoExtension: bytes that look like padding and are none.
func TestBinaryBodyIsNoExtension(t *testing.T) {
	for _, content := range [][]byte{
		{}, {0x80}, bytes.Repeat([]byte{0x80}, 500), append([]byte{0x80}, make([]byte, 200)...)[1:],
		append(append([]byte("x"), padding(2)...), "more"...), []byte("Müller À €"),
		append([]byte("x"), padding(1)[:62]...),
	} {
		if holdsPadding(content) {
			t.Errorf("%q holds padding", content)
		}
	}
}
