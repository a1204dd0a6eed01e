package placement_test

import (
	"slices"
	"strings"
	"testing"
)

// TestClientsThatChooseTheirAddress: behind a proxy that adds to X-Forwarded-For, its
// first address is what the client wrote.
func TestClientsThatChooseTheirAddress(t *testing.T) {
	const claimed = "clients can choose the address that Caddy takes for theirs, unless the proxy replaces X-Forwarded-For"
	for name, c := range map[string]struct {
		options, site string
		want          bool
	}{
		"no proxy":             {"", "verify_webhook /hooks/github github a", false},
		"trusted":              {"trusted_proxies static private_ranges", "verify_webhook /hooks/github github a", true},
		"trusted, in a block":  {"trusted_proxies static 192.0.2.0/24", "verify_webhooks /hooks/* {\nsender github a\nreverse_proxy app:3000\n}", true},
		"strict":               {"trusted_proxies static private_ranges\ntrusted_proxies_strict", "verify_webhook /hooks/github github a", false},
		"a socket":             {"trusted_proxies_unix", "verify_webhook /hooks/github github a", true},
		"a socket, strict":     {"trusted_proxies_unix\ntrusted_proxies_strict", "verify_webhook /hooks/github github a", false},
		"X-Forwarded-For too":  {"trusted_proxies static private_ranges\nclient_ip_headers x-forwarded-for X-Real-IP", "verify_webhook /hooks/github github a", true},
		"a header that is set": {"trusted_proxies static private_ranges\nclient_ip_headers CF-Connecting-IP X-Forwarded-For", "verify_webhook /hooks/github github a", false},
		"no handler":           {"trusted_proxies static private_ranges", "", false},
	} {
		warnings, err := survey(t, "{\nservers {\n"+c.options+"\n}\n}\nhooks.example.com {\n"+c.site+"\nrespond 404\n}")
		got := slices.ContainsFunc(warnings, func(w string) bool {
			return strings.HasPrefix(w, claimed) && strings.HasSuffix(w, "names=[github]")
		})
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %q, want a warning: %t", name, err, warnings, c.want)
		}
	}
}
