package placement_test

import (
	"fmt"
	"strings"
	"testing"
)

// sites are two with one handler each, at two hosts or, without names, at two ports of one.
func sites(name string, apps ...string) (caddyfile string) {
	for i, app := range apps {
		address := fmt.Sprintf("%d.example.com", i)
		if name == "" {
			address = fmt.Sprintf("https://hooks.example.com:%d", 8080+i)
		}
		caddyfile += address + " {\nverify_webhooks /hooks/* {\nsender github a {\n" + name + "\n}\n" + app + "\n}\nrespond 404\n}\n"
	}
	return caddyfile
}

// TestAppsOfConstants: handlers with different apps whose addresses are written do not start.
// Where map or vars sets them, they do, with a warning: which one it is may depend on the
// host of a delivery, and be the same behind each handler.
func TestAppsOfConstants(t *testing.T) {
	warnings := map[string]string{
		"":                 "two handlers without a name share their deliveries … name=github … different=[apps]",
		"name team\ninbox": sharedScope + " … name=team different=[apps]",
	}
	for name, app := range map[string]string{
		"written":          "reverse_proxy %:3000",
		"vars":             "vars up %:3000\nreverse_proxy {vars.up}",
		"vars, of a host":  "vars up %\nreverse_proxy {vars.up}:3000",
		"vars, of vars":    "route {\nvars host %\nvars up {vars.host}:3000\nreverse_proxy {vars.up}\n}",
		"map":              "map {host} {up} {\ndefault %:3000\n}\nreverse_proxy {up}",
		"map, of a header": "map {header.X-Canary} {up} {\n1 canary:3000\ndefault %:3000\n}\nreverse_proxy {up}",
		"several":          "vars up %:3000\nreverse_proxy {vars.up} spare:3000",
	} {
		t.Run(name, func(t *testing.T) {
			one, two := strings.ReplaceAll(app, "%", "one"), strings.ReplaceAll(app, "%", "two")
			for _, way := range []string{"", "name team\ninbox"} {
				if name != "written" {
					isWarnedOf(t, sites(way, one, two), warnings[way])
					isWarnedOf(t, sites(way, one, one))
					continue
				}
				if _, err := survey(t, sites(way, one, two)); err == nil || !strings.Contains(err.Error(), "give each a name") && !strings.Contains(err.Error(), "Give each a name") {
					t.Errorf("two apps with %q: %v", way, err)
				}
				if _, err := survey(t, sites(way, one, one)); err != nil {
					t.Errorf("one app with %q: %v", way, err)
				}
			}
			isWarnedOf(t, sites("name team", one, two), sharedScope+" … name=team different=[apps]")
			isWarnedOf(t, sites("name team", one, one))
		})
	}
}

// TestAppsOfHosts: one map by the host in several sites has each host's app behind all their
// handlers, so they may share a queue.
func TestAppsOfHosts(t *testing.T) {
	const site = "%s.example.com {\nmap {host} {up} {\none.example.com one:3000\ndefault two:3000\n}\nverify_webhooks /hooks/* {\nsender github a {\ninbox\n}\nreverse_proxy {up}\n}\nrespond 404\n}\n"
	if _, err := survey(t, fmt.Sprintf(site, "one")+fmt.Sprintf(site, "two")); err != nil {
		t.Error(err)
	}
}

// TestAppsOfRequests: where a request decides about the address, nothing is known of it.
func TestAppsOfRequests(t *testing.T) {
	for _, app := range []string{"map {header.X-App} {up} {\n~(.+) $1.internal:3000\ndefault %:3000\n}\nreverse_proxy {up}", "vars up {header.X-App}\nreverse_proxy {vars.up}"} {
		one, two := strings.ReplaceAll(app, "%", "one"), strings.ReplaceAll(app, "%", "two")
		for _, way := range []string{"", "name team\ninbox"} {
			if _, err := survey(t, sites(way, one, two)); err != nil {
				t.Errorf("%q: %v", way, err)
			}
			if isWarned(t, sites(way, one, two), "share their deliveries") {
				t.Errorf("%s: %q: warned of", app, way)
			}
		}
	}
	if isWarned(t, sites("name team", "vars up one:3000\nreverse_proxy {vars.up}", "vars up {header.X-App}\nreverse_proxy {vars.up}"), "share their deliveries") {
		t.Error("of a constant and what a request decides")
	}
}

