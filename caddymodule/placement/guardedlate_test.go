package placement_test

import (
	"slices"
	"strings"
	"testing"
)

// TestGuardsBehindAnInbox: a matcher of the client's address behind a handler with an
// inbox is asked after the delivery may be stored.
func TestGuardsBehindAnInbox(t *testing.T) {
	const (
		beginning = "a matcher "
		proxy     = "reverse_proxy app:3000\n"
		strangers = "@strangers not client_ip 192.0.2.0/24\n"
		refuse    = strangers + "respond @strangers 403\n"
		single    = "verify_webhook /hooks/github github a {\ninbox\n}\n"
	)
	block := func(options, routes string) string {
		return "verify_webhooks /hooks/* {\nsender github a {\n" + options + "\n}\n" + routes + "}\n"
	}
	for name, c := range map[string]struct {
		site, want string // the kind of matcher; "" without a warning
	}{
		"in the block":                      {block("inbox", refuse+proxy), "client_ip"},
		"in the block, inbox first":         {block("inbox first", refuse+proxy), "client_ip"},
		"in the block, remote_ip":           {block("inbox", "@strangers not remote_ip 192.0.2.0/24\nabort @strangers\n"+proxy), "remote_ip"},
		"in the block, friends alone":       {block("inbox", "@friends remote_ip 192.0.2.0/24\nhandle @friends {\n"+proxy+"}\nrespond 403\n"), "remote_ip"},
		"in the block, deeper":              {block("inbox", "handle /hooks/* {\nroute {\n"+refuse+proxy+"}\n}\n"), "client_ip"},
		"in the block, with a path":         {block("inbox", "@strangers {\npath /hooks/github\nnot client_ip 192.0.2.0/24\n}\nerror @strangers 403\n"+proxy), "client_ip"},
		"in the block, an expression":       {block("inbox", "@strangers `!client_ip('192.0.2.0/24')`\nrespond @strangers 403\n"+proxy), "client_ip"},
		"in the block, for another path":    {block("inbox", "@strangers {\npath /hooks/other\nnot client_ip 192.0.2.0/24\n}\nerror @strangers 403\n"+proxy), ""},
		"in the block, without an inbox":    {block("", refuse+proxy), ""},
		"in the block, for a header alone":  {block("inbox", strangers+"request_header @strangers X-Stranger yes\n"+proxy), ""},
		"in the block, another matcher":     {block("inbox", "@strangers header !X-Team\nrespond @strangers 403\n"+proxy), ""},
		"above the block, in a route":       {"route {\n" + refuse + block("inbox", proxy) + "}\n", ""},
		"in a route behind the block":       {"route {\n" + block("inbox", proxy) + refuse + "}\n", ""}, // no delivery reaches it
		"behind a directive":                {"route {\n" + single + refuse + proxy + "}\n", "client_ip"},
		"behind a directive, in its order":  {single + refuse + proxy, "client_ip"},
		"behind a directive, in its handle": {"handle /hooks/* {\n" + single + refuse + proxy + "}\n", "client_ip"},
		"above a directive":                 {"route {\n" + refuse + single + proxy + "}\n", ""},
		"the matcher of the directive":      {"@friends {\npath /hooks/github\nclient_ip 192.0.2.0/24\n}\nhandle @friends {\nverify_webhook github a {\ninbox\n}\n" + proxy + "}\n", ""},
		"for another handle":                {"handle /hooks/* {\n" + single + proxy + "}\nhandle {\n" + refuse + proxy + "}\n", ""},
	} {
		warnings, err := survey(t, "hooks.example.com {\n"+c.site+"respond 404\n}")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := slices.ContainsFunc(warnings, func(w string) bool {
			return strings.HasPrefix(w, beginning+c.want) && strings.Contains(w, "not "+c.want) && strings.HasSuffix(w, "names=[github]")
		})
		any := slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(w, beginning) })
		if want := c.want != ""; any != want || got != want {
			t.Errorf("%s: %q, want a warning of %q", name, warnings, c.want)
		}
	}
}
