package verifier

import (
	"crypto/sha256"
	"slices"
	"strings"
)

// maxCandidates bounds the signatures that one delivery may offer, over all its
// headers: rotation needs two or three, an attacker would like a thousand.
const maxCandidates = 32

// maxPublic bounds those of them that a public key checks: each check hashes the
// whole content again (Ed25519 hashes the signature before it) and multiplies on
// a curve, where one HMAC serves all candidates.
const maxPublic = 8

// inlineCandidates is how many a Check holds without allocating.
const inlineCandidates = 4

// maxSignature is the longest signature in bytes that is kept without
// allocating: HMAC-SHA512, Ed25519. maxLong is the longest at all: RSA of 8192 bits.
const (
	maxSignature = 64
	maxLong      = 1024
)

// What bounds the list of headers that a delivery says it signs.
const (
	maxListed     = 32
	maxHeaderName = 128
)

// candidate is one decoded signature of a delivery.
type candidate struct {
	sum       [maxSignature]byte
	long      []byte // the signature, where its size varies or does not fit sum
	size      uint8
	header    uint8 // index of the header it came from
	algorithm uint8 // index into the verifier's algorithms
}

// addAll reads the candidates of one header's value.
func (c *Check) addAll(header uint8, value string) *Rejection {
	s := &c.v.signature
	switch s.Syntax {
	case "kv", "positional":
		for rest, more := value, true; more; {
			var group string
			group, rest, more = s.cutGroup(rest)
			if rej := c.addPairs(header, group); rej != nil {
				return rej
			}
		}
		return nil
	case "list", "keyed_list":
		for item := range strings.SplitSeq(value, s.ItemSeparator) {
			label, text, ok := strings.Cut(strings.TrimSpace(item), s.VersionSeparator)
			if !ok {
				continue
			}
			if rej := c.addLabelled(header, label, text); rej != nil {
				return rej
			}
		}
		return nil
	case "algorithm_prefix":
		label, text, ok := strings.Cut(value, s.VersionSeparator)
		if !ok {
			return nil
		}
		return c.addLabelled(header, label, text)
	}
	if s.ItemSeparator == "" {
		return c.addRaw(header, value)
	}
	for item := range strings.SplitSeq(value, s.ItemSeparator) {
		if rej := c.addRaw(header, strings.TrimSpace(item)); rej != nil {
			return rej
		}
	}
	return nil
}

func (c *Check) addRaw(header uint8, value string) *Rejection {
	s := &c.v.signature
	text, ok := strings.CutPrefix(value, c.v.prefix)
	if !ok && !s.PrefixOptional {
		c.malformed = reject(MalformedSignature, "%s does not begin with the scheme's prefix %q", s.place(header), s.Prefix)
		return nil
	}
	if s.isJWS() {
		return c.addJWS(header, text)
	}
	return c.add(header, 0, text)
}

// addLabelled adds an item if its version, algorithm name or key id counts.
// Others are skipped: a sender may add versions that this receiver does not know.
func (c *Check) addLabelled(header uint8, label, text string) *Rejection {
	s := &c.v.signature
	if s.Syntax == "keyed_list" {
		if len(s.Key) > 0 && !slices.Contains(s.Key, label) {
			return nil
		}
		return c.add(header, 0, text)
	}
	algorithm, ok := s.Accept[label]
	if !ok {
		return nil
	}
	return c.add(header, uint8(slices.Index(c.v.algorithms, algorithm)), text)
}

func (c *Check) addPairs(header uint8, value string) *Rejection {
	s := &c.v.signature
	position, timed, signing := 0, false, false
	for pair := range strings.SplitSeq(value, s.PairSeparator) {
		if s.Syntax == "positional" && position == len(s.Names) {
			return reject(MalformedSignature, "%s has more than its %d parts", s.place(header), len(s.Names))
		}
		name, text, ok := s.cutPair(pair, position)
		position++
		if !ok {
			if !signing || name == "" {
				return reject(MalformedSignature, "%s has a part without =", s.place(header))
			}
			// One more value of the key before: v0=5257a8…,88a022… (rotation).
			if rej := c.add(header, 0, name); rej != nil {
				return rej
			}
			continue
		}
		if signing = slices.Contains(s.Key, name); signing {
			if rej := c.add(header, 0, text); rej != nil {
				return rej
			}
		} else if name == c.v.timestampKV && name != "" {
			if timed {
				return reject(MalformedTimestamp, "key %s stands twice in %s", name, s.place(header))
			}
			if c.timestamp != "" && c.timestamp != text {
				return reject(MalformedTimestamp, "key %s differs between the signature headers", name)
			}
			c.timestamp, timed = text, true
		}
	}
	return nil
}

// add decodes one candidate. One that cannot be read matches nothing; it is a
// reason to refuse only where no other can be read (see openSignatures).
func (c *Check) add(header, algorithm uint8, text string) *Rejection {
	if c.offered++; c.offered > maxCandidates {
		return reject(MalformedSignature, "more than %d signatures", maxCandidates)
	}
	if c.v.algorithms[algorithm].asymmetric() {
		if c.public++; c.public > maxPublic {
			return reject(MalformedSignature, "more than %d signatures for public keys", maxPublic)
		}
	}
	s := &c.v.signature
	size := c.v.sizes[algorithm]
	cand := candidate{size: uint8(size), header: header, algorithm: algorithm}
	n, err := 0, errEncoding
	if c.v.algorithms[algorithm] == Token {
		if token, failure := decodeString(text, s.Encoding); failure == nil && len(token) > 0 {
			d := sha256.Sum256(token)
			n, err = copy(cand.sum[:], d[:]), nil
		}
	} else if size == 0 || size > maxSignature {
		cand.long, n, err = decodeLong(text, s.Encoding)
		if size == 0 {
			size = n
		}
	} else {
		var buf [3 * maxSignature]byte // base64 of hex is the longest way to write it
		if len(text) <= len(buf) {
			n, err = decode(cand.sum[:], buf[:copy(buf[:], text)], s.Encoding)
		}
	}
	if err != nil || n != size || n == 0 {
		c.malformed = reject(MalformedSignature, "%s: %d characters are no signature of %s in %s",
			s.place(header), len(text), c.v.algorithms[algorithm], s.Encoding)
		return nil
	}
	if c.count < inlineCandidates {
		c.inline[c.count] = cand
	} else {
		c.more = append(c.more, cand)
	}
	c.count++
	return nil
}

func decodeLong(text, encoding string) ([]byte, int, error) {
	if len(text) > 2*maxLong {
		return nil, 0, errEncoding
	}
	dst, err := decodeString(text, encoding)
	return dst, len(dst), err
}

// bytes returns the signature.
func (c *candidate) bytes() []byte {
	if c.long != nil {
		return c.long
	}
	return c.sum[:c.size]
}

// place names where a signature stands, for a person.
func (s *Signature) place(header uint8) string {
	switch {
	case s.Query != "":
		return "query parameter " + s.Query
	case s.Form != "" && len(s.JSON) > 0:
		return "form field " + s.Form + ", or " + s.JSON[header] + " of a JSON body"
	case s.Form != "":
		return "form field " + s.Form
	case len(s.JSON) > 0:
		return s.JSON[header] + " of the body"
	case s.Body:
		return "the body"
	}
	return "header " + s.Header[header]
}

func (c *Check) candidate(i int) *candidate {
	if i < inlineCandidates {
		return &c.inline[i]
	}
	return &c.more[i-inlineCandidates]
}
