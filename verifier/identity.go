package verifier

import (
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
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
	field := func(name string) bool { return bodySigned || t.SignsField(name) || has(template.Form, name) }
	switch s.kind {
	case inClaim:
		return true
	case inHeader:
		return has(template.Header, s.name) || t.Has(template.KVHeaders) // which requires it in its list
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

// besideKinds are the places outside the body where a signed text may vary.
var besideKinds = map[string]place{"header": inHeader, "kv": inKV}

func (v *Rules) compileVaries() error {
	for _, text := range v.scheme.Varies {
		kind, name, beside := strings.Cut(text, ":")
		if s := (source{kind: besideKinds[kind], name: name}); beside && s.kind != 0 {
			if s.kind == inHeader {
				s.name = canonicalHeader(name)
			}
			if name == "" || s.kind == inHeader && !httptoken.Valid(name) {
				return wrong("varies", "%s: write the name after the colon", kind)
			}
			v.variesBeside = append(v.variesBeside, s)
			continue
		}
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
