// Package wrap breaks prose into the lines of a terminal.
package wrap

import (
	"strings"
	"unicode/utf8"
)

// Columns is the width of a terminal that every line fits.
const Columns = 80

// Text breaks a text between words into lines of at most Columns characters, which it
// ends with a line break. The first begins with first, the others with rest. A longer
// word, such as an address, is a line of its own.
func Text(text, first, rest string) string {
	var b strings.Builder
	b.WriteString(first)
	column, empty := utf8.RuneCountInString(first), true
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case empty:
		case column+1+n > Columns:
			b.WriteString("\n" + rest)
			column = utf8.RuneCountInString(rest)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column, empty = column+n, false
	}
	b.WriteByte('\n')
	return b.String()
}
