package appview

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestHeadersThatLeadBelowThePrefix: however an app reads such a header, a request
// outside the prefix does not become one below it, and other headers stay.
func TestHeadersThatLeadBelowThePrefix(t *testing.T) {
	for _, c := range []struct {
		prefix             Prefix
		path, name, header string
		goes               bool
	}{
		// instead of the path
		{"/hooks/*", "/", "X-Original-Url", "/hooks/stripe", true},
		{"/hooks/*", "/", "X-Rewrite-Url", "/hooks", true},
		{"/hooks/*", "/", "X-Rewrite-Url", "/HOOKS/stripe?x=1#y", true},
		{"/hooks/*", "/", "X-Original-Url", "/%68ooks/stripe", true},
		{"/hooks/*", "/", "X-Original-Url", "/x/..%2fhooks/stripe", true},
		{"/hooks/*", "/", "X-Original-Url", "//h.example.com/hooks/stripe", true},
		{"/hooks/*", "/", "X-Original-Url", "https://h.example.com/hooks/stripe", true},
		{"/hooks/*", "/", "X-Original-Url", "hooks/stripe", true},
		{"/hooks/*", "/", "X-Original-Url", " /hooks/%zz", true},
		{"/hooks/*", "/", "X_Original_URL", "/hooks/stripe", true},
		{"/hooks/*", "/", "X-Original-Uri", "/hooks/stripe", true},
		{"/hooks/*", "/", "X-Ms-Original-Url", "https://h/hooks/stripe", true},
		{"/hooks/*", "/", "X-Envoy-Original-Path", "/hooks/stripe", true},
		{"/hooks/*", "/", "X-Forwarded-Uri", "/hooks/stripe", true},
		{"/hooks/*", "/", "X-Forwarded-Path", "/hooks/stripe", true},
		{"/hooks/*", "/", "X-Original-Url", "/", false},
		{"/hooks/*", "/", "X-Original-Url", "/hooksters", false},
		{"/hooks/*", "/", "X-Original-Url", "", false},
		{"/hooks/*", "/", "X-Forwarded-Uri", "https://h.example.com/shop", false},
		// removed from the path
		{"/hooks/*", "/legacy/hooks/stripe", "X-Script-Name", "/legacy", true},
		{"/hooks/*", "/legacy/hooks/stripe", "X-Script-Name", "/legacy/", true},
		{"/hooks/*", "/legacy/hooks/stripe", "X-Forwarded-Prefix", "/Legacy", true},
		{"/hooks/*", "/legacy/hooks/stripe", "X-Forwarded-Prefix", "/x, /legacy", true},
		{"/hooks/*", "/legacy/shop", "X-Script-Name", "/legacy", false},
		{"/hooks/*", "/shop", "X-Script-Name", "/", false},
		{"/hooks/*", "/legacy/hooks/stripe", "Daphne-Root-Path", "/legacy", true},
		{"/hooks/*", "/legacy/hooks/stripe", "Daphne-Root-Path", "/legac%79", true},
		{"/hooks/*", "/legacy/shop", "Daphne-Root-Path", "/legacy", false},
		// removed as written, whatever in it looks like a query or an escape
		{"/hooks/*", "/a?b/hooks/stripe", "X-Script-Name", "/a?b", true},
		{"/hooks/*", "/a#b/hooks/stripe", "X-Script-Name", "/a#b", true},
		{"/hooks/*", "/a?b/hooks/stripe", "X-Script-Name", "/a%3Fb", true},
		{"/hooks/*", "/a%62/hooks/stripe", "X-Script-Name", "/a%62", true},
		{"/hooks/*", "/a?%62/hooks/stripe", "X-Script-Name", "/a?%62", true},
		{"/hooks/*", "/a%zzb/hooks/stripe", "Daphne-Root-Path", "/a%zz%62", true},
		{"/hooks/*", "/a?b/shop", "X-Script-Name", "/a?b", false},
		{"/hooks/*", "/xhooks/stripe", "X-Script-Name", "/x", true}, // Werkzeug adds the slash again
		{"/hooks/*", "/xhooksters", "X-Script-Name", "/x", false},
		{"/hooks/*", "/shop/x/hooks/stripe", "Script_name", "/x", true}, // gunicorn takes what is behind it
		{"/hooks/*", "/shop/x/x/hooks/stripe", "Script_name", "x/", true},
		{"/hooks/*", "/shop/x/hooksters", "Script_name", "/x", false},
		{"/hooks/*", "/web/x/hooks/stripe", "X-Forwarded-Prefix", "/x", false}, // no other server does
		{"/hooks/*", "/x\u00a0/hooks/stripe", "X-Script-Name", "/x\u00a0", true},
		{"/hooks/*", "/a,bhooks/stripe", "X-Script-Name", "/a,b", true}, // a comma is one of its characters
		{"/hooks/*", "/a,hooks/stripe", "X-Script-Name", "/a,", true},
		{"/hooks/*", "/a,bhooks/stripe", "X-Script-Name", "/a%2Cb", true},
		{"/hooks/*", "/a, bhooks/stripe", "X-Script-Name", "/a, b", true},
		{"/hooks/*", "/abhooks/stripe", "X-Forwarded-Prefix", "/a/, b", true},
		{"/hooks/*", "/xhooks/stripe", "X-Script-Name", "x", true},     // the slash in front is added
		{"/hooks/*", "/ho/xoks/stripe", "X-Script-Name", "/x", true},   // removed wherever it is
		{"/hooks/*", "/ho/xo/xks/stripe", "X-Script-Name", "/x", true}, // everywhere, as PHP and Python replace
		{"/hooks/*", "/x/hooks/x/stripe", "X-Script-Name", "/x", true},
		{"/hooks/*", "/y/x/ho/xoks/x", "X-Script-Name", "/x", false}, // below /y in any case
		{"/x/hooks/*", "/ho/x/x/hooks/stripe", "X-Script-Name", "/ho/x", true},
		{"/hooks/x/*", "/ho/xoks/x/stripe", "X-Script-Name", "/x", true},         // the first of two
		{"/x/hooks/*", "/x/ho/xoks/stripe", "X-Script-Name", "/x", true},         // the last of two
		{"/hooks/*", "/ho/xo/xks/stripe", "X-Forwarded-Prefix", "/v1, /x", true}, // one of a list
		{"/hooks/*", "/ho/abo/abks/stripe", "X-Forwarded-Prefix", "/a,b", true},  // a list, joined
		{"/hooks/*", "/x/shop/x", "X-Script-Name", "/x", false},
		{"/hooks/*", "/ho/ok/s", "X-Script-Name", "/", false},
		{"/hooks/*", "/ho/ok/s", "X-Script-Name", "//", false},
		{"/hooks/*", "/a,bhooks/stripe", "X-Script-Name", "/a,c", false},
		// added to the path
		{"/hooks/*", "/stripe", "X-Forwarded-Prefix", "/hooks", true},
		{"/api/hooks/*", "/hooks/stripe", "X-Forwarded-Prefix", "/api/", true},
		{"/api/hooks/*", "/shop", "X-Forwarded-Prefix", "/api", false},
		{"/api/hooks/*", "/shop", "X-Forwarded-Prefix", "/api, /hooks", true},
		{"/hooks/*", "/shop", "X-Forwarded-Prefix", "/api, /v1", false},
		{"/api/hooks/*", "/hooks/stripe", "X-Vhm-Root", "api", true}, // Pyramid and Quarkus add the slash
		{"/api/hooks/*", "/hooks/stripe", "X-Forwarded-Prefix", "api/", true},
		{"/api/hooks/*", "/hooks/stripe", "X-Forwarded-Prefix", "api?x", true},
		{"/api/hooks/*", "/hooks/stripe", "X-Forwarded-Prefix", "https://h.example.com/api", true},
		{"/api/hooks/*", "/hooks/stripe", "X-Forwarded-Prefix", "v1", false},
		{"/hooks/*", "/stripe", "X-Forwarded-Prefix", "/ho,oks", true}, // Spring joins a list without slashes
		{"/hooks/*", "/stripe", "X-Forwarded-Prefix", "ho//,\toks/", true},
		{"/api/hooks/*", "/stripe", "X-Forwarded-Prefix", "/api/,ho,oks", true},
		{"/hooks/*", "/stripe", "X-Forwarded-Prefix", "/,hooks", true},
		{"/hooks/*", "/stripe", "X-Forwarded-Prefix", "/hooks, /x", true}, // others read one of a list
		{"/hooks/*", "/stripe", "X-Forwarded-Prefix", "/x, /hooks", true},
		{"/hooks/*", "/owner/repo/hooks", "X-Forwarded-Prefix", "git", false},
		{"/hooks/*", "/zz/hooks/stripe", "X-Request-Base", "http://a.example/zz", true}, // Catalyst removes the path of a URL
		{"/hooks/*", "/zz/hooks/stripe", "X-Root-Url", "//a.example/z%7A/?q", true},
		{"/hooks/*", "/zz/shop", "X-Request-Base", "http://a.example/zz", false},
		{"/hooks/*", "/", "X-Firebase-Appcheck", "/hooks/stripe", false},
		{"/hooks/*", "/", "X-Database", "/hooks/stripe", false},
		// whatever an app calls it
		{"/hooks/*", "/", "X-Traversal-Path", "/hooks/stripe", true},
		{"/hooks/*", "/stripe", "X-Vhm-Root", "/hooks", true},
		{"/hooks/*", "/legacy/hooks/stripe", "X-Forwarded-Script-Name", "/legacy", true},
		{"/hooks/*", "/", "Acme.Rewrite", "/hooks/stripe", true},
		{"/hooks/*", "/", "Base_URL", "/hooks/stripe", true},
		{"/hooks/*", "/", "X-Originalurl", "/hooks/stripe", true},
		{"/hooks/*", "/", "Pathinfo", "/hooks/stripe", true},
		{"/hooks/*", "/", "X-Scriptname", "/hooks", true},
		{"/hooks/*", "/", "X-Original-Url", "/hooks%u002fstripe", true}, // ASP.NET
		{"/hooks/*", "/", "X-Original-Url", "%U002Fhooks/stripe", true},
		{"/hooks/*", "/", "X-Original-Url", "/ho%u006Fks", true},
		{"/hooks/*", "/", "X-Original-Url", "/hooks%u00zz", false},
		{"/hooks/*", "/", "X-Original-Url", "/hooks%u002", false},
		{"/hooks/*", "/", "X-Description", "/hooks/stripe", false}, // script is inside of a word
		{"/hooks/*", "/shop", "X-Vhm-Root", "/site", false},
		{"/hooks/*", "/", "Content-Security-Policy", "/hooks/stripe", false},
		{"/hooks/*", "/hooks;x/stripe", "X-Forwarded-Path", "/shop", false}, // refused, and now an error page's
		{"/hooks/*", "/hooks;x/stripe", "X-Forwarded-Path", "/hooks", true},
		// not a path
		{"/hooks/*", "/", "X-Http-Method-Override", "DELETE", false},
		{"/hooks/*", "/", "Referer", "/hooks/stripe", false},
	} {
		for _, lines := range [][]string{{c.header}, {"/shop", c.header}} {
			h := http.Header{c.name: lines}
			c.prefix.DeleteDetours(h, c.path)
			if gone := len(h) == 0; gone != c.goes {
				t.Errorf("%s: %s with %s: %q: deleted %t, want %t", c.prefix, c.path, c.name, lines, gone, c.goes)
			}
		}
	}
}

