package jsonstyle

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// A Text is tokenized JSON, ready to be rewritten.
type Text []token

type token struct {
	space []byte // white space before it
	raw   []byte // as in the text
	str   []byte // a decoded string; nil for other tokens
}

// Parse tokenizes valid JSON. The result refers to its bytes.
func Parse(text []byte) Text {
	marks := 1 // other tokens are never adjacent
	for _, c := range "{}[],:" {
		marks += bytes.Count(text, []byte{byte(c)})
	}
	tokens := make(Text, 0, min(2*marks, len(text)+1))
	for i := 0; i < len(text); {
		start := i
		for i < len(text) && strings.IndexByte(" \t\r\n", text[i]) >= 0 {
			i++
		}
		t := token{space: text[start:i]}
		if start = i; i == len(text) {
			return append(tokens, t) // after the last token
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

func (t *token) is(c byte) bool { return t.str == nil && len(t.raw) == 1 && t.raw[0] == c }

// node is a value with its members or elements, as ranges of tokens.
type node struct {
	name        []byte // of a member
	first, last int
	inner       []node
}

// maxDepth limits the recursion.
const maxDepth = 512

// Sorted orders the members of every object by name, like json.dumps with sort_keys,
// Go's maps and canonical JSON. It returns nil if the text is nested deeper than 512.
func (tokens Text) Sorted() Text {
	root, next := readNode(tokens, 0, 0)
	if next < 0 {
		return nil
	}
	return root.append(make([]token, 0, len(tokens)), tokens)
}

// readNode reads the value at i and returns the index after it, -1 if it is too deep.
func readNode(tokens []token, i, depth int) (node, int) {
	n := node{first: i, last: i}
	object := tokens[i].is('{')
	if !object && !tokens[i].is('[') {
		return n, i + 1
	}
	if depth > maxDepth {
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
		slices.SortStableFunc(n.inner, func(a, b node) int { return bytes.Compare(a.name, b.name) })
	}
	n.last = i
	return n, i + 1
}

func (n *node) append(out, tokens []token) []token {
	if n.first == n.last {
		return append(out, tokens[n.first])
	}
	out = append(out, tokens[n.first])
	for i := range n.inner {
		if i > 0 {
			out = append(out, token{raw: []byte(",")})
		}
		inner := &n.inner[i]
		if tokens[n.first].is('{') {
			out = append(out, tokens[inner.first-2:inner.first]...) // its name and colon
		}
		out = inner.append(out, tokens)
	}
	return append(out, tokens[n.last])
}
