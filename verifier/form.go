package verifier

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

// maxFields is how many fields of a form, or parameters of a URL, are read: as
// many as PHP, Express and Go's own multipart reader take. It bounds what a body
// that nobody has authenticated costs: of a megabyte of "a&a&…" each field would
// take sixteen times its own length.
const maxFields = 1000

var (
	errForm   = errors.New("not a form with that field once")
	errEscape = errors.New("a percent sign stands without its two hex digits")
	errFields = fmt.Errorf("more than %d fields, which are not read", maxFields)
)

// formField is a field of a form, decoded.
type formField struct{ name, value string }

// cutPair takes the first pair off an urlencoded form, as it is written. Empty
// pairs ("a=1&&b=2") mean nothing and cost nothing. ok is false at the end.
func cutPair(form []byte) (name, value, rest []byte, ok bool) {
	for len(form) > 0 && form[0] == '&' {
		form = form[1:]
	}
	pair, rest, _ := bytes.Cut(form, []byte{'&'})
	name, value, _ = bytes.Cut(pair, []byte{'='})
	return name, value, rest, len(pair) > 0
}

// parseForm reads application/x-www-form-urlencoded strictly: a bad escape is
// an error, fields keep their order.
func parseForm(form []byte) ([]formField, error) {
	n, err := countFields(form)
	if err != nil || n == 0 {
		return nil, err
	}
	reads(form)
	fields := make([]formField, 0, n)
	for {
		name, value, rest, ok := cutPair(form)
		if !ok {
			return fields, nil
		}
		if !validEscapes(name) || !validEscapes(value) {
			return nil, errEscape
		}
		f := formField{unescape(name), unescape(value)}
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
		if n++; n > maxFields {
			return n, errFields
		}
		form = rest
	}
}

// formValue returns the one value of a field: jsonpath.ErrNoValue without one, errForm of
// several. It is as strict as parseForm, and keeps nothing but the value.
func formValue(form []byte, name string) (string, error) {
	reads(form)
	var found []byte
	for n, seen := 0, false; ; n++ {
		key, value, rest, ok := cutPair(form)
		switch {
		case !ok && !seen:
			return "", jsonpath.ErrNoValue
		case !ok:
			return unescape(found), nil
		case n == maxFields:
			return "", errFields
		case !validEscapes(key) || !validEscapes(value):
			return "", errEscape
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

// unescape decodes a text with valid escapes, as url.QueryUnescape does, and
// takes no more room than what comes out.
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
	if isDigit(c) {
		return c - '0'
	}
	return (c | 0x20 - 'a') + 10
}

// validEscapes reports whether each percent sign has its two hex digits.
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

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

// isEscapeOf reports whether a text with valid escapes stands for name.
func isEscapeOf(text []byte, name string) bool {
	if !bytes.ContainsAny(text, "%+") {
		return string(text) == name
	}
	if len(text) > 3*len(name) { // spare the copy
		return false
	}
	return unescape(text) == name
}

// formValue returns the one value of a field of the body, which its Content-Type
// may say is multipart/form-data.
func (c *Check) formValue(body []byte, name string) (string, error) {
	if kind, params := c.contentType(); kind == "multipart/form-data" {
		return multipartValue(body, params["boundary"], name)
	}
	return formValue(body, name)
}

// formIn returns the one value of a field of the body, whichever kind of form it is.
func formIn(body []byte, name string) (string, error) {
	first, _, _ := bytes.Cut(body, []byte("\r\n"))
	if boundary, ok := bytes.CutPrefix(first, []byte("--")); ok && len(boundary) > 0 {
		return multipartValue(body, string(boundary), name)
	}
	return formValue(body, name)
}

// isForm reports whether Content-Type says that the body is a form.
func (c *Check) isForm() bool {
	kind, _ := c.contentType()
	return kind == "application/x-www-form-urlencoded" || kind == "multipart/form-data"
}

// maxContentType is the longest Content-Type that is read, in bytes: of "a/b;c=d;…"
// each parameter would take several times its own length.
const maxContentType = 512

func (c *Check) contentType() (kind string, params map[string]string) {
	if lines := c.req.Header["Content-Type"]; len(lines) == 1 && len(lines[0]) <= maxContentType {
		if kind, params, err := mime.ParseMediaType(lines[0]); err == nil {
			return kind, params
		}
	}
	return "", nil
}

func sortFields(fields []formField) {
	slices.SortFunc(fields, func(a, b formField) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.value, b.value))
	})
}

// joined writes names and values without separators, behind what stands before.
func joined(before string, fields []formField) string {
	size := len(before)
	for _, f := range fields {
		size += len(f.name) + len(f.value)
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString(before)
	for _, f := range fields {
		b.WriteString(f.name)
		b.WriteString(f.value)
	}
	return b.String()
}

// formSorted joins names and values without separators, sorted bytewise,
// repeated pairs once: what Twilio signs for a form.
func formSorted(body []byte) (string, error) {
	fields, err := parseForm(body)
	if err != nil {
		return "", err
	}
	sortFields(fields)
	return joined("", slices.Compact(fields)), nil
}
