package template

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A Filter transforms the text of a slot before it is signed.
type Filter struct {
	Name  string
	kind  filterKind
	apply func(dst, src []byte) []byte // appends to dst and must not keep src
}

type filterKind uint8

const (
	filterLossy  filterKind = iota // different inputs may have the same output
	filterDigest                   // a cryptographic digest: fixed length, no known collisions
	filterText                     // an injective encoding
	filterQuoted                   // an injective encoding that marks its own end
	filterFold                     // changes only the case of letters
)

var filters = []Filter{
	{"sha1", filterDigest, func(dst, src []byte) []byte { d := sha1.Sum(src); return append(dst, d[:]...) }},
	{"sha256", filterDigest, func(dst, src []byte) []byte { d := sha256.Sum256(src); return append(dst, d[:]...) }},
	{"sha512", filterDigest, func(dst, src []byte) []byte { d := sha512.Sum512(src); return append(dst, d[:]...) }},
	// MD5: some senders digest a body with it before they sign it with a secret.
	// Collisions need a chosen body; second preimages are infeasible.
	{"md5", filterDigest, func(dst, src []byte) []byte { d := md5.Sum(src); return append(dst, d[:]...) }},
	{"crc32", filterLossy, func(dst, src []byte) []byte { return strconv.AppendUint(dst, uint64(crc32.ChecksumIEEE(src)), 10) }},
	{"hex", filterText, hex.AppendEncode},
	{"base64", filterText, base64.StdEncoding.AppendEncode},
	{"base64url", filterText, base64.RawURLEncoding.AppendEncode}, // without padding
	{"json", filterQuoted, appendJSONString},
	{"lower", filterFold, func(dst, src []byte) []byte { return append(dst, strings.ToLower(string(src))...) }},
	{"upper", filterFold, func(dst, src []byte) []byte { return append(dst, strings.ToUpper(string(src))...) }},
}

func filterList() string {
	var names []string
	for _, f := range filters {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// OnFilter is called with the length of each text that a filter processes. Only tests
// set it, to measure the cost of a delivery.
var OnFilter func(length int)

// Append appends text after the part's filters.
func (p *Part) Append(dst, text []byte) []byte {
	if len(p.Filters) == 0 {
		return append(dst, text...)
	}
	start := len(dst)
	return filter(p.Filters[0].run(dst, text), start, p.Filters[1:])
}

// Filter applies the part's filters to dst[start:].
func (p *Part) Filter(dst []byte, start int) []byte { return filter(dst, start, p.Filters) }

func filter(dst []byte, start int, chain []Filter) []byte {
	for _, f := range chain {
		end := len(dst)
		dst = f.run(dst, dst[start:end])
		dst = append(dst[:start], dst[end:]...)
	}
	return dst
}

func (f *Filter) run(dst, src []byte) []byte {
	if OnFilter != nil {
		OnFilter(len(src))
	}
	return f.apply(dst, src)
}

// Covers reports whether the output of the part's filters depends on every byte of
// the input: they digest or quote first, so that the message can still be split in
// only one way, and lose nothing later.
func (p *Part) Covers() bool {
	for i, f := range p.Filters {
		switch {
		case i == 0 && f.kind != filterDigest && f.kind != filterQuoted, f.kind == filterLossy:
			return false
		case f.kind == filterFold && (p.Filters[i-1].kind == filterDigest || p.Filters[i-1].kind == filterQuoted):
			return false
		}
	}
	return true
}

// Ends reports whether the last filter has this name.
func (p *Part) Ends(filter string) bool {
	return len(p.Filters) > 0 && p.Filters[len(p.Filters)-1].Name == filter
}

// Quoted reports whether the text is only written as a JSON string, which WriteQuoted
// does in pieces.
func (p *Part) Quoted() bool { return len(p.Filters) == 1 && p.Filters[0].kind == filterQuoted }

// WriteQuoted writes text to w as a JSON string, after the content of scratch. It
// returns what remains to be written.
func WriteQuoted(w io.Writer, scratch, text []byte) []byte {
	const piece = 1 << 10 // a control character becomes six bytes
	if OnFilter != nil {
		OnFilter(len(text))
	}
	scratch = append(scratch, '"')
	for len(text) > 0 {
		n := min(piece, len(text))
		start := len(scratch)
		scratch = appendJSONString(scratch, text[:n])
		copy(scratch[start:], scratch[start+1:len(scratch)-1]) // without its own quotes
		w.Write(scratch[:len(scratch)-2])
		scratch, text = scratch[:0], text[n:]
	}
	return append(scratch, '"')
}

// appendJSONString writes src as a JSON string like ECMA-262, 25.5.2.3
// (QuoteJSONString): five control characters have short escapes, and of all other
// characters only the quotation mark and the backslash are escaped. Invalid UTF-8 is
// kept: no two inputs have the same output.
func appendJSONString(dst, src []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i, c := range src {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, src[start:i]...)
		start = i + 1
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case strings.IndexByte("\b\f\n\r\t", c) >= 0:
			dst = append(dst, '\\', "btn\x00fr"[c-'\b'])
		default:
			dst = append(dst, `\u00`...)
			dst = hex.AppendEncode(dst, []byte{c})
		}
	}
	return append(append(dst, src[start:]...), '"')
}
