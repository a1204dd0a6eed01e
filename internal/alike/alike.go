// Package alike tells which names of members and fields some readers treat as the
// same. Go's encoding/json, .NET and many frameworks ignore case, PHP and Rack
// rewrite the names of form fields: a field with such a name next to a signed one
// would carry an unsigned value in its place.
//
// The package knows neither JSON nor forms.
package alike

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Same reports whether two names are equal under Unicode's simple case folding (ſ is
// s, U+212A is k) and Java's rules, which equate İ and ı with i. It does not
// allocate.
func Same[A, B ~string | ~[]byte](a A, b B) bool {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		x, n := decode(a, i)
		y, m := decode(b, j)
		if x != y && foldRune(x) != foldRune(y) {
			return false
		}
		i, j = i+n, j+m
	}
	return i == len(a) && j == len(b)
}

// Fold returns the same text for all names that are the Same.
func Fold(name string) string { return strings.Map(foldRune, name) }

// decode reads the rune at i. An invalid UTF-8 byte is a rune of its own.
func decode[T ~string | ~[]byte](text T, i int) (rune, int) {
	if c := text[i]; c < utf8.RuneSelf {
		return rune(c), 1
	}
	r, n := utf8.DecodeRuneInString(string(text[i:min(i+utf8.UTFMax, len(text))]))
	if n == 1 {
		return -rune(text[i]), 1
	}
	return r, n
}

func foldRune(r rune) rune {
	switch {
	case r >= 'A' && r <= 'Z':
		return r + 'a' - 'A'
	case r < utf8.RuneSelf:
		return r
	case r == 'İ' || r == 'ı':
		return 'i'
	}
	least := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		least = min(least, other)
	}
	if least >= 'A' && least <= 'Z' {
		return least + 'a' - 'A'
	}
	return least
}

// Field returns a field's name as form readers see it, in one case. PHP ends it at a
// zero byte, drops leading blanks, and turns blanks, dots and unclosed brackets into
// underscores. Java's trim drops control characters too, at both ends; URLSearchParams a
// question mark at the front, and whoever decodes text a byte order mark.
func Field(name string) string {
	name = strings.TrimLeftFunc(name, func(r rune) bool { return isBlank(r) || r == '?' })
	name, _, _ = strings.Cut(name, "\x00")
	name = strings.TrimRightFunc(name, isBlank)
	i := strings.IndexFunc(name, func(r rune) bool { return fieldRune(r) != r })
	if i < 0 {
		return name
	}
	var out strings.Builder
	out.Grow(len(name))
	out.WriteString(name[:i])
	for i < len(name) {
		r, n := decode(name, i)
		if r < 0 {
			out.WriteByte(name[i])
		} else {
			out.WriteRune(fieldRune(r))
		}
		i += n
	}
	return out.String()
}

func isBlank(r rune) bool { return r == '\ufeff' || unicode.IsSpace(r) || unicode.IsControl(r) }

func fieldRune(r rune) rune {
	switch r {
	case ' ', '\t', '\r', '\n', '.', '[':
		return '_'
	}
	return foldRune(r)
}

// Array returns the name, normalized by Field, of the list or map that a field with
// brackets belongs to: a for a[], a[b] and [a]; "" for any other field. PHP, Rack and
// Express let it replace a field a.
func Array(name string) string {
	if !strings.ContainsAny(name, "[]") {
		return ""
	}
	name = strings.TrimLeftFunc(name, func(r rune) bool { return r == '[' || r == ']' || r == '?' || isBlank(r) })
	if end := strings.IndexAny(name, "[]"); end >= 0 {
		name = name[:end]
	}
	return Field(name)
}
