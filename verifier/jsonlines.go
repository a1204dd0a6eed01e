package verifier

import (
	"errors"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

var (
	errLinesAlone = errors.New("{json_lines:…} stands alone, without filters: it is the whole message")
	errLines      = errors.New("{json_lines:…}: write the members' names with commas, different ones in any case of their letters, a question mark after one that may be missing, not after the first or last: {json_lines:Message,Subject?,Type}")
)

// parseJSONLines reads the members that {json_lines:Message,Subject?,Type} names.
// The slot is those members of the body's object in that order, each as its name,
// a line feed, its text and a line feed; one with a question mark is left out where
// the object lacks it or has null. Amazon SNS signs so:
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html
//
// The first text may hold anything, the others no line feed. So the signed
// content splits one way, read from its end: two lines are the last member, two
// more the one before, and where one may be missing the name above tells.
func parseJSONLines(arg string) ([]jsonpath.Member, error) {
	var lines []jsonpath.Member
	for text := range strings.SplitSeq(arg, ",") {
		name, optional := strings.CutSuffix(text, "?")
		if name == "" || strings.ContainsAny(name, "?.[] \t\r\n") || slices.ContainsFunc(lines, func(l jsonpath.Member) bool { return strings.EqualFold(l.Name, name) }) {
			return nil, errLines
		}
		lines = append(lines, jsonpath.Member{Name: name, Optional: optional})
	}
	if lines[0].Optional || lines[len(lines)-1].Optional {
		return nil, errLines
	}
	return lines, nil
}

// signsLine reports whether every message of the slot holds a member's text.
func (t template) signsLine(name string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return slices.Contains(p.lines, jsonpath.Member{Name: name}) })
}

// jsonLines writes the content of the slot.
func (c *Check) jsonLines(lines []jsonpath.Member, body []byte) (string, *Rejection) {
	if field := c.v.scheme.BodyForm; field != "" {
		text, err := c.formValue(body, field)
		if err != nil {
			return "", reject(MalformedSignature, "form field %s is signed: %v", field, err)
		}
		body = []byte(text)
	}
	texts, err := jsonpath.Members(body, lines)
	if err != nil {
		return "", reject(MalformedSignature, "members of the body are signed: %v", err)
	}
	var b strings.Builder
	for i, l := range lines {
		switch text := texts[i]; {
		case text == nil && l.Optional:
		case text == nil:
			return "", reject(MalformedSignature, "member %s of the body is signed and missing", l.Name)
		case i > 0 && strings.Contains(*text, "\n"):
			return "", reject(MalformedSignature, "member %s of the body holds a line feed, which would let the message be read in two ways", l.Name)
		default:
			b.WriteString(l.Name + "\n" + *text + "\n")
		}
	}
	return b.String(), nil
}
