package verifier

import (
	"crypto/subtle"
	"io"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// write feeds the signed content of t to w. All but the body goes through scratch,
// which is returned for reuse.
func (c *Check) write(w io.Writer, scratch []byte, t template.Template, secret, body []byte) ([]byte, *Rejection) {
	scratch = scratch[:0]
	bare := false // an origin without a slash precedes
	for i := range t {
		p := &t[i]
		if p.Slot == template.None {
			scratch = append(scratch, p.Literal...)
			bare = false
			continue
		}
		if p.IsBody() {
			if bare && !c.endsOrigin(body) {
				return scratch, errBareOrigin
			}
			bare = bare && len(body) == 0
			if len(scratch) > 0 {
				w.Write(scratch)
				scratch = scratch[:0]
			}
			if rej := c.writeBody(w, body); rej != nil {
				return scratch, rej
			}
			continue
		}
		if p.Slot == template.Body && p.Quoted() {
			scratch = template.WriteQuoted(w, scratch, body)
			continue
		}
		if p.Slot.Facts().Apart && len(p.Filters) == 0 {
			text, rej := c.bodySlot(p, body)
			if rej != nil {
				return scratch, rej
			}
			if !p.OneWay(text) {
				return scratch, ambiguous(p, text)
			}
			w.Write(scratch)
			w.Write(text)
			scratch = scratch[:0]
			continue
		}
		if p.Slot == template.BodyDigest {
			if !c.digestMatches(p, body) {
				return scratch, reject(SignatureMismatch, "query parameter %s is not the body's digest", p.Arg)
			}
			continue
		}
		if p.Slot == template.JSONIs {
			if text, err := c.lookup(p.Path, body); err != nil || text != p.Want {
				return scratch, errOtherKind
			}
			continue
		}
		start := len(scratch)
		var rej *Rejection
		if scratch, rej = c.appendSlot(scratch, p, secret, body); rej != nil {
			return scratch, rej
		}
		if bare && !c.endsOrigin(scratch[start:]) {
			return scratch, errBareOrigin
		}
		bare = bare && start == len(scratch) || p.Slot == template.URL && c.target() == "" || p.Slot == template.URLNoQuery && c.target() == ""
		if !p.OneWay(scratch[start:]) {
			return scratch, ambiguous(p, scratch[start:])
		}
	}
	if len(scratch) > 0 {
		w.Write(scratch)
	}
	return scratch, nil
}

// errOtherKind: the message is for another kind of deliveries.
var errOtherKind = reject(SignatureMismatch, "the body is none of the kinds whose signed content the scheme knows")

var errBareOrigin = reject(MalformedSignature, "the URL is signed without a path, so the text after it could continue it")

// ambiguous rejects a message that could be split in two ways. It names the field and
// the first offending character.
func ambiguous(p *template.Part, text []byte) *Rejection {
	for _, c := range text {
		if !p.OneWay([]byte{c}) {
			return reject(MalformedSignature, "%s, which is signed, holds %q, so the message could be read in two ways", slotWords(p), c)
		}
	}
	return reject(MalformedSignature, "%s, which is signed, could be read in two ways within the message", slotWords(p))
}

// slotWords describes a slot for a person.
func slotWords(p *template.Part) string {
	switch p.Slot {
	case template.ID:
		return "the delivery's id"
	case template.Timestamp:
		return "the timestamp"
	}
	if s := slotSource(p); s.kind != 0 {
		return s.String()
	}
	if f := p.Slot.Facts(); f.Origin || f.Path || f.Query {
		return "the URL"
	}
	return "a field"
}

// bodySlot returns the text of a slot that parses the body, computed once for all
// keys and URLs.
func (c *Check) bodySlot(p *template.Part, body []byte) ([]byte, *Rejection) {
	if !same(c.bodySlots.body, body) || c.bodySlots.texts == nil {
		c.bodySlots = bodySlots{body: body, texts: make(map[*template.Part][]byte)}
	}
	if text, ok := c.bodySlots.texts[p]; ok {
		return text, nil
	}
	text, rej := c.slotText(p, body)
	if rej != nil {
		return nil, rej
	}
	c.bodySlots.texts[p] = []byte(text)
	return c.bodySlots.texts[p], nil
}

// bodySlots holds the result of slots that parse the body.
type bodySlots struct {
	body  []byte
	texts map[*template.Part][]byte
}

// appendSlot appends the text of a slot, through its filters.
func (c *Check) appendSlot(dst []byte, p *template.Part, secret, body []byte) ([]byte, *Rejection) {
	start := len(dst)
	switch p.Slot {
	case template.Body: // without filters it is written directly
		return p.Append(dst, body), nil
	case template.Timestamp:
		if rej := c.bodyTimestamp(body); rej != nil {
			return dst, rej
		}
		dst = append(dst, c.timestamp...)
	case template.ID:
		id := c.deliveryID(body)
		if id == "" {
			return dst, reject(MissingHeader, "no delivery id, which is signed")
		}
		dst = append(dst, id...)
	case template.Secret:
		dst = append(dst, secret...)
	case template.Method, template.URL, template.URLNoQuery, template.URI, template.Path, template.Query, template.QuerySorted, template.Host:
		if p.Slot.Facts().Origin {
			if rej := c.host(p.Slot == template.Host); rej != nil {
				return dst, rej
			}
		}
		if p.Slot == template.QuerySorted && strings.Count(c.req.Target, "&") > formdata.MaxFields {
			return dst, reject(MalformedSignature, "the query is signed in the order of its names: %v", formdata.ErrFields)
		}
		dst = c.appendRequest(dst, p.Slot)
	default:
		text, rej := c.slotText(p, body)
		if rej != nil {
			return dst, rej
		}
		dst = append(dst, text...)
	}
	return p.Filter(dst, start), nil
}

func (c *Check) slotText(p *template.Part, body []byte) (string, *Rejection) {
	if rej := c.checkJSONType(p.Slot); rej != nil {
		return "", rej
	}
	switch p.Slot {
	case template.Header, template.KV, template.JSON, template.Form, template.QueryParam:
		return c.signedText(p, body)
	case template.KVHeaders:
		return c.kvHeaders(p.Arg, body)
	case template.ListedHeaders:
		return c.listedHeaders(p.Arg)
	case template.SignedHeaders:
		return c.signedHeaders(p.Arg)
	case template.JSONLines:
		return c.jsonLines(p.Members, body)
	case template.FormSorted:
		if rej := c.checkFormType(body); rej != nil {
			return "", rej
		}
		text, err := formSorted(body)
		if err != nil {
			return "", reject(MalformedSignature, "the body is signed as a form: %v", err)
		}
		return text, nil
	case template.URLFormSorted:
		if rej := c.checkFormType(body); rej != nil && c.req.Method != "GET" {
			return "", rej
		}
		return c.urlFormSorted(body)
	case template.URIEncodedTwice:
		return uriEncodedTwice(c.req.Target)
	case template.FormPHP:
		if rej := c.checkFormType(body); rej != nil {
			return "", rej
		}
		return formPHP(body, c.v.signature.Form)
	case template.FormPairs:
		if rej := c.checkFormType(body); rej != nil {
			return "", rej
		}
		return formPairs(body, p.Without)
	case template.JSONPairs:
		return c.jsonPairs(p, body)
	}
	return "", reject(MalformedSignature, "the message has a slot without a value")
}

// statesDigest reports whether the URL has the parameter with the body's digest. If
// so, messages without that comparison are not accepted.
func (c *Check) statesDigest() bool {
	if c.v.bodyDigest == "" {
		return false
	}
	_, query, _ := strings.Cut(c.req.Target, "?")
	fields, err := formdata.Parse([]byte(query))
	return err != nil || slices.ContainsFunc(fields, func(f formdata.Field) bool { return f.Name == c.v.bodyDigest })
}

// digestMatches reports whether the parameter of the signed URL equals the body's
// digest, through the slot's filters.
func (c *Check) digestMatches(p *template.Part, body []byte) bool {
	_, query, _ := strings.Cut(c.req.Target, "?")
	stated, err := formdata.Value([]byte(query), p.Arg)
	if err != nil {
		return false
	}
	return subtle.ConstantTimeCompare(p.Append(nil, body), []byte(strings.ToLower(stated))) == 1
}

// slotSource is the source of a slot's text, for slots that have one.
func slotSource(p *template.Part) source {
	switch p.Slot {
	case template.Header:
		return source{kind: inHeader, name: p.Arg}
	case template.KV:
		return source{kind: inKV, name: p.Arg}
	case template.QueryParam:
		return source{kind: inQuery, name: p.Arg, alone: true}
	case template.JSON:
		return source{kind: inJSON, name: p.Arg, path: p.Path}
	case template.Form:
		return source{kind: inForm, name: p.Arg, alone: true}
	}
	return source{}
}

// signedText returns the text of such a slot.
func (c *Check) signedText(p *template.Part, body []byte) (string, *Rejection) {
	s := slotSource(p)
	text, err := c.read(&s, body)
	if p.Optional && err == jsonpath.ErrNoValue { // not for an object or array
		return "", nil
	}
	if err == nil && text == "" && s.kind == inForm {
		err = errEmpty
	}
	if err == nil {
		return text, nil
	}
	missing := MalformedSignature
	if s.kind == inHeader {
		missing = MissingHeader
	}
	return "", s.refused(err, missing, MalformedSignature, ", which is signed")
}
