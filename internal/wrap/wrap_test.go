package wrap

import (
	"strings"
	"testing"
)

// TestText: lines break between words, never within, and fit the terminal.
func TestText(t *testing.T) {
	long := strings.Repeat("x", 90)
	for text, want := range map[string]string{
		"":                             "- \n",
		"one two":                      "- one two\n",
		"a  b\tc\nd":                   "- a b c d\n",
		strings.Repeat("é", 78) + " b": "- " + strings.Repeat("é", 78) + "\n  b\n",
		strings.Repeat("a", 76) + " b": "- " + strings.Repeat("a", 76) + " b\n",
		strings.Repeat("a", 77) + " b": "- " + strings.Repeat("a", 77) + "\n  b\n",
		"see " + long + " there":       "- see\n  " + long + "\n  there\n",
		long:                           "- " + long + "\n",
	} {
		if got := Text(text, "- ", "  "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestParagraphs joins and wraps lines, but not indented ones.
func TestParagraphs(t *testing.T) {
	long := strings.Repeat("word ", 17)
	const code = "\tcode   as it is\n"
	want := "a b\n\n" + strings.Repeat("word ", 15) + "word\nword\n\n" + code + "end\n"
	if got := Paragraphs("a\nb\n\n" + long + "\n\n" + code + "end"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestCommand breaks a long command before options and pipes only, as a shell reads it.
func TestCommand(t *testing.T) {
	const short = "  caddy webhook verify stripe a.http --now 1"
	value := strings.Repeat("x ", 20)
	for line, want := range map[string]string{
		short: short,
		"  caddy --secret '" + value + "' -H 'X: " + value + "' - | cat": "  caddy --secret '" + value + "' \\\n    -H 'X: " + value + "' - | cat",
	} {
		if got := Command(line); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
