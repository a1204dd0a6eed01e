package placement_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
)

// TestSites: a host distinguishes deliveries only if the configuration lists it. If a
// client can choose it, all requests to a site have one address.
func TestSites(t *testing.T) {
	const block = " {\nverify_webhooks /hooks/* {\nsender github a\nreverse_proxy app:3000\n}\nrespond 404\n}"
	inSite := func(address, matchers, on string) string {
		return address + " {\n" + matchers + "\nhandle " + on + " {\nverify_webhook /hooks/github github a\nreverse_proxy app:3000\n}\nrespond 404\n}"
	}
	for name, c := range map[string]struct {
		caddyfile string
		addresses map[string]string // by the request's host; "listed", or "called" if the requested host counts
	}{
		"one host":            {"hooks.example.com" + block, map[string]string{"hooks.example.com": "listed", "HOOKS.example.com:443": "listed"}},
		"two hosts":           {"http://a.example.com, http://b.example.com" + block, map[string]string{"a.example.com": "listed", "b.example.com:80": "listed"}},
		"any host":            {"http://:8080" + block, map[string]string{"a.example.com": "", "b.example.com:99": "", "": "", "[::1]:5": ""}},
		"a wildcard":          {"http://*.example.com:8080" + block, map[string]string{"a.example.com": "*.example.com", "B.EXAMPLE.com:8080": "*.example.com"}},
		"a host and wildcard": {"http://a.example.com, http://*.example.com" + block, map[string]string{"a.example.com": "listed", "b.example.com": "*.example.com"}},
		"an address":          {"http://127.0.0.1:8080, http://[::1]:8080" + block, map[string]string{"127.0.0.1:8080": "listed", "[::1]:8080": "listed", "[::1]": "listed"}},
		"a host inside of a wildcard": {inSite("http://*.example.com", "@a host a.example.com", "@a"),
			map[string]string{"a.example.com": "listed"}},
		"a wildcard inside of a host": {inSite("http://a.example.com", "@a host *.example.com", "@a"), map[string]string{"a.example.com": "listed"}},
		"a named route of two sites": {"&(hook) {\nverify_webhook github a\n}\nhttp://a.example.com:8080 {\ninvoke hook\nreverse_proxy app-a:3000\n}\nhttp://*.example.org:8080 {\ninvoke hook\nreverse_proxy app-b:3000\n}",
			map[string]string{"a.example.com": "listed", "b.example.org": "*.example.org", "c.example.org": "*.example.org"}},
		"any host on two ports":              {"http://:8080" + block + "\nhttp://:8081" + block, map[string]string{"a.example.com": ":8080"}},
		"any host on two ports, two senders": {"http://:8080" + block + "\nhttp://:8081" + strings.ReplaceAll(block, "github", "slack"), map[string]string{"a.example.com": ""}},
		"any host on two ports, a name":      {"http://:8080" + block + "\nhttp://:8081" + strings.Replace(block, "github a", "github a {\nname gh\n}", 1), map[string]string{"a.example.com": ""}},
		"a wildcard beside any host":         {"http://*.example.com:8080" + block + "\nhttp://:8081" + block, map[string]string{"a.example.com": "*.example.com"}},
		"a header":                           {inSite("http://:8080", "@a header X-Tenant a", "@a"), map[string]string{"a.example.com": ""}},
		"header Host":                        {inSite("http://:8080", "@a header host a.example.com", "@a"), map[string]string{"a.example.com": "called"}},
		"regexp Host":                        {inSite("http://:8080", "@a header_regexp Host ^a", "@a"), map[string]string{"a.example.com": "called"}},
		"not a host":                         {inSite("http://:8080", "@a not host b.example.com", "@a"), map[string]string{"a.example.com": "", "c.example.com": ""}},
		"protocol":                           {inSite("http://:8080", "@a protocol http", "@a"), map[string]string{"a.example.com": ""}},
		"an expression without the host":     {inSite("http://:8080", "@a expression `{header.X-Real} != \"a\" && path('/hooks/*')`", "@a"), map[string]string{"a.example.com": ""}},
		"an expression of header Host":       {inSite("http://:8080", "@a expression `header({'Host': 'a.example.com'})`", "@a"), map[string]string{"a.example.com": "called"}},
		"an expression of a header Host":     {inSite("http://:8080", "@a expression `{header.Host} == \"a.example.com\"`", "@a"), map[string]string{"a.example.com": "called"}},
		"an expression of a variable":        {inSite("http://:8080", "vars x {host}\n@a expression `{vars.x} == \"a.example.com\"`", "@a"), map[string]string{"a.example.com": "called"}},
		"not a path":                         {inSite("http://:8080", "@a not path /x", "@a"), map[string]string{"a.example.com": ""}},
		"an expression":                      {inSite("http://:8080", "@a expression `{host} == \"a.example.com\"`", "@a"), map[string]string{"a.example.com": "called"}},
		"vars":                               {inSite("http://:8080", "@a vars {host} a.example.com", "@a"), map[string]string{"a.example.com": "called"}},
	} {
		t.Run(name, func(t *testing.T) {
			app, end, err := load(adapt(t, c.caddyfile))
			if err != nil {
				t.Fatal(err)
			}
			defer end()
			sites, _ := placement.SitesOf(app)
			for host, want := range c.addresses {
				var got []string
				for _, site := range sites {
					if site.Lists(host) {
						got = append(got, "listed")
					} else {
						got = append(got, site.Address(host))
					}
				}
				if len(got) == 0 {
					got = []string{"called"}
				}
				if !slices.Contains(got, want) {
					t.Errorf("%q: got %q, want %q", host, got, want)
				}
			}
		})
	}
}

