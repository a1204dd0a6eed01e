package placement_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
)

// TestPortsCountWherePathsMayMeet: of two sites for any host the port is part of the
// identity only if one path may lead to both, so that adding the other site changes nothing
// for a path of its own. In doubt the port counts.
func TestPortsCountWherePathsMayMeet(t *testing.T) {
	const hook = "verify_webhook github a\nreverse_proxy app:3000\n"
	at := func(path string) string { return "handle " + path + " {\n" + hook + "}\n" }
	for _, c := range []struct {
		one, other string
		counts     bool
	}{
		{at("/hooks/a"), at("/hooks/b"), false},
		{at("/hooks/a"), at("/hooks/a-b"), false},
		{at("/hooks/a"), at("/hooks/a/b"), false},
		{at("/a/*"), at("/b/*"), false},
		{at("/a*"), at("/b"), false},
		{"verify_webhook /a github a\nreverse_proxy app:3000", "verify_webhook /b github a\nreverse_proxy app:3000", false},
		{"verify_webhooks /a/* {\nsender github a\nreverse_proxy app:3000\n}", "verify_webhooks /b/* {\nsender github a\nreverse_proxy app:3000\n}", false},
		{"@a path /a /a2\n" + at("@a"), "@b path /b /b2\n" + at("@b"), false},
		{"@a {\npath /a\nheader X-A a\n}\n" + at("@a"), at("/b"), false},
		{"handle /a/* {\n" + at("/a/x") + "}", "handle /b/* {\n" + at("*") + "}", false},
		{"vars x y\nencode\nheader -Server\n" + at("/a"), at("/b"), false},

		{at("/hooks/a"), at("/hooks/a"), true},
		{at("/hooks/a"), at("/HOOKS/A"), true},
		{at("/hooks/a"), at("/hooks/a/"), true},
		{at("/hooks/a"), at("/hooks/a/*"), true},
		{at("/hooks/a"), at("/hooks/*"), true},
		{at("/hooks/a*"), at("/hooks/a-b"), true},
		{at("/hooks/a"), at("/hooks/x/../a"), true},
		{at("/hooks/a"), at("/hooks//a"), true},
		{at("/hooks/a"), at("/%68ooks/a"), true},
		{at("/hooks/a"), at("/hooks/[ab]"), true},
		{at("/hooks/a"), "@b path */a\n" + at("@b"), true},
		{at("/hooks/a"), hook, true},
		{"@a path /a /c\n" + at("@a"), "@b path /b /c\n" + at("@b"), true},
		{at("/a"), "@b path_regexp ^/b$\n" + at("@b"), true},
		{at("/a"), "@b expression `path('/b') || method('PUT')`\n" + at("@b"), true},
		{at("/a"), "rewrite /x /b\n" + at("/b"), true},
		{at("/a"), "route {\nroute {\nrewrite /a /b\n}\n" + at("/b") + "}", true},
		{at("/a"), "handle_path /x/* {\n" + at("/b") + "}", true},
	} {
		t.Run(c.one+" | "+c.other, func(t *testing.T) {
			text := "http://:8080 {\n" + c.one + "\n}\nhttp://:8081 {\n" + c.other + "\n}"
			want := []string{"", ""}
			if c.counts {
				want = []string{":8080", ":8081"}
			}
			if got := addresses(t, adapt(t, text)); !slices.Equal(got, want) {
				t.Errorf("addresses %q, want %q", got, want)
			}
			const warning = "handlers without a name include the port"
			if warned := isWarned(t, text, warning); warned && !c.counts {
				t.Error("warned of a port that does not count")
			}
		})
	}
}

// TestPortsCountBesideAWayWithoutAPath: one of a route's matcher sets lets every path in.
func TestPortsCountBesideAWayWithoutAPath(t *testing.T) {
	const config = `{"apps":{"http":{"servers":{
		"a":{"listen":[":8080"],"routes":[{"match":[{"path":["/a"]}],"handle":[HOOK]}]},
		"b":{"listen":[":8081"],"routes":[{"match":[{"path":["/b"]}SET],"handle":[HOOK]}]}}}}}`
	hook := `{"handler":"verify_webhook","provider":"github","secret":["a"]}`
	for set, want := range map[string][]string{
		"":                              {"", ""},
		`,{"path":["/b2"]}`:             {"", ""},
		`,{"header":{"X-Any":["any"]}}`: {":8080", ":8081"},
	} {
		text := strings.NewReplacer("HOOK", hook, "SET", set).Replace(config)
		if got := addresses(t, []byte(text)); !slices.Equal(got, want) {
			t.Errorf("%s: addresses %q, want %q", set, got, want)
		}
	}
}

// TestOnlyHandlersThatMeetHaveThePort: a third site changes nothing for those it does not meet.
func TestOnlyHandlersThatMeetHaveThePort(t *testing.T) {
	site := func(port, path string) string {
		return "http://:" + port + " {\nhandle " + path + " {\nverify_webhook github a\nreverse_proxy app:3000\n}\n}\n"
	}
	got := addresses(t, adapt(t, site("8080", "/a")+site("8081", "/b")+site("8082", "/a")))
	if want := []string{"", ":8080", ":8082"}; !slices.Equal(got, want) {
		t.Errorf("addresses %q, want %q", got, want)
	}
}

// addresses are those of all handlers, for a host that is not listed.
func addresses(t *testing.T, config []byte) []string {
	t.Helper()
	app, end, err := load(config)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	sites, _ := placement.SitesOf(app)
	var all []string
	for site := range maps.Values(sites) {
		all = append(all, site.Address("a.example.com"))
	}
	slices.Sort(all)
	return all
}
