package formdata

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/alike"
	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
)

// Shadows reports whether a parameter of a query has a name that some reader treats as
// that of one of the fields, or of any field of the form if none is named: Flask, Rails,
// servlets and ASP.NET read both, the query first. It reads leniently, as they do, and
// takes a form with too many fields for one with such a field. A body that is no form has
// none.
func Shadows(query string, contentType []string, body []byte, fields ...string) bool {
	typed := slices.ContainsFunc(contentType, Is)
	if query == "" || len(body) == 0 || !typed && !mayBeForm(contentType, body) {
		return false
	}
	if len(query) > maxQuery {
		return true
	}
	names := make(map[string]reading)
	for pair := range strings.FieldsFuncSeq(query, separates) {
		name, _, _ := strings.Cut(pair, "=")
		for text, as := range readings(lenient(name)) {
			names[text] |= as
		}
	}
	delete(names, "")
	all := slices.Values(fields)
	if len(fields) == 0 {
		all = fieldNames(contentType, body)
	}
	n := 0
	for name := range all {
		if n++; n > MaxFields {
			return typed
		}
		for text, as := range readings(name) {
			if names[text]&alikeTo[as] != 0 {
				return true
			}
		}
	}
	return false
}

func separates(c rune) bool { return c == '&' || c == ';' }

// reading is what a reader may take a field's name for, as a set.
type reading uint8

const (
	asField  reading = 1 << iota
	asArray          // a of a[b]
	asDotted         // a of a.b, which some readers write as a[b]
)

// alikeTo are the readings of another name by which it is alike to one with a reading.
var alikeTo = [...]reading{asField: asField | asArray, asArray: asField | asArray | asDotted, asDotted: asArray}

func readings(name string) iter.Seq2[string, reading] {
	return func(yield func(string, reading) bool) {
		first, _, dotted := strings.Cut(name, ".")
		_ = yield(alike.Field(name), asField) &&
			yieldSome(yield, alike.Array(name), asArray) && dotted && yield(alike.Field(first), asDotted)
	}
}

// yieldSome yields a text that is not empty.
func yieldSome(yield func(string, reading) bool, text string, as reading) bool {
	return text == "" || yield(text, as)
}

// mayBeForm reports whether a reader may take a body without a type for a form, as Rack
// does: text that is neither JSON nor XML.
func mayBeForm(contentType []string, body []byte) bool {
	for _, line := range contentType {
		if line != "" {
			return false
		}
	}
	text := bytes.TrimLeft(body, " \t\r\n")
	return len(text) > 0 && bytes.IndexByte([]byte("{[<"), text[0]) < 0 && bytes.IndexByte(text, '=') >= 0 &&
		!bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' && r != '\n' })
}

// fieldNames yields the names of the fields of a form.
func fieldNames(contentType []string, body []byte) iter.Seq[string] {
	for _, line := range contentType {
		if strings.Contains(strings.ToLower(line[:min(len(line), maxType)]), "multipart") {
			_, params := parseType(line)
			return partNames(params["boundary"], body)
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

// partNames yields the names in the Content-Disposition of each part. Without a boundary
// the first line has it.
func partNames(boundary string, body []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		reads(body)
		delimiter := []byte("--" + boundary)
		if boundary == "" {
			first, _, _ := bytes.Cut(bytes.TrimLeft(body, "\r\n"), []byte{'\n'})
			delimiter = bytes.TrimRight(first, " \t\r")
		}
		if len(delimiter) <= len("--") || !bytes.HasPrefix(delimiter, []byte("--")) {
			return
		}
		headers, disposes := false, false
		for line := range bytes.Lines(body) {
			switch line = bytes.TrimRight(line, "\r\n"); {
			case bytes.HasPrefix(line, delimiter):
				headers, disposes = true, false
				continue
			case !headers:
				continue
			case len(line) == 0:
				headers = false
			case line[0] != ' ' && line[0] != '\t': // otherwise folded
				disposes = len(line) > len(disposition) && equalFold(line[:len(disposition)], disposition)
			}
			if disposes && !yieldNames(line, yield) {
				return
			}
		}
	}
}

const disposition = "Content-Disposition"

// yieldNames yields the values of the parameters name in a line.
func yieldNames(line []byte, yield func(string) bool) (more bool) {
	lower := bytes.ToLower(line)
	for at := 0; ; {
		next := bytes.Index(lower[at:], []byte("name"))
		if next < 0 {
			return true
		}
		at += next + len("name")
		value, ok := bytes.CutPrefix(bytes.TrimLeft(line[at:], " \t"), []byte{'='})
		if before := at - len("name") - 1; !ok || before >= 0 && httptoken.Valid(line[before:before+1]) { // filename=
			continue
		}
		end := ";"
		if value = bytes.TrimLeft(value, " \t"); len(value) > 0 && value[0] == '"' {
			value, end = value[1:], `"`
		}
		value, _, _ = bytes.Cut(value, []byte(end))
		if !yield(string(value)) {
			return false
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
