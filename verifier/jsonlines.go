package verifier

import (
	"errors"
	"slices"
	"strings"
)

// A jsonLine is one member that {json_lines:Message,Subject?,Type} names. The
// slot stands for the members of the body's object in that order, each as its
// name, a line feed, its text and a line feed; one with a question mark is left
// out where the object lacks it or has null. Amazon SNS signs so:
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html
//
// The first text may hold anything, the others no line feed. So the signed
// content splits one way, read from its end: two lines are the last member, two
// more the one before, and where one may be missing the name above tells.
type jsonLine struct {
	name     string
	optional bool
}

var (
	errLinesAlone = errors.New("{json_lines:…} stands alone, without filters: it is the whole message")
	errLines      = errors.New("{json_lines:…}: write the members' names with commas, different ones in any case of their letters, a question mark after one that may be missing, not after the first or last: {json_lines:Message,Subject?,Type}")
)

func parseJSONLines(arg string) ([]jsonLine, error) {
	var lines []jsonLine
	for text := range strings.SplitSeq(arg, ",") {
		name, optional := strings.CutSuffix(text, "?")
		if name == "" || strings.ContainsAny(name, "?.[] \t\r\n") || slices.ContainsFunc(lines, func(l jsonLine) bool { return strings.EqualFold(l.name, name) }) {
			return nil, errLines
		}
		lines = append(lines, jsonLine{name, optional})
	}
	if lines[0].optional || lines[len(lines)-1].optional {
		return nil, errLines
	}
	return lines, nil
}

// signsLine reports whether every message of the slot holds a member's text.
func (t template) signsLine(name string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return slices.Contains(p.lines, jsonLine{name: name}) })
}

// jsonLines writes the content of the slot.
func (c *Check) jsonLines(lines []jsonLine, body []byte) (string, *Rejection) {
	if field := c.v.scheme.BodyForm; field != "" {
		text, err := c.formValue(body, field)
		if err != nil {
			return "", reject(MalformedSignature, "form field %s is signed: %v", field, err)
		}
		body = []byte(text)
	}
	texts, err := members(body, lines)
	if err != nil {
		return "", reject(MalformedSignature, "members of the body are signed: %v", err)
	}
	var b strings.Builder
	for i, l := range lines {
		switch text := texts[i]; {
		case text == nil && l.optional:
		case text == nil:
			return "", reject(MalformedSignature, "member %s of the body is signed and missing", l.name)
		case i > 0 && strings.Contains(*text, "\n"):
			return "", reject(MalformedSignature, "member %s of the body holds a line feed, which would let the message be read in two ways", l.name)
		default:
			b.WriteString(l.name + "\n" + *text + "\n")
		}
	}
	return b.String(), nil
}

var (
	errNoObject   = errors.New("the body is no JSON object")
	errSpelling   = errors.New("one is spelled in other letters, which some parsers take for the same")
	errLineString = errors.New("one is not a string")
)

// members returns the strings that an object has under the names, nil for those
// that it lacks. What is not signed may be added to a body by anyone; so a name
// that differs in its letters' case alone is refused: Go's own parser, for one,
// takes the last of "Message" and "message" for either.
func members(text []byte, lines []jsonLine) ([]*string, error) {
	reads(text)
	found, seen := make([]*string, len(lines)), make([]bool, len(lines))
	s := jsonScanner{text: text}
	if s.peek() != '{' {
		return nil, errNoObject
	}
	s.pos++
	for first := true; !(first && s.peek() == '}'); first = false {
		name, value, err := s.member()
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(lines, func(l jsonLine) bool { return strings.EqualFold(l.name, name) })
		switch {
		case i < 0:
		case lines[i].name != name:
			return nil, errSpelling
		case seen[i]:
			return nil, errDuplicate
		case lines[i].optional && string(value) == "null": // as if it were missing
			seen[i] = true
		case value[0] != '"':
			return nil, errLineString
		default:
			text, err := unquoteJSON(value)
			if err != nil {
				return nil, err
			}
			found[i], seen[i] = &text, true
		}
		if s.peek() == '}' {
			break
		}
		if s.peek() != ',' {
			return nil, errNotJSON
		}
		s.pos++
	}
	s.pos++ // }
	if s.space(); s.pos != len(text) {
		return nil, errNotJSON
	}
	return found, nil
}

// member reads a name and its value, as it is written.
func (s *jsonScanner) member() (name string, value []byte, err error) {
	if s.peek() != '"' {
		return "", nil, errNotJSON
	}
	start := s.pos
	if err = s.string(); err != nil {
		return "", nil, err
	}
	if name, err = unquoteJSON(s.text[start:s.pos]); err != nil {
		return "", nil, err
	}
	if s.peek() != ':' {
		return "", nil, errNotJSON
	}
	s.pos++
	s.space()
	start = s.pos
	if err = s.value(nil, 1); err != nil {
		return "", nil, err
	}
	return name, s.text[start:s.pos], nil
}