// TestLongDetoursAreNotRead: what would cost more than a request should is deleted unread.
func TestLongDetoursAreNotRead(t *testing.T) {
	for name, c := range map[string]struct {
		lines, value, path int
		unit               string
		goes               bool
	}{
		"as proxies set them":         {4, 2000, 2000, "x", false},
		"as one proxy sets them":      {1, 8000, 8000, "x", false},
		"a page with its query":       {1, 1000, 100, "x?y%20z,", false},
		"a long path":                 {2, 10, 20 << 10, "x", true},
		"long values":                 {2, 20 << 10, 10, "x", true},
		"many lines":                  {maxDetours + 1, 1, 1, "x", true},
		"lines to be joined":          {8, 1300, 1300, "x", true},
		"lines of escapes":            {8, 1000, 1000, "%41", true},
		"a list":                      {1, 10000, 10000, "x,", true},
		"an escaped list and a query": {1, 4000, 6000, "x%2C?", true},
	} {
		h := http.Header{}
		for range c.lines {
			h.Add("X-Original-Url", "/"+strings.Repeat(c.unit, c.value/len(c.unit)))
		}
		Prefix("/hooks/*").DeleteDetours(h, "/"+strings.Repeat("y", c.path))
		if gone := len(h) == 0; gone != c.goes {
			t.Errorf("%s: deleted %t, want %t", name, gone, c.goes)
		}
	}
}

