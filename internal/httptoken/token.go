// Package httptoken validates HTTP tokens: header names, methods, parameter names
// (RFC 9110 §5.6.2).
package httptoken

import "strings"

// Valid reports whether text is a token: not empty, visible ASCII without delimiters.
func Valid[T ~string | ~[]byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return len(text) > 0
}
