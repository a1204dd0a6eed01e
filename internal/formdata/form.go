// Package formdata reads the fields of unverified forms: urlencoded ones, including
// URL queries, and multipart/form-data.
//
// It is strict, so that every reader of the form finds the same: a bad escape is an
// error, and a field has a value only if it appears once. It is bounded: it reads at
// most [MaxFields] fields, and [Value] keeps only the requested value.
//
// It does not know what a field means.
package formdata

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// MaxFields limits the fields of a form or the parameters of a URL, as PHP, Express
// and Go's multipart reader do. It bounds the cost of an unauthenticated body: in a
// megabyte of "a&a&…" each field would take sixteen times its length.
const MaxFields = 1000

// Errors that callers distinguish; a form can be malformed in other ways too.
var (
	ErrNoValue = errors.New("no such field")
	ErrFields  = fmt.Errorf("more than %d fields", MaxFields)
)

var (
	errForm   = errors.New("not a form with exactly one such field")
	errEscape = errors.New("a percent sign without two hex digits")
)

// OnRead is called with the length of each text before it is read. Only tests set it,
// to measure the cost of a request.
var OnRead func(length int)

func reads(text []byte) {
	if OnRead != nil {
		OnRead(len(text))
	}
}

// A Field is a field of a form, decoded.
type Field struct{ Name, Value string }

// cutPair cuts the first pair off an urlencoded form, undecoded. Empty pairs
// ("a=1&&b=2") are skipped. ok is false at the end.
func cutPair(form []byte) (name, value, rest []byte, ok bool) {
	for len(form) > 0 && form[0] == '&' {
		form = form[1:]
	}
	pair, rest, _ := bytes.Cut(form, []byte{'&'})
	name, value, _ = bytes.Cut(pair, []byte{'='})
	return name, value, rest, len(pair) > 0
}

// Parse parses application/x-www-form-urlencoded strictly: a bad escape is an error.
// Fields keep their order.
func Parse(form []byte) ([]Field, error) {
	n, err := countFields(form)
	if err != nil || n == 0 {
		return nil, err
	}
	reads(form)
	fields := make([]Field, 0, n)
	for {
		name, value, rest, ok := cutPair(form)
		if !ok {
			return fields, nil
		}
		if !validEscapes(name) || !validEscapes(value) {
			return nil, errEscape
		}
		f := Field{unescape(name), unescape(value)}
		fields, form = append(fields, f), rest
	}
}

func countFields(form []byte) (n int, err error) {
	reads(form)
	for {
		_, _, rest, ok := cutPair(form)
		if !ok {
			return n, nil
		}
		if n++; n > MaxFields {
			return n, ErrFields
		}
		form = rest
	}
}

// Value returns the only value of a field of an urlencoded form: ErrNoValue if there
// is none, another error if there are several. It is as strict as Parse.
func Value(form []byte, name string) (string, error) { return value(form, name, false) }

// value is Value, with alone as ValueAlone.
func value(form []byte, name string, alone bool) (string, error) {
	reads(form)
	var found []byte
	for n, seen := 0, false; ; n++ {
		key, value, rest, ok := cutPair(form)
		switch {
		case !ok && !seen:
			return "", ErrNoValue
		case !ok:
			return unescape(found), nil
		case n == MaxFields:
			return "", ErrFields
		case !validEscapes(key) || !validEscapes(value):
			return "", errEscape
		case alone && isAlike(unescape(key), name):
			return "", errAlike
		}
		if isEscapeOf(key, name) {
			if seen {
				return "", errForm
			}
			found, seen = value, true
		}
		form = rest
	}
}

// unescape decodes a text with valid escapes like url.QueryUnescape, without
// allocating more than the result.
func unescape(text []byte) string {
	escapes := bytes.Count(text, []byte{'%'})
	if escapes == 0 && bytes.IndexByte(text, '+') < 0 {
		return string(text)
	}
	var b strings.Builder
	b.Grow(len(text) - 2*escapes)
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '+':
			b.WriteByte(' ')
		case '%':
			b.WriteByte(hexDigit(text[i+1])<<4 | hexDigit(text[i+2]))
			i += 2
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String()
}

func hexDigit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 0x20 - 'a') + 10
}

// validEscapes reports whether two hex digits follow each percent sign.
func validEscapes(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '%')
		if i < 0 {
			return true
		}
		if len(text) < i+3 || !isHex(text[i+1]) || !isHex(text[i+2]) {
			return false
		}
		text = text[i+3:]
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// isEscapeOf reports whether a text with valid escapes decodes to name.
func isEscapeOf(text []byte, name string) bool {
	if !bytes.ContainsAny(text, "%+") {
		return string(text) == name
	}
	if len(text) > 3*len(name) { // avoid the copy
		return false
	}
	return unescape(text) == name
}

