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
