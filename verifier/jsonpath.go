package verifier

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A jsonPath names one scalar of a JSON text: member names joined by dots,
// array elements by [n] ("items[0].id", "[0].eventId"). [*] stands for every
// element: the scalars below must all be there and be the same. [only] stands
// for the one element of an array that must not have another: what nobody signed
// cannot stand beside what somebody did.
type jsonPath []jsonStep

type jsonStep struct {
	name  string
	index int // of an array element, if name is not used
	array bool
	every bool // element of the array
	only  bool // the array has no other
}

// errNoValue: the text is JSON and the path leads to nothing, null or no scalar.
// Every other scanner error means that the path cannot be read one way.
var errNoValue = errors.New("no scalar value there")

var (
	errNotJSON   = errors.New("not valid JSON")
	errDuplicate = errors.New("a member on the path appears twice")
	errArray     = errors.New("an array stands where the path names a member")
	errDiffer    = errors.New("the elements of an array differ there")
	errSeveral   = errors.New("an array on the path has more than its one element")
	// What an optional slot refuses, unlike a member that is not there or is null.
	errNoScalar = fmt.Errorf("an object or array: %w", errNoValue)
)

const maxJSONDepth = 512

func parseJSONPath(text string) (jsonPath, error) {
	var p jsonPath
	bad := errors.New("write a JSON path as member names joined by dots, array elements as [0], all of them as [*], a single one as [only]: data.id, items[0].id")
	if text == "" {
		return nil, bad
	}
	for rest, first := text, true; rest != ""; first = false {
		if rest[0] == '[' {
			digits, after, ok := strings.Cut(rest[1:], "]")
			if !ok || after != "" && after[0] != '.' && after[0] != '[' {
				return nil, bad
			}
			if digits == "*" {
				p, rest = append(p, jsonStep{array: true, every: true}), after
				continue
			}
			if digits == "only" {
				p, rest = append(p, jsonStep{array: true, only: true}), after
				continue
			}
			n, err := strconv.Atoi(digits)
			if err != nil || digits != strconv.Itoa(n) || n < 0 {
				return nil, bad
			}
			p, rest = append(p, jsonStep{index: n, array: true}), after
			continue
		}
		if !first {
			if rest[0] != '.' {
				return nil, bad
			}
			rest = rest[1:]
		}
		end := strings.IndexAny(rest, ".[]")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 || end < len(rest) && rest[end] == ']' {
			return nil, bad
		}
		p, rest = append(p, jsonStep{name: rest[:end]}), rest[end:]
	}
	return p, nil
}

// lookup returns the scalar at p: strings decoded, numbers, true and false as
// they are written. It reads the whole text, so that what it finds is in valid
// JSON and unique on its path, but decodes nothing off the path.
func (p jsonPath) lookup(text []byte) (string, error) {
	v := []jsonValue{{path: p}}
	lookupAll(text, v)
	return v[0].result()
}

// spans returns where the values at p stand: several with [*], none where a
// member is missing.
func (p jsonPath) spans(text []byte) ([]span, error) {
	v := []jsonValue{{path: p, spans: []span{}}}
	lookupAll(text, v)
	return v[0].spans, v[0].ended
}

type span struct{ start, end int }

// jsonValue is what stands at the end of a path.
type jsonValue struct {
	path  jsonPath
	text  string
	seen  bool
	state error  // what stood there; nil only once a scalar did
	ended error  // why the path cannot be read one way, whatever follows
	spans []span // of the values at the end of the path, unless nil; see spans
}

func (v *jsonValue) found() error {
	if !v.seen {
		return errNoValue
	}
	return v.state
}

func (v *jsonValue) result() (string, error) {
	if v.ended != nil {
		return "", v.ended
	}
	return v.text, v.found()
}

// lookupAll looks up the paths of all values while it reads the text once.
func lookupAll(text []byte, values []jsonValue) {
	reads(text)
	s := jsonScanner{text: text}
	for i := range values {
		s.wanted = append(s.wanted, jsonWant{at: &values[i], rest: values[i].path})
	}
	err := s.value(s.wanted, 0)
	if s.space(); err == nil && s.pos != len(text) {
		err = errNotJSON
	}
	for i := range values {
		if v := &values[i]; err != nil && v.ended == nil {
			v.ended = err
		}
	}
}

// jsonWant is a path that leads into what is read next.
type jsonWant struct {
	at   *jsonValue
	rest jsonPath // nothing left: it ends here

	matched bool   // in an object: the member was there
	state   error  // in an array, under [*]: of the first element that had no value, or another one
	before  string // the value of the element before
}

type jsonScanner struct {
	text   []byte
	pos    int
	wanted []jsonWant // a stack: those of the values that are open
	name   []byte     // the last member's, where it has escapes
}

// value reads one value, for the paths that lead into it.
func (s *jsonScanner) value(wants []jsonWant, depth int) error {
	if depth > maxJSONDepth {
		return errNotJSON
	}
	c, start := s.peek(), s.pos
	if len(wants) == 1 && len(wants[0].rest) == 0 && wants[0].at.spans != nil {
		v := wants[0].at
		err := s.next(c, wants, depth)
		v.spans = append(v.spans, span{start, s.pos})
		return err
	}
	return s.next(c, wants, depth)
}

func (s *jsonScanner) next(c byte, wants []jsonWant, depth int) error {
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
			v.state = errNoValue
		case '"':
			v.text, v.ended = unquoteJSON(raw)
		default:
			v.text = string(raw)
		}
	}
	return nil
}

// enter keeps the paths that lead further, into an object or an array.
func enter(wants []jsonWant, array bool) []jsonWant {
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

func (s *jsonScanner) object(wants []jsonWant, depth int) error {
	s.pos++ // {
	base := len(s.wanted)
	for first := true; ; first = false {
		c := s.peek()
		if c == '}' && first {
			break
		}
		if c != '"' {
			return errNotJSON
		}
		start := s.pos
		if err := s.scalar(c); err != nil {
			return err
		}
		if len(wants) > 0 {
			s.enterMember(wants, s.text[start:s.pos])
		}
		if s.peek() != ':' {
			return errNotJSON
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
			return errNotJSON
		}
		break
	}
	s.pos++ // }
	return nil
}

// enterMember takes the paths along that lead into a member with a quoted name.
func (s *jsonScanner) enterMember(wants []jsonWant, quoted []byte) {
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
		switch {
		case string(name) != w.rest[0].name:
		case w.matched:
			w.at.ended = errDuplicate
		default:
			w.matched = true
			s.wanted = append(s.wanted, jsonWant{at: w.at, rest: w.rest[1:]})
		}
	}
}

func (s *jsonScanner) array(wants []jsonWant, depth int) error {
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
			return errNotJSON
		}
		break
	}
	s.pos++ // ]
	return nil
}

// enterElement takes the paths along that lead into an array's element i, and
// keeps those that may lead into a later one.
func (s *jsonScanner) enterElement(wants []jsonWant, i int) []jsonWant {
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
			s.wanted = append(s.wanted, jsonWant{at: w.at, rest: w.rest[1:]})
		}
		wants[n] = w
		n++
	}
	return wants[:n]
}

// leaveElement notes under [*] whether the elements so far have the same value.
func (w *jsonWant) leaveElement(i int) {
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
