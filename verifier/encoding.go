package verifier

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/textproto"
)

// The encodings of signatures and keys.
const (
	encUTF8      = "utf8"
	encHex       = "hex"
	encBase64    = "base64"
	encBase64URL = "base64url"
	// base64 of hex text; only for signatures
	encBase64Hex = "base64-hex"
)

var errEncoding = errors.New("not in its encoding")

func canonicalHeader(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

// decode decodes src into dst and returns the length. Each value has one encoding: no
// white space, no non-zero trailing bits. base64 accepts the standard and the URL
// alphabet, padded or not, because senders of one family differ; hex accepts either
// case.
func decode(dst, src []byte, encoding string) (int, error) {
	switch encoding {
	case encUTF8:
		if len(src) > len(dst) {
			return 0, errEncoding
		}
		return copy(dst, src), nil
	case encHex:
		if hex.DecodedLen(len(src)) > len(dst) {
			return 0, errEncoding
		}
		return hex.Decode(dst, src)
	case encBase64Hex:
		var text [2*maxSignature + 1]byte
		n, err := decode(text[:], src, encBase64)
		if err != nil {
			return 0, err
		}
		// Realtime Register's own example begins with a space inside the base64.
		return decode(dst, bytes.TrimPrefix(text[:n], []byte(" ")), encHex)
	}
	padded := len(src)
	src = bytes.TrimRight(src, "=")
	if pad := padded - len(src); pad > 2 || pad > 0 && padded%4 != 0 {
		return 0, errEncoding
	}
	enc := strictStd
	if encoding == encBase64URL || bytes.ContainsAny(src, "-_") {
		enc = strictURL
	}
	// The decoder of the standard library skips line breaks.
	if bytes.ContainsAny(src, "\r\n") || enc.DecodedLen(len(src)) > len(dst) {
		return 0, errEncoding
	}
	return enc.Decode(dst, src)
}

var (
	strictStd = base64.RawStdEncoding.Strict()
	strictURL = base64.RawURLEncoding.Strict()
)

func decodeString(text, encoding string) ([]byte, error) {
	dst := make([]byte, len(text))
	n, err := decode(dst, []byte(text), encoding)
	return dst[:n], err
}

// encode is the inverse of decode, in the most common form.
func encode(b []byte, encoding string) string {
	switch encoding {
	case encUTF8:
		return string(b)
	case encHex:
		return hex.EncodeToString(b)
	case encBase64URL:
		return base64.RawURLEncoding.EncodeToString(b)
	case encBase64Hex:
		return base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(b)))
	}
	return base64.StdEncoding.EncodeToString(b)
}
