package placement_test

import (
	"strings"
	"testing"
)

// TestAJudgeThatAnswersHandshakes: an ingress that asks such a gateway takes the 2xx for a
// handshake, which needs no signature, as leave to pass the request to the app.
func TestAJudgeThatAnswersHandshakes(t *testing.T) {
	const warning = "only a respond comes after these senders"
	for name, tc := range map[string]struct {
		sender, options, after string
		want                   string
	}{
		"a challenge":              {"slack", "dedupe off", "respond 200", "names=[slack]"},
		"an unsigned ping":         {"woocommerce", "dedupe off", "respond 204", "names=[woocommerce]"},
		"a respond without status": {"monday", "dedupe off", "respond ok", "names=[monday]"},
		"handshakes are off":       {"slack", "dedupe off\nhandshake off", "respond 200", ""},
		"a sender without any":     {"github", "dedupe off", "respond 200", ""},
		"an app":                   {"slack", "dedupe off", "reverse_proxy app:3000", ""},
		"an app or a respond":      {"slack", "dedupe off", "route {\nreverse_proxy /hooks/* app:3000\nrespond 200\n}", ""},
		"a respond that refuses":   {"slack", "dedupe off", "respond 403", ""},
		"copies are held off":      {"slack", "", "respond 200", ""},
	} {
		warnings, err := survey(t, "http://hooks.example.com {\nverify_webhooks /hooks/* {\nsender "+tc.sender+" hV7kq2Lz5Xk0Vt7YbHs3pQ {\n"+tc.options+"\n}\n"+tc.after+"\n}\nrespond 404\n}")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		found := ""
		for _, w := range warnings {
			if strings.HasPrefix(w, warning) {
				found = w[strings.Index(w, "names="):]
			}
		}
		if found != tc.want {
			t.Errorf("%s: %q, want %q", name, found, tc.want)
		}
	}
}
