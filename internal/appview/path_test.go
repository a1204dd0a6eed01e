package appview

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestPrefixOwnsEverySpelling: no spelling of a path below the prefix bypasses the
// block to a route that proxies the rest of the site.
func TestPrefixOwnsEverySpelling(t *testing.T) {
	for target, want := range map[string]bool{
		"/hooks":                               true,
		"/hooks/":                              true,
		"/hooks/stripe":                        true,
		"/HOOKS/Stripe":                        true,
		"/hook%73/stripe":                      true,
		"/hooK%C5%BF/stripe":                   true, // upper-cased, ſ is an S
		"/hoo%E2%84%AAs":                       true, // K, the Kelvin sign
		"//hooks/stripe":                       true,
		"/./hooks/stripe":                      true,
		"/x/../hooks/stripe":                   true,
		"/x/%2e%2e/hooks/stripe":               true,
		"/hooks%2fstripe":                      true,
		"/hooks%5cstripe":                      true,
		"/x%5c..%5chooks/stripe":               true,
		"/hooks;x/stripe":                      true,
		"/hooks%3bx/stripe":                    true,
		"/;x/hooks/stripe":                     true,
		"/x/..;/hooks/stripe":                  true,
		"/hooks%00/stripe":                     true,
		"/hooks/acme/../../x":                  true, // as it was sent
		"/hooks/%2e%2e/x":                      true,
		"/./hooks//../stripe":                  true, // /hooks/stripe where slashes are not merged: new URL() of WHATWG
		"/x/%2e%2e/hooks//../stripe":           true,
		"/.\\hooks\\..;\\stripe":               true, // if ..; is not a dot segment
		"/a%2fb/../hooks/stripe":               true, // if an encoded slash is not a slash
		"/x/hooks;y/../../hooks":               true,
		"/hooks%7f/stripe":                     true,
		"/index.php/hooks/stripe":              true, // a front controller's PATH_INFO
		"/x/APP.PHP/hooks":                     true,
		"/a.php/b.php/hooks/stripe":            true,
		"/index.php/x/hooks/stripe":            false,
		"/index.php/hooksters":                 false,
		"/hooks.php/stripe":                    true, // Apache's MultiViews find hooks.php for /hooks/stripe
		"/hooks.cgi/stripe":                    true,
		"/hooks.php":                           false,
		"/hooks.json/stripe":                   false,
		"/index.cgi/hooks/stripe":              true,
		"/x/dispatch.fcgi/hooks":               true,
		"/default.aspx/hooks/stripe":           true,
		"/index.php./hooks/stripe":             true,
		"/index.php/hooks.php/stripe":          true,
		"/repos/a/next.js/hooks/1":             false, // names of things, not of scripts
		"/v1.2/hooks/stripe":                   false,
		"/hooks./stripe":                       true, // Windows drops dots and spaces at the end of a name
		"/hooks%20/stripe":                     true,
		"/hooks%20.%20":                        true,
		"/hooks:$i30:$INDEX_ALLOCATION/stripe": true, // and NTFS has streams
		"/hooks::$DATA":                        true,
		"/x/..%20/hooks/stripe":                true,
		"/hooks:batch":                         false,
		"/hooks%20x/stripe":                    false,
		"/(S(x))/hooks/stripe":                 true, // ASP.NET drops sessions
		"/(s(abc)A(1)f())/hooks":               true,
		"/ho/(S(x))oks/stripe":                 true,
		"/(S(x/(S(y))))/hooks":                 true, // dropped twice
		"/(S(x)/(S(y)))/hooks":                 true,
		"//ho/(S(x))oks/stripe":                true,
		"/x/(S(x))/hooks":                      false,
		"/(x)/hooks/stripe":                    false,
		"/(S(x)/hooks/stripe":                  false,
		"/()/hooks/stripe":                     false,
		"/(S)/hooks/stripe":                    false,
		"/(S(x))":                              false,
		"/%2568ooks/stripe":                    true, // decoded twice
		"/%2548OOKS/stripe":                    true,
		"/x/%252e%252e/hooks/stripe":           true,
		"/%252fhooks/stripe":                   true,
		"/%255chooks/stripe":                   true, // and then cleaned, as on Windows
		"/..%255chooks/stripe":                 true,
		"/x%255c..%255chooks/stripe":           true,
		"/index.php%255chooks/stripe":          true,
		"/..%253b/hooks/stripe":                true, // as in Java
		"/%253bx/hooks/stripe":                 true,
		"/x/..%2520/hooks/stripe":              true,
		"/.%252fhooks%252f%252f..%252fstripe":  true,
		"/%253bx/hooksters":                    false,
		"/hooks/(S(x))y":                       true, // as everybody but ASP.NET reads it
		"/HOOKS/%28a%28%29%29.json":            true,
		"/(S(x))hooks/stripe":                  true,
		"/(S(x))hooksters":                     false,
		"/go/https%253A%252F%252Fx%252Fhooks":  false, // an address in a path
		"/100%25/hooks":                        false,
		"/hooks%25":                            false,
		"/hooks%252":                           false,
		"/VirtualHostBase/https/h:443/hooks/VirtualHostRoot/stripe": true, // Zope
		"/VirtualHostBase/http/h/x/VirtualHostRoot/hooksters":       false,
		"/x/VirtualHostBase/http/h/hooks/VirtualHostRoot/stripe":    false,
		"/x//stripe":                   false,
		"/hooksters//x;hooks/..":       false,
		"/":                            false,
		"/hooksters":                   false,
		"/hooks.json":                  false,
		"/x/hooks":                     false,
		"/hook/stripe":                 false,
		"http://other.example.com/x":   false,
		"http://h.example.com/hooks/x": true,
		"http://h.example.com":         false,
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := Prefix("/hooks/*").Owns(u.Path); got != want {
			t.Errorf("%s: %t, want %t", target, got, want)
		}
		if !Prefix("*").Owns(u.Path) {
			t.Errorf("%s: * does not own it", target)
		}
	}
}

