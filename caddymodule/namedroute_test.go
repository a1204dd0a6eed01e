package caddymodule

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"
)

// TestNamedRoutesKeepAllDirectives, although Caddy 2.11.9 keeps only the first of those
// that it merges.
func TestNamedRoutesKeepAllDirectives(t *testing.T) {
	const verify, app = "verify_webhook github {env.S}\n", "reverse_proxy app:3000\n"
	for directives, want := range map[string][]string{
		verify:                             {"verify_webhook"},
		verify + app:                       {"verify_webhook", "reverse_proxy"},
		"header X-A 1\n" + verify + app:    {"headers", "verify_webhook", "reverse_proxy"},
		"header X-A 1\nencode\n" + verify:  {"headers", "verify_webhook", "encode"},
		"verify_webhooks /hooks/*\n" + app: {"verify_webhooks", "static_response", "reverse_proxy"},
		"header X-A 1\nverify_webhooks /hooks/* {\nsender github {env.S}\n" + app + "}\n" + app: {"headers", "verify_webhooks", "verify_webhook", "reverse_proxy", "reverse_proxy"},
		"verify_webhook github {env.S}\nverify_webhook gitlab {env.T}\n" + app:                  {"verify_webhook", "verify_webhook", "reverse_proxy"},
	} {
		t.Run(directives, func(t *testing.T) {
			config, err := adapt("Caddyfile", "&(hook) {\n"+directives+"}\nhttp://:1234 {\ninvoke hook\n}")
			if err != nil {
				t.Fatal(err)
			}
			var root struct {
				Apps struct {
					HTTP struct {
						Servers map[string]struct {
							NamedRoutes map[string]json.RawMessage `json:"named_routes"`
						}
					}
				}
			}
			if err := json.Unmarshal([]byte(config), &root); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, name := range regexp.MustCompile(`"handler":\s*"(\w+)"`).FindAllStringSubmatch(string(root.Apps.HTTP.Servers["srv0"].NamedRoutes["hook"]), -1) {
				if name[1] != "subroute" {
					got = append(got, name[1])
				}
			}
			groups := regexp.MustCompile(`"group":\s*"\w+"`).FindAllString(string(root.Apps.HTTP.Servers["srv0"].NamedRoutes["hook"]), -1)
			if n := len(groups); len(slices.Compact(groups)) != n {
				t.Errorf("two routes of one group: %v", groups)
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("the named route has %v, want %v", got, want)
			}
		})
	}
}
