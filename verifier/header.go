package verifier

import (
	"slices"
	"strings"
)

// maxCandidates bounds the signatures that one delivery may offer, over all its
// headers: rotation needs two or three, an attacker would like a thousand.
const maxCandidates = 32

// inlineCandidates is how many a Check holds without allocating.
const inlineCandidates = 4

// maxSignature is the longest signature in bytes: HMAC-SHA512, Ed25519.
const maxSignature = 64

// candidate is one decoded signature of a delivery.
type candidate struct {
	sum       [maxSignature]byte
	size      uint8
	header    uint8 // index of the header it came from
	algorithm uint8 // index into the verifier's algorithms
}

// addAll reads the candidates of one header's value.
func (c *Check) addAll(header uint8, value string) *Rejection {
	s := &c.v.signature
	switch s.Syntax {
	case "kv", "positional":
		return c.addPairs(header, value)
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
	text, ok := strings.CutPrefix(value, c.v.prefix)
	if !ok && !s.PrefixOptional {
		c.malformed = reject(MalformedSignature, "header %s does not begin with the scheme's prefix %q", s.Header[header], s.Prefix)
		return nil
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
	position, timed := 0, false
	for pair := range strings.SplitSeq(value, s.PairSeparator) {
		name, text, ok := "", strings.TrimSpace(pair), true
		if s.Syntax == "kv" {
			name, text, ok = strings.Cut(text, "=")
		} else if position < len(s.Names) {
			name = s.Names[position]
		} else {
			return reject(MalformedSignature, "header %s has more than its %d parts", s.Header[header], len(s.Names))
		}
		position++
		if !ok {
			return reject(MalformedSignature, "header %s has a part without =", s.Header[header])
		}
		if slices.Contains(s.Key, name) {
			if rej := c.add(header, 0, text); rej != nil {
				return rej
			}
		} else if name == c.v.timestampKV && name != "" {
			if timed {
				return reject(MalformedTimestamp, "key %s stands twice in header %s", name, s.Header[header])
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
	s := &c.v.signature
	size := c.v.algorithms[algorithm].size()
	cand := candidate{size: uint8(size), header: header, algorithm: algorithm}
	var buf [2 * maxSignature]byte // hex is the longest way to write it
	n, err := 0, errEncoding
	if len(text) <= len(buf) {
		n, err = decode(cand.sum[:], buf[:copy(buf[:], text)], s.Encoding)
	}
	if err != nil || n != size {
		c.malformed = reject(MalformedSignature, "header %s: a signature of %s is %d bytes in %s, got %d characters",
			s.Header[header], c.v.algorithms[algorithm], size, s.Encoding, len(text))
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

func (c *Check) candidate(i int) *candidate {
	if i < inlineCandidates {
		return &c.inline[i]
	}
	return &c.more[i-inlineCandidates]
}
