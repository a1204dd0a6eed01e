package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// writeJSON writes for programs what may all the same end on a terminal: beyond
// ASCII, too, there are characters that act on one (C1 controls, directions),
// and JSON has escapes for them.
func writeJSON(w io.Writer, v any, indent string) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	var plain []byte
	for _, r := range text.String() {
		if r < 0x7f || unicode.IsPrint(r) {
			plain = utf8.AppendRune(plain, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			plain = fmt.Appendf(plain, `\u%04x`, unit)
		}
	}
	_, err := w.Write(plain)
	return err
}

// printable quotes a sender's text that could act on a terminal.
func printable(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return strconv.Quote(text)
	}
	return text
}

// plain replaces in a sender's text for a table what could act on a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}

// ago writes a time for a person; nil is never.
func ago(at *time.Time, now time.Time) string {
	if at == nil {
		return "never"
	}
	return humanize.RelTime(*at, now, "ago", "from now")
}