// TestDetoursToSeveralPrefixes: each of them counts, and together they cost what one may.
func TestDetoursToSeveralPrefixes(t *testing.T) {
	prefixes := []Prefix{"/hooks/*", "/in/*"}
	for range 100 {
		prefixes = append(prefixes, Prefix("/p"+strings.Repeat("x", len(prefixes))+"/*"))
	}
	h := http.Header{"X-Original-Url": {"/in/github"}, "X-Script-Name": {"/hooks"}, "X-Base-Path": {"/shop"}, "Accept": {"*/*"}}
	DeleteDetours(h, "/x", prefixes...)
	if len(h) != 2 || h.Get("X-Base-Path") == "" {
		t.Errorf("there remain %v", h)
	}
	h.Set("X-Base-Path", "/"+strings.Repeat("y", 2000))
	DeleteDetours(h, "/x", prefixes[:1]...)
	if len(h) != 2 {
		t.Errorf("of what is read with one prefix there remain %v", h)
	}
	DeleteDetours(h, "/x", prefixes...)
	if len(h) != 1 {
		t.Errorf("of what is too much to read with all there remain %d headers", len(h))
	}
}

// TestShortDetoursToManyPrefixes: short headers are compared with a few prefixes, not with
// as many as their bytes would allow.
func TestShortDetoursToManyPrefixes(t *testing.T) {
	var prefixes []Prefix
	for i := range 20 {
		prefixes = append(prefixes, Prefix(fmt.Sprintf("/hooks%d/*", i)))
	}
	for _, c := range []struct {
		value     string
		n, beyond int
	}{{"/", 16, 20}, {"a,b", 8, 3}} {
		h := make(http.Header)
		for i := range c.n {
			h.Set(fmt.Sprintf("X-P%d-Path", i), c.value)
		}
		if DeleteDetours(h, "/", prefixes[:1]...); len(h) != c.n {
			t.Errorf("%d times %q with one prefix: there remain %d", c.n, c.value, len(h))
		}
		if DeleteDetours(h, "/", prefixes[:c.beyond]...); len(h) > 0 {
			t.Errorf("%d times %q with %d prefixes: there remain %d", c.n, c.value, c.beyond, len(h))
		}
	}
}

