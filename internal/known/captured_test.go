package known_test

import (
	"bytes"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/known"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A captured delivery, and the verifier that judges it.
type captured struct {
	v    *verifier.Verifier
	req  *verifier.Request
	body []byte
	now  time.Time
}

func capture(t *testing.T, p *providers.Provider, vec *providers.Vector) *captured {
	t.Helper()
	scheme := p.Scheme
	scheme.Params = vec.Params
	key := verifier.Key{Text: vec.Secret}
	if vec.PublicKey != "" {
		key = verifier.Key{Text: vec.PublicKey, Kind: verifier.PublicKey}
	}
	v, err := verifier.New(scheme, []verifier.Key{key})
	if err != nil {
		t.Fatal(err)
	}
	c := &captured{v: v, body: []byte(vec.Body), now: time.Unix(vec.Now, 0)}
	if vec.BodyBase64 != nil {
		c.body = vec.BodyBase64
	}
	c.req = &verifier.Request{Method: vec.Method, Header: make(map[string][]string)}
	for name, value := range vec.Headers {
		name = textproto.CanonicalMIMEHeaderKey(name)
		c.req.Header[name] = append(c.req.Header[name], value) // some have two spellings
	}
	if vec.URL != "" {
		u, err := url.Parse(vec.URL)
		if err != nil {
			t.Fatal(err)
		}
		c.req.Host, c.req.Target, c.req.TLS = u.Host, u.RequestURI(), u.Scheme == "https"
	}
	// Vectors may lack what real deliveries have beside the signature.
	var beside []string
	if id := p.Scheme.DeliveryID; id != nil && len(id.Header) > 0 && !rules(p).SignsID() {
		beside = append(beside, id.Header[0])
	}
	if len(p.EventHeader) > 0 {
		beside = append(beside, p.EventHeader[0])
	}
	if len(p.OriginHeader) > 0 {
		beside = append(beside, p.OriginHeader[0])
	}
	for _, name := range beside {
		if name = textproto.CanonicalMIMEHeaderKey(name); len(c.req.Header[name]) == 0 {
			c.req.Header[name] = []string{"genuine-0001"}
		}
	}
	return c
}

func (c *captured) clone() *captured {
	d, req := *c, *c.req
	req.Header = make(map[string][]string)
	for name, lines := range c.req.Header {
		req.Header[name] = slices.Clone(lines)
	}
	d.req, d.body = &req, bytes.Clone(c.body)
	return &d
}

// key verifies the delivery and identifies it as the handler does.
func (c *captured) key(p *providers.Provider) (dedupe.Key, bool, error) {
	check, _, err := c.v.Open(c.req, c.now)
	if err != nil {
		return dedupe.Key{}, false, err
	}
	if _, _, err := check.Verify(c.body); err != nil {
		return dedupe.Key{}, false, err
	}
	facts := known.Facts(p, rules(p), p.Methods)
	d := dedupe.Delivery{Content: check.Content(c.body)}
	d.ID, _ = check.DeliveryID(c.body)
	if facts.EventUnsigned {
		d.Event = known.Lines(c.req.Header, p.DecidingHeaders())
	}
	if facts.MethodUnsigned {
		d.Method = c.req.Method
	}
	key, ok := dedupe.IdentityOf(facts).Key(dedupe.NamedScope("x"), p.ID, d)
	return key, ok, nil
}

// An alteration is what somebody without a key can do to a captured delivery.
type alteration struct {
	unsigned string // what it changes that may be unsigned: id, event, method, body; "" if nothing that counts
	apply    func(*captured) bool
}

func alterations(p *providers.Provider) map[string]alteration {
	all := map[string]alteration{
		"the same again": {"", func(*captured) bool { return true }},
		"a second later": {"", func(c *captured) bool { c.now = c.now.Add(time.Second); return true }},
		"a space behind the body": {"body", func(c *captured) bool {
			c.body = append(c.body, ' ')
			return true
		}},
		"a member more": {"body", func(c *captured) bool {
			i := bytes.IndexByte(c.body, '{')
			if i >= 0 {
				c.body = slices.Concat(c.body[:i+1], []byte(`"zzz":1,`), c.body[i+1:])
			}
			return i >= 0
		}},
		"a field more":                  {"body", func(c *captured) bool { c.body = append(c.body, "&zzz=1"...); return true }},
		"form fields in another order":  {unsignedForm(p), func(c *captured) bool { return c.editForm(slices.Reverse) }},
		"form fields escaped otherwise": {unsignedForm(p), func(c *captured) bool { return c.editForm(escapeOtherwise) }},
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
		all["Content-Type: "+kind] = alteration{"", func(c *captured) bool { c.req.Header["Content-Type"] = []string{kind}; return true }}
	}
	for _, method := range p.Methods {
		all["method "+method] = alteration{"method", func(c *captured) bool { c.req.Method = method; return true }}
	}
	all["another User-Agent"] = alteration{"", func(c *captured) bool { c.req.Header["User-Agent"] = []string{"x"}; return true }}
	if id := p.Scheme.DeliveryID; id != nil {
		headers(all, "id", id.Header)
	}
	headers(all, "event", p.DecidingHeaders())
	if id := p.Scheme.DeliveryID; id != nil && len(id.Header) > 0 {
		name := textproto.CanonicalMIMEHeaderKey(id.Header[0])
		all["a blank behind "+name] = alteration{"", func(c *captured) bool {
			lines := c.req.Header[name]
			if len(lines) == 1 {
				lines[0] += " "
			}
			return len(lines) == 1
		}}
	}
	return all
}

func headers(all map[string]alteration, what string, names []string) {
	for _, name := range names {
		name := textproto.CanonicalMIMEHeaderKey(name)
		all["another "+name] = alteration{what, func(c *captured) bool { c.req.Header[name] = []string{"fresh-0001"}; return true }}
		all["no "+name] = alteration{what, func(c *captured) bool {
			had := len(c.req.Header[name]) > 0
			delete(c.req.Header, name)
			return had
		}}
		all["an empty "+name] = alteration{what, func(c *captured) bool { c.req.Header[name] = []string{""}; return true }}
		all["a second line of "+name] = alteration{what, func(c *captured) bool {
			c.req.Header[name] = append(c.req.Header[name], "fresh-0001")
			return true
		}}
	}
}

// unsignedForm says whether the way a form is written may count: not where its
// fields are what is signed.
func unsignedForm(p *providers.Provider) string {
	if rules(p).SignsContent() {
		return ""
	}
	return "body"
}

func (c *captured) editForm(edit func([]string)) bool {
	fields := strings.Split(string(c.body), "&")
	if len(fields) < 2 {
		return false
	}
	edit(fields)
	c.body = []byte(strings.Join(fields, "&"))
	return true
}

func escapeOtherwise(fields []string) {
	const digits = "0123456789abcdef"
	for i, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		if text, err := url.QueryUnescape(value); err == nil && text != "" {
			fields[i] = name + "=%" + string([]byte{digits[text[0]>>4], digits[text[0]&15]}) + url.QueryEscape(text[1:])
		}
	}
}
