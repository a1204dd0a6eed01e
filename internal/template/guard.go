package template

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

// guard says what the text of a slot must not contain, so that there is one way to
// split the message. The zero guard allows everything: the text marks its own end.
type guard struct {
	chosen chosen
	// The first byte of the next literal, if no body is in between. It ends the text
	// where it first appears.
	end byte
	// The last byte of the previous literal, if a body precedes that. The text begins
	// after its last appearance.
	start byte
	// A body is on a side without a literal.
	loose bool
	// The required length, of the start or of all, for texts of a fixed form.
	length int
	// A query; another message has a URL here, so it must not look like one.
	noURL bool
}

// unixDigits is the number of digits of unix times from 2001 to 2286.
var unixDigits = map[string]int{"": 10, "s": 10, "ms": 13, "us": 16}

// Guard sets the guard of each slot for timestamps in a unit (see OneWay). It refuses
// a message that no guard makes unambiguous.
func (t Template) Guard(timestampUnit string) error {
	if err := t.checkAny(); err != nil {
		return err
	}
	for _, p := range t {
		if f := p.Slot.Facts(); f.Whole && len(t) > 1 {
			return f.errWhole()
		}
	}
	for i := range t {
		p := &t[i]
		if p.Any || slices.ContainsFunc(p.Filters, func(f Filter) bool { return f.kind != filterFold }) {
			continue // a message with such a slot is read from its ends
		}
		g := &p.guard
		g.end = t[i+1:].nextByte()
		if t[:i].hasAny() && t[i-1].Slot == None {
			g.start = t[i-1].Literal[len(t[i-1].Literal)-1]
			g.chosen = byAnyone
			continue
		}
		bodyBefore := t[:i].HasBody()
		if bodyBefore {
			g.start = t[:i].lastByte()
		}
		g.loose = g.end == 0 && t[i+1:].HasBody() || g.start == 0 && bodyBefore
		switch by := p.Slot.Facts().chosen; {
		case by == byAnyone, by == byURI && t.HasBody():
			g.chosen = by
		case by == byClock && timestampUnit == "iso8601_utc": // fraction and zone are optional
			g.chosen, g.length, g.start = byAnyone, len("2006-01-02T15:04:05"), 0
		case by == byClock:
			touches := i > 0 && t[i-1].Slot != None || i+1 < len(t) && t[i+1].Slot != None ||
				isDigit(g.start) || isDigit(g.end)
			if digits := unixDigits[timestampUnit]; digits > 0 && touches {
				g.chosen, g.length = byClock, digits
			}
		}
	}
	return nil
}

// GuardAlternatives keeps a URL signed by one message from passing as the query
// signed by another.
func GuardAlternatives(messages []Template) {
	if !slices.ContainsFunc(messages, Template.HasURL) {
		return
	}
	for _, t := range messages {
		for i := range t {
			t[i].guard.noURL = t[i].Slot == Query || t[i].Slot == QuerySorted
		}
	}
}

// HasURL reports whether t contains the URL with its origin.
func (t Template) HasURL() bool { return t.Has(URL) || t.Has(URLNoQuery) }

func (t Template) hasAny() bool { return slices.ContainsFunc(t, func(p Part) bool { return p.Any }) }

// checkAny lets one text of a message contain its own delimiters: it is what remains
// after the parts before it are read from the front and those after it from the back.
// Two such texts could exchange pieces.
func (t Template) checkAny() error {
	if !t.hasAny() {
		return nil
	}
	count := 0
	for i, p := range t {
		if p.Any {
			count++
		}
		touches := i > 0 && p.Slot != None && t[i-1].Slot != None
		if p.Slot != None && p.Slot != JSON || len(p.Filters) > 0 || touches || count > 1 {
			return errors.New("any goes with one {json:…} of a message that holds nothing but others and text between them, without filters")
		}
	}
	return nil
}

// RunsInto reports whether a URL, or part of one, precedes a slot of t without
// anything in between that cannot be in a URL, so that only the slot's text can show
// where the URL ends.
func (t Template) RunsInto(s Slot) bool {
	open := false
	for i := range t {
		p := &t[i]
		switch whole := !slices.ContainsFunc(p.Filters, func(f Filter) bool { return f.kind != filterFold }); {
		case p.Slot == None:
			open = open && !strings.ContainsFunc(p.Literal, func(r rune) bool { return r < 0x80 && !uriBytes[r] })
		case open && p.Slot == s && whole:
			return true
		case p.Slot.Facts().chosen == byURI && whole:
			open = true
		}
	}
	return false
}

// nextByte returns the first byte of the first literal before any body, or 0.
func (t Template) nextByte() byte {
	for _, p := range t {
		switch {
		case p.Slot == None:
			return p.Literal[0]
		case p.IsBody():
			return 0
		}
	}
	return 0
}