// TestWhatIsOftenInAPathIsNotRemoved: of each place where an app may remove it the rest is
// read, so that a path of many costs more than a request should.
func TestWhatIsOftenInAPathIsNotRemoved(t *testing.T) {
	for _, c := range []struct {
		value string
		times int
		goes  bool
	}{
		{"/x", 100, false},
		{"/x", 400, true},
		{"x", 400, true},
		{"/v1, /x", 400, true},
		{"x,", 400, true}, // joined without the comma
		{"/", 400, false},
		{",", 400, false},
	} {
		h := http.Header{"X-Script-Name": {c.value}}
		Prefix("/hooks/*").DeleteDetours(h, strings.Repeat("/x", c.times))
		if gone := len(h) == 0; gone != c.goes {
			t.Errorf("%q, %d times in the path: deleted %t, want %t", c.value, c.times, gone, c.goes)
		}
	}
}

// TestLinesThatAreJoined: servers make one value of several lines.
func TestLinesThatAreJoined(t *testing.T) {
	for _, c := range []struct {
		name, path string
		lines      []string
		goes       bool
	}{
		{"X-Script-Name", "/a,b/hooks/stripe", []string{"/a", "b"}, true},
		{"X-Script-Name", "/a, b/hooks/stripe", []string{"/a", "b"}, true},
		{"X-Script-Name", "/a,bhooks/stripe", []string{"/a", "b"}, true},
		{"X-Script-Name", "/a/hooks", []string{"/a", "b"}, true},
		{"X-Script-Name", "/a,c/hooks/stripe", []string{"/a", "b"}, false},
		{"X-Script-Name", "/a,b/shop", []string{"/a", "b"}, false},
		{"X-Forwarded-Prefix", "/stripe", []string{"/ho", "oks"}, true},
		{"X-Forwarded-Prefix", "/stripe", []string{"/", "hooks"}, true},
		{"X-Forwarded-Prefix", "/stripe", []string{"/api", "/v1"}, false},
		{"X-Forwarded-Prefix", "/owner/repo/hooks", []string{"/api", "/v1"}, false}, // the path's own
		{"X-Forwarded-Prefix", "/v1/hooks/stripe", []string{"/api", "/v1"}, true},
		{"X-Original-Url", "/", []string{"/shop", "/hooks/stripe"}, true},
		{"X-Original-Url", "/", []string{"/shop/hooks"}, false},
		{"X-Original-Url", "/", []string{"/shop", "/shop/hooks"}, true}, // in a list, a part of it may be skipped
	} {
		h := http.Header{c.name: c.lines}
		Prefix("/hooks/*").DeleteDetours(h, c.path)
		if gone := len(h) == 0; gone != c.goes {
			t.Errorf("%s with %q: deleted %t, want %t", c.path, c.lines, gone, c.goes)
		}
	}
}

