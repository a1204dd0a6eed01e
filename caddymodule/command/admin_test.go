package command

import (
	"errors"
	"strings"
	"testing"
	"unicode"
)

// TestErrorsOfTheAdminEndpointArePlain: what answers as an admin endpoint may be somebody
// else's, and its text must not control the terminal.
func TestErrorsOfTheAdminEndpointArePlain(t *testing.T) {
	err := adminFailure("localhost:2019", errors.New("caddy responded with error: HTTP 400: {\"error\":\"no\\u001b]0;x\\u0007 such\\u202e key\"}"))
	if text := err.Error(); !strings.Contains(text, "no") || !strings.Contains(text, " such") || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q", text)
	}
}
