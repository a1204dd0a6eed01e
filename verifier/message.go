package verifier

import (
	"cmp"
	"crypto/subtle"
	"errors"
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

// checkJSONType refuses JSON of which only members are signed unless the Content-Type
// says that it is JSON: an app that goes by another one, such as that of a form, would
// read what is hidden in an unsigned member.
func (c *Check) checkJSONType(s template.Slot) *Rejection {
	reads := s == template.JSON && c.v.aloneJSON || s == template.JSONLines || s == template.JSONPairs
	if !reads || c.v.scheme.BodyForm != "" {
		return nil
	}
	if err := cmp.Or(formdata.CheckJSONType(c.req.Header["Content-Type"]), c.checkCoding()); err != nil {
		return reject(MalformedSignature, "members of the body are signed as JSON: %v", err)
	}
	return nil
}

// checkFormType refuses signed form fields under a Content-Type that makes the app
// read other fields: the signature's own field could hold an entire form.
func (c *Check) checkFormType(body []byte) *Rejection {
	if len(body) == 0 {
		return nil
	}
	if err := cmp.Or(formdata.CheckType(c.req.Header["Content-Type"]), c.checkCoding()); err != nil {
		return reject(MalformedSignature, "the body is signed as a form: %v", err)
	}
	return nil
}

// checkType refuses an unsigned Content-Type under which the app would find another text
// in the signed bytes. A token signs none: anyone with a captured one can send any.
func (c *Check) checkType(body []byte) *Rejection {
	if c.v.typeFixed || c.v.http == nil && c.key == nil {
		return nil
	}
	if err := formdata.CheckText(c.req.Header["Content-Type"], body); err != nil {
		return reject(MalformedSignature, "the Content-Type, which is not signed: %v", err)
	}
	return nil
}

// checkCoding refuses a Content-Encoding: an app that undoes it would find other fields
// than the signed ones, in a stream before them.
func (c *Check) checkCoding() error {
	lines := c.req.Header["Content-Encoding"]
	if len(lines) == 0 || len(lines) == 1 && strings.EqualFold(lines[0], "identity") {
		return nil
	}
	return errors.New("it has a Content-Encoding, so the app may read something else")
}

// jsonLines writes the content of the slot.
func (c *Check) jsonLines(lines []jsonpath.Member, body []byte) (string, *Rejection) {
	body, err := c.jsonText(body)
	if err != nil {
		return "", reject(MalformedSignature, "members of the body are signed: %v", err)
	}
	texts, err := jsonpath.Members(body, lines)
	if err != nil {
		return "", reject(MalformedSignature, "members of the body are signed: %v", err)
	}
	var b strings.Builder
	for i, l := range lines {
		switch text := texts[i]; {
		case text == nil && l.Optional:
		case text == nil:
			return "", reject(MalformedSignature, "member %s of the body is signed and missing", l.Name)
		case i > 0 && strings.Contains(*text, "\n"):
			return "", reject(MalformedSignature, "member %s of the body holds a line feed, so the message could be read in two ways", l.Name)
		default:
			b.WriteString(l.Name + "\n" + *text + "\n")
		}
	}
	return b.String(), nil
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

// appendRequest appends the method or URL as received.
func (c *Check) appendRequest(dst []byte, s template.Slot) []byte {
	path, query, _ := strings.Cut(c.req.Target, "?")
	switch s {
	case template.Method:
		return append(dst, c.req.Method...)
	case template.URL:
		return append(c.appendOrigin(dst), c.target()...)
	case template.URLNoQuery:
		path, _, _ = strings.Cut(c.target(), "?")
		return append(c.appendOrigin(dst), path...)
	case template.URI:
		return append(dst, c.req.Target...)
	case template.Path:
		return append(dst, path...)
	case template.Query:
		return append(dst, query...)
	case template.QuerySorted:
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

// host refuses a host that contains a path, which HTTP/2 allows: an attacker could
// then choose which part of the URL is the path, and so the route. With public_url it
// matters only to a message that has the host itself.
func (c *Check) host(itself bool) *Rejection {
	if (itself || c.v.origin == "") && strings.ContainsAny(c.req.Host, "/?#") {
		return reject(MalformedSignature, "the request's host, which is signed, is not a host name")
	}
	return nil
}

// requestOrigin returns the origin without credentials.
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
