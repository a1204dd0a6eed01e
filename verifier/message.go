package verifier

import (
	"cmp"
	"crypto/subtle"
	"io"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

// write feeds the signed content of t to w. Everything around the body passes
// through scratch, which is returned for reuse.
func (c *Check) write(w io.Writer, scratch []byte, t template, secret, body []byte) ([]byte, *Rejection) {
	scratch = scratch[:0]
	bare := false // an origin without a slash stands before
	for i := range t {
		p := &t[i]
		if p.slot == slotNone {
			scratch = append(scratch, p.literal...)
			bare = false
			continue
		}
		if p.slot == slotBody && len(p.filters) == 0 {
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
		if p.slot == slotBody && len(p.filters) == 1 && p.filters[0].kind == quoted {
			scratch = writeJSONString(w, scratch, body)
			continue
		}
		if p.slot.takesApart() && len(p.filters) == 0 {
			text, rej := c.takenApart(p, body)
			if rej != nil {
				return scratch, rej
			}
			if !p.guard.oneWay(text) {
				return scratch, p.twoWays(text)
			}
			w.Write(scratch)
			w.Write(text)
			scratch = scratch[:0]
			continue
		}
		if p.slot == slotBodyDigest {
			if !c.digestMatches(p, body) {
				return scratch, reject(SignatureMismatch, "query parameter %s is not the body's digest", p.arg)
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
		bare = bare && start == len(scratch) || p.slot == slotURL && c.target() == "" || p.slot == slotURLNoQuery && c.target() == ""
		if !p.guard.oneWay(scratch[start:]) {
			return scratch, p.twoWays(scratch[start:])
		}
	}
	if len(scratch) > 0 {
		w.Write(scratch)
	}
	return scratch, nil
}

var errBareOrigin = reject(MalformedSignature, "what follows the URL, which is signed without a path, could be more of it")

// twoWays is the rejection of a message that would split in two ways. It names
// the field and the character, the first that is one too many.
func (p *part) twoWays(text []byte) *Rejection {
	for _, c := range text {
		if !p.guard.oneWay([]byte{c}) {
			return reject(MalformedSignature, "%s, which is signed, holds %q, which would let the message be read in two ways", p.source(), c)
		}
	}
	return reject(MalformedSignature, "%s, which is signed, would let the message be read in two ways", p.source())
}

// source names what fills a slot, for a person.
func (p *part) source() string {
	switch p.slot {
	case slotJSON:
		return p.arg + " of the body"
	case slotForm:
		return "form field " + p.arg
	case slotHeader:
		return "header " + p.arg
	case slotID:
		return "the delivery's id"
	case slotTimestamp:
		return "the timestamp"
	case slotURL, slotURLNoQuery, slotURI, slotURIEncodedTwice, slotPath, slotQuery, slotQuerySorted, slotHost:
		return "the URL"
	}
	return "a field"
}

// takenApart returns what fills a slot that takes the body apart, which is done
// once for all keys and URLs.
func (c *Check) takenApart(p *part, body []byte) ([]byte, *Rejection) {
	if !same(c.apart.body, body) || c.apart.texts == nil {
		c.apart = apart{body: body, texts: make(map[*part][]byte)}
	}
	if text, ok := c.apart.texts[p]; ok {
		return text, nil
	}
	text, rej := c.slotText(p, body)
	if rej != nil {
		return nil, rej
	}
	c.apart.texts[p] = []byte(text)
	return c.apart.texts[p], nil
}

// apart is what slots have made of a body.
type apart struct {
	body  []byte
	texts map[*part][]byte
}

// appendSlot appends what fills a slot, through its filters.
func (c *Check) appendSlot(dst []byte, p *part, secret, body []byte) ([]byte, *Rejection) {
	start := len(dst)
	chain := p.filters
	switch {
	case p.slot == slotTimestamp && c.timestamp != "": // the usual ones first
		dst = append(dst, c.timestamp...)
	case p.slot == slotID && c.id != "":
		dst = append(dst, c.id...)
	case p.slot == slotBody:
		dst = chain[0].apply(dst, body) // a body without filters never comes here
		chain = chain[1:]
	case p.slot == slotSecret:
		dst = append(dst, secret...)
	case p.slot >= slotMethod && p.slot <= slotHost:
		if p.slot == slotURL || p.slot == slotURLNoQuery || p.slot == slotHost {
			if rej := c.host(p.slot == slotHost); rej != nil {
				return dst, rej
			}
		}
		if p.slot == slotQuerySorted && strings.Count(c.req.Target, "&") > formdata.MaxFields {
			return dst, reject(MalformedSignature, "the query is signed in the order of its names: %v", formdata.ErrFields)
		}
		dst = c.appendRequest(dst, p.slot)
	default:
		text, rej := c.slotText(p, body)
		if rej != nil {
			return dst, rej
		}
		dst = append(dst, text...)
	}
	for _, f := range chain {
		end := len(dst)
		dst = f.apply(dst, dst[start:end])
		dst = append(dst[:start], dst[end:]...)
	}
	return dst, nil
}

func (c *Check) slotText(p *part, body []byte) (string, *Rejection) {
	switch p.slot {
	case slotTimestamp:
		if rej := c.bodyTimestamp(body); rej != nil {
			return "", rej
		}
		return c.timestamp, nil
	case slotID:
		id := c.deliveryID(body)
		if id == "" {
			return "", reject(MissingHeader, "no delivery id, which is signed")
		}
		return id, nil
	case slotHeader:
		return c.headerText(p.arg)
	case slotListedHeaders:
		return c.listedHeaders(p.arg)
	case slotSignedHeaders:
		return c.signedHeaders(p.arg)
	case slotKV:
		return c.kvText(p.arg)
	case slotJSON:
		text, err := c.lookup(p.path, body)
		if p.optional && err == jsonpath.ErrNoValue {
			return "", nil
		}
		if err != nil {
			return "", reject(MalformedSignature, "%s of the body is signed: %v", p.arg, err)
		}
		return text, nil
	case slotForm:
		text, err := c.formValue(body, p.arg)
		if err != nil {
			return "", reject(MalformedSignature, "form field %s is signed: %v", p.arg, err)
		}
		if text == "" {
			return "", reject(MalformedSignature, "form field %s is signed and empty", p.arg)
		}
		return text, nil
	case slotJSONLines:
		return c.jsonLines(p.lines, body)
	case slotFormSorted:
		text, err := formSorted(body)
		if err != nil {
			return "", reject(MalformedSignature, "the body is signed as a form: %v", err)
		}
		return text, nil
	case slotURLFormSorted:
		return c.urlFormSorted(body)
	case slotURIEncodedTwice:
		return uriEncodedTwice(c.req.Target)
	case slotFormPHP:
		return formPHP(body, c.v.signature.Form)
	}
	return "", reject(MalformedSignature, "the message has a slot that nothing fills")
}

// statesDigest reports whether the URL has the parameter that a message compares
// with the body: then no message without the comparison counts.
func (c *Check) statesDigest() bool {
	if c.v.bodyDigest == "" {
		return false
	}
	_, query, _ := strings.Cut(c.req.Target, "?")
	fields, err := formdata.Parse([]byte(query))
	return err != nil || slices.ContainsFunc(fields, func(f formdata.Field) bool { return f.Name == c.v.bodyDigest })
}

// digestMatches reports whether a parameter of the signed URL is the body's
// digest, through the slot's filters.
func (c *Check) digestMatches(p *part, body []byte) bool {
	_, query, _ := strings.Cut(c.req.Target, "?")
	stated, err := formdata.Value([]byte(query), p.arg)
	if err != nil {
		return false
	}
	text := body
	for _, f := range p.filters {
		text = f.apply(nil, text)
	}
	return subtle.ConstantTimeCompare(text, []byte(strings.ToLower(stated))) == 1
}

func (c *Check) headerText(name string) (string, *Rejection) {
	value, rej := c.single(name, MalformedSignature)
	if rej == nil && value == "" {
		rej = reject(MissingHeader, "no header %s, which is signed", name)
	}
	return value, rej
}

// appendRequest fills the slots of method and URL, as they were received.
func (c *Check) appendRequest(dst []byte, s slot) []byte {
	path, query, _ := strings.Cut(c.req.Target, "?")
	switch s {
	case slotMethod:
		return append(dst, c.req.Method...)
	case slotURL:
		return append(c.appendOrigin(dst), c.target()...)
	case slotURLNoQuery:
		path, _, _ = strings.Cut(c.target(), "?")
		return append(c.appendOrigin(dst), path...)
	case slotURI:
		return append(dst, c.req.Target...)
	case slotPath:
		return append(dst, path...)
	case slotQuery:
		return append(dst, query...)
	case slotQuerySorted:
		return append(dst, sortedQuery(query)...)
	}
	return append(dst, c.req.Host...)
}

func sortedQuery(query string) string {
	if query == "" {
		return ""
	}
	pairs := strings.Split(query, "&")
	slices.SortStableFunc(pairs, func(a, b string) int {
		a, _, _ = strings.Cut(a, "=")
		b, _, _ = strings.Cut(b, "=")
		return cmp.Compare(a, b)
	})
	return strings.Join(pairs, "&")
}

// host refuses one that holds a path: HTTP/2 lets it by, and what of the URL is
// the path, which names the route, would be anybody's choice. Behind public_url
// only a message that has the host itself looks at it.
func (c *Check) host(itself bool) *Rejection {
	if (itself || c.v.origin == "") && strings.ContainsAny(c.req.Host, "/?#") {
		return reject(MalformedSignature, "the request's host, which is signed, is none")
	}
	return nil
}

// requestOrigin is the origin without credentials, which are for nobody to read.
func (c *Check) requestOrigin() string {
	if c.v.origin != "" {
		return c.v.publicOrigin
	}
	return string(c.appendOrigin(nil))
}

func (c *Check) appendOrigin(dst []byte) []byte {
	switch {
	case c.url.other:
		return append(dst, c.url.origin...)
	case c.v.origin != "":
		return append(dst, c.v.origin...)
	case c.req.TLS:
		return append(append(dst, "https://"...), c.req.Host...)
	}
	return append(append(dst, "http://"...), c.req.Host...)
}
