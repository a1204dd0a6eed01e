package verifier

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"hash"
	"regexp"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
)

// Limits of one signature base: they bound the work before authentication.
const (
	maxComponents = 64
	maxBase       = 64 << 10 // bytes
)

const contentDigestID = `"` + contentDigestField + `"`

// httpBase builds the signature base for the components of list (RFC 9421 §2.5), and
// returns the components in serialized form.
func (c *Check) httpBase(list httpsfv.InnerList) (base []byte, covered []string, rej *Rejection) {
	if len(list.Items) > maxComponents {
		return nil, nil, reject(MalformedSignature, "a signature covers more than %d components", maxComponents)
	}
	for _, item := range list.Items {
		id, err := httpsfv.Marshal(item)
		if err != nil || !knownComponent(item) {
			return nil, nil, reject(MalformedSignature, "a signature covers %.64q, which is not a component of a request or has an unsupported parameter (sf, bs, req, tr)", id)
		}
		if slices.Contains(covered, id) {
			return nil, nil, reject(MalformedSignature, "a signature covers %.64q twice", id)
		}
		value, rej := c.component(item)
		if rej != nil {
			return nil, nil, rej
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f }) {
			return nil, nil, reject(MalformedSignature, "a signature covers %.64q, whose value is not in visible ASCII", id)
		}
		if id == contentDigestID && c.http.digests == nil && c.http.noDigest == nil {
			c.http.digests, c.http.noDigest = c.openDigest(value)
		}
		if id == contentDigestID && c.http.noDigest != nil {
			return nil, nil, c.http.noDigest
		}
		covered = append(covered, id)
		if base = append(base, id+": "+value+"\n"...); len(base) > maxBase {
			return nil, nil, reject(MalformedSignature, "a signature covers more than %d bytes", maxBase)
		}
	}
	// §2.3: re-serialized, which differs from the received text in white space at
	// most.
	params, err := httpsfv.Marshal(list)
	if err != nil {
		return nil, nil, reject(MalformedSignature, "header %s: %v", headerInput, errDictionary)
	}
	return append(base, `"@signature-params": `+params...), covered, nil
}

// component returns the value of a known component (RFC 9421 §2.1 and §2.2).
func (c *Check) component(item httpsfv.Item) (string, *Rejection) {
	path, query, _ := strings.Cut(c.req.Target, "?")
	switch name := item.Value.(string); name {
	case "@method":
		return c.req.Method, nil
	case "@target-uri":
		return c.requestOrigin() + c.req.Target, c.host(false)
	case "@authority": // normalized (RFC 9110 §4.2.3)
		scheme, authority, _ := strings.Cut(c.requestOrigin(), "://")
		return strings.TrimSuffix(strings.ToLower(authority), map[string]string{"https": ":443", "http": ":80"}[scheme]), c.host(false)
	case "@scheme":
		scheme, _, _ := strings.Cut(c.requestOrigin(), "://")
		return scheme, nil
	case "@request-target":
		return c.req.Target, nil
	case "@path":
		return orDefault(path, "/"), nil
	case "@query":
		return "?" + query, nil
	case "@query-param":
		param, _ := item.Params.Get("name")
		return c.queryParam(query, param.(string))
	default:
		if key, ok := item.Params.Get("key"); ok {
			return c.fieldMember(name, key.(string))
		}
		if name == "host" { // net/http moves it out of the headers
			return c.req.Host, c.host(true)
		}
		return c.field(name)
	}
}

// field returns a header's value. Lines are joined, as any proxy may, except for the
// digest, which this package parses itself.
func (c *Check) field(name string) (string, *Rejection) {
	lines := c.req.Header[canonicalHeader(name)]
	if len(lines) == 0 {
		return "", reject(MissingHeader, "no header %.64q, which is signed", name)
	}
	if len(lines) > 1 && name == contentDigestField {
		return "", reject(MalformedSignature, "header %s appears on %d lines", headerDigest, len(lines))
	}
	size := 0
	for _, line := range lines {
		if size += len(line) + len(", "); size > maxBase { // checked before it is copied
			return "", reject(MalformedSignature, "header %.64q, which is signed, has more than %d bytes", name, maxBase)
		}
	}
	values := make([]string, len(lines))
	for i, line := range lines {
		values[i] = strings.Trim(line, " \t")
		// HTTP/2 keeps surrounding blanks, and an id with blanks is a different id.
		if values[i] != line && slices.Contains(c.v.idAt.headers(), canonicalHeader(name)) {
			return "", reject(MalformedSignature, "header %s, the delivery's id, begins or ends in white space", name)
		}
	}
	return strings.Join(values, ", "), nil
}

// maxMembers is the longest header in bytes of which a member may be signed: real ones
// hold a few addresses.
const maxMembers = 4 << 10

