package command

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// A table aligns the cells, separated by tabs, of the lines written to it. Lines without
// a tab separate blocks of such lines.
type table struct {
	w     io.Writer
	width int // to which cells are folded; 0: any
	text  strings.Builder
}

// newTable returns a table that fits the terminal.
func newTable(w io.Writer) *table { return &table{w: w, width: columns(w)} }

// Write implements io.Writer. What an admin endpoint says cannot control a terminal,
// whichever field it is in.
func (t *table) Write(p []byte) (int, error) {
	t.text.WriteString(plainBut(string(p), "\t\n"))
	return len(p), nil
}

// flush prints the table.
func (t *table) flush() error {
	var out strings.Builder
	var block [][]string
	for line := range strings.Lines(t.text.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.Contains(line, "\t") {
			block = append(block, strings.Split(line, "\t"))
			continue
		}
		t.align(&out, block)
		block = nil
		if t.width > 0 && utf8.RuneCountInString(line) > t.width {
			line = strings.Join(fold(line, t.width), "\n")
		}
		out.WriteString(line + "\n")
	}
	t.align(&out, block)
	_, err := io.WriteString(t.w, out.String())
	return err
}

// gap lies between two columns.
const gap = 2

// align prints a block.
func (t *table) align(out *strings.Builder, block [][]string) {
	widths := t.widths(block)
	for _, cells := range block {
		folded, height := make([][]string, len(cells)), 0
		for i, cell := range cells {
			folded[i] = fold(cell, widths[i])
			height = max(height, len(folded[i]))
		}
		for n := range height {
			line := ""
			for i, lines := range folded {
				text := ""
				if n < len(lines) {
					text = lines[n]
				}
				line += fmt.Sprintf("%-*s", widths[i]+gap, text)
			}
			out.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
}

// widths are those of a block's columns: as wide as their widest cell, or, of a block that
// is too wide, the widest ones narrower, as long as no word has to be broken.
func (t *table) widths(block [][]string) []int {
	var widths []int
	var narrowest [2][]int // by what cells are broken at
	for _, cells := range block {
		for i, cell := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
				narrowest[0], narrowest[1] = append(narrowest[0], 0), append(narrowest[1], 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			for n := range narrowest {
				narrowest[n][i] = max(narrowest[n][i], longest(cell, breaks[n]))
			}
		}
	}
	over := -t.width
	for _, width := range widths {
		over += width + gap
	}
	over -= gap
	for _, least := range narrowest {
		for t.width > 0 && over > 0 {
			i := widest(widths, least)
			if i < 0 {
				break
			}
			widths[i]--
			over--
		}
	}
	return widths
}

// widest returns the widest of the columns that may be narrower; -1: none.
func widest(widths, least []int) int {
	found := -1
	for i, width := range widths {
		if width > least[i] && (found < 0 || width > widths[found]) {
			found = i
		}
	}
	return found
}

// breaks are the characters after which a cell may be broken: between words, and if that is
// not enough, in names and numbers.
var breaks = []string{" /?&-", " /?&-_.:=,;"}

// maxWhole is the longest run of other characters that is never broken, such as the key
// of a delivery, which somebody may copy. Of a longer one, minPart stay together.
const (
	maxWhole = 40
	minPart  = 16
)

// longest is the width of a cell's longest part if it is broken at these characters.
func longest(cell, at string) (n int) {
	for part := range strings.FieldsFuncSeq(cell, func(c rune) bool { return c == ' ' }) {
		for part != "" {
			end := strings.IndexAny(part, at) + 1
			if end == 0 {
				end = len(part)
			}
			run := utf8.RuneCountInString(part[:end])
			if run > maxWhole {
				run = minPart
			}
			n, part = max(n, run), part[end:]
		}
	}
	return n
}

// fold breaks a cell into lines of at most width characters.
func fold(cell string, width int) (lines []string) {
	rest := []rune(cell)
	for len(rest) > width {
		at := cut(rest, width)
		lines = append(lines, strings.TrimRight(string(rest[:at]), " "))
		rest = []rune(strings.TrimLeft(string(rest[at:]), " "))
	}
	return append(lines, string(rest))
}

// cut returns where a text that is longer than width is broken.
func cut(text []rune, width int) int {
	if text[width] == ' ' {
		return width
	}
	for _, at := range append([]string{" "}, breaks...) {
		for i := width; i > 0; i-- {
			if strings.ContainsRune(at, text[i-1]) {
				return i
			}
		}
	}
	return width
}
