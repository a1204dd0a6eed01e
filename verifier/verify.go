package verifier

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// open checks what the headers alone decide: there is an unambiguous signature, and
// the timestamp is fresh.
func (c *Check) open() *Rejection {
	if c.v.http != nil {
		if rej := c.openHTTP(); rej != nil {
			return rej
		}
	} else if c.v.signatureAt.are(inHeader | inQuery) {
		if rej := c.openSignatures(nil); rej != nil {
			return rej
		}
	}
	if rej := c.openSources(); rej != nil {
		return rej
	}
	if v := c.v; v.scheme.Timestamp != nil && !v.timestampAt.inside() && v.http == nil { // each RFC 9421 signature has its own
		return c.readTimestamp()
	}
	return nil
}

// openSources reads timestamp, id and signed headers. A header on two lines is
// refused: the app might read the other line.
func (c *Check) openSources() *Rejection {
	v := c.v
	timestamp, rej := c.firstHeader(v.timestampAt, MalformedTimestamp)
	if rej != nil {
		return rej
	}
	if timestamp != "" { // otherwise it is beside the signature or in the body
		c.timestamp = timestamp
	}
	if c.id, rej = c.firstHeader(v.idAt, MalformedSignature); rej != nil {
		return rej
	}
	if rej := c.readKeySet(); rej != nil {
		return rej
	}
	if rej := c.readKeyID(inHeader, nil); rej != nil {
		return rej
	}
	if len(v.messages) != 1 {
		return nil // a token, or alternatives: one may lack a header that another signs
	}
	for i := range v.messages[0] {
		p := &v.messages[0][i]
		switch p.Slot {
		case template.Header, template.KV, template.QueryParam:
			if _, rej := c.signedText(p, nil); rej != nil {
				return rej
			}
		case template.SignedHeaders:
			if _, rej := c.signedHeaders(p.Arg); rej != nil {
				return rej
			}
		case template.ID:
			if c.id == "" && v.idAt.are(inHeader) {
				return reject(MissingHeader, "no %s, which is signed", v.idAt)
			}
		}
	}
	return nil
}

// verify decides whether one of the keys signed body.
func (c *Check) verify(body []byte) (Verdict, *Rejection) {
	if c.v.signatureAt.are(inJSON | inForm | inBody) {
		if rej := c.openSignatures(body); rej != nil {
			return Verdict{}, rej
		}
	}
	// Before the signature: a client that does not know the values must not make the
	// gateway fetch a key.
	if rej := c.checkRequired(c.v.requiredJSON, body); rej != nil {
		return Verdict{}, rej
	}
	if rej := c.readKeyID(inJSON, body); rej != nil {
		return Verdict{}, rej
	}
	key, rej := c.match(body)
	if rej != nil {
		return Verdict{}, rej
	}
	if rej := c.boundary(body); rej != nil {
		return Verdict{}, rej
	}
	if rej := c.twins(body); rej != nil {
		return Verdict{}, rej
	}
	if rej := c.checkType(body); rej != nil {
		return Verdict{}, rej
	}
	if rej := c.extension(body); rej != nil {
		return Verdict{}, rej
	}
	if len(c.v.challenges) > 0 && c.isChallenge(body) {
		return Verdict{}, reject(SignatureMismatch, "the signed content looks like a challenge, which anyone can get signed")
	}
	if rej := c.format(body); rej != nil {
		return Verdict{}, rej
	}
	if c.v.signature.Syntax == syntaxJWT {
		if rej := c.checkClaims(body); rej != nil {
			return Verdict{}, rej
		}
	}
	// Only now can a timestamp in the signed content be trusted.
	if c.v.timestampAt.inside() {
		if rej := c.bodyTimestamp(body); rej != nil {
			return Verdict{}, rej
		}
		if rej := c.readTimestamp(); rej != nil {
			return Verdict{}, rej
		}
	}
	return Verdict{Key: key, KeyID: c.keyID, Timestamp: c.time}, nil
}

