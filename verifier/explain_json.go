package verifier

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

// jsonToken is a piece of a JSON text that is written anew, in the ways of the
// usual libraries. Numbers keep their text.
type jsonToken struct {
	space []byte // white space before it
	raw   []byte // as it stands in the text
	str   []byte // a string, decoded; nil: another token
}

// jsonSpace is white space between tokens as a library writes it.
type jsonSpace struct {
	name         string
	keep         bool
	comma, colon string // what follows them
	indent       string // "": all on one line
}

// jsonEscape is how a library writes strings.
type jsonEscape struct {
	name               string
	keep               bool
	slash, ascii, html bool
	quotes             bool // " and ' too, in capitals: System.Text.Json of .NET
}

var jsonSpaces = []jsonSpace{
	{name: "compact"},
	{name: "with a space after each comma and colon", comma: " ", colon: " "},
	{name: "indented by 2", colon: " ", indent: "  "},
	{name: "indented by 4", colon: " ", indent: "    "},
	{name: "indented by tabs", colon: " ", indent: "\t"},
	{keep: true},
}

var jsonEscapes = []jsonEscape{
	{keep: true},
	{name: "without needless escapes"},
	{name: `with non-ASCII characters as \uXXXX`, ascii: true},
	{name: `with slashes as \/`, slash: true},
	{name: `with slashes as \/ and non-ASCII characters as \uXXXX`, slash: true, ascii: true},
	{name: `with <, > and & as \u003c, \u003e and \u0026`, html: true},
	{name: `with <, >, &, quotes and non-ASCII characters as \uXXXX in capitals`, ascii: true, html: true, quotes: true},
}

// jsonBodies guesses that the body was parsed and written anew, in the styles of
// common libraries, the usual ones first.
func jsonBodies(s *search, yield func(guess) bool) {
	if len(s.c.Body) == 0 || !s.charge(8*len(s.c.Body)) || !json.Valid(s.c.Body) {
		return
	}
	tokens := jsonTokens(s.c.Body)
	if !s.charge(128 * len(tokens)) { // splitting and sorting, as measured
		return
	}
	out := make([]byte, 0, 2*len(s.c.Body))
	escapes := slices.DeleteFunc(slices.Clone(jsonEscapes), func(e jsonEscape) bool { return !e.concerns(s.c.Body) })
	for _, in := range []struct {
		order  string
		tokens []jsonToken
		spaces []jsonSpace
	}{{"", tokens, jsonSpaces[:2]}, {"with its keys sorted", sortKeys(tokens), jsonSpaces[:2]}, {"", tokens, jsonSpaces[2:]}} {
		for _, space := range in.spaces {
			for _, escape := range escapes {
				body := writeJSON(out[:0], in.tokens, space, escape, 3*len(s.c.Body)+4096)
				if !s.charge(2*len(body) + 8*len(in.tokens)) { // as measured
					return
				}
				clause := fmt.Sprintf("the sender signed the JSON %s, it arrived written otherwise: something parsed it and wrote it anew, on the way or at the sender after signing; %s",
					phrase(space.name, escape.name, in.order), rawBytes)
				if body == nil {
					continue
				}
				if out = body; !s.guessBody(body, clause, yield) {
					return
				}
			}
		}
	}
}

// concerns reports whether a style can change anything in a text.
func (e *jsonEscape) concerns(text []byte) bool {
	return e.keep || bytes.IndexByte(text, '\\') >= 0 ||
		e.slash && bytes.IndexByte(text, '/') >= 0 || e.html && bytes.ContainsAny(text, "<>&") ||
		e.quotes && bytes.ContainsAny(text, "'+`") ||
		e.ascii && slices.ContainsFunc(text, func(c byte) bool { return c >= utf8.RuneSelf })
}

func phrase(parts ...string) string {
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
	return strings.Join(parts, ", ")
}

