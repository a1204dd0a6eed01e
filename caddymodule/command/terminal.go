package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"

	"github.com/verify-webhook/caddy-verify-webhook/internal/wrap"
)

// writeJSON writes ASCII JSON, which may still be shown on a terminal: C1 controls and
// bidirectional characters beyond ASCII can control it, so they are escaped.
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

// columns returns the width of the terminal that w is; 0: it is none, and lines may have
// any length, for programs.
var columns = func(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return wrap.Columns
	}
	return max(width, wrap.Columns)
}

// prose returns what breaks a sentence into lines for w, if it is a terminal: the first
// of them as it is, the others after rest.
func prose(w io.Writer) func(text, rest string) string {
	if columns(w) == 0 {
		return func(text, _ string) string { return text + "\n" }
	}
	return func(text, rest string) string { return wrap.Text(text, "", rest) }
}

// printable quotes a sender's text if it could control a terminal. One that does not read
// UTF-8 takes a byte from 0x80 to 0x9f for a control.
func printable(text string) string {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return strconv.Quote(text)
	}
	return text
}

// plain replaces the characters of a text from elsewhere that could control a terminal.
func plain(text string) string { return plainBut(text, "") }

// plainBut is plain, except for the characters in keep.
func plainBut(text, keep string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || strings.ContainsRune(keep, r) {
			return r
		}
		return '\uFFFD'
	}, text)
}

// ago formats a time relative to now; nil is "never".
func ago(at *time.Time, now time.Time) string {
	if at == nil {
		return "never"
	}
	return humanize.RelTime(*at, now, "ago", "from now")
}
