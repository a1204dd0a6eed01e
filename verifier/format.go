package verifier

import (
	"bytes"
	"strings"
)

// openings lists the bytes that begin a body of each format.
var openings = map[string]string{"json": "{[", "xml": "<"}

func (v *Rules) compileBodyFormat() error {
	for _, format := range v.scheme.BodyFormat {
		if err := known("body_format", "format", format, "json", "xml"); err != nil {
			return err
		}
		v.opening += openings[format]
	}
	if v.opening != "" && !v.coversBody() {
		return wrong("body_format", "the message does not cover the body, so anyone could write one of that format: drop the field")
	}
	return nil
}

// format refuses a signed body that is none of the sender's: its key has signed the text
// for something else.
func (c *Check) format(body []byte) *Rejection {
	if c.v.opening == "" {
		return nil
	}
	text := bytes.TrimLeft(c.decodedStart(body), " \t\r\n")
	if len(text) == 0 || strings.IndexByte(c.v.opening, text[0]) < 0 {
		formats := strings.ReplaceAll(strings.ToUpper(strings.Join(c.v.scheme.BodyFormat, " ")), " ", " or ")
		return reject(MalformedSignature, "the key has signed this text, but it is no delivery: every body of the sender is %s, and this one is not", formats)
	}
	return nil
}
