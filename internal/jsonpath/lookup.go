package jsonpath

import (
	"bytes"

	"github.com/verify-webhook/caddy-verify-webhook/internal/alike"
)

// Lookup returns the scalar at p: a decoded string, or a number, true or false as
// written. Errors are those of Value.Text.
func (p Path) Lookup(text []byte) (string, error) {
	v := []Value{{Path: p}}
	LookupAll(text, v)
	return v[0].Text()
}

// Spans returns the positions of the values at p, of any kind: several with [*], none
// if a member is missing.
func (p Path) Spans(text []byte) ([]Span, error) {
	v := []Value{{Path: p, spans: []Span{}}}
	LookupAll(text, v)
	return v[0].spans, v[0].ended
}

// A Span is the part of a text from byte Start to before byte End.
type Span struct{ Start, End int }

// A Value is a path and, after LookupAll, the value at its end.
type Value struct {
	Path Path
	// Refuse objects on the path with a member whose name differs from the path's
	// only in case: the path's members may be all that is signed of the text.
	Alone bool

	text  string
	seen  bool
	state error  // why there is no scalar; nil if there is one
	ended error  // why the path is ambiguous, whatever follows
	spans []Span // of the values at the end of the path, if not nil: see Spans
}

func (v *Value) found() error {
	if !v.seen {
		return ErrNoValue
	}
	return v.state
}

// Text returns the scalar that LookupAll found, ErrNoValue, or the reason why the
// path is ambiguous.
func (v *Value) Text() (string, error) {
	if v.ended != nil {
		return "", v.ended
	}
	if err := v.found(); err != nil {
		return "", err // [*]: an element's text is not that of all
	}
	return v.text, nil
}

// LookupAll looks up all values in one pass over the text.
func LookupAll(text []byte, values []Value) {
	reads(text)
	s := scanner{text: text}
	for i := range values {
		s.wanted = append(s.wanted, search{at: &values[i], rest: values[i].Path})
	}
	err := s.value(s.wanted, 0)
	if s.space(); err == nil && s.pos != len(text) {
		err = ErrNotJSON
	}
	for i := range values {
		if v := &values[i]; err != nil && v.ended == nil {
			v.ended = err
		}
	}
}

// search is a path into the value that is read next.
type search struct {
	at   *Value
	rest Path // empty: it ends here

	matched bool   // in an object: the member was found
	state   error  // in an array, under [*]: of the first element without a value or with another one
	before  string // the value of the previous element
}

type scanner struct {
	text   []byte
	pos    int
	wanted []search // a stack of the searches of open values
	name   []byte   // of the last member, if it has escapes
	open   []byte   // the open brackets of a skipped value
}

// value reads one value for the searches that lead into it.
func (s *scanner) value(wants []search, depth int) error {
	if depth > maxDepth {
		return ErrNotJSON
	}
	c, start := s.peek(), s.pos
	if len(wants) == 0 {
		return s.skip(c, depth)
	}
	if len(wants) == 1 && len(wants[0].rest) == 0 && wants[0].at.spans != nil {
		v := wants[0].at
		err := s.next(c, wants, depth)
		v.spans = append(v.spans, Span{start, s.pos})
		return err
	}
	return s.next(c, wants, depth)
}

func (s *scanner) next(c byte, wants []search, depth int) error {
	switch c {
	case '{':
		return s.object(enter(wants, false), depth)
	case '[':
		return s.array(enter(wants, true), depth)
	}
	start := s.pos
	if err := s.scalar(c); err != nil {
		return err
	}
	for i := range wants {
		v := wants[i].at
		if v.ended != nil || len(wants[i].rest) > 0 {
			continue
		}
		v.seen = true
		switch raw := s.text[start:s.pos]; c {
		case 'n':
			v.state = ErrNoValue
		case '"':
			v.text, v.ended = unquote(raw)
		default:
			v.text = string(raw)
		}
	}
	return nil
}

// enter keeps the searches that lead into an object or an array.
func enter(wants []search, array bool) []search {
	n := 0
	for _, w := range wants {
		switch {
		case w.at.ended != nil:
		case len(w.rest) == 0 || w.rest[0].array && !array:
			w.at.seen, w.at.state = true, errNoScalar
		case array && !w.rest[0].array:
			w.at.seen, w.at.state = true, errArray
		default:
			wants[n] = w
			n++
		}
	}
	return wants[:n]
}

func (s *scanner) object(wants []search, depth int) error {
	s.pos++ // {
	base := len(s.wanted)
	for first := true; ; first = false {
		c := s.peek()
		if c == '}' && first {
			break
		}
		if c != '"' {
			return ErrNotJSON
		}
		start := s.pos
		if err := s.scalar(c); err != nil {
			return err
		}
		if len(wants) > 0 {
			s.enterMember(wants, s.text[start:s.pos])
		}
		if s.peek() != ':' {
			return ErrNotJSON
		}
		s.pos++
		if err := s.value(s.wanted[base:], depth+1); err != nil {
			return err
		}
		s.wanted = s.wanted[:base]
		switch s.peek() {
		case ',':
			s.pos++
			continue
		case '}':
		default:
			return ErrNotJSON
		}
		break
	}
	s.pos++ // }
	return nil
}

// enterMember adds the searches that lead into a member with a quoted name.
func (s *scanner) enterMember(wants []search, quoted []byte) {
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		var err error
		if s.name, err = appendUnquoted(s.name[:0], name); err != nil {
			return
		}
		name = s.name
	}
	for i := range wants {
		w := &wants[i]
		switch step := w.rest[0].name; {
		case string(name) != step:
			if w.at.Alone && alike.Same(name, step) {
				w.at.ended = errSpelling
			}
		case w.matched:
			w.at.ended = ErrDuplicate
		default:
			w.matched = true
			s.wanted = append(s.wanted, search{at: w.at, rest: w.rest[1:]})
		}
	}
}

func (s *scanner) array(wants []search, depth int) error {
	s.pos++ // [
	base := len(s.wanted)
	for i := 0; ; i++ {
		if s.peek() == ']' && i == 0 {
			break
		}
		if len(wants) > 0 {
			wants = s.enterElement(wants, i)
		}
		if err := s.value(s.wanted[base:], depth+1); err != nil {
			return err
		}
		s.wanted = s.wanted[:base]
		for j := range wants {
			wants[j].leaveElement(i)
		}
		switch s.peek() {
		case ',':
			s.pos++
			continue
		case ']':
		default:
			return ErrNotJSON
		}
		break
	}
	s.pos++ // ]
	return nil
}

// enterElement adds the searches that lead into element i of an array, and keeps
// those that may lead into a later one.
func (s *scanner) enterElement(wants []search, i int) []search {
	n := 0
	for _, w := range wants {
		step := w.rest[0]
		switch {
		case i > 0 && step.only:
			w.at.ended = errSeveral
			continue
		case w.at.ended != nil, !step.every && step.index < i:
			continue
		case step.every:
			w.at.seen, w.at.state = false, nil
		}
		if step.every || step.index == i {
			s.wanted = append(s.wanted, search{at: w.at, rest: w.rest[1:]})
		}
		wants[n] = w
		n++
	}
	return wants[:n]
}

// leaveElement records, under [*], whether the elements so far have the same value.
func (w *search) leaveElement(i int) {
	if !w.rest[0].every {
		return
	}
	if w.state == nil {
		if w.state = w.at.found(); w.state == nil && i > 0 && w.at.text != w.before {
			w.state = errDiffer
		}
	}
	w.before = w.at.text
	w.at.seen, w.at.state = true, w.state
}