// jsonTokens splits valid JSON.
func jsonTokens(text []byte) []jsonToken {
	marks := 1 // no two of the other tokens stand side by side
	for _, c := range "{}[],:" {
		marks += bytes.Count(text, []byte{byte(c)})
	}
	tokens := make([]jsonToken, 0, min(2*marks, len(text)+1))
	for i := 0; i < len(text); {
		start := i
		for i < len(text) && strings.IndexByte(" \t\r\n", text[i]) >= 0 {
			i++
		}
		t := jsonToken{space: text[start:i]}
		if start = i; i == len(text) {
			return append(tokens, t) // what stands behind the last
		}
		switch c := text[i]; {
		case c == '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			i++
			t.str = text[start+1 : i-1]
			if bytes.IndexByte(t.str, '\\') >= 0 {
				var s string
				json.Unmarshal(text[start:i], &s) // valid
				t.str = []byte(s)
			}
			if t.str == nil {
				t.str = []byte{}
			}
		case strings.IndexByte("{}[],:", c) >= 0:
			i++
		default:
			for i < len(text) && strings.IndexByte(" \t\r\n{}[],:", text[i]) < 0 {
				i++
			}
		}
		t.raw = text[start:i]
		tokens = append(tokens, t)
	}
	return tokens
}

func (t *jsonToken) is(c byte) bool { return t.str == nil && len(t.raw) == 1 && t.raw[0] == c }

// writeJSON appends tokens to out in a style; nil where they become longer than limit.
func writeJSON(out []byte, tokens []jsonToken, space jsonSpace, escape jsonEscape, limit int) []byte {
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

const jsonShort = "\b\t\n\f\r\"\\" // what has an escape of its own,
const jsonLetter = "btnfr\"\\"     // and its letter

// special reports what stands for itself in a string, by byte, and what does not.
func (e *jsonEscape) special() (table [256]bool) {
	for c := range table {
		b := byte(c)
		table[c] = b < ' ' || b == '"' || b == '\\' || e.slash && b == '/' ||
			e.html && (b == '<' || b == '>' || b == '&' || b == 0xe2) || // U+2028 begins with E2
			e.quotes && (b == '\'' || b == '+' || b == '`') || e.ascii && b >= utf8.RuneSelf
	}
	return table
}

func (e *jsonEscape) append(out, str []byte, special *[256]bool) []byte {
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
		short := strings.IndexByte(jsonShort, str[0])
		switch {
		case e.quotes && r == '"':
			out = e.unit(out, r)
		case short >= 0:
			out = append(out, '\\', jsonLetter[short])
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

func (e *jsonEscape) unit(out []byte, r rune) []byte {
	hex := "0123456789abcdef"
	if e.quotes {
		hex = "0123456789ABCDEF"
	}
	return append(out, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// jsonNode is a value with its members or elements, by their tokens' places.
type jsonNode struct {
	name        []byte // of a member
	first, last int
	inner       []jsonNode
}

// sortKeys orders the members of every object by name, as json.dumps with
// sort_keys, Go's maps and canonical JSON do. Text that is nested deeper than
// the verifier reads has none such.
func sortKeys(tokens []jsonToken) []jsonToken {
	root, next := readNode(tokens, 0, 0)
	if next < 0 {
		return nil
	}
	return root.append(make([]jsonToken, 0, len(tokens)), tokens)
}

// readNode reads the value at i and returns the place behind it, -1 if it is too deep.
func readNode(tokens []jsonToken, i, depth int) (jsonNode, int) {
	n := jsonNode{first: i, last: i}
	object := tokens[i].is('{')
	if !object && !tokens[i].is('[') {
		return n, i + 1
	}
	if depth > jsonpath.MaxDepth {
		return n, -1
	}
	for i++; !tokens[i].is('}') && !tokens[i].is(']'); {
		if tokens[i].is(',') {
			i++
		}
		start := i
		if object {
			i += 2
		}
		inner, next := readNode(tokens, i, depth+1)
		if next < 0 {
			return n, -1
		}
		if object {
			inner.name = tokens[start].str
		}
		n.inner, i = append(n.inner, inner), next
	}
	if object {
		slices.SortStableFunc(n.inner, func(a, b jsonNode) int { return bytes.Compare(a.name, b.name) })
	}
	n.last = i
	return n, i + 1
}

func (n *jsonNode) append(out, tokens []jsonToken) []jsonToken {
	if n.first == n.last {
		return append(out, tokens[n.first])
	}
	out = append(out, tokens[n.first])
	for i := range n.inner {
		if i > 0 {
			out = append(out, jsonToken{raw: []byte(",")})
		}
		inner := &n.inner[i]
		if tokens[n.first].is('{') {
			out = append(out, tokens[inner.first-2:inner.first]...) // its name and colon
		}
		out = inner.append(out, tokens)
	}
	return append(out, tokens[n.last])
}
