package verifier

import (
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// FieldInQuery reports whether a parameter of the query, which is not signed, may be read
// in the place of a field of the form that is. Call it after Verify has accepted the body.
func (c *Check) FieldInQuery(body []byte) bool {
	_, query, _ := strings.Cut(c.req.Target, "?")
	if query == "" || c.v.SignsQuery() {
		return false
	}
	fields, all := c.signedFields()
	return (all || len(fields) > 0) && formdata.Shadows(query, c.req.Header["Content-Type"], body, fields...)
}

// signedFields returns the fields of a form that the signature covers, and whether those
// are all. A token covers none.
func (c *Check) signedFields() (names []string, all bool) {
	v := c.v
	if v.bodySigned || v.http != nil {
		return nil, v.coversBody()
	}
	if v.signature.isJWS() {
		names = append(names, v.signatureAt.fields()...) // it holds what it signs
	}
	if c.key == nil || c.message >= len(v.messages) {
		return names, false
	}
	t := v.messages[c.message]
	if t.CoversBody() || t.Some(func(f *template.Facts) bool { return f.Fields }) {
		return nil, true
	}
	if v.scheme.BodyForm != "" {
		names = append(names, v.scheme.BodyForm)
	}
	for i := range t {
		switch t[i].Slot {
		case template.Form:
			names = append(names, t[i].Arg)
		case template.Timestamp:
			names = append(names, v.timestampAt.fields()...)
		case template.ID:
			names = append(names, v.idAt.fields()...)
		}
	}
	return names, false
}
