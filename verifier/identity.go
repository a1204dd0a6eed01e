package verifier

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

func (v *Rules) compileDeliveryID() (err error) {
	if v.scheme.DeliveryID == nil {
		return nil
	}
	all := v.scheme.DeliveryID.sources()
	if len(all) == 0 && v.scheme.DeliveryID.Off {
		return wrong("delivery_id", "off: the scheme has no delivery id to switch off: drop the line")
	}
	if v.idAt, err = v.compileSources("delivery_id", all, "header, json, form or claim"+orEither); err != nil {
		return err
	}
	v.idSigned = v.http != nil && v.http.signsID(v.idAt) || v.everyMessage(func(t template.Template) bool {
		return t.Proves(template.ID, "") || v.signs(t, v.idAt, t.Proves)
	})
	return nil
}

// signs reports whether a message signs the text at a place, with a slot for which
// has returns true.
func (v *Rules) signs(t template.Template, all sources, has func(template.Slot, string) bool) bool {
	if len(all) != 1 {
		return false
	}
	s := all[0]
	bodySigned := v.bodySigned || t.CoversBody()
	field := func(name string) bool { return bodySigned || t.Has(template.FormPHP) || has(template.Form, name) }
	switch s.kind {
	case inClaim:
		return true
	case inHeader:
		return has(template.Header, s.name)
	case inForm:
		return field(s.name)
	case inJSON:
		return (bodySigned || has(template.JSON, s.name) || t.ProvesMember(s.name)) && (s.form == "" || field(s.form))
	}
	return false
}

// DeliveryID returns the id of the delivery, "" if it has none, and whether the
// signature covers it: an attacker who replays a captured body can choose an id that
// is not covered. Call it after Verify has accepted the same body.
//
// An id in the body that is ambiguous (invalid JSON, a repeated member, not a scalar)
// is no id.
func (c *Check) DeliveryID(body []byte) (id string, signed bool) {
	if c.v.scheme.DeliveryID == nil || c.v.scheme.DeliveryID.Off {
		return "", false
	}
	id = c.deliveryID(body)
	return id, id != "" && c.v.idSigned
}

func (c *Check) deliveryID(body []byte) string {
	if c.id != "" || !c.v.idAt.inside() {
		return c.id
	}
	id, err := c.read(&c.v.idAt[0], body)
	if err != nil {
		return ""
	}
	return id
}

// Content returns the part of a delivery by which copies are recognised if it has no
// id: the signed content as parsed, not as written, because an attacker who captured
// a delivery can reorder or re-escape a form, or compress the body again. It is
//
//   - the signed part of path and query: two steps of one call may post equal forms
//     to ?step=1 and ?step=2;
//   - the fields of a form in signed order, if those are signed;
//   - the SHA-256 of the decompressed body, with body_decoded;
//   - otherwise the body, without the members that vary between attempts.
//
// Text that is signed without separators has none here either: however it is divided
// into path, query and fields, it is the same delivery. The origin is left out, since
// some senders sign it sometimes with a port and sometimes without.
//
// It is empty if there is neither a body nor a signed query. Call it after Verify has
// accepted the same body.
func (c *Check) Content(body []byte) []byte {
	url, told := c.signedURL()
	if len(body) == 0 && !told {
		return nil
	}
	if c.v.scheme.BodyDecoded {
		sum := sha256.New()
		_ = c.writeBody(sum, body) // Verify has already succeeded
		return sum.Sum(url)
	}
	if text, ok := c.signedForm(url, body); ok {
		return text
	}
	if len(url) == 0 {
		return c.v.withoutVarying(body)
	}
	return slices.Concat(binary.AppendUvarint(nil, uint64(len(url))), url, c.v.withoutVarying(body))
}

// signedForm returns the form's fields as the message holds them, after the URL.
func (c *Check) signedForm(url, body []byte) (text []byte, ok bool) {
	if c.message >= len(c.v.messages) {
		return nil, false
	}
	switch t := c.v.messages[c.message]; {
	case t.CoversBody():
	case t.Has(template.FormSorted):
		text, err := formSorted(body)
		return append(url, text...), err == nil
	case t.Has(template.URLFormSorted):
		text, rej := c.urlFormSorted(body)
		if rej != nil {
			return nil, false
		}
		return []byte(text[len(c.appendOrigin(nil)):]), true
	case t.Has(template.FormPHP):
		text, rej := formPHP(body, c.v.signature.Form)
		return append(url, text...), rej == nil
	}
	return nil, false
}

// signedURL returns the path and query that the message signs, and whether there is a
// query.
func (c *Check) signedURL() (text []byte, query bool) {
	if c.v.signature.Query != "" { // it differs in each attempt
		return nil, false
	}
	path, raw, _ := strings.Cut(c.req.Target, "?")
	if h := c.v.http; h != nil {
		whole := h.covers("@target-uri") || h.covers("@request-target")
		if whole || h.covers("@path") {
			text = append(text, path...)
		}
		if whole || h.covers("@query") {
			text, query = append(append(text, '?'), raw...), raw != ""
		}
		return text, query
	}
	if c.message >= len(c.v.messages) {
		return nil, false
	}
	for i := range c.v.messages[c.message] {
		p := &c.v.messages[c.message][i]
		f := p.Slot.Facts()
		if !f.Path && !f.Query || len(p.Filters) > 0 {
			continue
		}
		query = query || f.Query && raw != ""
		switch p.Slot {
		case template.URL:
			text = append(text, c.target()...)
		case template.URLNoQuery:
			path, _, _ := strings.Cut(c.target(), "?")
			text = append(text, path...)
		case template.URLFormSorted: // see signedForm
		default:
			text, _ = c.appendSlot(text, p, nil, nil)
		}
	}
	return text, query
}

func (v *Rules) compileVaries() error {
	for _, text := range v.scheme.Varies {
		path, err := jsonpath.Parse(text)
		if err != nil {
			return wrong("varies", "%v", err)
		}
		v.varies = append(v.varies, path)
	}
	return nil
}

// withoutVarying removes the values that vary between attempts of one delivery. A
// body in which they are ambiguous is returned unchanged.
func (v *Rules) withoutVarying(body []byte) []byte {
	var cuts []jsonpath.Span
	for _, path := range v.varies {
		found, err := path.Spans(body)
		if err != nil {
			return body
		}
		cuts = append(cuts, found...)
	}
	if len(cuts) == 0 {
		return body
	}
	slices.SortFunc(cuts, func(a, b jsonpath.Span) int { return a.Start - b.Start })
	out, at := make([]byte, 0, len(body)), 0
	for _, cut := range cuts {
		if cut.Start >= at { // otherwise it is inside the previous one
			out, at = append(out, body[at:cut.Start]...), cut.End
		}
	}
	return append(out, body[at:]...)
}
