package verifier

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// Canonical forms that a template cannot express, named for what they do;
// docs/providers.md says which sender signs which.

// signedHeaders writes the headers listed in a header ("a,b") as "a:value;b:value",
// names in lower case and sorted. The list and the timestamp's header must be among
// them, or an attacker could replace them.
func (c *Check) signedHeaders(list string) (string, *Rejection) {
	text, rej := c.headerText(list)
	if rej != nil {
		return "", rej
	}
	names, rej := listedNames(list, text)
	if rej != nil {
		return "", rej
	}
	for _, must := range append([]string{list}, c.v.timestampAt.headers()...) {
		if !slices.Contains(names, strings.ToLower(must)) {
			return "", reject(MalformedSignature, "header %s does not list %s, which must be signed", list, must)
		}
	}
	var b strings.Builder
	for i, name := range names {
		value := c.req.Host // net/http moves it out of the headers
		if name != "host" {
			if value, rej = c.headerText(canonicalHeader(name)); rej != nil {
				return "", rej
			}
		}
		value = strings.TrimSpace(value)
		if holdsHeader(value, names) {
			return "", reject(MalformedSignature, "header %s holds text that lets the signed headers be read in two ways", canonicalHeader(name))
		}
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(name + ":" + value)
	}
	return b.String(), nil
}

// kvHeaders writes the list of headers in a key beside the signature ("a b") and their
// values as "a b.1.2", as Hook0 does. What follows is a dot and the body.
//
// There must be one way to split this. A name has no dot, nor has any value but the
// last; the body begins with a bracket, which no value holds. An id's
// header must be listed if it is there, or an attacker could add one.
func (c *Check) kvHeaders(key string, body []byte) (string, *Rejection) {
	at := source{kind: inKV, name: key}
	list := c.list
	if list == "" {
		var err error
		if list, err = c.read(&at, nil); err != nil {
			return "", at.refused(err, MalformedSignature, MalformedSignature, ", which lists the signed headers")
		}
	}
	if strings.Count(list, " ") >= maxListed {
		return "", reject(MalformedSignature, "%s lists more than %d headers", at, maxListed)
	}
	var seen []string
	b := []byte(list)
	last := strings.Count(list, " ")
	for name := range strings.SplitSeq(list, " ") {
		canonical := canonicalHeader(name)
		if len(name) > maxHeaderName || !httptoken.Valid(name) || strings.Contains(name, ".") || slices.Contains(seen, canonical) {
			return "", reject(MalformedSignature, "%s lists an invalid header name, or one header twice", at)
		}
		value, rej := c.headerText(canonical)
		if rej != nil {
			return "", rej
		}
		if strings.ContainsAny(value, "{[\"\r\n") || len(seen) < last && strings.Contains(value, ".") {
			return "", reject(MalformedSignature, "header %s, which is signed, holds text that lets the message be read in two ways", canonical)
		}
		seen = append(seen, canonical)
		b = append(append(b, '.'), value...)
	}
	for _, must := range c.v.idAt.headers() {
		if len(c.req.Header[must]) > 0 && !slices.Contains(seen, must) {
			return "", reject(MalformedSignature, "%s does not list header %s, which must be signed", at, must)
		}
	}
	if len(body) == 0 || body[0] != '{' && body[0] != '[' {
		return "", reject(MalformedSignature, "the body, which is signed after headers, is neither a JSON object nor an array")
	}
	return string(b), nil
}

// listedNames reads a list of header names, in lower case and sorted.
func listedNames(list, text string) ([]string, *Rejection) {
	if strings.Count(text, ",") >= maxListed {
		return nil, reject(MalformedSignature, "header %s lists more than %d headers", list, maxListed)
	}
	names := strings.Split(text, ",")
	for i := range names {
		name := strings.TrimSpace(names[i])
		if len(name) > maxHeaderName || !httptoken.Valid(name) {
			return nil, reject(MalformedSignature, "header %s lists an invalid header name", list)
		}
		names[i] = strings.ToLower(name)
	}
	slices.Sort(names)
	for i := 1; i < len(names); i++ {
		if names[i] == names[i-1] {
			return nil, reject(MalformedSignature, "header %s lists a header twice", list)
		}
	}
	return names, nil
}

