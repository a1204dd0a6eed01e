package providerpage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/known"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// copyFacts say how the handler recognises copies of a delivery, and which copies of a
// captured one it keeps from the app.
type copyFacts struct {
	// RecognisedBy is what makes two deliveries copies: id, id+body, body or none.
	RecognisedBy string `json:"recognised_by"`
	// Replay is what dedupe keeps from the app of a captured delivery that is sent again:
	// all (every copy), exact (a copy without changes) or none.
	Replay string `json:"replay"`
	// RememberedSeconds is how long, by default; 0: not at all.
	RememberedSeconds int64 `json:"remembered_seconds"`
}

func copyFactsOf(p *providers.Provider) copyFacts {
	none := copyFacts{RecognisedBy: "none", Replay: "none"}
	rules, err := p.Rules()
	if err != nil {
		return none // the provider was not made by Parse
	}
	facts := known.Facts(p, rules, p.Methods)
	rule := dedupe.IdentityOf(facts)
	if rule.Off() {
		return none
	}
	usual, _ := known.Windows(p, rules, rule)
	said := copyFacts{RecognisedBy: "id", Replay: "none", RememberedSeconds: int64(usual / time.Second)}
	switch rule.ID {
	case dedupe.NoID:
		said.RecognisedBy = "body"
	case dedupe.IDWithBody:
		said.RecognisedBy = "id+body"
	}
	switch rule.Keeps(facts) {
	case dedupe.AllCopies:
		said.Replay = "all"
	case dedupe.ExactCopies:
		said.Replay = "exact"
	}
	return said
}

// copies describes how the handler recognises copies of a delivery, and what
// that means for a captured delivery that is sent again.
func copies(p *providers.Provider) []string {
	rules, err := p.Rules()
	if err != nil {
		return nil // the provider was not made by Parse
	}
	facts := known.Facts(p, rules, p.Methods)
	rule := dedupe.IdentityOf(facts)
	if rule.Off() {
		byBody, _ := known.Windows(p, rules, dedupe.Identity{Content: true})
		return []string{"Copies cannot be recognised, so every copy is forwarded. If two events never share a body, configure `dedupe { key content }`: a body is then remembered for " + span(verifier.Duration(byBody)) + ".", replay(p, facts, rule, 0)}
	}
	said := identity(p, rules, facts, rule)
	usual, unnamed := known.Windows(p, rules, rule)
	said += fmt.Sprintf(" A delivery that the app accepted is remembered for %s by default.", span(verifier.Duration(usual)))
	if rule.ID != dedupe.NoID && rule.Content {
		said += fmt.Sprintf(" One without an id is recognised by its body for %s.", span(verifier.Duration(unnamed)))
	}
	return []string{said, replay(p, facts, rule, usual) + withoutID(p, rules, rule)}
}

func identity(p *providers.Provider, rules *verifier.Rules, facts dedupe.Facts, rule dedupe.Identity) string {
	body := "the body"
	if facts.EventUnsigned {
		body += " and " + eventPlace(p)
	}
	said := ""
	switch {
	case rule.ID == dedupe.IDAlone && facts.EventUnsigned:
		said = "The id in " + idPlace(p.Scheme.DeliveryID) + ", which is signed and new for each event, together with " + eventPlace(p) + ", because the signature does not cover " + decided(p) + "."
	case rule.ID == dedupe.IDAlone:
		said = "The id in " + idPlace(p.Scheme.DeliveryID) + ", which is signed and new for each event."
	case rule.ID == dedupe.IDWithBody && !facts.IDSigned:
		said = "The id in " + idPlace(p.Scheme.DeliveryID) + " together with " + body + ", because the signature does not cover the id."
	case rule.ID == dedupe.IDWithBody && !facts.BodySigned:
		said = "The id in " + idPlace(p.Scheme.DeliveryID) + " together with " + body + ", because the signature does not cover parts of the body."
	case rule.ID == dedupe.IDWithBody:
		said = "The id in " + idPlace(p.Scheme.DeliveryID) + " together with " + body + ", because the id may not be new for each event."
	case facts.HasID:
		said = "The body: two events never share one. The id in " + idPlace(p.Scheme.DeliveryID) + " does not count, because the signature does not cover it."
	default:
		said = "The body: two events never share one."
		if facts.EventUnsigned {
			said = "The body together with " + eventPlace(p) + ": two events never share both."
		}
	}
	if facts.MethodUnsigned {
		said += " The method counts too, because the signature does not cover it; with one method (`methods POST`) it does not."
	}
	if rules.SignsMethod() && len(p.Methods) > 1 && rule.ID != dedupe.IDAlone {
		said += " The method, which is signed, counts too."
	}
	if varies := p.Scheme.Varies; len(varies) > 0 && rule.ID != dedupe.IDAlone {
		said += " What may vary between attempts does not count: `" + strings.Join(varies, "`, `") + "`."
	}
	return said
}