// TestAppsAtOneAddress: proxies to one address, such as an ingress, that set other Host
// headers or make other paths of one may lead to two apps. They start, with a warning.
func TestAppsAtOneAddress(t *testing.T) {
	const unnamed = "two handlers without a name share their deliveries"
	for name, c := range map[string]struct{ one, two, different string }{
		"Host":                  {"reverse_proxy in:80 {\nheader_up Host one.internal\n}", "reverse_proxy in:80 {\nheader_up Host two.internal\n}", "[hosts at the app]"},
		"Host, of vars":         {"vars h one\nreverse_proxy in:80 {\nheader_up Host {vars.h}\n}", "vars h two\nreverse_proxy in:80 {\nheader_up host {vars.h}\n}", "[hosts at the app]"},
		"Host, in other case":   {"reverse_proxy in:80 {\nheader_up Host One\n}", "reverse_proxy in:80 {\nheader_up Host one\n}", ""},
		"Host with its port":    {"reverse_proxy in:80 {\nheader_up Host one\n}", "reverse_proxy in:80 {\nheader_up Host one:80\n}", ""},
		"Host with a dot":       {"reverse_proxy in:80 {\nheader_up Host one.:\n}", "reverse_proxy in:80 {\nheader_up Host ONE\n}", ""},
		"Host over TLS":         {"reverse_proxy https://in {\nheader_up Host one\n}", "reverse_proxy https://in {\nheader_up Host One.:443\n}", ""},
		"Host, an address":      {"reverse_proxy in:80 {\nheader_up Host [::1]\n}", "reverse_proxy in:80 {\nheader_up Host [::1]:80\n}", ""},
		"Host, of map":          {"map {host} {h} {\ndefault one\n}\nreverse_proxy in:80 {\nheader_up Host {h}\n}", "map {host} {h} {\n0.example.com one\ndefault one:80\n}\nreverse_proxy in:80 {\nheader_up Host {h}\n}", ""},
		"another port":          {"reverse_proxy in:80 {\nheader_up Host one\n}", "reverse_proxy in:80 {\nheader_up Host one:443\n}", "[hosts at the app]"},
		"another port over TLS": {"reverse_proxy https://in {\nheader_up Host one\n}", "reverse_proxy https://in {\nheader_up Host one:80\n}", "[hosts at the app]"},
		"Host as called":        {"reverse_proxy in:80 {\nheader_up Host {host}\n}", "reverse_proxy in:80 {\nheader_up Host one\n}", ""},
		"Host of one":           {"reverse_proxy in:80", "reverse_proxy in:80 {\nheader_up Host in\n}", ""},
		"Host of the upstream":  {"reverse_proxy in:80 {\nheader_up Host {upstream_hostport}\n}", "reverse_proxy in:80 {\nheader_up Host {upstream_hostport}\n}", ""},
		"another header":        {"reverse_proxy in:80 {\nheader_up X-Site one\n}", "reverse_proxy in:80 {\nheader_up X-Site two\n}", ""},
		"two paths":             {"rewrite * /one{uri}\nreverse_proxy in:80", "rewrite * /two{uri}\nreverse_proxy in:80", "[paths at the app]"},
		"two paths, by proxies": {"reverse_proxy in:80 {\nrewrite /one{uri}\n}", "reverse_proxy in:80 {\nrewrite /two{uri}\n}", "[paths at the app]"},
		"one path as called":    {"rewrite * /one{uri}\nreverse_proxy in:80", "reverse_proxy in:80", "[paths at the app]"},
		"a path of its own":     {"rewrite * /one/{http.request.uuid}{uri}\nreverse_proxy in:80", "rewrite * /one/{http.request.uuid}{uri}\nreverse_proxy in:80", ""},
		"one path":              {"rewrite * /one{uri}\nreverse_proxy in:80", "rewrite * /one{uri}\nreverse_proxy in:80", ""},
		"a slash":               {"rewrite * /one\nreverse_proxy in:80", "rewrite * /one/\nreverse_proxy in:80", ""},
		"the same choice":       {"@a header X-A 1\nrewrite @a /one\nreverse_proxy in:80", "@a header X-A 1\nrewrite @a /one\nreverse_proxy in:80", ""},
		"a client's own path":   {"rewrite * {header.X-App}\nreverse_proxy in:80", "rewrite * /two\nreverse_proxy in:80", "[paths at the app]"},
		"what a client chooses": {"rewrite * /{header.X-App}{path}\nreverse_proxy in:80", "rewrite * /{header.X-App}{path}\nreverse_proxy in:80", ""},
	} {
		t.Run(name, func(t *testing.T) {
			named, none := sharedScope+" … name=team different="+c.different, unnamed+" … name=github … different="+c.different
			for caddyfile, want := range map[string]string{sites("name team", c.one, c.two): named, sites("", c.one, c.two): none} {
				if c.different == "" {
					isWarnedOf(t, caddyfile)
					continue
				}
				isWarnedOf(t, caddyfile, want)
			}
			if _, err := survey(t, sites("name team\ninbox", c.one, c.two)); err != nil {
				t.Error(err)
			}
		})
	}
	// One handler for two hosts, of which each is another path of the app.
	invoked := "&(hook) {\nverify_webhook github a {\nname team\n}\n}\n"
	for i, app := range []string{"one", "two"} {
		invoked += fmt.Sprintf("http://%d.example.com {\nroute /hook {\ninvoke hook\nrewrite * /%s{uri}\nreverse_proxy in:80\n}\nrespond 404\n}\n", i, app)
	}
	if !isWarned(t, invoked, "several routes invoke this handler") {
		t.Error("one handler, two paths at the app: no warning")
	}
}

