package placement_test

import (
	"slices"
	"strings"
	"testing"
)

// TestPathsThatAClientChooses of a handler without a name are warned of, however they lead
// to it.
func TestPathsThatAClientChooses(t *testing.T) {
	const (
		block  = "verify_webhooks /hooks/* {\nsender github a\nreverse_proxy app:3000\n}\nrespond 404\n"
		single = "verify_webhook /hooks/github github a\nreverse_proxy app:3000\n"
		guard  = "verify_webhook @h github a\n@u vars {http.verify_webhook.name} \"\"\nrespond @u 404\nreverse_proxy app:3000\n"
	)
	for route, several := range map[string]bool{
		"uri strip_prefix /api\n" + block:                                              true,
		"uri strip_suffix .json\n" + block:                                             true,
		"uri path_regexp ^/v[0-9]+ \"\"\n" + block:                                     true,
		"uri path_regexp ^/v[0-9]+/ /\n" + block:                                       true,
		"rewrite * /hooks/github\n" + single:                                           true,
		"rewrite * /hooks/github\n" + block:                                            true,
		"@old path /github /gh\nrewrite @old /hooks/github\n" + block:                  true,
		"@x not path /hooks/*\nrewrite @x /hooks/github\n" + single:                    true,
		"@h path /hooks/github/*\n" + guard:                                            true,
		"@h path_regexp ^/hooks/github(/.*)?$\n" + guard:                               true,
		"@h path_regexp github$\n" + guard:                                             true,
		"@h path *github\n" + guard:                                                    true,
		"@h path /hooks/*/github\n" + guard:                                            true,
		"@h path /hooks/[gx]ithub\n" + guard:                                           true,
		"@h path /hooks/git[a-z]ub\n" + guard:                                          true,
		"@h path_regexp ^/hooks/[0-9]+$\n" + guard:                                     true,
		"@h path_regexp ^/hooks/v[12]/github$\n" + guard:                               true,
		"@h path_regexp ^/hooks/[g]ithub$\n" + guard:                                   false,
		"@h expression path('/hooks/github','/gh')\n" + guard:                          true,
		"@h not path /admin/*\n" + guard:                                               true,
		"@h method POST\n" + guard:                                                     true,
		"@h path /hooks/github /github\n" + guard:                                      true,
		"@h expression path('/hooks/github*')\n" + guard:                               true,
		"handle_path /old/* {\nroute {\nrewrite * /hooks/github\n" + single + "}\n}\n": true,
		block:                             false,
		single:                            false,
		"@h path /hooks/github\n" + guard: false,
		"@h path_regexp ^/hooks/github$\n" + guard: false,
		"rewrite /old/* /new\n" + block:            false,
		"uri query -utm_source\n" + block:          false,
		"uri strip_prefix /api\n" + strings.ReplaceAll(block, "github a", "github a {\nname gh\n}"):    false,
		"uri strip_prefix /api\n" + strings.ReplaceAll(block, "github a", "github a {\ndedupe off\n}"): false,
	} {
		t.Run(route, func(t *testing.T) {
			if warned := isWarned(t, "hooks.example.com {\nroute {\n"+route+"}\n}", anyPath); warned != several {
				t.Errorf("warned %t, want %t", warned, several)
			}
		})
	}
}

// TestHostsThatAClientChooses of a handler without a name are warned of where a matcher may
// look at them.
func TestHostsThatAClientChooses(t *testing.T) {
	for site, chosen := range map[string]bool{
		"http://:8080 {\n@h expression `{host} != 'a.example.com'`\n":                  true,
		"http://:8080 {\n@h vars {host} a.example.com\n":                               true,
		"http://:8080 {\n@h header Host *.example.com\n":                               true,
		"http://:8080 {\n@h expression `{header.X-Real} != 'x'`\n":                     false,
		"http://:8080 {\n@h protocol http\n":                                           false,
		"http://:8080 {\n@h not host a.example.com\n":                                  false,
		"http://hooks.example.com:8080 {\n@h expression `{host} != 'a.example.com'`\n": false,
	} {
		t.Run(site, func(t *testing.T) {
			const anyHost = "handlers without a name include the host in a delivery's identity"
			if warned := isWarned(t, site+"handle @h {\nverify_webhooks /hooks/* {\nsender github a\nreverse_proxy app:3000\n}\nrespond 404\n}\nrespond 404\n}", anyHost); warned != chosen {
				t.Errorf("warned %t, want %t", warned, chosen)
			}
		})
	}
}

// isWarned reports whether a warning with this beginning is among those of a start.
func isWarned(t *testing.T, caddyfile, begin string) bool {
	t.Helper()
	warnings, err := survey(t, caddyfile)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(w, begin) })
}

// TestPortsThatAClientChooses: where the port counts for a handler without a name, and
// several lead to it, the start says so.
func TestPortsThatAClientChooses(t *testing.T) {
	const ports = "handlers without a name include the port"
	site := func(addresses, name, app string) string {
		return addresses + " {\nverify_webhooks /hooks/* {\nsender github a" + name + "\nreverse_proxy " + app + "\n}\n}\n"
	}
	for name, c := range map[string]struct {
		caddyfile string
		warned    bool
	}{
		"any host":              {site("http://:80, http://:8080", "", "app:3000"), true},
		"a wildcard":            {site("http://*.example.com, http://*.example.com:8080", "", "app:3000"), true},
		"two sites of one app":  {site("http://:80", "", "app:3000") + site("http://:8080", "", "app:3000"), true},
		"a listed host":         {site("http://example.com, http://example.com:8080", "", "app:3000"), false},
		"with a name":           {site("http://:80, http://:8080", " {\nname shop\n}", "app:3000"), false},
		"one port":              {site("http://:80", "", "app:3000"), false},
		"other patterns":        {site("http://*.example.com", "", "app:3000") + site("http://*.example.org:8080", "", "app:3000"), false},
		"what another port has": {site("http://:80", "", "app:3000") + "http://:8080 {\nrespond ok\n}\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			if warned := isWarned(t, c.caddyfile, ports); warned != c.warned {
				t.Errorf("warned: %t", warned)
			}
		})
	}
}