// TestPathThatEverybodyReadsAlike: what Caddy and some app could read differently is
// unclean.
func TestPathThatEverybodyReadsAlike(t *testing.T) {
	for target, want := range map[string]bool{
		"/": true, "/hooks/stripe": true, "/hooks/stripe/": true, "/HOOKS/%73tripe": true, "/hooks/a.b..c/.x": true,
		"/hooks/a%20b": true, "/hooks/%C3%A9": true, "/hooks/a,b=c:d@e&f+g!~$'()*": true, "*": true, "/hooks/100%25": true, "/hooks/a(b)/(c)/d": true, "/hooks/x.": true,
		"/hooks/x?a=/../;%2f%5c//\\": true, "http://h.example.com/hooks/x": true, "http://h.example.com": true,
		"//": false, "//hooks": false, "/hooks//x": false, "/hooks/x//": false, "/hooks/./x": false, "/hooks/..": false, "/hooks/../x": false,
		"/.": false, "/..": false, "/hooks/%2e/x": false, "/hooks/%2E%2e/x": false, "/hooks/a%2eb": false,
		"/hooks%2fx": false, "/hooks/x%2F": false, "/hooks%5cx": false, "/hooks\\x": false, "/hooks/x;y": false, "/hooks/x%3by": false,
		"/hooks/%252e": false, "/hooks/%2573tripe": false, "/hooks/(S(x))/y": false, "/hooks/x/(A(1)S(2))y": false, "/hooks/.%20/x": false, "/hooks/...": false,
		"/hooks/x%00": false, "/hooks/x%0a": false, "/hooks/x%7f": false,
		"/hooks%2fx\"":                    false, // because of the raw quote EscapedPath forgets how the slash was written
		"http://h.example.com/hooks/../x": false,
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := IsClean(u); got != want {
			t.Errorf("%s: clean %t, want %t", target, got, want)
		}
	}
}

// FuzzPaths compares with Caddy's own matcher: the block owns every path that it
// matches below the prefix. A clean path is one that cleaning does not change.
func FuzzPaths(f *testing.F) {
	for _, target := range []string{"/hooks", "/hooks/x", "//hooks/./x/", "/hooks%2f..%2fx", "/x/../HOOKS;a/b", "/hooks\\x", "/hoo\u212as/x", "http://h/hooks"} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(u.Path, "/") {
			return
		}
		r := (&http.Request{URL: u}).WithContext(context.WithValue(t.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
		for _, pattern := range []string{"/hooks", "/hooks/*"} {
			if matched, _ := (caddyhttp.MatchPath{pattern}).MatchWithError(r); matched && !Prefix("/hooks/*").Owns(u.Path) {
				t.Errorf("%q: Caddy's path %s matches, and the block does not own it", target, pattern)
			}
		}
		if read := withoutDots(u.Path); isBelow(read, "/hooks") && !Prefix("/hooks/*").Owns(u.Path) {
			t.Errorf("%q: RFC 3986 §5.2.4 makes %s of it, and the block does not own it", target, read)
		}
		if IsClean(u) && strings.TrimSuffix(u.Path, "/") != strings.TrimSuffix(path.Clean(u.Path), "/") {
			t.Errorf("%q is clean, and cleaning changes it", target)
		}
	})
}

// withoutDots removes dot segments like RFC 3986 §5.2.4 and WHATWG's new URL(): empty
// segments stay, and .. removes one like any other.
func withoutDots(p string) string {
	var kept []string
	for segment := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		switch segment {
		case ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// TestLongPathsCostLittle: anyone can send a path of 20 KB with headers of 20 KB, to any
// path of the site. Time is not measured: each step that copied the rest of the path
// made the cost quadratic, and those copies count.
func TestLongPathsCostLittle(t *testing.T) {
	const prefix = Prefix("/hooks/*")
	for name, unit := range map[string]string{
		"scripts": ".php/", "scripts in capitals": ".PHP/", "semicolons": ";", "dots": "./", "backslashes": `\`, "near misses": "hooks/", "letters that grow": "ſ/",
		"sessions": "/(S(x))", "brackets": "/(S(", "escapes": "%68", "streams": "hooks:$", "scripts of Windows": "a.php. /",
	} {
		path := "/" + strings.Repeat(unit, 20<<10/len(unit))
		if n := testing.AllocsPerRun(5, func() { prefix.Owns(path) }); n > 12 {
			t.Errorf("%s: %v allocations for the path", name, n)
		}
		h := make(http.Header)
		for sign := '!'; sign < '-'; sign++ { // spellings that some servers equate
			h["X"+string(sign)+"Script-Name"] = []string{"/", "/"}
		}
		if n := testing.AllocsPerRun(1, func() { prefix.DeleteDetours(h, path) }); n > 64 || len(h) > 0 {
			t.Errorf("%s: %v allocations for many headers, %d left", name, n, len(h))
		}
	}
}