// TestPathsOfOneApp: handlers at two paths of one app are no two apps.
func TestPathsOfOneApp(t *testing.T) {
	for _, app := range []string{"reverse_proxy in:80", "rewrite * /api{uri}\nreverse_proxy in:80"} {
		isWarnedOf(t, "a.example.com {\nverify_webhooks /hooks/* {\nsender github a {\nname team\n}\n"+app+"\n}\nrespond 404\n}\n"+
			"b.example.com {\nverify_webhooks /in/* {\nsender github a {\nname team\n}\n"+app+"\n}\nrespond 404\n}\n")
	}
	// Of sites for any host the port counts.
	any := "http://:%d {\nverify_webhooks /hooks/* {\nsender github a\nrewrite * /%d{uri}\nreverse_proxy in:80\n}\nrespond 404\n}\n"
	if isWarned(t, fmt.Sprintf(any, 8080, 1)+fmt.Sprintf(any, 8081, 2), "two handlers without a name share") {
		t.Error("of two ports that count")
	}
}

// TestPathsOfTheirOwn: a placeholder that differs for each request, and that nobody chooses,
// makes no two apps of one.
func TestPathsOfTheirOwn(t *testing.T) {
	for _, name := range []string{
		"time.now", "time.now.http", "time.now.rfc3339", "time.now.common_log", "time.now.unix", "time.now.unix_ms",
		"http.request.uuid", "http.request.duration", "http.request.duration_ms",
		"http.request.remote", "http.request.remote.host", "http.request.remote.port",
		"http.request.local", "http.request.local.host", "http.request.local.port", "http.time_until_shutdown",
	} {
		for _, app := range []string{"rewrite * /one/{%s}{uri}\nreverse_proxy in:80", "reverse_proxy in:80 {\nrewrite /one/{%s}{uri}\n}", "vars t {%s}\nrewrite * /one/{vars.t}{uri}\nreverse_proxy in:80"} {
			app = fmt.Sprintf(app, name)
			isWarnedOf(t, sites("name team", app, app))
			other := strings.Replace(app, "/one", "/two", 1)
			isWarnedOf(t, sites("name team", app, other), sharedScope+" … name=team different=[paths at the app]")
		}
	}
}
