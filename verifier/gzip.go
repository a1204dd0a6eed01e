package verifier

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
)

const (
	// maxDecoded limits the decompressed body. Its bytes are hashed and not kept.
	maxDecoded = 8 << 20
	// maxRatio limits it to a multiple of the compressed bytes, once it exceeds
	// smallDecoded. JSON stays far below; a stranger's zeros reach a thousand.
	maxRatio     = 50
	smallDecoded = 64 << 10
)

// decodedLimit is how many bytes a gzip stream of size bytes may hold.
func decodedLimit(size int) int64 { return int64(min(maxDecoded, max(smallDecoded, maxRatio*size))) }

// gzipMagic begins every gzip stream (RFC 1952 §2.3.1) and no text, so a compressed
// body is recognised even if a proxy dropped Content-Encoding.
var gzipMagic = []byte{0x1f, 0x8b}

// flagsAt is where the flags of a gzip stream are.
const flagsAt = 3

// writeBody writes the body as its sender signed it.
func (c *Check) writeBody(w io.Writer, body []byte) *Rejection {
	if !c.v.scheme.BodyDecoded {
		w.Write(body)
		return nil
	}
	coding, err := c.header("Content-Encoding")
	switch {
	case err != nil && err != errAbsent:
		return reject(MalformedSignature, "header Content-Encoding: %v", err)
	case coding == "" && !bytes.HasPrefix(body, gzipMagic):
		w.Write(body)
		return nil
	case coding != "" && !strings.EqualFold(coding, "gzip"):
		return reject(MalformedSignature, "the body is signed before it is compressed, and only gzip is supported")
	case slices.ContainsFunc(c.req.Header["Content-Type"], formdata.Is):
		// A stream can be written in many ways, and hold a text that is not in what comes out.
		return reject(MalformedSignature, "the body is compressed, and the Content-Type is that of a form: an app that does not unpack it could find fields in it")
	}
	if err := writeDecoded(w, body); err != nil {
		return reject(MalformedSignature, "the body is not a single gzip stream with a plain header, or holds more than %d MiB or %d times its bytes", maxDecoded>>20, maxRatio)
	}
	return nil
}

// SignsUnpacked reports whether a body is compressed that was signed before: its bytes
// are not signed, and neither is their Content-Type.
func (v *Rules) SignsUnpacked(body []byte) bool {
	return v.scheme.BodyDecoded && bytes.HasPrefix(body, gzipMagic)
}

// writeDecoded decompresses one gzip member (RFC 1952) and refuses trailing data,
// which two decoders could read differently, and flags: each adds a text that
// nobody signed (a file name, a comment).
func writeDecoded(w io.Writer, body []byte) error {
	if len(body) > flagsAt && body[flagsAt] != 0 {
		return gzip.ErrHeader
	}
	in := bytes.NewReader(body)
	r, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	r.Multistream(false)
	most := decodedLimit(len(body))
	n, err := io.Copy(w, io.LimitReader(r, most+1))
	if err != nil {
		return err
	}
	if n > most || in.Len() > 0 {
		return gzip.ErrHeader
	}
	return nil
}

// decodedStart returns the body, or the first bytes of what writeBody has decompressed.
func (c *Check) decodedStart(body []byte) []byte {
	if !c.v.scheme.BodyDecoded || !bytes.HasPrefix(body, gzipMagic) {
		return body
	}
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil
	}
	start := make([]byte, 64)
	n, _ := io.ReadFull(r, start)
	return start[:n]
}
