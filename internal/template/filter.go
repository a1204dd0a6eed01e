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

// A Filter turns the text of a slot into what is signed.
type Filter struct {
	Name  string
	kind  filterKind
	apply func(dst, src []byte) []byte // appends to dst and never keeps src
}

type filterKind uint8

const (
	filterLossy  filterKind = iota // different inputs may give one output
	filterDigest                   // a cryptographic digest: fixed length, no two inputs found
	filterText                     // an encoding: one output for one input
	filterQuoted                   // an encoding whose output says itself where it ends
	filterFold                     // changes letters' case alone
)

var filters = []Filter{
	{"sha1", filterDigest, func(dst, src []byte) []byte { d := sha1.Sum(src); return append(dst, d[:]...) }},
	{"sha256", filterDigest, func(dst, src []byte) []byte { d := sha256.Sum256(src); return append(dst, d[:]...) }},
	{"sha512", filterDigest, func(dst, src []byte) []byte { d := sha512.Sum512(src); return append(dst, d[:]...) }},
	// MD5 is what some senders digest a body with before they sign it with a
	// secret. Collisions need a chosen body; second preimages are out of reach.
	{"md5", filterDigest, func(dst, src []byte) []byte { d := md5.Sum(src); return append(dst, d[:]...) }},
	{"crc32", filterLossy, func(dst, src []byte) []byte { return strconv.AppendUint(dst, uint64(crc32.ChecksumIEEE(src)), 10) }},
	{"hex", filterText, hex.AppendEncode},
	{"base64", filterText, base64.StdEncoding.AppendEncode},
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

// OnFilter is called with the length of each text that a filter goes over. Tests
// set it to count what a delivery costs; it is nil otherwise.
var OnFilter func(length int)

// Append appends what the part's filters make of text.
func (p *Part) Append(dst, text []byte) []byte {
	if len(p.Filters) == 0 {
		return append(dst, text...)
	}
	start := len(dst)
	return filter(p.Filters[0].run(dst, text), start, p.Filters[1:])
}

// Filter replaces dst[start:] by what the part's filters make of it.
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

// Covers reports whether every byte that goes into the part's filters counts in
// what comes out: they digest or quote first, so that the message still splits
// one way, and lose nothing later.
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

// Hex reports whether the text is written in hex at last, so that its letters'
// case does not count.
func (p *Part) Hex() bool {
	return len(p.Filters) > 0 && p.Filters[len(p.Filters)-1].Name == "hex"
}

// Quoted reports whether the text is written as a JSON string and no more:
// WriteQuoted writes it so in pieces.
func (p *Part) Quoted() bool { return len(p.Filters) == 1 && p.Filters[0].kind == filterQuoted }

// WriteQuoted writes text to w as a JSON string, behind what is in scratch. It
// returns what is still to be written.
func WriteQuoted(w io.Writer, scratch, text []byte) []byte {
	const piece = 1 << 10 // of a control character there are six bytes
	if OnFilter != nil {
		OnFilter(len(text))
	}
	scratch = append(scratch, '"')
	for len(text) > 0 {
		n := min(piece, len(text))
		start := len(scratch)
		scratch = appendJSONString(scratch, text[:n])
		copy(scratch[start:], scratch[start+1:len(scratch)-1]) // without its own quotation marks
		w.Write(scratch[:len(scratch)-2])
		scratch, text = scratch[:0], text[n:]
	}
	return append(scratch, '"')
}

// appendJSONString writes src as a JSON string the way of ECMA-262, 25.5.2.3
// (QuoteJSONString): of the control characters five have short escapes, and
// nothing beyond them is escaped but the quotation mark and the backslash. Bytes
// that are no UTF-8 stay as they are: two inputs never become one.
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
