package verifier

import (
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

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
