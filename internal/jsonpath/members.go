package jsonpath

import (
	"errors"
	"fmt"
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
	errTwins      = errors.New("two members have the same name, perhaps in another case")
	errMany       = fmt.Errorf("the object has more than %d members", maxScalars)
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

// maxScalars limits the members that Scalars reads. Real objects have some twenty.
const maxScalars = 1000

// Scalars returns the members of the object at p, but for some, as Lookup does a
// scalar; null is an empty text. An object or array among them is an error. So are two
// members that some parsers treat as one, the omitted ones included, and what makes p
// ambiguous, there even in another case.
func (p Path) Scalars(text []byte, without []string) (map[string]string, error) {
	v := []Value{{Path: p, Alone: true, spans: []Span{}}}
	if LookupAll(text, v); v[0].ended != nil {
		return nil, v[0].ended
	}
	if len(v[0].spans) != 1 || text[v[0].spans[0].Start] != '{' {
		return nil, errNoObject
	}
	members, seen := make(map[string]string), make(map[string]bool)
	s := scanner{text: text, pos: v[0].spans[0].Start + 1}
	for s.peek() != '}' {
		if s.peek() == ',' {
			s.pos++
		}
		name, value, err := s.member()
		if err != nil {
			return nil, err
		}
		folded := alike.Fold(name)
		switch {
		case seen[folded]:
			return nil, errTwins
		case len(seen) == maxScalars:
			return nil, errMany
		}
		seen[folded] = true
		switch {
		case slices.Contains(without, name):
		case value[0] == '{' || value[0] == '[':
			return nil, errNoScalar
		case value[0] == '"':
			if members[name], err = unquote(value); err != nil {
				return nil, err
			}
		case string(value) == "null":
			members[name] = ""
		default:
			members[name] = string(value)
		}
	}
	return members, nil
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