// match makes one MAC for each key and message, compares it with every candidate of
// the key's algorithm, and returns the label of the first key that matches.
func (c *Check) match(body []byte) (string, *Rejection) {
	if c.v.http != nil {
		return c.matchHTTP(body)
	}
	var (
		label    string
		matched  uint32 // indexes of headers with a match
		unusable *Rejection
		other    bool // a message is for other deliveries
		suits    bool // another is for this one
	)
	want := uint32(1)<<max(1, len(c.v.signatureAt)) - 1
	states := c.statesDigest()
	for i := range c.v.keys {
		k := &c.v.keys[i]
		if !c.offers(k.index) || !c.names(k) {
			continue
		}
		if k.algorithm == Token {
			if c.matchToken(k) {
				return k.label, nil
			}
			continue
		}
		for message, t := range c.v.messages {
			if states && !t.HasArg(template.BodyDigest, c.v.bodyDigest) {
				continue // the URL states that the body is covered by a digest
			}
			if !states && len(c.v.messages) > 1 && t.HasArg(template.BodyDigest, c.v.bodyDigest) {
				continue // no digest in the URL: the other messages determine the reason
			}
			hits, rej := c.matchMessage(k, message, body)
			if hits == 0 && rej == nil && len(c.v.scheme.URLForms) > 0 && t.HasURL() {
				hits = c.matchURLForms(k, message, body)
			}
			if rej == errOtherKind {
				other = true
				continue
			}
			suits = true
			if rej != nil {
				unusable = rej
				continue
			}
			if hits != 0 && label == "" {
				label, c.key, c.message = k.label, k, message
			}
			matched |= hits
			if matched != 0 && (c.v.signature.Match != "all" || matched == want) {
				return label, nil
			}
		}
	}
	if other && !suits {
		unusable = errOtherKind
	}
	if unusable != nil {
		return "", unusable
	}
	return "", c.mismatch()
}

func (c *Check) matchMessage(k *compiledKey, message int, body []byte) (hits uint32, rej *Rejection) {
	switch { // a call through a variable would make c escape
	case c.jws != nil:
		return c.matchJWS(k, c.v.messages[message], body)
	case k.macs != nil:
		return c.matchMAC(k, c.v.messages[message], body)
	}
	return c.matchSignature(k, message, body)
}

// matchURLForms tries the other forms of the URL.
func (c *Check) matchURLForms(k *compiledKey, message int, body []byte) uint32 {
	for _, c.url = range c.urlForms() {
		if hits, rej := c.matchMessage(k, message, body); rej == nil && hits != 0 {
			return hits
		}
	}
	c.url = signedURL{}
	return 0
}

func (c *Check) offers(algorithm uint8) bool {
	for i := range c.count {
		if c.candidate(i).algorithm == algorithm {
			return true
		}
	}
	return false
}

func (c *Check) matchMAC(k *compiledKey, t template.Template, body []byte) (hits uint32, rej *Rejection) {
	m := k.begin()
	defer k.macs.Put(m)
	if m.scratch, rej = c.write(m.w, m.scratch, t, k.secret, body); rej != nil {
		return 0, rej
	}
	k.end(m)
	for i := range c.count {
		cand := c.candidate(i)
		if cand.algorithm == k.index && equal(&cand.sum, &m.sum, int(cand.size)) {
			hits |= 1 << cand.header
		}
	}
	return hits, nil
}

func (c *Check) matchToken(k *compiledKey) (match bool) {
	var want [maxSignature]byte
	copy(want[:], k.token[:])
	for i := range c.count {
		if equal(&c.candidate(i).sum, &want, len(k.token)) {
			match = true
		}
	}
	return match
}

// equal compares two signatures of size bytes, padded with zeros, in constant time:
// subtle.ConstantTimeCompare eight bytes at a time, which is measurable for
// deliveries with several candidates.
func equal(a, b *[maxSignature]byte, size int) bool {
	var different uint64
	for i := 0; i < size && i < maxSignature; i += 8 {
		different |= binary.NativeEndian.Uint64(a[i:]) ^ binary.NativeEndian.Uint64(b[i:])
	}
	return different == 0
}

func (c *Check) matchSignature(k *compiledKey, message int, body []byte) (hits uint32, rej *Rejection) {
	content, rej := c.content(message, body)
	if rej != nil {
		return 0, rej
	}
	public := facts[k.algorithm].public
	var valid uint32 // indexes of candidates
	for i := range c.count {
		cand := c.candidate(i)
		if cand.algorithm != k.index {
			continue
		}
		if twin := c.twin(i); twin < i {
			valid |= valid >> twin & 1 << i
		} else if c.affords(k.public) && public.verify(k.public, content, bytes.Clone(cand.bytes())) { // through an interface the Check itself would escape
			valid |= 1 << i
		}
		if valid>>i&1 == 1 {
			hits |= 1 << cand.header
		}
	}
	return hits, nil
}

// content builds the content that public keys verify, once for all of them: it never
// contains a secret.
func (c *Check) content(message int, body []byte) ([]byte, *Rejection) {
	if c.contents != nil && c.contents[message] != nil && !c.url.other {
		return c.contents[message], nil
	}
	var content bytes.Buffer
	if _, rej := c.write(&content, nil, c.v.messages[message], nil, body); rej != nil {
		return nil, rej
	}
	if c.contents == nil {
		c.contents = make([][]byte, len(c.v.messages))
	}
	signed := c.v.digested(content.Bytes())
	if !c.url.other {
		c.contents[message] = signed
	}
	return signed, nil
}

// digested returns what a private key signs of a message.
func (v *Rules) digested(message []byte) []byte {
	if v.scheme.MessageDigest == "" {
		return message
	}
	sum := sha256.Sum256(message)
	return sum[:]
}
