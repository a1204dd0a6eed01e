package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func text(r *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.UintN(256))
	}
	return b
}

// words that trouble whoever treats bytes as text, or text as JSON.
var words = []string{"paid", "order.created", "Grüße", "日本語", "👋🏽", "a\tb", `back\slash`, `"quoted"`, "</script>", "100%", "a+b&c=d", "é", "\u007f", "ﬁ", "'"}

func sentence(r *rand.Rand) string {
	var parts []string
	for range 1 + r.IntN(4) {
		parts = append(parts, words[r.IntN(len(words))])
	}
	return strings.Join(parts, " ")
}

// A member is one of a JSON object; maps would lose the order.
type member struct {
	name  string
	value any
}

// event draws the members of an event, after those that are given.
func event(r *rand.Rand, given ...member) []member {
	all := append([]member{}, given...)
	for i := range 1 + r.IntN(4) {
		name := fmt.Sprintf("%s_%d", []string{"amount", "état", "note", "kind"}[r.IntN(4)], i)
		switch r.IntN(5) {
		case 0:
			all = append(all, member{name, r.IntN(1_000_000) - 1000})
		case 1:
			all = append(all, member{name, r.IntN(2) == 0})
		case 2:
			all = append(all, member{name, nil})
		case 3:
			all = append(all, member{name, []string{sentence(r), sentence(r)}})
		default:
			all = append(all, member{name, sentence(r)})
		}
	}
	return all
}

// compact writes an object as JavaScript's JSON.stringify does.
func compact(members []member) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	put := func(v any) {
		e.Encode(v)
		b.Truncate(b.Len() - 1) // Encode ends the line
	}
	b.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		put(m.name)
		b.WriteByte(':')
		switch inner := m.value.(type) {
		case []member:
			b.Write(compact(inner))
		case [][]member: // a list of objects
			for i, object := range inner {
				b.WriteByte("[,"[min(i, 1)])
				b.Write(compact(object))
			}
			b.WriteByte(']')
		default:
			put(m.value)
		}
	}
	b.WriteByte('}')
	return b.Bytes()
}

// A style writes an event in one of the ways that senders do.
type style struct {
	name  string
	needs bodies // the least liberal subject that gets it
	write func(r *rand.Rand, members []member) []byte
}

// bodies says what a subject can be given.
type bodies int

const (
	canonical bodies = iota // JSON as JSON.stringify writes it: the SDK parses the body and writes it again
	anyJSON                 // JSON in any style
	anyText                 // any text, none too
	anyBytes                // bytes that are no UTF-8 too
)

var styles = []style{
	{"compact JSON", canonical, func(_ *rand.Rand, m []member) []byte { return compact(m) }},
	{"JSON of some KiB", canonical, func(r *rand.Rand, m []member) []byte {
		return compact(append(m, member{"text", strings.Repeat(sentence(r)+" ", 60+r.IntN(60))}))
	}},
	{"indented JSON", anyJSON, func(_ *rand.Rand, m []member) []byte {
		var b bytes.Buffer
		json.Indent(&b, compact(m), "", "  ")
		return b.Bytes()
	}},
	{"JSON with CRLF and a line break at its end", anyJSON, func(_ *rand.Rand, m []member) []byte {
		var b bytes.Buffer
		json.Indent(&b, compact(m), "", "\t")
		return append(bytes.ReplaceAll(b.Bytes(), []byte("\n"), []byte("\r\n")), "\r\n"...)
	}},
	{"JSON with all but ASCII escaped", anyJSON, func(_ *rand.Rand, m []member) []byte {
		var b strings.Builder
		for _, c := range string(compact(m)) {
			switch {
			case c < 0x80:
				b.WriteRune(c)
			case c < 0x10000:
				fmt.Fprintf(&b, `\u%04x`, c)
			default:
				fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(c-0x10000)>>10, 0xdc00+(c-0x10000)&0x3ff)
			}
		}
		return []byte(b.String())
	}},
	{"no body", anyText, func(*rand.Rand, []member) []byte { return nil }},
	{"one byte", anyText, func(r *rand.Rand, _ []member) []byte { return []byte(text(r, alphanumeric, 1)) }},
	{"text with control characters", anyText, func(r *rand.Rand, _ []member) []byte {
		return []byte("\x00 " + sentence(r) + "\n\r\n\x1b " + sentence(r) + "\u2028.")
	}},
	{"text behind a byte order mark", anyText, func(r *rand.Rand, _ []member) []byte { return []byte("\ufeff" + sentence(r)) }},
	{"bytes that are no UTF-8", anyBytes, func(r *rand.Rand, _ []member) []byte { return append(randomBytes(r, 40), 0xff) }},
}

// secrets

func textSecret(r *rand.Rand) string {
	if r.IntN(5) == 0 {
		return "clé-" + text(r, alphanumeric+"+/=_.!$%&", 16+r.IntN(30))
	}
	return text(r, alphanumeric+"-_", 16+r.IntN(30))
}

func asciiSecret(r *rand.Rand) string { return text(r, alphanumeric+"-_", 16+r.IntN(30)) }

func hexSecret(r *rand.Rand) string { return strings.ToUpper(hex.EncodeToString(randomBytes(r, 32))) }

func base64Secret(r *rand.Rand) string {
	return base64.StdEncoding.EncodeToString(randomBytes(r, 24+r.IntN(41)))
}

func whsecSecret(r *rand.Rand) string { return "whsec_" + base64Secret(r) }

func basicSecret(r *rand.Rand) string {
	return text(r, alphanumeric, 8) + ":" + text(r, alphanumeric+"-_.!", 20)
}
