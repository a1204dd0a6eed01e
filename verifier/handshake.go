package verifier

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
)

// An Answer is the response to a handshake. Its texts cannot break out of their
// header or content type.
type Answer struct {
	Status      int               `json:"status"`
	ContentType string            `json:"content_type,omitempty"` // "": there is no body
	Header      map[string]string `json:"header,omitempty"`
	Body        string            `json:"body,omitempty"`
	// An address of the sender to request before answering: see HandshakeVisit.
	Visit string `json:"visit,omitempty"`
}

// A stage is a point in a request's processing at which handshakes are recognised.
type stage uint8

const (
	byHeaders stage = iota // unsigned, recognised by headers alone
	byBody                 // unsigned, recognised by the body
	verified               // signed, or any of the earlier stages with a valid signature
)

// handshake is a compiled Handshake.
type handshake struct {
	stage   stage
	signed  string // allowed states of its signature: see HandshakeWhen
	methods []string
	when    []condition
	require []required
	inputs  []input
	visit   *visit

	status      int
	contentType string
	header      map[string]answerText
	body        answerText
}

type condition struct {
	source
	any    bool
	values []string
}

// input is a text of the request that the answer repeats or signs.
type input struct {
	source
	pattern *regexp.Regexp // nil: any visible characters
}

// answerText is an answer's template, split into literals and slots.
type answerText []answerPart

type answerPart struct {
	literal string
	input   int    // index of the handshake's input
	hmac    string // encoding; "": the input itself
}

const (
	// The values of a rule's when.signature.
	noSignature  = "absent"
	anySignature = "any"

	// maxEcho limits the texts that an answer repeats. The longest challenge of a
	// known sender has about 128 characters.
	maxEcho = 512
	// maxHandshakeBody limits the bodies searched for a handshake, to keep deliveries
	// fast.
	maxHandshakeBody = 16 << 10
)

// Greets reports whether headers alone show that the request is an unsigned
// handshake, answered or not. Such a request may have a method that no delivery has.
func (v *Verifier) Greets(req *Request) bool {
	c := Check{v: v, req: req}
	return slices.ContainsFunc(v.handshakes, func(h handshake) bool { return h.stage == byHeaders && c.is(&h, nil) })
}

// mayBeHandshake reports whether a request refused with rej may still be an unsigned
// handshake, which the body decides.
func (c *Check) mayBeHandshake(rej *Rejection) bool {
	return slices.ContainsFunc(c.v.handshakes, func(h handshake) bool {
		return h.stage == byBody && h.unsigned(rej) && slices.Contains(h.methods, c.req.Method) &&
			!slices.ContainsFunc(h.when, func(cond condition) bool { return !cond.inBody() && !c.holds(&cond, nil) })
	})
}

// unsigned reports whether the handshake may be what was refused with rej.
func (h *handshake) unsigned(rej *Rejection) bool {
	return rej.Reason == MissingSignature || rej.Reason == SignatureMismatch && h.signed == anySignature
}

// answerHandshake answers the first handshake that matches at a stage. Both results
// are nil if none does. At byBody the request has already been refused.
func (c *Check) answerHandshake(at stage, body []byte, refused *Rejection) (*Answer, *Rejection) {
	for i := range c.v.handshakes {
		h := &c.v.handshakes[i]
		if (h.stage == byHeaders) != (at == byHeaders) || h.stage > at ||
			at == verified && h.signed != "" || at == byBody && !h.unsigned(refused) || !c.is(h, body) {
			continue
		}
		return c.answer(h, body)
	}
	return nil, nil
}

func (c *Check) is(h *handshake, body []byte) bool {
	return slices.Contains(h.methods, c.req.Method) &&
		!slices.ContainsFunc(h.when, func(cond condition) bool { return !c.holds(&cond, body) })
}

// holds reports whether a condition is met. The values of "when" are not secret.
func (c *Check) holds(cond *condition, body []byte) bool {
	if cond.inBody() && len(body) > maxHandshakeBody {
		return false
	}
	if cond.kind == inJSON {
		// Skip the parser for most deliveries, which do not contain the word.
		if !cond.any && !slices.ContainsFunc(cond.values, func(v string) bool { return bytes.Contains(body, []byte(v)) }) {
			return false
		}
	}
	text, ok := c.textAt(&cond.source, body)
	return ok && (cond.any || slices.Contains(cond.values, text))
}

// textAt reads a source that appears exactly once and is not empty.
func (c *Check) textAt(s *source, body []byte) (text string, ok bool) {
	var err error
	switch {
	case s.kind != inForm:
		text, err = c.read(s, body)
	case formdata.Is(c.contentType()): // nothing else identifies the content of an unsigned body
		text, err = formdata.ValueAs(c.contentType(), body, s.name)
	}
	return text, err == nil && text != ""
}

func (c *Check) answer(h *handshake, body []byte) (*Answer, *Rejection) {
	for i := range h.require {
		r := &h.require[i]
		if text, ok := c.textAt(&r.source, body); !ok || !r.allows(text) {
			return nil, reject(HandshakeMismatch, "%s does not have the required value", r.source)
		}
	}
	texts := make([]string, len(h.inputs))
	for i := range h.inputs {
		in := &h.inputs[i]
		text, ok := c.textAt(&in.source, body)
		if !ok || !in.allows(text) {
			return nil, reject(HandshakeMismatch, "%s is missing or does not look like a challenge of this sender", in.source)
		}
		texts[i] = text
	}
	answer := &Answer{Status: h.status, ContentType: h.contentType}
	var rej *Rejection
	if answer.Visit, rej = c.addressToVisit(h, body); rej != nil {
		return nil, rej
	}
	for name, text := range h.header {
		value, rej := c.fill(text, texts)
		if rej != nil {
			return nil, rej
		}
		if answer.Header == nil {
			answer.Header = make(map[string]string)
		}
		answer.Header[name] = value
	}
	if answer.Body, rej = c.fill(h.body, texts); rej != nil {
		return nil, rej
	}
	return answer, nil
}

