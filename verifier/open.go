package verifier

import (
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// open checks all that headers alone decide: a signature is there and can be read
// one way, the timestamp is fresh.
func (c *Check) open() *Rejection {
	if rej := c.openSignatures(); rej != nil {
		return rej
	}
	if rej := c.openSources(); rej != nil {
		return rej
	}
	if v := c.v; v.scheme.Timestamp != nil && !v.timestamp.inside() && v.http == nil { // there each signature has its own
		return c.readTimestamp()
	}
	return nil
}

func (c *Check) openSignatures() *Rejection {
	s := &c.v.signature
	switch {
	case c.v.http != nil:
		return c.openHTTP()
	case s.Query != "":
		return c.openQuery(s.Query)
	case len(s.Header) == 0:
		return nil // it stands in the body: see bodySignature
	}
	present := ""
	for i, name := range s.Header {
		if lines := c.req.Header[name]; s.Lines == "any" && len(lines) > 1 {
			for _, value := range lines {
				if rej := c.addAll(uint8(i), value); rej != nil {
					return rej
				}
			}
			present = name
			if s.Match == "first_present" {
				break
			}
			continue
		}
		value, rej := c.single(name, MalformedSignature)
		if rej != nil {
			return rej
		}
		if value == "" {
			if s.Match == "all" {
				return reject(MissingSignature, "no header %s", name)
			}
			continue
		}
		present = name
		if rej := c.addAll(uint8(i), value); rej != nil {
			return rej
		}
		if s.Match == "first_present" {
			break
		}
	}
	if present == "" {
		return reject(MissingSignature, "no header %s", strings.Join(s.Header, " or "))
	}
	return c.readable()
}

// openQuery reads a signature that stands in the URL.
func (c *Check) openQuery(name string) *Rejection {
	_, query, _ := strings.Cut(c.req.Target, "?")
	text, err := formdata.Value([]byte(query), name)
	if err != nil || text == "" {
		if !strings.Contains(query, name) {
			return reject(MissingSignature, "no query parameter %s", name)
		}
		return reject(MalformedSignature, "query parameter %s does not stand once", name)
	}
	if rej := c.addAll(0, text); rej != nil {
		return rej
	}
	return c.readable()
}

// readable reports whether there is a candidate to verify at all.
func (c *Check) readable() *Rejection {
	switch {
	case c.count == 0 && c.malformed != nil:
		return c.malformed
	case c.count == 0:
		return reject(MalformedSignature, "%s holds no signature of the scheme's kind", c.v.signature.place(0))
	}
	return nil
}

// openSources reads timestamp, id and signed headers. Each may stand on one
// line only: of two, the app might read the other.
func (c *Check) openSources() *Rejection {
	v := c.v
	for _, name := range v.timestamp.Header {
		value, rej := c.single(name, MalformedTimestamp)
		if rej != nil {
			return rej
		}
		if c.timestamp == "" {
			c.timestamp = value
		}
	}
	for _, name := range v.id.Header {
		value, rej := c.single(name, MalformedSignature)
		if rej != nil {
			return rej
		}
		if c.id == "" {
			c.id = value
		}
	}
	if rej := c.headerKeyID(); rej != nil {
		return rej
	}
	if len(v.messages) != 1 {
		return nil // a token, or alternatives: one may lack a header that another signs
	}
	for _, p := range v.messages[0] {
		switch p.Slot {
		case template.Header:
			if _, rej := c.headerText(p.Arg); rej != nil {
				return rej
			}
		case template.SignedHeaders:
			if _, rej := c.signedHeaders(p.Arg); rej != nil {
				return rej
			}
		case template.KV:
			if _, rej := c.kvText(p.Arg); rej != nil {
				return rej
			}
		case template.ID:
			if c.id == "" && len(v.id.Header) > 0 {
				return reject(MissingHeader, "no header %s, which is signed", strings.Join(v.id.Header, " or "))
			}
		}
	}
	return nil
}

// single returns a header's value, "" if it is absent; several lines are
// malformed for the given reason.
func (c *Check) single(name string, malformed Reason) (string, *Rejection) {
	lines := c.req.Header[name]
	switch len(lines) {
	case 0:
		return "", nil
	case 1:
		return lines[0], nil
	}
	return "", reject(malformed, "header %s stands on %d lines", name, len(lines))
}
