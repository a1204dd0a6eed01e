package verifier

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
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
	s := jsonScanner{text: text}
	v, err := s.value(p, 0)
	if err != nil {
		return "", err
	}
	if s.space(); s.pos != len(text) {
		return "", errNotJSON
	}
	return v, s.found()
}

// spans returns where the values at p stand: several with [*], none where a
// member is missing.
func (p jsonPath) spans(text []byte) ([]span, error) {
	s := jsonScanner{text: text, spans: []span{}}
	if _, err := s.value(p, 0); err != nil {
		return nil, err
	}
	if s.space(); s.pos != len(text) {
		return nil, errNotJSON
	}
	return s.spans, nil
}

type span struct{ start, end int }

type jsonScanner struct {
	text  []byte
	pos   int
	state error // what stood at the end of the path; nil only once a scalar did
	seen  bool
	spans []span // of the values at the end of the path, unless nil
}

func (s *jsonScanner) found() error {
	if !s.seen {
		return errNoValue
	}
	return s.state
}

func (s *jsonScanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *jsonScanner) peek() byte {
	if s.space(); s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// value reads one value. A nil path means that nothing below it is wanted; an
// empty one that it is the value looked for.
func (s *jsonScanner) value(p jsonPath, depth int) (string, error) {
	if depth > maxJSONDepth {
		return "", errNotJSON
	}
	c := s.peek()
	wanted := p != nil && len(p) == 0
	if wanted && s.spans != nil {
		start := s.pos
		defer func() { s.spans = append(s.spans, span{start, s.pos}) }() // an error drops them all
	}
	switch c {
	case '{':
		if wanted {
			s.seen, s.state = true, errNoScalar
		} else if len(p) > 0 && p[0].array {
			s.seen, s.state, p = true, errNoScalar, nil
		}
		return s.object(p, depth)
	case '[':
		if wanted {
			s.seen, s.state = true, errNoScalar
		} else if len(p) > 0 && !p[0].array {
			s.seen, s.state, p = true, errArray, nil
		}
		return s.array(p, depth)
	}
	start := s.pos
	if err := s.scalar(c); err != nil {
		return "", err
	}
	if !wanted {
		return "", nil
	}
	s.seen = true
	raw := s.text[start:s.pos]
	switch c {
	case 'n':
		s.state = errNoValue
		return "", nil
	case '"':
		return unquoteJSON(raw)
	}
	return string(raw), nil
}

func (s *jsonScanner) object(p jsonPath, depth int) (found string, err error) {
	s.pos++ // {
	matched := false
	for first := true; ; first = false {
		c := s.peek()
		if c == '}' && first {
			break
		}
		if c != '"' {
			return "", errNotJSON
		}
		start := s.pos
		if err := s.scalar(c); err != nil {
			return "", err
		}
		name := s.text[start:s.pos]
		if s.peek() != ':' {
			return "", errNotJSON
		}
		s.pos++
		var below jsonPath
		if len(p) > 0 && sameJSONName(name, p[0].name) {
			if matched {
				return "", errDuplicate
			}
			matched, below = true, p[1:]
		}
		v, err := s.value(below, depth+1)
		if err != nil {
			return "", err
		}
		if below != nil {
			found = v
		}
		switch s.peek() {
		case ',':
			s.pos++
			continue
		case '}':
		default:
			return "", errNotJSON
		}
		break
	}
	s.pos++ // }
	return found, nil
}

func (s *jsonScanner) array(p jsonPath, depth int) (found string, err error) {
	s.pos++ // [
	every := len(p) > 0 && p[0].every
	var state error // of the first element that has no value, or another one
	for i := 0; ; i++ {
		if s.peek() == ']' && i == 0 {
			break
		}
		if i > 0 && len(p) > 0 && p[0].only {
			return "", errSeveral
		}
		var below jsonPath
		if len(p) > 0 && (every || p[0].index == i) {
			below = p[1:]
		}
		if every {
			s.seen, s.state = false, nil
		}
		v, err := s.value(below, depth+1)
		if err != nil {
			return "", err
		}
		if every && state == nil {
			if state = s.found(); state == nil && i > 0 && v != found {
				state = errDiffer
			}
		}
		if every {
			s.seen, s.state = true, state
		}
		if below != nil {
			found = v
		}
		switch s.peek() {
		case ',':
			s.pos++
			continue
		case ']':
		default:
			return "", errNotJSON
		}
		break
	}
	s.pos++ // ]
	return found, nil
}

// scalar moves past a string, number or literal that begins with c.
func (s *jsonScanner) scalar(c byte) error {
	switch c {
	case '"':
		return s.string()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

func (s *jsonScanner) literal(word string) error {
	if !bytes.HasPrefix(s.text[s.pos:], []byte(word)) {
		return errNotJSON
	}
	s.pos += len(word)
	return nil
}

func (s *jsonScanner) string() error {
	start := s.pos
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '"':
			s.pos++
			if !utf8.Valid(s.text[start:s.pos]) {
				return errNotJSON
			}
			return nil
		case c == '\\':
			if s.pos++; s.pos >= len(s.text) {
				return errNotJSON
			}
			switch s.text[s.pos] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if s.pos+4 >= len(s.text) {
					return errNotJSON
				}
				if _, err := strconv.ParseUint(string(s.text[s.pos+1:s.pos+5]), 16, 16); err != nil {
					return errNotJSON
				}
				s.pos += 4
			default:
				return errNotJSON
			}
		case c < 0x20:
			return errNotJSON
		}
	}
	return errNotJSON
}

func (s *jsonScanner) digits() bool {
	start := s.pos
	for s.pos < len(s.text) && s.text[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > start
}

func (s *jsonScanner) at(set string) bool {
	if s.pos < len(s.text) && strings.IndexByte(set, s.text[s.pos]) >= 0 {
		s.pos++
		return true
	}
	return false
}

// number follows RFC 8259 §6.
func (s *jsonScanner) number() error {
	s.at("-")
	if !s.at("0") && !s.digits() {
		return errNotJSON
	}
	if s.at(".") && !s.digits() {
		return errNotJSON
	}
	if s.at("eE") {
		s.at("+-")
		if !s.digits() {
			return errNotJSON
		}
	}
	return nil
}

// sameJSONName compares a quoted member name with its decoded form.
func sameJSONName(quoted []byte, name string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == name
	}
	got, err := unquoteJSON(quoted)
	return err == nil && got == name
}

// unquoteJSON decodes a string that the scanner has accepted. A lone surrogate
// has no UTF-8 form: invalid.
func unquoteJSON(quoted []byte) (string, error) {
	in := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(in, '\\') < 0 {
		return string(in), nil
	}
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); i++ {
		if in[i] != '\\' {
			out = append(out, in[i])
			continue
		}
		i++
		switch c := in[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hexRune(in[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				if !bytes.HasPrefix(in[i+1:], []byte(`\u`)) {
					return "", errNotJSON
				}
				if r = utf16.DecodeRune(r, hexRune(in[i+3:])); r == utf8.RuneError {
					return "", errNotJSON
				}
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return string(out), nil
}

// hexRune reads the four hexadecimal digits of a \u escape.
func hexRune(b []byte) rune {
	n, _ := strconv.ParseUint(string(b[:4]), 16, 16)
	return rune(n)
}
