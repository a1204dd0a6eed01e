package browser

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// sendersPage is the address of the catalogue's page, which is a file.
func sendersPage(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "docs", "providers", "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	return "file://" + filepath.ToSlash(path)
}

// shown are the senders that a person sees on the page, by id.
func shown(b *tab) string {
	b.t.Helper()
	return value[string](b, `[...document.querySelectorAll('#rows tr')].filter(row => row.checkVisibility()).map(row => row.querySelector('code').textContent).join(' ')`)
}

// TestSendersAreFoundAsOneTypes: by name, by a header that they send, by category and by
// the kind of their signature.
func TestSendersAreFoundAsOneTypes(t *testing.T) {
	b := newTab(t, sendersPage(t), 1200, 800, false)
	b.sees("Webhook senders", "Stripe")
	everyone := shown(b)
	b.write("STRIPE")
	if got := shown(b); got != "stripe" {
		t.Errorf("STRIPE finds %q", got)
	}
	b.sees("1 of ")
	b.press("Escape")
	if shown(b) != everyone {
		t.Error("Escape does not bring everybody back")
	}
	b.write("x-hub-signature-256 git")
	if got := strings.Fields(shown(b)); len(got) == 0 || !strings.Contains(fmt.Sprint(got), "github") {
		t.Errorf("a header of GitHub finds %q", got)
	}
	b.press("Escape")
	b.write("no such sender")
	b.sees("No sender matches", "0 of ")
	b.press("Escape")
	value[bool](b, `(kind.value = 'public key', kind.dispatchEvent(new Event('input')), category.value = 'communication', category.dispatchEvent(new Event('input')))`)
	if got := shown(b); !strings.Contains(got, "discord") || strings.Contains(got, "slack") || strings.Contains(got, "wise") {
		t.Errorf("communication with a public key: %q", got)
	}
}

// TestSendersByKeyboard: the arrows go through the senders that are shown.
func TestSendersByKeyboard(t *testing.T) {
	b := newTab(t, sendersPage(t), 1200, 800, true)
	b.sees("Stripe")
	focus := func() string {
		return value[string](b, `document.activeElement.id || document.activeElement.getAttribute('href')`)
	}
	b.write("git")
	found := strings.Fields(shown(b))
	if len(found) < 2 {
		t.Fatalf("git finds %q", found)
	}
	for _, id := range found[:2] {
		b.press("ArrowDown")
		if got := focus(); got != id+".md" {
			t.Errorf("the focus is on %s, want %s.md", got, id)
		}
	}
	b.press("/")
	if got := focus(); got != "query" {
		t.Errorf("the focus is on %s after /", got)
	}
}

// TestSendersOnNarrowScreens: nothing is cut off.
func TestSendersOnNarrowScreens(t *testing.T) {
	for _, width := range []int{320, 961} {
		b := newTab(t, sendersPage(t), width, 640, false)
		b.sees("Stripe")
		if wide := value[int](b, "document.documentElement.scrollWidth"); wide > width {
			t.Errorf("%d pixels: the page is %d wide", width, wide)
		}
	}
}
