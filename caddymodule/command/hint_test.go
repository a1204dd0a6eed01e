package command

import (
	"os"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// TestEveryReasonHasARemedy: where no hint is found, something is said that can
// be followed, and the page that it names has the reason.
func TestEveryReasonHasARemedy(t *testing.T) {
	page, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range verifier.Reasons {
		text := firstRemedy(string(reason))
		if strings.Contains(text, "no common mistake explains it (") || strings.HasPrefix(text, "none:") {
			t.Errorf("%s: %s", reason, text)
		}
		if !strings.Contains(string(page), "\n## "+string(reason)+"\n") {
			t.Errorf("docs/troubleshooting.md has no %s", reason)
		}
	}
}
