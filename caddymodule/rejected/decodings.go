package rejected

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
)

// decodings returns the possible decodings of a text or of a part of it: a key inside
// "Basic dXNlcjprZXk=" begins at any of four characters.
func decodings(text string) (all []string) {
	for _, unescape := range []func(string) (string, error){url.PathUnescape, url.QueryUnescape} {
		if plain, err := unescape(text); err == nil && plain != text {
			all = append(all, plain)
		}
	}
	for _, run := range strings.FieldsFunc(text, func(c rune) bool { return !isHex(c) }) {
		for offset := 0; offset < 2 && len(run) >= 2*shortest; offset++ {
			part := run[offset:]
			if plain, err := hex.DecodeString(part[:len(part)/2*2]); err == nil {
				all = append(all, string(plain))
			}
		}
	}
	for _, run := range strings.FieldsFunc(text, func(c rune) bool { return !isBase64(c) }) {
		run = asStandard.Replace(run)
		for offset := 0; offset < 4 && len(run) >= shortest+2; offset++ {
			part := run[offset:]
			if len(part)%4 == 1 { // not a valid length of base64
				part = part[:len(part)-1]
			}
			if plain, err := base64.RawStdEncoding.DecodeString(part); err == nil {
				all = append(all, string(plain))
			}
		}
	}
	return all
}

var asStandard = strings.NewReplacer("-", "+", "_", "/")

func isHex(c rune) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func isBase64(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("+/-_", c)
}

// lower is strings.ToLower for ASCII only: decoded bytes need not be text.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
