package verifier

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"hash"
	"strings"

	"github.com/dunglas/httpsfv"
)

// contentDigests are the algorithms of RFC 9530 §5 that nobody can collide.
var contentDigests = map[string]func() hash.Hash{"sha-256": sha256.New, "sha-512": sha512.New}

// contentDigest is what a delivery says its body's digest is.
type contentDigest struct {
	hash func() hash.Hash
	sum  []byte
}

// maxStructured is the longest structured field that is read, in bytes, and the
// longest target: room for as many RSA signatures as anybody offers.
const maxStructured = 16 << 10

var errDictionary = errors.New("not a dictionary as RFC 9651 §4.1.2 writes it")

var withoutBlanks = strings.NewReplacer(" ", "", "\t", "")

// dictionary reads a Dictionary of RFC 9651. White space apart, it must be
// written as §4.1.2 says: where a key stands twice, §4.2.2 lets the last one win
// without a word, and others that read the request may take the first.
func dictionary(text string) (*httpsfv.Dictionary, error) {
	if len(text) > maxStructured {
		return nil, errDictionary
	}
	d, err := httpsfv.UnmarshalDictionary([]string{text})
	if err != nil {
		return nil, errDictionary
	}
	written, err := httpsfv.Marshal(d)
	if err != nil || withoutBlanks.Replace(written) != withoutBlanks.Replace(text) {
		return nil, errDictionary
	}
	return d, nil
}

// openDigest reads Content-Digest. Digests that do not count are skipped: a
// sender may add ones that this receiver does not know.
func (c *Check) openDigest(text string) ([]contentDigest, *Rejection) {
	d, err := dictionary(text)
	if err != nil {
		return nil, reject(MalformedSignature, "header %s: %v", headerDigest, err)
	}
	var digests []contentDigest
	for _, name := range c.v.http.Digests {
		member, ok := d.Get(name)
		if !ok {
			continue
		}
		item, _ := member.(httpsfv.Item)
		sum, _ := item.Value.([]byte)
		if len(sum) != contentDigests[name]().Size() {
			return nil, reject(MalformedSignature, "header %s: %s is not a digest of its size", headerDigest, name)
		}
		digests = append(digests, contentDigest{contentDigests[name], sum})
	}
	if len(digests) == 0 {
		return nil, reject(MalformedSignature, "header %s has none of %s", headerDigest, join(c.v.http.Digests))
	}
	return digests, nil
}

// areOf reports whether all digests are the body's.
func areOf(digests []contentDigest, body []byte) bool {
	match := 1
	for _, d := range digests {
		h := d.hash()
		h.Write(body)
		match &= subtle.ConstantTimeCompare(h.Sum(nil), d.sum)
	}
	return match == 1
}
