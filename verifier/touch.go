package verifier

import (
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// Touching returns two slots of a message, in template syntax, that nothing separates:
// who captured a delivery can move bytes from one to the other, and it is still genuine.
// Empty texts if there are none.
func (v *Rules) Touching() (first, second string) {
	for _, t := range v.messages {
		a, b := t.Touching(v.bodyForm(t), v.settles)
		if a != nil {
			return template.Template{*a}.String(), template.Template{*b}.String()
		}
	}
	return "", ""
}

// bodyForm returns what the body of a delivery must be.
func (v *Rules) bodyForm(t template.Template) template.BodyForm {
	ts := v.scheme.Timestamp
	switch {
	case v.scheme.BodyForm == "" && (t.Has(template.JSON) || v.timestampAt.are(inJSON) && !ts.Off && !ts.Optional || len(v.scheme.RequireJSON) > 0):
		return template.JSONBody
	case v.opening != "":
		return template.Opened
	}
	return template.AnyBody
}

// settles reports whether a part must be the time, or one of a few texts.
func (v *Rules) settles(p *template.Part) bool {
	is := func(s source) bool {
		return p.Slot == template.Header && s.kind == inHeader && s.name == p.Arg || p.Slot == template.JSON && s.kind == inJSON && s.name == p.Arg
	}
	ts := v.scheme.Timestamp
	timed := ts != nil && !ts.Off && v.timestamp.Unit != "iso8601_utc" && len(v.timestampAt) == 1 && is(v.timestampAt[0])
	return len(p.Filters) == 0 && (timed || slices.ContainsFunc(v.required, func(r required) bool { return !r.any && is(r.source) }))
}