// fieldMember returns a member of a header that is a dictionary (RFC 9421 §2.1.2).
func (c *Check) fieldMember(name, key string) (string, *Rejection) {
	d, parsed := c.http.fields[name]
	if !parsed {
		text, rej := c.field(name)
		if rej != nil {
			return "", rej
		}
		if len(text) <= maxMembers {
			d, _ = dictionary(text)
		}
		if c.http.fields == nil {
			c.http.fields = make(map[string]*httpsfv.Dictionary)
		}
		c.http.fields[name] = d
	}
	if d == nil {
		return "", reject(MalformedSignature, "header %.64q, a member of which is signed: %v", name, errDictionary)
	}
	member, ok := d.Get(key)
	if !ok {
		return "", reject(MissingHeader, "no member %.64q in header %.64q, which is signed", key, name)
	}
	text, err := httpsfv.Marshal(member)
	if err != nil {
		return "", reject(MalformedSignature, "header %.64q, a member of which is signed: %v", name, errDictionary)
	}
	return text, nil
}

// queryParam returns the value of a parameter that appears once, name and value
// percent-encoded (RFC 9421 §2.2.8). Others may be unsigned: a query has none if some
// readers treat two of its names as the same.
func (c *Check) queryParam(query, name string) (string, *Rejection) {
	if c.http.query == nil {
		c.http.query = make(map[string][]string)
		fields, _ := formdata.Parse([]byte(query)) // a malformed query has no parameter
		if formdata.Alike(fields) || strings.Contains(query, ";") {
			fields = nil
		}
		for _, f := range fields {
			encoded := percentEncode(f.Name)
			c.http.query[encoded] = append(c.http.query[encoded], f.Value)
		}
	}
	values := c.http.query[name]
	if len(values) != 1 {
		return "", reject(MalformedSignature, "query parameter %.64q is signed and must appear exactly once, in a query without semicolons and without names that some readers treat as the same", name)
	}
	return percentEncode(values[0]), nil
}

// percentEncode keeps what the URL Standard keeps in forms, but writes a space as
// %20.
func percentEncode(text string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("*-._", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// contentDigests are the collision-resistant algorithms of RFC 9530 §5.
var contentDigests = map[string]func() hash.Hash{"sha-256": sha256.New, "sha-512": sha512.New}

// contentDigest is one digest of the body that a delivery states.
type contentDigest struct {
	hash func() hash.Hash
	sum  []byte
}

// maxStructured is the longest structured field and the longest target in bytes: room
// for more RSA signatures than any sender offers.
const maxStructured = 16 << 10

var errDictionary = errors.New("not a dictionary in the form of RFC 9651 §4.1.2")

var withoutBlanks = strings.NewReplacer(" ", "", "\t", "")

// dictionary parses a Dictionary of RFC 9651. White space apart, it must be
// serialized as in §4.1.2: §4.2.2 silently lets the last of two equal keys win, while
// another reader may use the first.
func dictionary(text string) (*httpsfv.Dictionary, error) {
	if len(text) > maxStructured {
		return nil, errDictionary
	}
	d, err := httpsfv.UnmarshalDictionary([]string{text})
	if err != nil {
		return nil, errDictionary
	}
	written, err := httpsfv.Marshal(d)
	if err != nil || withoutBlanks.Replace(written) != withoutBlanks.Replace(text) {
		return nil, errDictionary
	}
	return d, nil
}

// byteSequence matches a member that is a byte sequence, in either alphabet of base64
// and with or without padding.
var byteSequence = regexp.MustCompile(`=:[A-Za-z0-9+/_-]*={0,2}:`)

// standardBytes writes byte sequences in base64url as RFC 9651 §4.1.8 does, if the
// sender writes them so. One with characters of both alphabets stays as it is.
func (c *Check) standardBytes(text string) string {
	if !c.v.http.urlBytes || len(text) > maxStructured {
		return text
	}
	return byteSequence.ReplaceAllStringFunc(text, func(member string) string {
		digits := strings.TrimRight(member[2:len(member)-1], "=")
		if strings.ContainsAny(digits, "-_") && strings.ContainsAny(digits, "+/") {
			return member
		}
		digits = strings.NewReplacer("-", "+", "_", "/").Replace(digits)
		return "=:" + digits + strings.Repeat("=", -len(digits)&3) + ":"
	})
}

// openDigest reads Content-Digest. Digests of other algorithms are skipped: a sender
// may add ones that this receiver does not know.
func (c *Check) openDigest(text string) ([]contentDigest, *Rejection) {
	d, err := dictionary(c.standardBytes(text))
	if err != nil {
		return nil, reject(MalformedSignature, "header %s: %v", headerDigest, err)
	}
	var digests []contentDigest
	for _, name := range c.v.http.Digests {
		member, ok := d.Get(name)
		if !ok {
			continue
		}
		item, _ := member.(httpsfv.Item)
		sum, _ := item.Value.([]byte)
		if len(sum) != contentDigests[name]().Size() {
			return nil, reject(MalformedSignature, "header %s: %s is not a digest of its size", headerDigest, name)
		}
		digests = append(digests, contentDigest{contentDigests[name], sum})
	}
	if len(digests) == 0 {
		return nil, reject(MalformedSignature, "header %s has none of %s", headerDigest, join(c.v.http.Digests))
	}
	return digests, nil
}

// allMatch reports whether all digests match the body.
func allMatch(digests []contentDigest, body []byte) bool {
	match := 1
	for _, d := range digests {
		h := d.hash()
		h.Write(body)
		match &= subtle.ConstantTimeCompare(h.Sum(nil), d.sum)
	}
	return match == 1
}
