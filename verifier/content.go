package verifier

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// Content returns the part of a delivery by which copies are recognised if it has no
// id: the signed content as parsed, not as written, because an attacker who captured
// a delivery can reorder or re-escape a form, or compress the body again. It is
//
//   - the signed part of path and query: two steps of one call may post equal forms
//     to ?step=1 and ?step=2;
//   - the method, headers and keys beside the signature, if signed: a DELETE may have
//     the body of a POST. Not those that differ in each attempt: see signedBeside;
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
	text := c.bodyContent(url, body)
	if beside := c.signedBeside(); len(beside) > 0 {
		return slices.Concat(binary.AppendUvarint(nil, uint64(len(beside))), beside, text)
	}
	return text
}

// bodyContent returns the content of URL and body.
func (c *Check) bodyContent(url, body []byte) []byte {
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
	case t.Has(template.FormPairs):
		text, rej := formPairs(body, t[0].Without)
		return append(url, text...), rej == nil
	}
	return nil, false
}

// signedURL returns the path and query that the signature covers, and whether there
// is a query.
func (c *Check) signedURL() (text []byte, query bool) {
	path, raw, _ := strings.Cut(c.req.Target, "?")
	if h := c.v.http; h != nil {
		whole := h.covers("@target-uri") || h.covers("@request-target")
		if whole || h.covers("@path") {
			text = append(text, path...)
		}
		if whole || h.covers("@query") {
			text, query = append(append(text, '?'), raw...), raw != ""
		}
		for _, item := range h.items {
			if item.Value == "@query-param" {
				value, _ := c.component(item) // Verify has already succeeded
				text, query = appendField(text, value), true
			}
		}
		return text, query
	}
	for p := range c.signedParts() {
		f := p.Slot.Facts()
		if !f.Path && !f.Query || f.Query && c.v.signature.Query != "" { // which differs in each attempt
			continue
		}
		query = query || f.Query && raw != ""
		start := len(text)
		switch p.Slot {
		case template.URL:
			text = p.Filter(append(text, c.target()...), start)
		case template.URLNoQuery:
			path, _, _ := strings.Cut(c.target(), "?")
			text = p.Filter(append(text, path...), start)
		case template.URLFormSorted: // see signedForm
		default:
			text, _ = c.appendSlot(text, p, nil, nil)
		}
	}
	return text, query
}

// signedParts yields the parts of what matched: the message, or the claims of a JWT.
func (c *Check) signedParts() iter.Seq[*template.Part] {
	return func(yield func(*template.Part) bool) {
		if c.message >= len(c.v.messages) {
			return
		}
		all := c.v.messages[c.message : c.message+1]
		for i := range c.v.claims {
			all = append(all[:len(all):len(all)], c.v.claims[i].want)
		}
		for _, t := range all {
			for i := range t {
				if !yield(&t[i]) {
					return
				}
			}
		}
	}
}

// signedBeside returns the method, headers and keys beside the signature that it
// covers, each with its name, except those that differ between attempts: the
// timestamp, the signing key's id, Date, and what the scheme lists in varies. The
// delivery's id identifies by itself, and the host never counts.
func (c *Check) signedBeside() (text []byte) {
	if h := c.v.http; h != nil {
		for _, item := range h.items {
			switch name := item.Value.(string); {
			case name == "@method", name[0] != '@' && name != contentDigestField && c.countsHeader(name):
				value, _ := c.component(item) // Verify has already succeeded
				text = appendField(appendField(text, name), value)
			}
		}
		return text
	}
	for p := range c.signedParts() {
		switch p.Slot {
		case template.Header:
			if !c.countsHeader(p.Arg) {
				continue
			}
		case template.KV:
			if c.v.variesIn(inKV, p.Arg) {
				continue
			}
		case template.SignedHeaders, template.ListedHeaders, template.KVHeaders:
			text = c.appendListed(text, p)
			continue
		case template.Method, template.QueryParam:
		default:
			continue
		}
		value, _ := c.appendSlot(nil, p, nil, nil)
		text = appendField(appendField(text, p.Slot.Facts().Name+" "+p.Arg), string(value))
	}
	return text
}

// appendListed appends the headers that a list names, but not the list.
func (c *Check) appendListed(text []byte, p *template.Part) []byte {
	var list string
	switch p.Slot {
	case template.ListedHeaders:
		list, _ = jsonpath.Top(p.Arg).Lookup(c.jws.header)
	case template.KVHeaders:
		list, _ = c.pairText(p.Arg)
		list = strings.ReplaceAll(list, " ", ",")
	default:
		list, _ = c.headerText(p.Arg)
	}
	names, _ := listedNames(p.Arg, list)
	for _, name := range names {
		if !strings.EqualFold(name, p.Arg) && c.countsHeader(name) {
			value, _ := c.headerText(canonicalHeader(name))
			text = appendField(appendField(text, name), strings.TrimSpace(value))
		}
	}
	return text
}

// countsHeader reports whether a signed header distinguishes deliveries.
func (c *Check) countsHeader(name string) bool {
	name = canonicalHeader(name)
	v := c.v
	return name != "Date" && name != "Host" && !v.variesIn(inHeader, name) &&
		!slices.Contains(v.timestampAt.headers(), name) && !slices.Contains(v.idAt.headers(), name) &&
		!slices.Contains(v.keyIDAt.headers(), name)
}

// variesIn reports whether the scheme says that a text outside the body differs
// between attempts.
func (v *Rules) variesIn(kind place, name string) bool {
	return slices.ContainsFunc(v.variesBeside, func(s source) bool { return s.kind == kind && s.name == name })
}

// appendField appends a text that its length separates from the next.
func appendField(dst []byte, text string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}
