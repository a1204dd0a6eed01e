// Package jsonstyle rewrites a JSON text in the styles of common libraries: other
// white space, other escapes, sorted keys. Numbers keep their text.
//
// It helps to find the original form of a text that was re-serialized. It imports
// only the standard library.
package jsonstyle

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A Space is a library's white space between tokens.
type Space struct {
	Name         string // in words; "" to keep the text's own
	keep         bool
	comma, colon string // the separators with the space after them
	indent       string // "": a single line
}

// An Escape is a library's way to write strings.
type Escape struct {
	Name               string // in words; "" to keep the text's own
	keep               bool
	slash, ascii, html bool
	quotes             bool // also " and ', with capital hex digits: System.Text.Json of .NET
}

// Spaces lists the common styles, most common first.
var Spaces = []Space{
	{Name: "compact"},
	{Name: "with a space after each comma and colon", comma: " ", colon: " "},
	{Name: "indented by 2", colon: " ", indent: "  "},
	{Name: "indented by 4", colon: " ", indent: "    "},
	{Name: "indented by tabs", colon: " ", indent: "\t"},
	{keep: true},
}

// Escapes lists the common styles, most common first.
var Escapes = []Escape{
	{keep: true},
	{Name: "without needless escapes"},
	{Name: `with non-ASCII characters as \uXXXX`, ascii: true},
	{Name: `with slashes as \/`, slash: true},
	{Name: `with slashes as \/ and non-ASCII characters as \uXXXX`, slash: true, ascii: true},
	{Name: `with <, > and & as \u003c, \u003e and \u0026`, html: true},
	{Name: `with <, >, &, quotes and non-ASCII characters as \uXXXX in capitals`, ascii: true, html: true, quotes: true},
}

// Concerns reports whether the escape can change anything in a text.
func (e *Escape) Concerns(text []byte) bool {
	return e.keep || bytes.IndexByte(text, '\\') >= 0 ||
		e.slash && bytes.IndexByte(text, '/') >= 0 || e.html && bytes.ContainsAny(text, "<>&") ||
		e.quotes && bytes.ContainsAny(text, "'+`") ||
		e.ascii && slices.ContainsFunc(text, func(c byte) bool { return c >= utf8.RuneSelf })
}

// Append appends the text in a style to out; nil if out would exceed limit bytes.
func (tokens Text) Append(out []byte, space Space, escape Escape, limit int) []byte {
	special := escape.special()
	depth := 0
	newline := func() {
		if space.indent == "" {
			return
		}
		out = append(out, '\n')
		for range min(depth, limit) {
			out = append(out, space.indent...)
		}
	}
	for i := range tokens {
		t := &tokens[i]
		if len(out) > limit {
			return nil
		}
		if space.keep {
			out = append(out, t.space...)
		}
		opens, closes := t.is('{') || t.is('['), t.is('}') || t.is(']')
		if closes {
			depth--
			if i > 0 && !tokens[i-1].is('{') && !tokens[i-1].is('[') {
				newline()
			}
		}
		if t.str == nil || escape.keep {
			out = append(out, t.raw...)
		} else {
			out = escape.append(out, t.str, &special)
		}
		switch {
		case opens:
			depth++
			if i+1 < len(tokens) && !tokens[i+1].is('}') && !tokens[i+1].is(']') {
				newline()
			}
		case t.is(','):
			out = append(out, space.comma...)
			newline()
		case t.is(':'):
			out = append(out, space.colon...)
		}
	}
	return out
}

const short = "\b\t\n\f\r\"\\" // characters with a short escape,
const letter = "btnfr\"\\"     // and its letter

// special returns the bytes that may need an escape in a string.
func (e *Escape) special() (table [256]bool) {
	for c := range table {
		b := byte(c)
		table[c] = b < ' ' || b == '"' || b == '\\' || e.slash && b == '/' ||
			e.html && (b == '<' || b == '>' || b == '&' || b == 0xe2) || // U+2028 begins with E2
			e.quotes && (b == '\'' || b == '+' || b == '`') || e.ascii && b >= utf8.RuneSelf
	}
	return table
}

func (e *Escape) append(out, str []byte, special *[256]bool) []byte {
	out = append(out, '"')
	for len(str) > 0 {
		n := 0
		for n < len(str) && !special[str[n]] {
			n++
		}
		out = append(out, str[:n]...)
		if str = str[n:]; len(str) == 0 {
			break
		}
		r, n := utf8.DecodeRune(str)
		short := strings.IndexByte(short, str[0])
		switch {
		case e.quotes && r == '"':
			out = e.unit(out, r)
		case short >= 0:
			out = append(out, '\\', letter[short])
		case r == '/':
			out = append(out, '\\', '/')
		case r > 0xffff && e.ascii:
			high, low := utf16.EncodeRune(r)
			out = e.unit(e.unit(out, high), low)
		case r < utf8.RuneSelf, e.ascii, r == '\u2028', r == '\u2029':
			out = e.unit(out, r)
		default:
			out = append(out, str[:n]...)
		}
		str = str[n:]
	}
	return append(out, '"')
}

func (e *Escape) unit(out []byte, r rune) []byte {
	hex := "0123456789abcdef"
	if e.quotes {
		hex = "0123456789ABCDEF"
	}
	return append(out, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
