package verifier

import (
	"bytes"
	"encoding/binary"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// verify decides whether body is what one of the keys signed.
func (c *Check) verify(body []byte) (Verdict, *Rejection) {
	if rej := c.bodySignature(body); rej != nil {
		return Verdict{}, rej
	}
	if rej := c.checkRequiredJSON(body); rej != nil {
		return Verdict{}, rej
	}
	if rej := c.bodyKeyID(body); rej != nil {
		return Verdict{}, rej
	}
	key, rej := c.match(body)
	if rej != nil {
		return Verdict{}, rej
	}
	if len(c.v.challenges) > 0 && c.isChallenge(body) {
		return Verdict{}, reject(SignatureMismatch, "the signed content has the form of a challenge, which anyone can have signed")
	}
	if c.v.signature.Syntax == syntaxJWT {
		if rej := c.checkClaims(body); rej != nil {
			return Verdict{}, rej
		}
	}
	// Only now is a timestamp in the signed content worth reading.
	if c.v.timestamp.inside() {
		if rej := c.bodyTimestamp(body); rej != nil {
			return Verdict{}, rej
		}
		if rej := c.readTimestamp(); rej != nil {
			return Verdict{}, rej
		}
	}
	return Verdict{Key: key, KeyID: c.keyID, Timestamp: c.time}, nil
}

// match makes one MAC for each key and message, compares every candidate of the
// key's algorithm with it, and returns the label of the first key that matches.
func (c *Check) match(body []byte) (string, *Rejection) {
	if c.v.http != nil {
		return c.matchHTTP(body)
	}
	var (
		label    string
		matched  uint32 // headers that hold a match, by index
		unusable *Rejection
	)
	want := uint32(1)<<max(1, len(c.v.signature.Header)) - 1
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
				continue // the URL says that the body is not covered otherwise
			}
			if !states && len(c.v.messages) > 1 && t.HasArg(template.BodyDigest, c.v.bodyDigest) {
				continue // there is none: what another message comes to is the reason
			}
			hits, rej := c.matchMessage(k, message, body)
			if hits == 0 && rej == nil && len(c.v.scheme.URLForms) > 0 && t.HasURL() {
				hits = c.matchURLForms(k, message, body)
			}
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
	if unusable != nil {
		return "", unusable
	}
	return "", c.mismatch()
}

func (c *Check) matchMessage(k *compiledKey, message int, body []byte) (hits uint32, rej *Rejection) {
	switch { // called by name: through a variable c would escape
	case c.jws != nil:
		return c.matchJWS(k, c.v.messages[message], body)
	case k.macs != nil:
		return c.matchMAC(k, c.v.messages[message], body)
	}
	return c.matchSignature(k, message, body)
}

// matchURLForms tries the other URLs that the sender may have signed.
func (c *Check) matchURLForms(k *compiledKey, message int, body []byte) uint32 {
	for _, c.url = range c.urlForms() {
		if hits, rej := c.matchMessage(k, message, body); rej == nil && hits != 0 {
			return hits
		}
	}
	c.url = signedURL{}
	return 0
}

// offers reports whether any candidate was made with an algorithm.
func (c *Check) offers(algorithm uint8) bool {
	for i := range c.count {
		if c.candidate(i).algorithm == algorithm {
			return true
		}
	}
	return false
}

func (c *Check) matchMAC(k *compiledKey, t template.Template, body []byte) (hits uint32, rej *Rejection) {
	m := k.macs.Get().(*mac)
	defer k.macs.Put(m)
	m.Reset()
	if m.scratch, rej = c.write(m.w, m.scratch, t, k.secret, body); rej != nil {
		return 0, rej
	}
	m.Sum(m.sum[:0])
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

// equal compares two signatures of size bytes, padded with zeros, in constant
// time: as subtle.ConstantTimeCompare, but eight bytes at a step, which
// deliveries with several candidates feel.
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
	for i := range c.count {
		cand := c.candidate(i)
		if cand.algorithm != k.index {
			continue
		}
		signature := bytes.Clone(cand.bytes()) // through an interface the Check itself would escape
		if public.verify(k.public, content, signature) {
			hits |= 1 << cand.header
		}
	}
	return hits, nil
}

