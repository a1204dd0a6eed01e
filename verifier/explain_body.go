package verifier

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonstyle"
)

// bodyEdit is one way in which a body may have changed after it was signed. Undo
// returns the signed body, or nil if the edit cannot apply.
type bodyEdit struct {
	clause string
	undo   func([]byte) []byte
}

const rawBytes = "verify the raw bytes, before anything parses or saves them"

var (
	byteOrderMark = []byte("\ufeff")
	crlf, lf      = []byte("\r\n"), []byte("\n")
)

var bodyEdges = []bodyEdit{
	{"the sender signed the body without the line break at its end: something added it (an editor, echo, a proxy); " + rawBytes,
		func(b []byte) []byte { return bytes.TrimSuffix(bytes.TrimSuffix(b, lf), []byte("\r")) }},
	{"the sender signed the body without the line breaks at its end: something added them (an editor, a template); " + rawBytes,
		func(b []byte) []byte { return bytes.TrimRight(b, "\r\n") }},
	{"the sender signed a line break at the body's end, but it is gone: something trimmed the body; " + rawBytes,
		func(b []byte) []byte { return slices.Concat(b, lf) }},
	{"the sender signed a line break (CR LF) at the body's end, but it is gone: something trimmed the body; " + rawBytes,
		func(b []byte) []byte { return slices.Concat(b, crlf) }},
	{"the sender signed the body without the white space around it: something added it; " + rawBytes, bytes.TrimSpace},
	{"the sender signed the body without the byte order mark at its front: something added it (an editor, PowerShell, .NET); " + rawBytes,
		func(b []byte) []byte { return bytes.TrimPrefix(b, byteOrderMark) }},
	{"the sender signed a byte order mark at the body's start, but it is gone: " + rawBytes,
		func(b []byte) []byte { return slices.Concat(byteOrderMark, b) }},
	{"the sender signed an empty body, not this one: its code reads the body twice or signs before it writes, or something on the way wrote this body",
		func(b []byte) []byte { return b[:0] }},
	{"the sender signed the body uncompressed and sent it with gzip: send it uncompressed, or unpack it in front of the gateway", gunzip},
}

var bodyTexts = []bodyEdit{
	{"the sender signed lines that end in LF, but they arrived with CR LF: something converts line ends (git, a mail or Windows tool); " + rawBytes,
		func(b []byte) []byte { return bytes.ReplaceAll(b, crlf, lf) }},
	{"the sender signed lines that end in CR LF, but they arrived with LF: something converts line ends (git, an editor, a paste); " + rawBytes,
		func(b []byte) []byte { return bytes.ReplaceAll(bytes.ReplaceAll(b, crlf, lf), lf, crlf) }},
	{"the sender signed the body in Latin-1, but it arrived in UTF-8: something converted it, or the sender does after signing; " + rawBytes, toLatin1},
	{"the sender signed the body in UTF-8, but it arrived in Latin-1: something converted it; " + rawBytes, fromLatin1},
	{"the sender signed the body with composed characters (NFC), but it arrived decomposed: " + rawBytes, onlyText(norm.NFC.Bytes)},
	{"the sender signed the body with decomposed characters (NFD), but it arrived composed: " + rawBytes, onlyText(norm.NFD.Bytes)},
}

var bodyWraps = []bodyEdit{
	{"the body arrived in base64, but the sender signed the decoded body: decode it in front of the gateway (isBase64Encoded of a cloud function)", unbase64},
	{"the sender signed its body in base64: write the message {body|base64}", func(b []byte) []byte { return base64.StdEncoding.AppendEncode(nil, b) }},
	{"the body arrived as a JSON string, but the sender signed the text inside: something serialized it again; " + rawBytes, unquote},
	{"the body arrived wrapped in the member body of another JSON: unwrap it in front of the gateway", unwrap("body", false)},
	{"the body arrived wrapped in the member body of another JSON, in base64: unwrap and decode it in front of the gateway", unwrap("body", true)},
	{"the body arrived wrapped in the member payload of another JSON: unwrap it, or the sender signs only that member", unwrap("payload", false)},
	{"the body arrived wrapped in the member data of another JSON: unwrap it, or the sender signs only that member", unwrap("data", false)},
	{"the body arrived wrapped in the member event of another JSON: unwrap it, or the sender signs only that member", unwrap("event", false)},
	{"the body arrived wrapped in the member rawBody of another JSON: unwrap it in front of the gateway", unwrap("rawBody", false)},
	{"the body is a form, but the sender signed the JSON in its field payload: choose the content type application/json at the sender", field("payload")},
	{"the sender signed the form payload=…, but the JSON arrived unwrapped: " + rawBytes,
		func(b []byte) []byte { return []byte("payload=" + url.QueryEscape(string(b))) }},
	{"the sender signed an empty body, but it arrived as {}: a parser wrote that for an empty body; " + rawBytes, only("{}", "")},
	{"the sender signed {}, but it arrived as an empty body: a parser dropped it; " + rawBytes, only("", "{}")},
	{"the sender signed null, but it arrived as an empty body: " + rawBytes, only("", "null")},
}