// ValueAs is Value for a body of a content type, which may be multipart/form-data.
// Any other type is read as urlencoded.
func ValueAs(contentType string, body []byte, name string) (string, error) {
	if kind, params := parseType(contentType); kind == multipartForm {
		return multipartValue(body, params["boundary"], name, false)
	}
	return Value(body, name)
}

// ValueIn is Value for a body whose first line shows the kind of form.
func ValueIn(body []byte, name string) (string, error) {
	first, _, _ := bytes.Cut(body, lineBreak)
	if boundary, ok := bytes.CutPrefix(first, []byte("--")); ok && len(boundary) > 0 {
		return multipartValue(body, string(boundary), name, false)
	}
	return Value(body, name)
}

const (
	urlencodedForm = "application/x-www-form-urlencoded"
	multipartForm  = "multipart/form-data"
)

// Is reports whether a content type is that of a form, or may be to a reader that
// takes what does not parse (application/x-www-form-urlencoded;x) or goes by its
// beginning (multipart/form-data+json).
func Is(contentType string) bool {
	kind, _ := parseType(contentType)
	return strings.HasPrefix(kind, urlencodedForm) || strings.HasPrefix(kind, multipartForm) ||
		kind == "" && (len(contentType) > maxType || strings.Contains(strings.ToLower(contentType), "form"))
}

func isForm(kind string) bool { return kind == urlencodedForm || kind == multipartForm }

// maxType is the longest accepted content type in bytes: in "a/b;c=d;…" each
// parameter would take several times its length.
const maxType = 512

// parseType parses a content type that all readers parse alike; of any other, kind is
// "". Readers disagree on parameters of RFC 2231 (charset*=), on one that is there twice,
// and on signs in quotes; some search the whole text for "boundary" or "charset". A
// second type among the parameters, as Alipay sends it, is one to none of them.
func parseType(contentType string) (kind string, params map[string]string) {
	if len(contentType) > maxType || !plainType.MatchString(contentType) {
		return "", nil
	}
	kind, rest, _ := strings.Cut(strings.ToLower(contentType), ";")
	kind = strings.Trim(kind, " \t")
	if holdsParam(kind) {
		return "", nil
	}
	params = make(map[string]string)
	for _, second := range typeAgain.FindAllString(contentType, -1) {
		if holdsParam(second) {
			return "", nil
		}
	}
	for _, m := range typeParam.FindAllStringSubmatch(contentType[len(contentType)-len(rest):], -1) {
		name, value := strings.ToLower(m[1]), cmp.Or(m[2], m[3])
		_, twice := params[name]
		own := name == "boundary" || name == "charset"
		if twice || !own && holdsParam(name) || holdsParam(value) && !(name == "boundary" && isPlainBoundary(value)) {
			return "", nil
		}
		params[name] = value
	}
	return kind, params
}

var (
	plainType = regexp.MustCompile(`^[ \t]*` + typeToken + `(/` + typeToken + `)?([ \t]*;[ \t]*` + typeToken + `/` + typeToken + `|[ \t]*;[ \t]*` + typeToken + `=(` + typeToken + `|"[^"\\;,\x00-\x1f\x7f-\xff]*"))*[ \t]*;?[ \t]*$`)
	typeAgain = regexp.MustCompile(`;[ \t]*` + typeToken + `/` + typeToken)
	typeParam = regexp.MustCompile(`(` + typeToken + `)=(?:"([^"]*)"|(` + typeToken + `))`)
)

// typeToken is a token of RFC 9110 without the star of RFC 2231.
const typeToken = "[!#$%&'+.^_`|~0-9A-Za-z-]+"

func holdsParam(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "charset") || strings.Contains(text, "boundary")
}

// isPlainBoundary reports whether a boundary holds no parameter: WebKitFormBoundary is
// one that senders use.
func isPlainBoundary(value string) bool {
	value = strings.ToLower(value)
	return !strings.Contains(value, "charset") && !strings.Contains(value, "boundary=")
}

// Sort sorts fields bytewise by name, then by value.
func Sort(fields []Field) {
	slices.SortFunc(fields, func(a, b Field) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
	})
}

// Join appends names and values without separators to a text.
func Join(before string, fields []Field) string {
	size := len(before)
	for _, f := range fields {
		size += len(f.Name) + len(f.Value)
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString(before)
	for _, f := range fields {
		b.WriteString(f.Name)
		b.WriteString(f.Value)
	}
	return b.String()
}