// decided is what the headers of eventPlace say.
func decided(p *providers.Provider) string {
	switch {
	case len(p.OriginHeader) == 0:
		return "the event type"
	case len(p.EventHeader) == 0:
		return "where it is from"
	}
	return "the event type and where it is from"
}

func eventPlace(p *providers.Provider) string {
	names := p.DecidingHeaders()
	if len(names) == 1 {
		return "the header `" + names[0] + "`"
	}
	last := len(names) - 1
	return "the headers `" + strings.Join(names[:last], "`, `") + "` and `" + names[last] + "`"
}

// withoutID describes how copies are handled if a delivery lacks the id or
// body that they are recognised by.
func withoutID(p *providers.Provider, rules *verifier.Rules, rule dedupe.Identity) string {
	switch {
	case rule.ID == dedupe.NoID && !rules.SignsQuery():
		return " A delivery without a body is forwarded each time."
	case rule.ID == dedupe.NoID || rule.Content || needsID(p):
		return ""
	}
	return " A delivery without the id in " + idPlace(p.Scheme.DeliveryID) + " is forwarded each time."
}

// needsID reports whether every signed message includes the id.
func needsID(p *providers.Provider) bool {
	id, messages := p.Scheme.DeliveryID, p.Scheme.Messages()
	return len(messages) > 0 && !slices.ContainsFunc(messages, func(text string) bool {
		t, err := template.Parse(text)
		return err != nil || !slices.ContainsFunc(t, func(part template.Part) bool {
			return part.Slot == template.ID || slices.Contains(part.Members, jsonpath.Member{Name: id.JSON}) || part.Slot == template.Header && len(id.Header) == 1 && strings.EqualFold(part.Arg, id.Header[0])
		})
	})
}

// replay describes which copies of a captured delivery dedupe keeps from the app.
func replay(p *providers.Provider, facts dedupe.Facts, rule dedupe.Identity, remembered time.Duration) string {
	window := span(verifier.Duration(remembered))
	switch rule.Keeps(facts) {
	case dedupe.AllCopies:
		said := "Replay: no copy of a captured delivery reaches the app for " + window + "."
		if ts := p.Scheme.Timestamp; ts == nil || ts.Off {
			said += " Later copies are forwarded."
		}
		return said
	case dedupe.ExactCopies:
		var open []string
		if rule.ID != dedupe.NoID && !facts.IDSigned {
			open = append(open, idPlace(p.Scheme.DeliveryID))
		}
		if facts.EventUnsigned {
			open = append(open, eventPlace(p))
		}
		if facts.MethodUnsigned {
			open = append(open, "the method")
		}
		switch {
		case rule.ID == dedupe.IDAlone || facts.BodySigned:
		case facts.IDSigned:
			open = append(open, "parts of the body")
		default:
			open = append(open, "all of the body")
		}
		return "Replay: exact copies of a captured delivery do not reach the app for " + window + ". The signature does not cover " + strings.Join(open, " and ") + ": a copy with another value there is forwarded. To restrict who can send one, use `require_header` or `remote_ip`: see docs/dedupe.md."
	}
	return "Replay: copies of a captured delivery reach the app."
}