const formRewritten = "the sender signed the form written differently: something on the way parsed and re-serialized it; " + rawBytes

var bodyForms = []bodyEdit{
	{formRewritten + " (spaces as +)", writeForm(false, url.QueryEscape)},
	{formRewritten + " (spaces as %20)", writeForm(false, func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") })},
	{formRewritten + " (as encodeURIComponent writes it)", writeForm(false, encodeURIComponent)},
	{formRewritten + " (spaces as +, * kept)", writeForm(false, func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "%2A", "*") })},
	{formRewritten + " (lower-case escapes)", writeForm(false, func(s string) string { return smallEscapes(url.QueryEscape(s)) })},
	{formRewritten + " (fields sorted)", writeForm(true, url.QueryEscape)},
	{"the sender signed the form's text before it was URL-encoded: it must sign what it sends", writeForm(false, func(s string) string { return s })},
}

// unpackedInFront guesses that something in front decompressed a body that is signed
// before compression, and kept the header.
func unpackedInFront(s *search, yield func(guess) bool) {
	if !s.v.scheme.BodyDecoded || len(s.c.Request.Header["Content-Encoding"]) == 0 || bytes.HasPrefix(s.c.Body, gzipMagic) {
		return
	}
	g := guess{signing: s.asked, clause: "something in front unpacked the body and left the header Content-Encoding: make it drop that header too, or pass the body on untouched"}
	req := *s.c.Request
	req.Header = maps.Clone(req.Header)
	delete(req.Header, "Content-Encoding")
	g.check.req = &req
	yield(g)
}

func bodies(edits []bodyEdit) func(*search, func(guess) bool) {
	return func(s *search, yield func(guess) bool) {
		for _, e := range edits {
			if altered := e.undo(s.c.Body); altered != nil && !s.guessBody(altered, e.clause, yield) {
				return
			}
		}
	}
}

// guessBody yields a body that was not tried before. Building it has a cost too.
func (s *search) guessBody(body []byte, clause string, yield func(guess) bool) bool {
	hash := maphash.Bytes(s.seed, body)
	if s.bodies[hash] {
		return true
	}
	if !s.charge(len(body)) {
		return false
	}
	s.bodies[hash] = true
	g := guess{signing: s.asked, clause: clause}
	g.body = body
	return yield(g)
}

// maxUnpacked limits a decompressed body: a forged one may be a bomb.
const maxUnpacked = 1 << 20

func gunzip(b []byte) []byte {
	if !bytes.HasPrefix(b, []byte("\x1f\x8b")) {
		return nil
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	out, err := io.ReadAll(io.LimitReader(r, min(maxUnpacked, decodedLimit(len(b))))) // a longer one cannot verify
	if err != nil {
		return nil
	}
	return out
}

func toLatin1(b []byte) []byte {
	if !utf8.Valid(b) {
		return nil
	}
	out := make([]byte, 0, len(b))
	for _, r := range string(b) {
		if r > 0xff {
			return nil
		}
		out = append(out, byte(r))
	}
	return out
}

func fromLatin1(b []byte) []byte {
	if utf8.Valid(b) {
		return nil
	}
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = utf8.AppendRune(out, rune(c))
	}
	return out
}

func onlyText(edit func([]byte) []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		if !utf8.Valid(b) || !slices.ContainsFunc(b, func(c byte) bool { return c >= utf8.RuneSelf }) {
			return nil
		}
		return edit(b)
	}
}

