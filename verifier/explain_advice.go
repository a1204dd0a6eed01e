package verifier

import (
	"fmt"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// messageAdvice says which options make the scheme sign text, with the timestamp and
// id that were found elsewhere, if any. It advises only what starts, and says what it
// costs.
func (s *search) messageAdvice(text string, at, id found) string {
	scheme := s.c.Scheme
	scheme.Message = StringList{text}
	options := []string{`message "` + strings.ReplaceAll(text, `"`, `\"`) + `"`}
	if at.text != "" {
		scheme.Timestamp = new(Timestamp)
		option := "timestamp header " + at.header
		if scheme.Timestamp.Header = (StringList{at.header}); at.key != "" {
			scheme.Timestamp.Header, scheme.Timestamp.KV = nil, at.key
			option = "timestamp kv " + at.key
		}
		if unit := unitOf(at.text); unit != "" && unit != "s" {
			scheme.Timestamp.Unit = unit
			option += " " + unit
		}
		options = append(options, option)
	}
	if id.text != "" {
		scheme.DeliveryID = &DeliveryID{Header: StringList{id.header}}
		options = append(options, "delivery_id header "+id.header)
	}
	if _, err := Compile(scheme); err == nil {
		return "write: " + strings.Join(options, " and ")
	}
	if _, err := Compile(scheme.With(Scheme{Timestamp: &Timestamp{Off: true}})); err == nil {
		return "let it sign the timestamp too; if it cannot, write: " + strings.Join(append(options, "timestamp off"), " and ") + ": then the age of deliveries is not checked"
	}
	return "correct the sender: a handler with that message does not start, as it proves too little"
}

// messageClause describes a guess of another message.
func (s *search) messageClause(m otherMessage, at, id found) string {
	if m.algorithm != "" {
		return fmt.Sprintf("the sender hashes %s with %s instead of HMAC: write a provider file with algorithm %s and allow_weak", m.text, m.algorithm, m.algorithm)
	}
	return fmt.Sprintf("the sender signs %s, but the scheme says %s: %s", m.text, strings.Join(s.v.scheme.Messages(), " or "), s.messageAdvice(m.text, at, id))
}

// slotClause describes a guess of another slot in the message.
func (s *search) slotClause(from, to template.Slot, message template.Template) string {
	return fmt.Sprintf("the sender signs {%s} where the scheme has {%s}: %s", to.Facts().Name, from.Facts().Name, s.messageAdvice(message.String(), found{}, found{}))
}
