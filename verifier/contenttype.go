package verifier

import (
	"bytes"
	"cmp"
	"errors"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// checkJSONType refuses JSON of which only members are signed unless the Content-Type
// says that it is JSON: an app that goes by another one, such as that of a form, would
// read what is hidden in an unsigned member.
func (c *Check) checkJSONType(s template.Slot) *Rejection {
	reads := s == template.JSON && c.v.aloneJSON || s == template.JSONLines || s == template.JSONPairs
	if !reads || c.v.scheme.BodyForm != "" {
		return nil
	}
	if err := cmp.Or(formdata.CheckJSONType(c.req.Header["Content-Type"]), c.checkCoding()); err != nil {
		return reject(MalformedSignature, "members of the body are signed as JSON: %v", err)
	}
	return nil
}

// checkFormType refuses signed form fields under a Content-Type that makes the app
// read other fields: the signature's own field could hold an entire form.
func (c *Check) checkFormType(body []byte) *Rejection {
	if len(body) == 0 {
		return nil
	}
	if err := cmp.Or(formdata.CheckType(c.req.Header["Content-Type"]), c.checkCoding()); err != nil {
		return reject(MalformedSignature, "the body is signed as a form: %v", err)
	}
	return nil
}

// checkType refuses an unsigned Content-Type under which the app would find another text
// in the signed bytes. A token signs none: anyone with a captured one can send any.
func (c *Check) checkType(body []byte) *Rejection {
	if c.v.typeFixed || c.v.http == nil && c.key == nil {
		return nil
	}
	if err := formdata.CheckText(c.req.Header["Content-Type"], body); err != nil {
		return reject(MalformedSignature, "the Content-Type, which is not signed: %v", err)
	}
	return nil
}

// checkCoding refuses a Content-Encoding: an app that undoes it would find other fields
// than the signed ones, in a stream before them.
func (c *Check) checkCoding() error {
	lines := c.req.Header["Content-Encoding"]
	if len(lines) == 0 || len(lines) == 1 && strings.EqualFold(lines[0], "identity") {
		return nil
	}
	return errors.New("it has a Content-Encoding, so the app may read something else")
}

// postsForm reports whether a sender of forms or JSON has sent a form. Content-Type
// decides, as for the app; if the body is signed, the body decides, since that header
// is not.
func (c *Check) postsForm(body []byte) bool {
	if c.v.coversBody() {
		text := bytes.TrimLeft(body, " \t\r\n")
		return len(text) == 0 || text[0] != '{' && text[0] != '['
	}
	return formdata.Is(c.contentType())
}

// contentType returns the request's Content-Type, "" if there are none or several.
func (c *Check) contentType() string {
	if lines := c.req.Header["Content-Type"]; len(lines) == 1 {
		return lines[0]
	}
	return ""
}
