package verifier

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A filter turns the text of a slot into what is signed. It appends to dst and
// never keeps src.
type filter struct {
	apply func(dst, src []byte) []byte
	kind  filterKind
}

type filterKind uint8

const (
	lossy  filterKind = iota // different inputs may give one output
	digest                   // a cryptographic digest: fixed length, no two inputs found
	text                     // an encoding: one output for one input
	quoted                   // an encoding whose output says itself where it ends
	fold                     // changes letters' case alone
)

// covers reports whether every byte that goes into a chain counts in what comes
// out of it: it digests or quotes first, so that the message still splits one
// way, and loses nothing later.
func covers(chain []filter) bool {
	for i, f := range chain {
		switch {
		case i == 0 && f.kind != digest && f.kind != quoted, f.kind == lossy:
			return false
		case f.kind == fold && (chain[i-1].kind == digest || chain[i-1].kind == quoted):
			return false
		}
	}
	return true
}

var filters = map[string]filter{
	"sha1":   {kind: digest, apply: func(dst, src []byte) []byte { d := sha1.Sum(src); return append(dst, d[:]...) }},
	"sha256": {kind: digest, apply: func(dst, src []byte) []byte { d := sha256.Sum256(src); return append(dst, d[:]...) }},
	"sha512": {kind: digest, apply: func(dst, src []byte) []byte { d := sha512.Sum512(src); return append(dst, d[:]...) }},
	// MD5 is what some senders digest a body with before they sign it with a
	// secret. Collisions need a chosen body; second preimages are out of reach.
	"md5":    {kind: digest, apply: func(dst, src []byte) []byte { d := md5.Sum(src); return append(dst, d[:]...) }},
	"crc32":  {apply: func(dst, src []byte) []byte { return strconv.AppendUint(dst, uint64(crc32.ChecksumIEEE(src)), 10) }},
	"hex":    {kind: text, apply: hex.AppendEncode},
	"base64": {kind: text, apply: func(dst, src []byte) []byte { return base64.StdEncoding.AppendEncode(dst, src) }},
	"json":   {kind: quoted, apply: appendJSONString},
	"lower":  {kind: fold, apply: func(dst, src []byte) []byte { return append(dst, strings.ToLower(string(src))...) }},
	"upper":  {kind: fold, apply: func(dst, src []byte) []byte { return append(dst, strings.ToUpper(string(src))...) }},
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

// writeJSONString writes src to w as appendJSONString does, behind what stands in
// scratch, in pieces: of a control character there are six bytes.
func writeJSONString(w io.Writer, scratch, src []byte) []byte {
	const piece = 1 << 10
	scratch = append(scratch, '"')
	for len(src) > 0 {
		n := min(piece, len(src))
		start := len(scratch)
		scratch = appendJSONString(scratch, src[:n])
		copy(scratch[start:], scratch[start+1:len(scratch)-1]) // without its own quotation marks
		w.Write(scratch[:len(scratch)-2])
		scratch, src = scratch[:0], src[n:]
	}
	return append(scratch, '"')
}

func filterList() string {
	return strings.Join(slices.Sorted(maps.Keys(filters)), " ")
}
