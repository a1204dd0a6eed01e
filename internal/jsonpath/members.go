package jsonpath

import (
	"errors"
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/internal/alike"
)

// A Member is a name to look for in Members.
type Member struct {
	Name     string
	Optional bool // null counts as missing
}

var (
	errNoObject   = errors.New("the body is not a JSON object")
	errLineString = errors.New("one is not a string")
)

// Members returns the string members of an object by name, nil for missing ones.
// Anyone can add unsigned members to a body, so one whose name differs only in case
// is refused: Go's own parser reads the last of "Message" and "message" for either.
func Members(text []byte, names []Member) ([]*string, error) {
	reads(text)
	found, seen := make([]*string, len(names)), make([]bool, len(names))
	s := scanner{text: text}
	if s.peek() != '{' {
		return nil, errNoObject
	}
	s.pos++
	for first := true; !(first && s.peek() == '}'); first = false {
		name, value, err := s.member()
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(names, func(m Member) bool { return alike.Same(m.Name, name) })
		switch {
		case i < 0:
		case names[i].Name != name:
			return nil, errSpelling
		case seen[i]:
			return nil, ErrDuplicate
		case names[i].Optional && string(value) == "null": // counts as missing
			seen[i] = true
		case value[0] != '"':
			return nil, errLineString
		default:
			text, err := unquote(value)
			if err != nil {
				return nil, err
			}
			found[i], seen[i] = &text, true
		}
		if s.peek() == '}' {
			break
		}
		if s.peek() != ',' {
			return nil, ErrNotJSON
		}
		s.pos++
	}
	s.pos++ // }
	if s.space(); s.pos != len(text) {
		return nil, ErrNotJSON
	}
	return found, nil
}

// member reads a name and its value, undecoded.
func (s *scanner) member() (name string, value []byte, err error) {
	if s.peek() != '"' {
		return "", nil, ErrNotJSON
	}
	start := s.pos
	if err = s.string(); err != nil {
		return "", nil, err
	}
	if name, err = unquote(s.text[start:s.pos]); err != nil {
		return "", nil, err
	}
	if s.peek() != ':' {
		return "", nil, ErrNotJSON
	}
	s.pos++
	s.space()
	start = s.pos
	if err = s.value(nil, 1); err != nil {
		return "", nil, err
	}
	return name, s.text[start:s.pos], nil
}
