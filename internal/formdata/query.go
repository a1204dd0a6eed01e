package formdata

import (
	"bytes"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/alike"
)

// Shadows reports whether a parameter of a query has a name that some reader treats as
// that of a field of the form: Flask, Rails, servlets and ASP.NET read both, the query
// first. It reads leniently, as they do, and takes a form that it does not read whole for
// one with such a field. A body that is no form has none.
func Shadows(query string, contentType []string, body []byte) bool {
	if query == "" || len(body) == 0 || !mayBeForm(contentType, body) {
		return false
	}
	if len(query) > maxQuery {
		return true
	}
	names := make(map[string]bool)
	for pair := range strings.FieldsFuncSeq(query, separates) {
		name, _, _ := strings.Cut(pair, "=")
		for _, reading := range readings(lenient(name)) {
			names[reading] = true
		}
	}
	delete(names, "")
	if len(names) == 0 {
		return false
	}
	n := 0
	for name := range fieldNames(contentType, body) {
		if n++; n > MaxFields {
			return true
		}
		for _, reading := range readings(name) {
			if names[reading] {
				return true
			}
		}
	}
	return false
}

func separates(c rune) bool { return c == '&' || c == ';' }

// readings are what readers may take a field's name for.
func readings(name string) [3]string {
	first, _, dotted := strings.Cut(name, ".")
	if !dotted {
		first = ""
	}
	return [3]string{alike.Field(name), alike.Array(name), alike.Field(first)}
}

// mayBeForm reports whether a reader may take the body for a form. Rack does without a
// Content-Type.
func mayBeForm(contentType []string, body []byte) bool {
	typed := false
	for _, line := range contentType {
		if Is(line) {
			return true
		}
		typed = typed || line != ""
	}
	text := bytes.TrimLeft(body, " \t\r\n")
	return !typed && len(text) > 0 && text[0] != '{' && text[0] != '['
}

// fieldNames yields the names of the fields of a form, and of what may be one.
func fieldNames(contentType []string, body []byte) func(yield func(string) bool) {
	for _, line := range contentType {
		if strings.Contains(strings.ToLower(line[:min(len(line), maxType)]), "multipart") {
			return partNames(body)
		}
	}
	return func(yield func(string) bool) {
		reads(body)
		for pair := range bytes.FieldsFuncSeq(body, separates) {
			name, _, _ := bytes.Cut(pair, []byte{'='})
			if !yield(lenient(string(name))) {
				return
			}
		}
	}
}

// partNames yields the names of the parts of a multipart form, and whatever else is
// written like one.
func partNames(body []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		reads(body)
		lower := bytes.ToLower(body)
		for at := 0; ; {
			next := bytes.Index(lower[at:], []byte("name"))
			if next < 0 {
				return
			}
			at += next + len("name")
			line, _, _ := bytes.Cut(body[at:min(len(body), at+maxQuery)], []byte{'\n'})
			value, ok := bytes.CutPrefix(bytes.TrimLeft(line, " \t"), []byte{'='})
			if !ok {
				continue
			}
			end := ";\r"
			if value = bytes.TrimLeft(value, " \t"); len(value) > 0 && value[0] == '"' {
				value, end = value[1:], `"`
			}
			if i := bytes.IndexAny(value, end); i >= 0 {
				value = value[:i]
			}
			if !yield(string(value)) {
				return
			}
		}
	}
}

// lenient decodes the valid escapes of a text, also those of IIS (%u0061), and keeps the
// others.
func lenient(text string) string {
	if !strings.ContainsAny(text, "%+") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch iis := strings.HasPrefix(rest, "%u00") || strings.HasPrefix(rest, "%U00"); {
		case rest[0] == '+':
			b.WriteByte(' ')
		case iis && len(rest) >= 6 && isHex(rest[4]) && isHex(rest[5]):
			b.WriteByte(hexDigit(rest[4])<<4 | hexDigit(rest[5]))
			i += 5
		case rest[0] == '%' && len(rest) >= 3 && isHex(rest[1]) && isHex(rest[2]):
			b.WriteByte(hexDigit(rest[1])<<4 | hexDigit(rest[2]))
			i += 2
		default:
			b.WriteByte(rest[0])
		}
	}
	return b.String()
}