// content builds what public keys verify a signature of, once for all of them: no
// message of theirs holds a secret.
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
	if !c.url.other {
		c.contents[message] = content.Bytes()
	}
	return content.Bytes(), nil
}

// bodySignature reads a signature that stands in the body.
func (c *Check) bodySignature(body []byte) *Rejection {
	s := &c.v.signature
	if s.Body {
		if len(body) == 0 {
			return reject(MissingSignature, "no %s", s.place(0))
		}
		if rej := c.addAll(0, string(body)); rej != nil {
			return rej
		}
		return c.readable()
	}
	if len(c.v.signaturePaths) == 0 {
		return nil // it stands elsewhere
	}
	present := false
	for i, path := range c.v.signaturePaths {
		text, err := c.bodyText(s.Form, path, body)
		if noValue(err) || err == nil && text == "" {
			continue
		}
		if err != nil {
			return reject(MalformedSignature, "%s: %v", s.place(uint8(i)), err)
		}
		present = true
		if rej := c.addAll(uint8(i), text); rej != nil {
			return rej
		}
		if c.readsForm(s.Form, path, body) {
			break // one field, whatever paths a JSON body has
		}
	}
	if !present {
		return reject(MissingSignature, "no %s", s.place(0))
	}
	return c.readable()
}

// readsForm reports which of two sources the body has: the field of a form, or a
// path in JSON. Where a scheme has both, Content-Type decides, as it does for the
// app; where the body is signed, the body, since that header is not.
func (c *Check) readsForm(field string, path jsonpath.Path, body []byte) bool {
	switch {
	case field == "" || path == nil:
		return field != ""
	case c.v.coversBody():
		text := bytes.TrimLeft(body, " \t\r\n")
		return len(text) == 0 || text[0] != '{' && text[0] != '['
	}
	return formdata.Is(c.contentType())
}

// bodyText reads a text of the body from a field or a path.
func (c *Check) bodyText(field string, path jsonpath.Path, body []byte) (string, error) {
	switch {
	case !c.readsForm(field, path, body):
		return c.lookup(path, body)
	case c.v.coversBody():
		return formdata.ValueIn(body, field) // which kind of form it is says the signed body, not an unsigned header
	}
	return c.formValue(body, field)
}

// bodyTimestamp fills in a timestamp that stands in the body.
func (c *Check) bodyTimestamp(body []byte) *Rejection {
	switch {
	case c.timestamp != "":
		return nil
	case c.v.timestamp.Claim != "":
		return c.claimTimestamp()
	case c.v.timestamp.JSON == "" && c.v.timestamp.Form == "":
		return nil
	}
	text, err := c.bodyText(c.v.timestamp.Form, c.v.timestampPath, body)
	switch {
	case noValue(err) && c.v.timestamp.Optional:
		return nil
	case noValue(err):
		return reject(MissingTimestamp, "no %s", c.v.timestamp.source())
	case err != nil:
		return reject(MalformedTimestamp, "%s: %v", c.v.timestamp.source(), err)
	}
	c.timestamp = text
	return nil
}

// DeliveryID returns the id of the delivery, "" if it has none, and whether the
// signature covers it: an id that it does not cover can be chosen by whoever
// replays a captured body. Call it after Verify has accepted the same body.
//
// An id in the body that cannot be read one way (no JSON, a member twice, not a
// scalar) is no id.
func (c *Check) DeliveryID(body []byte) (id string, signed bool) {
	if c.v.id.Off {
		return "", false
	}
	id = c.deliveryID(body)
	return id, id != "" && c.v.idSigned
}

func (c *Check) deliveryID(body []byte) string {
	switch {
	case c.v.id.Claim != "":
		id, err := jsonpath.Top(c.v.id.Claim).Lookup(c.jws.claims)
		if err != nil {
			return ""
		}
		return id
	case c.v.id.JSON != "" || c.v.id.Form != "":
		id, err := c.bodyText(c.v.id.Form, c.v.idPath, body)
		if err != nil {
			return ""
		}
		return id
	}
	return c.id
}
