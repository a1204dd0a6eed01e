package verifier

import (
	"errors"
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

// bodyJSON is what the scheme's paths lead to in a body's JSON, read once for all
// of them: a sender's message may name eight.
type bodyJSON struct {
	body   []byte
	err    error // of the form field that wraps the JSON
	values []jsonpath.Value
}

// collectPaths lists the paths that may be looked up before a delivery is
// verified. Others, of handshakes, are read in small bodies alone.
func (v *Verifier) collectPaths() {
	add := func(p jsonpath.Path) {
		if len(p) > 0 {
			v.paths = append(v.paths, p)
		}
	}
	for _, p := range v.signaturePaths {
		add(p)
	}
	add(v.timestampPath)
	add(v.idPath)
	add(v.keyIDPath)
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

// lookup finds a scalar in the JSON of the body, or of the form field that wraps it.
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
		j.values[i].Path = p
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
	text, err := c.formValue(body, c.v.scheme.BodyForm)
	if err == formdata.ErrNoValue {
		err = jsonpath.ErrNotJSON // the member is not missing: there is no JSON
	}
	return []byte(text), err
}

// same reports whether two bodies are the same bytes in memory.
func same(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// formValue returns the one value of a field of the body, which its Content-Type
// may say is multipart/form-data.
func (c *Check) formValue(body []byte, name string) (string, error) {
	return formdata.ValueAs(c.contentType(), body, name)
}

// contentType is the Content-Type of the request, "" of none and of several.
func (c *Check) contentType() string {
	if lines := c.req.Header["Content-Type"]; len(lines) == 1 {
		return lines[0]
	}
	return ""
}

// noValue reports whether a text that was looked for in a body is not there.
func noValue(err error) bool {
	return errors.Is(err, jsonpath.ErrNoValue) || errors.Is(err, formdata.ErrNoValue)
}
