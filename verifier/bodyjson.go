package verifier

import (
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

// bodyJSON holds the values of the scheme's paths in a JSON body, read once for all:
// a message may name eight.
type bodyJSON struct {
	body   []byte
	err    error // from the form field that wraps the JSON
	values []jsonpath.Value
}

// collectPaths lists the paths read before a delivery is verified. Those of
// handshakes are read only in small bodies.
func (v *Rules) collectPaths() {
	v.aloneJSON = !v.coversBody()
	add := func(p jsonpath.Path) {
		if len(p) > 0 {
			v.paths = append(v.paths, p)
		}
	}
	for _, s := range slices.Concat(v.signatureAt, v.timestampAt, v.idAt, v.keyIDAt) {
		if s.kind == inJSON {
			add(s.path)
		}
	}
	for _, r := range v.requiredJSON {
		add(r.path)
	}
	for _, t := range v.messages {
		for i := range t {
			add(t[i].Path)
		}
	}
	for i := range v.claims {
		for j := range v.claims[i].want {
			add(v.claims[i].want[j].Path)
		}
	}
}

// lookup returns a scalar of the JSON in the body, or in the form field that wraps
// it.
func (c *Check) lookup(path jsonpath.Path, body []byte) (string, error) {
	i := slices.IndexFunc(c.v.paths, func(p jsonpath.Path) bool { return &p[0] == &path[0] })
	if i < 0 {
		text, err := c.jsonText(body)
		if err != nil {
			return "", err
		}
		return path.Lookup(text)
	}
	if c.json == nil || !same(c.json.body, body) {
		c.json = c.readJSON(body)
	}
	if c.json.err != nil {
		return "", c.json.err
	}
	return c.json.values[i].Text()
}

func (c *Check) readJSON(body []byte) *bodyJSON {
	text, err := c.jsonText(body)
	j := &bodyJSON{body: body, err: err, values: make([]jsonpath.Value, len(c.v.paths))}
	for i, p := range c.v.paths {
		j.values[i].Path, j.values[i].Alone = p, c.v.aloneJSON
	}
	if err == nil {
		jsonpath.LookupAll(text, j.values)
	}
	return j
}

func (c *Check) jsonText(body []byte) ([]byte, error) {
	if c.v.scheme.BodyForm == "" {
		return body, nil
	}
	text, err := c.aloneInForm(body, c.v.scheme.BodyForm)
	if err == formdata.ErrNoValue {
		err = jsonpath.ErrNotJSON // not a missing member: there is no JSON
	}
	return []byte(text), err
}

// same reports whether two bodies are the same memory.
func same(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
