package verifier

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// Some senders sign the URL and the body as one text that does not say where the URL
// ends: https://host/hook?shop=42 with the field 3=x is signed as
// https://host/hook?shop=423x. An attacker who captured a delivery could move bytes
// between query and body. These checks accept only what genuine deliveries have in
// common, which leaves one possible boundary, or a few for forms.

// boundary refuses a genuine signature over a text that could be divided elsewhere.
func (c *Check) boundary(body []byte) *Rejection {
	if c.message >= len(c.v.messages) {
		return nil
	}
	switch t := c.v.messages[c.message]; {
	case t.RunsInto(template.Body):
		return c.bodyBoundary(body)
	case t.RunsInto(template.FormSorted):
		return c.formBoundary(body)
	case t.Has(template.URLFormSorted):
		return c.urlFormBoundary(body)
	case t.Has(template.BodyDigest):
		return c.digestBoundary()
	}
	return nil
}

// twins refuses a body that is ambiguous to another of the scheme's messages: what
// only that one signs may be what the app reads.
func (c *Check) twins(body []byte) *Rejection {
	if len(c.v.messages) == 1 || !c.v.aloneJSON {
		return nil
	}
	for _, t := range c.v.messages {
		for i := range t {
			if p := &t[i]; len(p.Path) > 0 {
				if _, err := c.lookup(p.Path, body); err != nil && !errors.Is(err, jsonpath.ErrNoValue) {
					return reject(MalformedSignature, "%s of the body: %v", p.Arg, err)
				}
			}
		}
	}
	return nil
}

// bodyBoundary requires a body that is empty or starts with a byte that no URL holds,
// as JSON objects and XML do, or with a bracket and then such a byte, as arrays of
// objects do. Brackets in the URL must be balanced.
func (c *Check) bodyBoundary(body []byte) *Rejection {
	if len(body) > 0 && template.IsURI(body[0]) && !(body[0] == '[' && len(body) > 1 && !template.IsURI(body[1])) {
		return reject(MalformedSignature, "the start of the body could be the end of the URL, which is signed before it: only JSON objects, arrays of objects, or text that cannot be in a URL may follow")
	}
	open := 0
	for i := range len(c.req.Target) {
		switch c.req.Target[i] {
		case '[':
			open++
		case ']':
			open--
		}
		if open < 0 {
			break
		}
	}
	if open != 0 {
		return reject(MalformedSignature, "the URL, which is signed before the body, has an unmatched bracket, which could belong to the body")
	}
	return nil
}

// formBoundary: a GET has no body, the first name after a query begins with a letter,
// and the query ends in a value.
func (c *Check) formBoundary(body []byte) *Rejection {
	if c.bodyless() {
		return refuseBody(body)
	}
	fields, err := formdata.Parse(body)
	if err != nil {
		return reject(MalformedSignature, "the body is signed as a form: %v", err)
	}
	_, query, has := strings.Cut(c.req.Target, "?")
	if len(fields) == 0 {
		if has {
			return errMovedForm
		}
		return nil
	}
	formdata.Sort(fields)
	first := fields[0].Name
	if has && (first == "" || !isLetter(first[0])) || first != "" && strings.IndexByte("?/", first[0]) >= 0 {
		return reject(MalformedSignature, "the first name of the form, which is signed after the URL, could begin with the end of the URL")
	}
	if has && (query == "" || strings.IndexByte("&=%?", query[len(query)-1]) >= 0 || len(query) > 1 && query[len(query)-2] == '%') {
		return reject(MalformedSignature, "the query, which is signed before the form, does not end in a complete value: the rest could be in the form")
	}
	return nil
}

// urlFormBoundary: a dot separates the query from the form, so the query must not
// hold one.
func (c *Check) urlFormBoundary(body []byte) *Rejection {
	if c.bodyless() {
		return refuseBody(body)
	}
	_, query, _ := strings.Cut(c.req.Target, "?")
	fields, err := formdata.Parse([]byte(query))
	if err != nil {
		return reject(MalformedSignature, "the URL's query, which is signed: %v", err)
	}
	for _, f := range fields {
		if strings.Contains(f.Name, ".") || strings.Contains(f.Value, ".") {
			return reject(MalformedSignature, "the query, which is signed before a dot and the form, holds a dot: register the URL without one in its query")
		}
	}
	if form, err := formdata.Parse(body); len(fields) > 0 && (err != nil || len(form) == 0) {
		return errMovedForm
	}
	return nil
}

// digestBoundary: the parameter with the body's digest must be the last of the URL,
// where the sender appends it. Elsewhere it could be the text of a field that another
// message signs after the URL.
func (c *Check) digestBoundary() *Rejection {
	last := c.req.Target[strings.LastIndexAny(c.req.Target, "?&")+1:]
	if name, _, _ := strings.Cut(last, "="); name != c.v.bodyDigest {
		return reject(MalformedSignature, "query parameter %s, which digests the body, is not the last of the URL", c.v.bodyDigest)
	}
	return nil
}

var errMovedForm = reject(MalformedSignature, "the URL has a query, which is signed before the form, and the form has no fields: they could be in the query")

func (c *Check) bodyless() bool { return c.req.Method == "GET" || c.req.Method == "HEAD" }

func refuseBody(body []byte) *Rejection {
	if len(body) == 0 {
		return nil
	}
	return reject(MalformedSignature, "a GET or HEAD has a body, which could be the end of the URL signed before it")
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// extension refuses genuine content that continues other content. A plain hash that ends
// in what the sender signed is the hash's state there, so anyone with one delivery can
// sign it with the hash's padding and more text behind it (length extension). Genuine
// content never holds its own padding: that would need a length in bits that is right.
func (c *Check) extension(body []byte) *Rejection {
	if c.key == nil || !facts[c.key.algorithm].plain || !facts[c.key.algorithm].weak {
		return nil
	}
	var content bytes.Buffer
	if _, rej := c.write(&content, nil, c.v.messages[c.message], c.key.secret, body); rej != nil {
		return rej
	}
	if holdsPadding(content.Bytes()) {
		return reject(SignatureMismatch, "the signed content continues that of another delivery (length extension of a plain hash): a forgery")
	}
	return nil
}

// holdsPadding reports whether a part of content is the padding of all before it, in SHA-1
// and SHA-256 alike (FIPS 180-4 §5.1.1): a bit, zeros, and the length in bits, to the end
// of a block.
func holdsPadding(content []byte) bool {
	const block, length = 64, 8
	for i, b := range content {
		if b != 0x80 {
			continue
		}
		end := (i + 1 + length + block - 1) / block * block
		if end > len(content) {
			return false
		}
		if zeros := content[i+1 : end-length]; strings.Trim(string(zeros), "\x00") == "" &&
			binary.BigEndian.Uint64(content[end-length:end]) == uint64(i)*8 {
			return true
		}
	}
	return false
}