// allows reports whether a text may be repeated to an unauthenticated client: nothing
// that a browser could read as markup or script, that could end a header, or that
// could end a JSON string.
func (in *input) allows(text string) bool {
	if len(text) > maxEcho || strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' || r > '~' || strings.ContainsRune(`<>"'&\`, r)
	}) {
		return false
	}
	if in.pattern == nil {
		return strings.IndexByte(text, ' ') < 0
	}
	return in.pattern.MatchString(text)
}

func (c *Check) fill(t answerText, texts []string) (string, *Rejection) {
	var b strings.Builder
	for _, p := range t {
		switch {
		case p.literal != "":
			b.WriteString(p.literal)
		case p.hmac != "":
			sum := c.hmac(texts[p.input])
			if sum == nil {
				return "", reject(HandshakeMismatch, "the answer needs a shared secret, but there is only a public key")
			}
			b.WriteString(encode(sum, p.hmac))
		default:
			b.WriteString(texts[p.input])
		}
	}
	return b.String(), nil
}

// hmac signs with the key that verified the request, or with the first.
func (c *Check) hmac(text string) []byte {
	k := c.key
	for i := range c.v.keys {
		if k == nil && c.v.keys[i].macs != nil {
			k = &c.v.keys[i]
		}
	}
	if k == nil || k.macs == nil {
		return nil
	}
	m := k.begin()
	defer k.macs.Put(m)
	m.hash.Write([]byte(text))
	return bytes.Clone(k.end(m))
}

// isChallenge reports whether the signed content could be a challenge of an unsigned
// handshake that is answered with an HMAC: anyone can then make the gateway produce
// that signature, so it proves nothing.
func (c *Check) isChallenge(body []byte) bool {
	for _, t := range c.v.messages {
		var content head
		if _, rej := c.write(&content, nil, t, nil, body); rej != nil {
			continue // it is not signed
		}
		if len(content) <= maxEcho && slices.ContainsFunc(c.v.challenges, func(in input) bool { return in.allows(string(content)) }) {
			return true
		}
	}
	return false
}

// IsOracleFor reports whether anyone can have texts signed by an unsigned handshake of
// v in a way that verifies deliveries of the other: the two share a secret and its
// algorithm, and the other does not refuse those texts itself.
func (v *Verifier) IsOracleFor(other *Verifier) bool {
	return v.MayBeOracleFor(other) && slices.ContainsFunc(v.keys, func(a compiledKey) bool {
		return a.macs != nil && slices.ContainsFunc(other.keys, func(b compiledKey) bool {
			return b.macs != nil && a.algorithm == b.algorithm && bytes.Equal(hmacKey(a.secret), hmacKey(b.secret))
		})
	})
}

// MayBeOracleFor reports whether v would be an oracle for the other with the same keys.
func (v *Verifier) MayBeOracleFor(other *Verifier) bool {
	return slices.ContainsFunc(v.challenges, func(in input) bool { return !other.refusesChallenge(in) })
}

// refusesChallenge reports whether isChallenge knows challenges of that form.
func (v *Rules) refusesChallenge(in input) bool {
	return slices.ContainsFunc(v.challenges, func(own input) bool { return own.pattern.String() == in.pattern.String() })
}

// head keeps the first bytes written to it, enough to see that a text is too long for
// a challenge.
type head []byte

func (h *head) Write(p []byte) (int, error) {
	*h = append(*h, p[:min(len(p), max(0, maxEcho+1-len(*h)))]...)
	return len(p), nil
}

func (s source) inBody() bool { return s.kind == inJSON || s.kind == inForm }

// deliveryMethods are those with which an unsigned handshake must carry a mark of its
// own, so that it does not swallow deliveries.
var deliveryMethods = []string{"POST", "PUT", "PATCH"}

// visit is a compiled HandshakeVisit.
type visit struct {
	source
	hosts []string
}

func (h *handshake) compileVisit(rule *Handshake) error {
	if rule.Visit == nil {
		return nil
	}
	if !rule.Signed {
		return errors.New("visit: requires signed: otherwise anyone could make the gateway visit an address")
	}
	p, err := newSource(inJSON, rule.Visit.JSON)
	if err != nil {
		return fmt.Errorf("visit: %w", err)
	}
	if len(rule.Visit.Hosts) == 0 {
		return errors.New("visit: hosts: missing: name the sender's hosts")
	}
	if problem := checkHosts(rule.Visit.Hosts); problem != "" {
		return fmt.Errorf("visit: hosts: %s", problem)
	}
	h.visit = &visit{source: p, hosts: rule.Visit.Hosts}
	return nil
}

// addressToVisit returns the address that a handshake must visit, or "".
func (c *Check) addressToVisit(h *handshake, body []byte) (string, *Rejection) {
	if h.visit == nil {
		return "", nil
	}
	address, ok := c.textAt(&h.visit.source, body)
	u, err := url.Parse(address)
	if !ok || err != nil || !fetchable(address) || u.Path != "/" || !onHosts(h.visit.hosts, u.Host) {
		return "", reject(HandshakeMismatch, "%s is not an address on the sender's hosts", h.visit.source)
	}
	return address, nil
}
