package template

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

// guard is what the text of a slot must not hold so that the message splits one
// way. The zero guard lets everything pass: the text's own form ends it.
type guard struct {
	chosen chosen
	// The first byte of the next literal, where no body stands between. The
	// first such byte ends the text.
	end byte
	// The last byte of the literal before, where a body stands before that. The
	// last such byte begins the text.
	start byte
	// A body stands on a side without a literal.
	loose bool
	// Bytes at the front, or in all, that the form itself counts.
	length int
	// A query, where another message has the URL: it must not look like one.
	noURL bool
}

// unixDigits is how many digits unix times have from 2001 to 2286.
var unixDigits = map[string]int{"": 10, "s": 10, "ms": 13, "us": 16}

// Guard notes for each slot what its text must not hold, where times have a unit
// (see OneWay). It refuses a message that no guard divides.
func (t Template) Guard(timestampUnit string) error {
	if err := t.checkAny(); err != nil {
		return err
	}
	if len(t) > 1 && t.Has(JSONLines) {
		return ErrLinesAlone
	}
	for i := range t {
		p := &t[i]
		if p.Any || slices.ContainsFunc(p.Filters, func(f Filter) bool { return f.kind != filterFold }) {
			continue // of a message with any, all others are read from its ends
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
		case by == byClock && timestampUnit == "iso8601_utc": // a fraction and a zone may follow or not
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

// GuardAlternatives keeps a URL that one message signs from passing as the query
// that another signs in its place.
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

// HasURL reports whether the URL with its origin stands in t.
func (t Template) HasURL() bool { return t.Has(URL) || t.Has(URLNoQuery) }

func (t Template) hasAny() bool { return slices.ContainsFunc(t, func(p Part) bool { return p.Any }) }

// checkAny lets one text of a message hold what divides it from the others: with
// those before it read from the front and those behind it from the back, it is
// what remains. Two of that kind could exchange pieces.
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

// RunsInto reports whether a URL, or a part of one, stands before a slot of t and
// nothing between them that cannot be in a URL: only the slot's text can tell where
// the URL ends.
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

// IsBody reports whether p is the body itself, not a digest of it.
func (p *Part) IsBody() bool { return p.Slot == Body && len(p.Filters) == 0 }

// HasBody reports whether the body itself, not a digest of it, stands in t.
func (t Template) HasBody() bool {
	return slices.ContainsFunc(t, func(p Part) bool { return p.IsBody() })
}

// CoversBody reports whether changing any byte of the body changes the message.
func (t Template) CoversBody() bool {
	signsQuery := t.Has(URL) || t.Has(URI) || t.Has(Query)
	return slices.ContainsFunc(t, func(p Part) bool {
		return (p.Slot == Body || p.Slot == BodyDigest && signsQuery) && p.Covers()
	})
}

// Covers reports whether a slot of a kind stands in t and changing any byte of
// its text changes the message.
func (t Template) Covers(kind func(*Facts) bool) bool {
	return slices.ContainsFunc(t, func(p Part) bool { return kind(p.Slot.Facts()) && p.Covers() })
}

// Proves reports whether the message gives back the text of a slot: literals
// end it and all that stands before it, it touches no slot, and no body stands
// before it. Or it is the last, after nothing but literals and times of a fixed
// number of digits.
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

// ProvesMember reports whether {json_lines:…} stands in t and always has a
// member's line.
func (t Template) ProvesMember(name string) bool {
	return slices.ContainsFunc(t, func(p Part) bool { return slices.Contains(p.Members, jsonpath.Member{Name: name}) })
}

// OneWay reports whether text may stand in the slot: without the byte that ends
// it and the one that begins it, or, where nothing divides it from a body, made
// of the characters of ids alone, so that no piece of a captured JSON body
// passes as one.
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
	case byURI: // literals may be characters of a URI, and so may a body's first: see RunsInto
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

// IsURI reports whether c may stand in a URI (RFC 3986), or is no ASCII, which
// some senders do not escape.
func IsURI(c byte) bool { return uriBytes[c] }

var uriBytes = func() (table [256]bool) {
	for c := range table {
		table[c] = c > ' ' && c != 0x7f && strings.IndexByte("\"<>\\^`{|}", byte(c)) < 0
	}
	return table
}()
