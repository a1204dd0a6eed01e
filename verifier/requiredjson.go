package verifier

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"maps"
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

// requiredJSON is a path of the body and what may stand there.
type requiredJSON struct {
	name   string
	path   jsonpath.Path
	values [][sha256.Size]byte
}

func (v *Rules) compileRequiredJSON() (err error) {
	for _, name := range slices.Sorted(maps.Keys(v.scheme.RequireJSON)) {
		r := requiredJSON{name: name}
		if r.path, err = jsonpath.Parse(name); err != nil {
			return wrong("require_json", "%v", err)
		}
		if len(v.scheme.RequireJSON[name]) == 0 {
			return wrong("require_json", "%s: no value: name the values that pass", name)
		}
		for _, text := range v.scheme.RequireJSON[name] {
			t, err := v.scheme.parse(text)
			if err != nil {
				return wrong("require_json", "%s: %v", name, err)
			}
			value, ok := t.Text()
			if !ok || value == "" {
				return wrong("require_json", "%s: only text and {param:…} may stand in a value", name)
			}
			r.values = append(r.values, sha256.Sum256([]byte(value)))
		}
		v.requiredJSON = append(v.requiredJSON, r)
	}
	return nil
}

// checkRequiredJSON looks before the signature: who does not even know the
// values must not make the gateway fetch a key.
func (c *Check) checkRequiredJSON(body []byte) *Rejection {
	for i := range c.v.requiredJSON {
		r := &c.v.requiredJSON[i]
		text, err := c.lookup(r.path, body)
		if errors.Is(err, jsonpath.ErrNoValue) {
			return reject(MissingHeader, "no %s in the body, which is required", r.name)
		}
		if err != nil {
			return reject(HeaderMismatch, "%s of the body is required: %v", r.name, err)
		}
		got, match := sha256.Sum256([]byte(text)), 0
		for j := range r.values {
			match |= subtle.ConstantTimeCompare(got[:], r.values[j][:])
		}
		if match == 0 {
			return reject(HeaderMismatch, "%s of the body has none of its required values", r.name)
		}
	}
	return nil
}
