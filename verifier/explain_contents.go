package verifier

import (
	"bytes"
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// Contents are what a signature covers: as the scheme reads the delivery that arrived,
// and as its sender signed it. Where a message has only a digest of a body that was
// altered, they are the bodies.
//
// They hold what the sender wrote, so they are for its receiver's eyes alone. The
// receiver's secret, where a message has it, is written as [Redacted].
type Contents struct {
	Expected []byte // nil if no message can be read from the delivery
	Signed   []byte // nil if it is not known what the sender signed
}

// contents returns what was and what should have been signed. It returns nil if the
// signature itself states its content, if there is none but a token, and if one of the
// contents holds a secret.
func (s *search) contents() *Contents {
	if s.v.statesMessage() || len(s.asked.messages) == 0 {
		return nil
	}
	c, whole := new(Contents), false
	for _, m := range s.asked.messages {
		if text, ok := s.asked.content(m.template); ok {
			c.Expected, whole = text, m.template.HasBody()
			break
		}
	}
	if s.found != nil {
		text, ok := s.found.content(s.foundMessage)
		if c.Signed = text; ok && !whole && !s.foundMessage.HasBody() && !bytes.Equal(s.found.body, s.c.Body) {
			c.Expected, c.Signed = s.c.Body, s.found.body
		}
	}
	for _, text := range [][]byte{c.Expected, c.Signed} {
		text = bytes.ToLower(text)
		if slices.ContainsFunc(s.hidden, func(hidden string) bool { return bytes.Contains(text, []byte(hidden)) }) {
			return nil
		}
	}
	return c
}

// content returns the signed content of a message, without the secret. It is never nil
// if ok.
func (g *signing) content(t template.Template) (text []byte, ok bool) {
	out := bytes.NewBuffer([]byte{})
	c := g.check
	if _, rej := c.write(out, nil, t, []byte(Redacted), g.body); rej != nil {
		return nil, false
	}
	return out.Bytes(), true
}
