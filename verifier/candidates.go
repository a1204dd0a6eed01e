package verifier

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
)

// maxCandidates limits the signatures of one delivery over all its headers. Rotation
// needs two or three; the limit bounds an attacker's work.
const maxCandidates = 32

// maxPublic limits the candidates checked with a public key: each check hashes the
// content again (Ed25519 hashes the signature first) and multiplies on a curve,
// whereas one HMAC serves all candidates.
const maxPublic = 8

// inlineCandidates is the number that a Check holds without allocating.
const inlineCandidates = 4

// maxSignature is the longest signature in bytes kept without allocating
// (HMAC-SHA512, Ed25519). maxLong is the longest accepted: RSA with 8192 bits.
const (
	maxSignature = 64
	maxLong      = 1024
)

// Limits of the list of signed headers in a delivery.
const (
	maxListed     = 32
	maxHeaderName = 128
)

// candidate is one decoded signature of a delivery.
type candidate struct {
	sum       [maxSignature]byte
	long      []byte // used if the size varies or exceeds sum
	size      uint8
	header    uint8 // index of the header it came from
	algorithm uint8 // index into the verifier's algorithms
}

// openSignatures reads the candidates in headers and query, or, given the body, in
// the body.
func (c *Check) openSignatures(body []byte) *Rejection {
	s, all := &c.v.signature, c.v.signatureAt
	present := false
	for i := range all {
		if lines := c.req.Header[all[i].name]; s.Lines == "any" && len(lines) > 1 {
			for _, line := range lines {
				if rej := c.addAll(uint8(i), line); rej != nil {
					return rej
				}
			}
		} else {
			text, err := c.read(&all[i], body)
			if err == nil && text == "" {
				err = errAbsent
			}
			switch {
			case absent(err) && s.Match != "all":
				continue
			case err != nil:
				return all[i].refused(err, MissingSignature, MalformedSignature, "")
			}
			if rej := c.addAll(uint8(i), text); rej != nil {
				return rej
			}
		}
		present = true
		if s.Match == "first_present" || all[i].form != "" && c.postsForm(body) { // one field, however many paths a JSON body has
			break
		}
	}
	switch {
	case !present:
		return reject(MissingSignature, "no %s", all)
	case c.count > 0:
		return nil
	case c.malformed != nil:
		return c.malformed
	}
	return reject(MalformedSignature, "%s holds no signature that the scheme accepts", all)
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
		c.malformed = reject(MalformedSignature, "%s does not begin with the scheme's prefix %q", c.v.signatureAt[header], s.Prefix)
		return nil
	}
	if s.isJWS() {
		return c.addJWS(header, text)
	}
	return c.add(header, 0, text)
}

// addLabelled adds an item whose version, algorithm name or key id is accepted.
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
	s, timeKey := &c.v.signature, c.v.timestampAt.key()
	position, timed, signing := 0, false, false
	for pair := range strings.SplitSeq(value, s.PairSeparator) {
		if s.Syntax == "positional" && position == len(s.Names) {
			return reject(MalformedSignature, "%s has more than its %d parts", c.v.signatureAt[header], len(s.Names))
		}
		name, text, ok := s.cutPair(pair, position)
		position++
		if !ok {
			if !signing || name == "" {
				return reject(MalformedSignature, "%s has a part without =", c.v.signatureAt[header])
			}
			// Another value of the previous key: v0=5257a8…,88a022… (rotation).
			if rej := c.add(header, 0, name); rej != nil {
				return rej
			}
			continue
		}
		if signing = slices.Contains(s.Key, name); signing {
			if rej := c.add(header, 0, text); rej != nil {
				return rej
			}
		} else if name == timeKey && name != "" {
			if timed {
				return reject(MalformedTimestamp, "key %s appears twice in %s", name, c.v.signatureAt[header])
			}
			if c.timestamp != "" && c.timestamp != text {
				return reject(MalformedTimestamp, "key %s differs between the signature headers", name)
			}
			c.timestamp, timed = text, true
		}
	}
	return nil
}

// add decodes one candidate. A malformed one matches nothing; the delivery is refused
// for it only if no other candidate is well-formed (see openSignatures).
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
		var buf [3 * maxSignature]byte // base64 of hex is the longest encoding
		if len(text) <= len(buf) {
			n, err = decode(cand.sum[:], buf[:copy(buf[:], text)], s.Encoding)
		}
	}
	if err != nil || n != size || n == 0 {
		c.malformed = reject(MalformedSignature, "%s: %d characters are not a signature of %s in %s",
			c.v.signatureAt[header], len(text), c.v.algorithms[algorithm], s.Encoding)
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

func (c *candidate) bytes() []byte {
	if c.long != nil {
		return c.long
	}
	return c.sum[:c.size]
}

func (c *Check) candidate(i int) *candidate {
	if i < inlineCandidates {
		return &c.inline[i]
	}
	return &c.more[i-inlineCandidates]
}

// cutGroup cuts the first set of pairs off a kv value. An iterator would make the
// Check escape.
func (s *Signature) cutGroup(value string) (group, rest string, more bool) {
	if s.GroupSeparator == "" {
		return value, "", false
	}
	return strings.Cut(value, s.GroupSeparator)
}

// cutPair reads a pair of a kv value, or the part of a positional one if its position
// has a name.
func (s *Signature) cutPair(pair string, position int) (name, text string, ok bool) {
	text = strings.TrimSpace(pair)
	if s.Syntax == "positional" {
		return s.Names[position], text, true
	}
	name, text, ok = strings.Cut(text, "=")
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	return name, text, ok
}

// pairText returns the one value of a key beside the signatures. addPairs has already
// validated the headers.
func (c *Check) pairText(key string) (text string, err error) {
	s := &c.v.signature
	seen := false
	for _, header := range s.Header {
		for _, line := range c.req.Header[header] {
			for rest, more := line, true; more; {
				var group string
				group, rest, more = s.cutGroup(rest)
				value, found := s.valueOf(group, key)
				if found > 1 || found == 1 && seen && value != text {
					return "", errors.New("it has two values")
				}
				if found == 1 {
					text, seen = value, true
				}
			}
		}
		if seen && s.Match == "first_present" {
			break
		}
	}
	if !seen {
		return "", errAbsent
	}
	return text, nil
}

// valueOf returns the value of a key in a set of pairs, and how often the key
// appears.
func (s *Signature) valueOf(group, key string) (value string, found int) {
	position := 0
	for pair := range strings.SplitSeq(group, s.PairSeparator) {
		if s.Syntax == "positional" && position == len(s.Names) {
			break
		}
		name, text, ok := s.cutPair(pair, position)
		position++
		if ok && name == key {
			value, found = text, found+1
		}
	}
	return value, found
}
