package jsonpath

import (
	"errors"
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/internal/alike"
)

// A Member is a name that Members looks for.
type Member struct {
	Name     string
	Optional bool // null is as good as missing
}

var (
	errNoObject   = errors.New("the body is not a JSON object")
	errLineString = errors.New("one is not a string")
)

// Members returns the strings that an object has under the names, nil for those
// that it lacks. What is not signed may be added to a body by anyone; so a name
// that differs in its letters' case alone is refused: Go's own parser, for one,
// takes the last of "Message" and "message" for either.
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
		case names[i].Optional && string(value) == "null": // as if it were missing
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

// member reads a name and its value, as it is written.
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