// TestHeadersThatLeadTogether: an app may take the path of one header and remove or add
// the prefix of another. Both go, and a third one stays.
func TestHeadersThatLeadTogether(t *testing.T) {
	for _, c := range []struct {
		prefix     Prefix
		path, with string
		goes       bool
	}{
		{"/hooks/*", "/x/hooks/stripe", "/x", true},
		{"/hooks/*", "/x/hooks/stripe?a=b", "/x", true},
		{"/hooks/*", "/x/hooks/stripe", "/X/", true},
		{"/hooks/*", "/x%2Fhooks/stripe", "/x", true},
		{"/hooks/*", "https://h.example.com/ho/xoks/stripe", "/x", true},
		{"/hooks/*", "/ho/xoks/stripe", "/x", true},
		{"/hooks/*", "/y/x/hooks/stripe", "/y,/x", true},
		{"/api/hooks/*", "/hooks/stripe", "/api", true},
		{"/hooks/*", "/x/shop", "/x", false},
		{"/hooks/*", "/x/hooksters", "/x", false},
		{"/hooks/*", "/owner/repo/hooks", "/git", false},
		{"/hooks/*", "/git/owner/repo/hooks", "/git", false},
		{"/hooks/*", "/shop?from=/x/hooks/stripe", "/x", false},
	} {
		h := http.Header{"X-Original-Url": {c.path}, "X-Script-Name": {c.with}, "X-Forwarded-Uri": {"/shop"}}
		c.prefix.DeleteDetours(h, "/shop")
		if h.Get("X-Forwarded-Uri") == "" {
			t.Errorf("%s: %s without %s: the third header is deleted", c.prefix, c.path, c.with)
		}
		if gone := len(h) == 1; gone != c.goes || !gone && len(h) != 3 {
			t.Errorf("%s: %s without %s: left %v, want both deleted: %t", c.prefix, c.path, c.with, h, c.goes)
		}
	}
}

// TestHeadersTogetherAreReadWithinTheLimit: what each does with each other one counts.
func TestHeadersTogetherAreReadWithinTheLimit(t *testing.T) {
	for length, goes := range map[int]bool{50: false, 400: true} {
		h := http.Header{}
		for _, name := range []string{"X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Uri", "X-Request-Uri", "X-Script-Name", "X-Forwarded-Prefix", "X-Base-Path", "X-Path-Info"} {
			h.Set(name, "/"+strings.Repeat("%41", length))
		}
		Prefix("/hooks/*").DeleteDetours(h, "/shop")
		if gone := len(h) == 0; gone != goes {
			t.Errorf("8 headers of %d escapes: deleted %t, want %t", length, gone, goes)
		}
	}
}