// lastByte returns the last byte of the last literal after any body, or 0.
func (t Template) lastByte() byte {
	for _, p := range slices.Backward(t) {
		switch {
		case p.Slot == None:
			return p.Literal[len(p.Literal)-1]
		case p.IsBody():
			return 0
		}
	}
	return 0
}

func (p *Part) IsBody() bool { return p.Slot == Body && len(p.Filters) == 0 }

// HasBody reports whether t contains the body itself, not a digest of it.
func (t Template) HasBody() bool {
	return slices.ContainsFunc(t, func(p Part) bool { return p.IsBody() })
}

// CoversBody reports whether changing any byte of the body changes the message.
func (t Template) CoversBody() bool {
	signsQuery := t.Has(URL) || t.Has(URI) || t.Has(Query)
	return slices.ContainsFunc(t, func(p Part) bool {
		return (p.Slot == Body || p.Slot == BodyDigest && signsQuery) && p.Covers()
	}) || t.encodesBody()
}

// encodesBody reports whether t is the body in hex or base64 and then only texts of a
// known length, so that it can be split in only one way.
func (t Template) encodesBody() bool {
	return len(t) > 0 && t[0].Slot == Body && len(t[0].Filters) == 1 && t[0].Filters[0].kind == filterText &&
		!slices.ContainsFunc(t[1:], func(p Part) bool { return p.Slot != None && p.guard.chosen != byClock })
}

// Covers reports whether t contains a slot of a kind and changing any byte of its
// text changes the message.
func (t Template) Covers(kind func(*Facts) bool) bool {
	return slices.ContainsFunc(t, func(p Part) bool { return kind(p.Slot.Facts()) && p.Covers() })
}

// Proves reports whether a slot's text can be recovered from the message: literals
// end it and everything before it, it is next to no slot, and no body precedes it. Or
// it is last, after only literals and times with a fixed number of digits.
func (t Template) Proves(s Slot, arg string) bool {
	i := slices.IndexFunc(t, func(p Part) bool { return p.Slot == s && p.Arg == arg && len(p.Filters) == 0 })
	if i > 0 && i == len(t)-1 && !slices.ContainsFunc(t[:i], func(p Part) bool { return p.Slot != None && p.guard.chosen != byClock }) {
		return true
	}
	if i < 0 || t[:i].HasBody() || i > 0 && t[i-1].Slot != None || i+1 == len(t) || t[i+1].Slot != None {
		return false
	}
	return !slices.ContainsFunc(t[:i], func(p Part) bool {
		return p.guard.chosen == byURI && IsURI(p.guard.end) || p.Slot.Facts().Joined
	})
}

// ProvesMember reports whether t contains {json_lines:…} and always has a line for
// the member.
func (t Template) ProvesMember(name string) bool {
	return slices.ContainsFunc(t, func(p Part) bool { return slices.Contains(p.Members, jsonpath.Member{Name: name}) })
}

// SignsField reports whether t contains all fields of a form but some, and this is not
// one of those.
func (t Template) SignsField(name string) bool {
	return slices.ContainsFunc(t, func(p Part) bool {
		return p.Slot == FormPHP || p.Slot == FormPairs && !slices.Contains(p.Without, name)
	})
}

// OneWay reports whether the slot may have this text: it contains neither of its
// delimiters or, without a delimiter next to a body, only the characters of ids, so
// that no piece of a captured JSON body passes as one.
func (p *Part) OneWay(text []byte) bool {
	g := &p.guard
	if g.noURL && (bytes.HasPrefix(text, []byte("http://")) || bytes.HasPrefix(text, []byte("https://"))) {
		return false
	}
	switch g.chosen {
	case bySelf:
		return true
	case byClock:
		return len(text) == g.length
	case byURI: // literals may be characters of a URI, and so may the start of a body: see RunsInto
		for _, c := range text {
			if !uriBytes[c] {
				return false
			}
		}
		return true
	}
	text = text[min(g.length, len(text)):]
	if g.end != 0 && bytes.IndexByte(text, g.end) >= 0 || g.start != 0 && bytes.IndexByte(text, g.start) >= 0 {
		return false
	}
	return !g.loose || !slices.ContainsFunc(text, func(c byte) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c) || strings.IndexByte("-._~:/+=@", c) >= 0)
	})
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// IsURI reports whether c may occur in a URI (RFC 3986), or is not ASCII, which some
// senders do not escape.
func IsURI(c byte) bool { return uriBytes[c] }

var uriBytes = func() (table [256]bool) {
	for c := range table {
		table[c] = c > ' ' && c != 0x7f && strings.IndexByte("\"<>\\^`{|}", byte(c)) < 0
	}
	return table
}()