// holdsHeader reports whether a value contains what looks like the next of the sorted
// names, ";name:".
func holdsHeader(value string, names []string) bool {
	for {
		_, after, found := strings.Cut(value, ";")
		if !found {
			return false
		}
		end := strings.IndexAny(after, ":;") // neither occurs in a name
		if end < 0 {
			return false
		}
		if _, listed := slices.BinarySearch(names, after[:end]); listed && after[end] == ':' {
			return true
		}
		value = after[end:]
	}
}

// uriEncodedTwice escapes the query as one component and then the whole URI again,
// including the earlier escapes: ECMA-262's encodeURI over the escaped query.
func uriEncodedTwice(target string) (string, *Rejection) {
	path, query, has := strings.Cut(target, "?")
	if strings.Contains(query, "?") { // the sender's library drops its second part
		return "", reject(MalformedSignature, "the URL, which is signed, has two question marks")
	}
	if len(target) > maxStructured { // one byte may become five
		return "", reject(MalformedSignature, "the URL, which is signed, has more than %d bytes", maxStructured)
	}
	const uri, component = ";,/?:@&=+$-_.!~*'()#", "-_.!~*'()"
	b := appendEscaped(nil, path, uri, "%")
	if has && query != "" {
		b = appendEscaped(append(b, '?'), query, component, "%25")
	}
	return string(b), nil
}

