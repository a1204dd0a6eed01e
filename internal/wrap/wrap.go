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

// Paragraphs wraps each paragraph of a text. Indented lines are kept as they are.
func Paragraphs(text string) string {
	var b strings.Builder
	var open []string // lines of a paragraph
	end := func() {
		if len(open) > 0 {
			b.WriteString(Text(strings.Join(open, " "), "", ""))
		}
		open = nil
	}
	for line := range strings.Lines(text) {
		if line == "\n" || strings.HasPrefix(line, "\t") || strings.HasPrefix(line, " ") {
			end()
			b.WriteString(line)
			continue
		}
		open = append(open, line)
	}
	end()
	return b.String()
}

// Command breaks a shell command that does not fit before its options and pipes.
func Command(line string) string {
	if utf8.RuneCountInString(line) <= Columns {
		return line
	}
	indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
	var b strings.Builder
	column := 0
	for i, part := range breaks(strings.TrimLeft(line, " ")) {
		n := utf8.RuneCountInString(part)
		switch {
		case i == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+n > Columns-2: // a space and a backslash
			b.WriteString(" \\\n" + indent + "  ")
			column = len(indent) + 2
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(part)
		column += n
	}
	return b.String()
}

// breaks splits a command before options and pipes.
func breaks(line string) (parts []string) {
	for _, word := range strings.Split(line, " ") {
		if len(parts) == 0 || word == "|" || strings.HasPrefix(word, "-") && word != "-" {
			parts = append(parts, word)
			continue
		}
		parts[len(parts)-1] += " " + word
	}
	return parts
}
