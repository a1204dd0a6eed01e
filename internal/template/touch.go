package template

import "slices"

// A BodyForm is what a body must be to be read at all.
type BodyForm uint8

// The forms of a body.
const (
	AnyBody  BodyForm = iota
	Opened            // begins like JSON or XML
	JSONBody          // is an object or array
)

// Touching returns two parts of t that nothing separates, so that a byte can move from
// one to the other without a change of the message; nil if there are none. settled tells
// of a part that the rest of the scheme allows one text, or as good as one.
func (t Template) Touching(body BodyForm, settled func(*Part) bool) (first, second *Part) {
	covers := t.CoversBody()
	for i := range t {
		p := &t[i]
		switch {
		case p.Slot == Timestamp && p.guard.chosen != byAnyone, p.Slot != Body && p.Slot.Facts().Inside && covers, settled(p):
			// Of a fixed length, or settled by the body: what is before and after can shift.
		case p.Slot == BodyDigest, p.Slot == JSONIs: // empty
		case !p.varies():
			first = nil
		case first != nil && t.canShift(first, p, body):
			return first, p
		default:
			first = p
		}
	}
	return nil, nil
}

// varies reports whether an attacker may choose the text and its length: not of a digest,
// nor of a string in quotation marks. The route settles what is called, but for the query.
func (p *Part) varies() bool {
	f := p.Slot.Facts()
	return (p.Slot == Body || p.Slot == Timestamp || p.Slot == Query || p.Slot == QuerySorted || f.Joined || f.chosen == byAnyone) &&
		!slices.ContainsFunc(p.Filters, func(f Filter) bool { return f.kind == filterDigest || f.kind == filterQuoted })
}

// canShift reports whether bytes can move between two parts without text in between. The
// guards keep the beginnings of JSON and XML out of a text beside the body, and its ends.
func (t Template) canShift(first, second *Part, body BodyForm) bool {
	switch {
	case first.Slot == Body && second.Slot == Body, second.Slot == URLFormSorted: // which begins with the origin
		return false
	case first.Slot == Body || second.Slot == Body:
		return body != JSONBody && !(second.IsBody() && (body == Opened || t.RunsInto(Body)))
	}
	return true
}