// appendEscaped escapes all but letters, digits and keep, writing percent for a
// percent sign.
func appendEscaped(dst []byte, text, keep, percent string) []byte {
	const digits = "0123456789ABCDEF"
	kept := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c) || strings.IndexByte(keep, c) >= 0
	}
	size := len(text)
	for i := range len(text) {
		if !kept(text[i]) {
			size += len(percent) + 1
		}
	}
	dst = slices.Grow(dst, size)
	for i := range len(text) {
		if c := text[i]; kept(c) {
			dst = append(dst, c)
		} else {
			dst = append(append(dst, percent...), digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// urlFormSorted writes the URL with the fields of its query sorted, then those of a
// form body, sorted and without separators: "https://host/path?a=1&b=2.Name1Name2".
// For GET, only the query.
func (c *Check) urlFormSorted(body []byte) (string, *Rejection) {
	path, raw, _ := strings.Cut(c.req.Target, "?")
	query, err := formdata.Parse([]byte(raw))
	if err != nil {
		return "", reject(MalformedSignature, "the URL's query, which is signed: %v", err)
	}
	var fields []formdata.Field
	if c.req.Method != "GET" {
		if fields, err = formdata.Parse(body); err != nil {
			return "", reject(MalformedSignature, "the body is signed as a form: %v", err)
		}
		if formdata.Alike(fields) {
			return "", reject(MalformedSignature, "the body is signed as a form: %v", errAlike)
		}
	}
	formdata.Sort(query)
	formdata.Sort(fields)
	var b strings.Builder
	b.Write(c.appendOrigin(nil))
	b.WriteString(path)
	if len(query)+len(fields) > 0 {
		b.WriteByte('?')
	}
	for i, f := range query {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(f.Name + "=" + f.Value)
	}
	if len(query) > 0 && len(fields) > 0 {
		b.WriteByte('.')
	}
	return formdata.Join(b.String(), fields), nil
}

// formSorted joins names and values without separators, sorted bytewise, repeated
// pairs once: what Twilio signs for a form.
func formSorted(body []byte) (string, error) {
	fields, err := formdata.Parse(body)
	if err != nil {
		return "", err
	}
	if formdata.Alike(fields) {
		return "", errAlike
	}
	formdata.Sort(fields)
	return formdata.Join("", slices.Compact(fields)), nil
}

var errAlike = errors.New("two of its names differ, but some readers treat them as the same")

// formPHP serializes a form without its signature as PHP does an array of texts
// sorted by name. Each text follows its length, so there is one way to read it. Names
// that PHP would not read as plain keys (numbers, arrays, dots) and repeated names
// are refused.
func formPHP(body []byte, signature string) (string, *Rejection) {
	fields, err := formdata.Parse(body)
	if err != nil {
		return "", reject(MalformedSignature, "the body is signed as a form: %v", err)
	}
	if formdata.Alike(fields) {
		return "", reject(MalformedSignature, "the body is signed as a form: %v", errAlike)
	}
	fields = slices.DeleteFunc(fields, func(f formdata.Field) bool { return f.Name == signature })
	formdata.Sort(fields)
	size := 16
	for _, f := range fields {
		size += len(f.Name) + len(f.Value) + 2*len(`s:1234567:"";`)
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString("a:" + strconv.Itoa(len(fields)) + ":{")
	for i, f := range fields {
		if f.Name == "" || isDigit(f.Name[0]) || strings.Trim(f.Name, phpName) != "" || i > 0 && f.Name == fields[i-1].Name {
			return "", reject(MalformedSignature, "a field of the form, which is signed, has a name that appears twice or is not a plain key")
		}
		writePHPString(&b, f.Name)
		writePHPString(&b, f.Value)
	}
	b.WriteByte('}')
	return b.String(), nil
}

// formPairs writes a form without some fields as "a=1&b=2", sorted bytewise by name.
func formPairs(body []byte, without []string) (string, *Rejection) {
	fields, err := formdata.Parse(body)
	if err != nil {
		return "", reject(MalformedSignature, "the body is signed as a form: %v", err)
	}
	if formdata.Alike(fields) {
		return "", reject(MalformedSignature, "the body is signed as a form: %v", errAlike)
	}
	formdata.Sort(fields)
	return joinPairs(fields, without, '&')
}

// joinPairs joins sorted fields without some of them as name=value. There must be one
// way to split this: a name has neither an equals sign nor the separator, is there
// once, and what follows a separator within a value does not look like the next pair.
func joinPairs(fields []formdata.Field, without []string, separator byte) (string, *Rejection) {
	var b []byte
	for i, f := range fields {
		if i > 0 && f.Name == fields[i-1].Name {
			return "", reject(MalformedSignature, "a field, which is signed, is there twice")
		}
		if slices.Contains(without, f.Name) {
			continue
		}
		_, within, found := strings.Cut(f.Value, string(separator))
		if f.Name == "" || strings.ContainsAny(f.Name, "="+string(separator)) || found && strings.Contains(within, "=") {
			return "", reject(MalformedSignature, "a field, which is signed, holds %q, so the message could be read in two ways", separator)
		}
		if len(b) > 0 {
			b = append(b, separator)
		}
		b = append(append(append(b, f.Name...), '='), f.Value...)
	}
	return string(b), nil
}

const phpName = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

func writePHPString(b *strings.Builder, text string) {
	b.WriteString("s:" + strconv.Itoa(len(text)) + `:"`)
	b.WriteString(text)
	b.WriteString(`";`)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

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

// jsonPairs writes an object's members but some as "A=1,b=2", sorted by name in any
// case of the letters.
func (c *Check) jsonPairs(p *template.Part, body []byte) (string, *Rejection) {
	body, err := c.jsonText(body)
	if err != nil {
		return "", reject(MalformedSignature, "members of the body are signed: %v", err)
	}
	members, err := p.Path.Scalars(body, p.Without)
	if err != nil {
		return "", reject(MalformedSignature, "members of the body are signed: %v", err)
	}
	var fields []formdata.Field
	for name, value := range members {
		fields = append(fields, formdata.Field{Name: name, Value: value})
	}
	slices.SortFunc(fields, func(a, b formdata.Field) int {
		return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return joinPairs(fields, nil, ',')
}
