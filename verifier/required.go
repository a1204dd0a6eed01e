package verifier

import (
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"slices"
	"strings"
)

// required is a text that every delivery must have, with its accepted values.
type required struct {
	source
	any    bool
	values [][sha256.Size]byte // digests, which also hide lengths
}

func (r *required) allow(value string) {
	r.values = append(r.values, sha256.Sum256([]byte(value)))
}

// allows compares all values in constant time.
func (r *required) allows(text string) bool {
	got, match := sha256.Sum256([]byte(text)), 0
	for i := range r.values {
		match |= subtle.ConstantTimeCompare(got[:], r.values[i][:])
	}
	return match == 1 || r.any
}

func (v *Rules) compileRequired() error {
	for _, h := range v.scheme.RequireHeader {
		s, err := newSource(inHeader, h.Name)
		switch {
		case err != nil:
			return wrong("require_header", "%v", err)
		case len(h.Values) == 0:
			return wrong("require_header", "%s: no value: name the accepted values, or * for any", h.Name)
		case len(h.Values) > 1 && slices.Contains(h.Values, "*"):
			return wrong("require_header", "%s: * accepts any value: remove it, or the others", h.Name)
		case strings.EqualFold(h.Name, "Host"):
			return wrong("require_header", "Host is the address of the site: write it there")
		}
		r := required{source: s, any: slices.Contains(h.Values, "*")}
		for _, value := range h.Values {
			if value == "" {
				return wrong("require_header", "%s: an empty value proves nothing: write the value, or * for any", h.Name)
			}
			r.allow(value)
		}
		v.required = append(v.required, r)
	}
	return nil
}

func (v *Rules) compileRequiredJSON() error {
	for _, name := range slices.Sorted(maps.Keys(v.scheme.RequireJSON)) {
		s, err := newSource(inJSON, name)
		if err != nil {
			return wrong("require_json", "%v", err)
		}
		if len(v.scheme.RequireJSON[name]) == 0 {
			return wrong("require_json", "%s: no value: name the accepted values", name)
		}
		r := required{source: s}
		for _, text := range v.scheme.RequireJSON[name] {
			t, err := v.scheme.parse(text)
			if err != nil {
				return wrong("require_json", "%s: %v", name, err)
			}
			value, ok := t.Text()
			if !ok || value == "" {
				return wrong("require_json", "%s: a value may hold only text and {param:…}", name)
			}
			r.allow(value)
		}
		v.requiredJSON = append(v.requiredJSON, r)
	}
	return nil
}

// checkRequired reports the first text that is missing or has an unexpected value.
func (c *Check) checkRequired(all []required, body []byte) *Rejection {
	for i := range all {
		text, rej := c.require(all[i].source, body, MissingHeader, HeaderMismatch, ", which is required")
		if rej == nil && !all[i].allows(text) {
			rej = reject(HeaderMismatch, "%s has an unexpected value", all[i].source)
		}
		if rej != nil {
			return rej
		}
	}
	return nil
}
