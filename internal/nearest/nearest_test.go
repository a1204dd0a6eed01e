package nearest

import "testing"

func TestOf(t *testing.T) {
	known := []string{"stripe", "github", "gitlab", "slack", "tolerance", "x_signature", "box"}
	for word, want := range map[string]string{
		"strpe":     "stripe",
		"Stripe":    "stripe",
		"tolerence": "tolerance",
		"githb":     "github",
		"xsig":      "",
		"foo":       "", // two letters of box
		"bax":       "box",
		"":          "",
		"paypal":    "",
	} {
		if got := Of(word, known); got != want {
			t.Errorf("Of(%q) = %q, want %q", word, got, want)
		}
	}
}