func unbase64(b []byte) []byte {
	out, err := decodeString(string(bytes.TrimSpace(b)), encBase64)
	if err != nil || len(out) == 0 {
		return nil
	}
	return out
}

func unquote(b []byte) []byte {
	var text string
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '"' || json.Unmarshal(b, &text) != nil {
		return nil
	}
	return []byte(text)
}

// unwrap undoes {"name": "text"} and {"name": {…}}.
func unwrap(name string, inBase64 bool) func([]byte) []byte {
	return func(b []byte) []byte {
		if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' || !bytes.Contains(b, []byte(`"`+name+`"`)) {
			return nil
		}
		var all map[string]json.RawMessage
		if json.Unmarshal(b, &all) != nil || all[name] == nil {
			return nil
		}
		inner := []byte(all[name])
		if text := unquote(inner); text != nil {
			inner = text
		}
		if inBase64 {
			return unbase64(inner)
		}
		return inner
	}
}

func field(name string) func([]byte) []byte {
	return func(b []byte) []byte {
		if !bytes.Contains(b, []byte(name+"=")) {
			return nil
		}
		if text, err := formdata.Value(b, name); err == nil {
			return []byte(text)
		}
		return nil
	}
}

func only(arrived, signed string) func([]byte) []byte {
	return func(b []byte) []byte {
		if string(bytes.TrimSpace(b)) != arrived {
			return nil
		}
		return []byte(signed)
	}
}

// writeForm re-serializes a form's fields, with each name and value through escape.
func writeForm(sorted bool, escape func(string) string) func([]byte) []byte {
	return func(b []byte) []byte {
		if bytes.IndexByte(b, '=') < 1 || bytes.ContainsAny(b, "{\"\n") {
			return nil
		}
		fields, err := formdata.Parse(b)
		if err != nil {
			return nil
		}
		if sorted {
			slices.SortStableFunc(fields, func(a, b formdata.Field) int { return cmp.Compare(a.Name, b.Name) })
		}
		pairs := make([]string, len(fields))
		for i, f := range fields {
			pairs[i] = escape(f.Name) + "=" + escape(f.Value)
		}
		return []byte(strings.Join(pairs, "&"))
	}
}

// encodeURIComponent is JavaScript's: it keeps !'()* in addition to unreserved
// characters.
func encodeURIComponent(s string) string { return componentEscapes.Replace(url.QueryEscape(s)) }

var componentEscapes = strings.NewReplacer("+", "%20", "%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*")

func smallEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}

// jsonBodies guesses that the body was parsed and re-serialized, in the styles of
// common libraries, common ones first.
func jsonBodies(s *search, yield func(guess) bool) {
	if len(s.c.Body) == 0 || !s.charge(8*len(s.c.Body)) || !json.Valid(s.c.Body) {
		return
	}
	text := jsonstyle.Parse(s.c.Body)
	if !s.charge(128 * len(text)) { // splitting and sorting, as measured
		return
	}
	out := make([]byte, 0, 2*len(s.c.Body))
	escapes := slices.DeleteFunc(slices.Clone(jsonstyle.Escapes), func(e jsonstyle.Escape) bool { return !e.Concerns(s.c.Body) })
	for _, in := range []struct {
		order  string
		text   jsonstyle.Text
		spaces []jsonstyle.Space
	}{{"", text, jsonstyle.Spaces[:2]}, {"with its keys sorted", text.Sorted(), jsonstyle.Spaces[:2]}, {"", text, jsonstyle.Spaces[2:]}} {
		for _, space := range in.spaces {
			for _, escape := range escapes {
				body := in.text.Append(out[:0], space, escape, 3*len(s.c.Body)+4096)
				if !s.charge(2*len(body) + 8*len(in.text)) { // as measured
					return
				}
				if body == nil {
					continue
				}
				style := slices.DeleteFunc([]string{space.Name, escape.Name, in.order}, func(part string) bool { return part == "" })
				clause := fmt.Sprintf("the sender signed the JSON %s, but it arrived written differently: something parsed and re-serialized it, on the way or at the sender after signing; %s",
					strings.Join(style, ", "), rawBytes)
				if out = body; !s.guessBody(body, clause, yield) {
					return
				}
			}
		}
	}
}