// TestRooms: handlers without names on different sites, or at different paths, take
// space of their own, which no request chooses, the same after a restart.
func TestRooms(t *testing.T) {
	const sites = `(hooks) {
		verify_webhooks /hooks/* {
			sender github a {
				path {args[0]}
			}
			reverse_proxy app:3000
		}
		respond 404
	}
	http://a.example.com {
		import hooks /hooks/a
	}
	http://b.example.com {
		import hooks /hooks/a
	}
	http://b.example.com:8080 {
		import hooks /hooks/b
	}`
	rooms := func() (all []string) {
		app, end, err := load(adapt(t, sites))
		if err != nil {
			t.Fatal(err)
		}
		defer end()
		sites, places := placement.SitesOf(app)
		for h, site := range sites {
			if places[h].Count != 1 {
				t.Errorf("%d places of one handler", places[h].Count)
			}
			all = append(all, site.Room())
		}
		slices.Sort(all)
		return all
	}
	first := rooms()
	if len(slices.Compact(slices.Clone(first))) != 3 || !strings.HasPrefix(first[0], "github ") {
		t.Errorf("rooms %q, want 3 different ones", first)
	}
	if again := rooms(); !slices.Equal(first, again) {
		t.Errorf("rooms %q, and after a restart %q", first, again)
	}
}

// TestPlaces: a handler in a named route has a place for each invoke.
func TestPlaces(t *testing.T) {
	for n, text := range map[int]string{
		1: "http://a.example.com, http://b.example.com {\nverify_webhook github a\nreverse_proxy app:3000\n}",
		2: "&(hook) {\nverify_webhook github a\n}\nhttp://a.example.com {\nhandle /a {\ninvoke hook\n}\nhandle {\ninvoke hook\n}\n}",
	} {
		app, end, err := load(adapt(t, text))
		if err != nil {
			t.Fatal(err)
		}
		_, places := placement.SitesOf(app)
		for _, got := range places {
			if got.Count != n {
				t.Errorf("%d places, want %d: %s", got.Count, n, text)
			}
		}
		if len(places) != 1 {
			t.Errorf("%d handlers, want 1", len(places))
		}
		end()
	}
}

// TestWatchedPlaces: error routes and intercept act on all that runs inside of them: the
// routes in them, and those after them, but for another one of the same group.
func TestWatchedPlaces(t *testing.T) {
	const (
		hook      = "verify_webhook /hooks/github github a\nreverse_proxy app:3000\n"
		intercept = "intercept {\n@e status 4xx\nhandle_response @e {\nrespond 403\n}\n}\n"
	)
	for caddyfile, watched := range map[string]bool{
		"http://:8080 {\n" + hook + "}": false,
		"http://:8080 {\nverify_webhooks /hooks/* {\nsender github a\nreverse_proxy app:3000\n}\n}":                                                            false,
		"http://:8080 {\nencode\nheader -Server\nroute {\nbasic_auth {\nbob $2a$04$TR9qTmBpGbDDXGGOoNPmg.h4b3EcxMQPv8AUbWJcUWeUvZRQSNTkK\n}\n" + hook + "}\n}": false,
		"http://:8080 {\n" + hook + "handle_errors {\nrespond 403\n}\n}":                                                                                       false, // of the server
		"http://:8080 {\n" + intercept + "handle {\n" + hook + "}\n}":                                                                                          true,
		"http://:8080 {\nroute {\n" + intercept + hook + "}\n}":                                                                                                true,
		"http://:8080 {\nroute {\nroute {\n" + intercept + "}\n" + hook + "}\n}":                                                                               true,
		"&(i) {\n" + intercept + "}\nhttp://:8080 {\nroute {\ninvoke i\n" + hook + "}\n}":                                                                      true,
		"&(h) {\n" + hook + "}\nhttp://:8080 {\nroute {\n" + intercept + "invoke h\n}\n}":                                                                      true,
		"http://:8080 {\n" + hook + intercept + "}":                                                                                                            false, // ordered later
		"http://:8080 {\nverify_webhooks /hooks/* {\nsender github a\n" + intercept + "reverse_proxy app:3000\n}\n}":                                           false,
		"http://:8080 {\nhandle /other {\n" + intercept + "respond 404\n}\nhandle {\n" + hook + "}\n}":                                                         false,
		"http://a.test:8080 {\n" + intercept + "respond 404\n}\nhttp://b.test:8080 {\n" + hook + "}":                                                           false,
		"http://:8080 {\nroute {\nhandle /other {\n" + intercept + "}\n" + hook + "}\n}":                                                                       true,
	} {
		isWatched(t, adapt(t, caddyfile), caddyfile, watched)
	}
	const inErrors = `{"handler":"subroute","errors":{},"routes":[%]}`
	for routes, watched := range map[string]bool{
		strings.Replace(inErrors, "%", `{"handle":[HOOK]}`, 1):                                                          true,
		`{"handler":"subroute","routes":[{"handle":[` + strings.Replace(inErrors, "%", `{"handle":[HOOK]}`, 1) + `]}]}`: true,
		strings.Replace(inErrors, "%", "", 1) + `,HOOK`:                                                                 true,
		`{"handler":"subroute","routes":[{"handle":[HOOK]}]}`:                                                           false,
		"HOOK," + strings.Replace(inErrors, "%", "", 1):                                                                 false,
	} {
		config := `{"apps":{"http":{"servers":{"s":{"listen":[":8080"],"routes":[{"handle":[` +
			strings.ReplaceAll(routes, "HOOK", `{"handler":"verify_webhook","provider":"github","secret":["a"]}`) + `]}]}}}}}`
		isWatched(t, []byte(config), config, watched)
	}
}

func isWatched(t *testing.T, config []byte, written string, want bool) {
	t.Helper()
	app, end, err := load(config)
	if err != nil {
		t.Fatalf("%v\n%s", err, written)
	}
	defer end()
	_, places := placement.SitesOf(app)
	if len(places) != 1 {
		t.Fatalf("%d handlers have places\n%s", len(places), written)
	}
	for _, at := range places {
		if at.Watched != want {
			t.Errorf("watched: %t\n%s", at.Watched, written)
		}
	}
}
