// Package appview describes how apps may read a request differently from the gateway:
// which paths are unambiguous, which an app may read as below a prefix, which header
// names it may confuse, whether the query names the method. It does not import Caddy.
package appview

import (
	"net/url"
	"strings"
)

// IsClean reports whether all parties read a path alike: matchers that clean it, apps
// that do not, apps that decode %2f or %25 again, read \ as / (Windows), cut ;x off a
// segment (Java) or drop one that holds a session (ASP.NET).
func IsClean(u *url.URL) bool {
	if u == nil {
		return true
	}
	if u.Opaque != "" { // x:/hooks, http:hooks: matchers see no path, the app all of it
		return false
	}
	// RawPath is set if Go would escape the path differently. EscapedPath would drop
	// it if a byte is not escaped as it should be.
	raw := strings.ToLower(u.RawPath)
	if strings.Contains(raw, "%2f") || strings.Contains(raw, "%2e") {
		return false
	}
	return isTidy(u.Path) && decodedAgain(u.Path) == u.Path
}

// isTidy reports whether a decoded path is the same under every way of cleaning it.
func isTidy(path string) bool { return !hasDetours(path) && !strings.Contains(path, "//") }

// hasDetours reports whether a decoded path has segments that some readers leave out, or
// more segments for some readers than for others. Slashes alone, as in an address that is
// part of a path, are none.
func hasDetours(path string) bool {
	if strings.ContainsFunc(path, func(r rune) bool { return r != '/' && endsSegment(r) }) {
		return true
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment != "" && strings.TrimLeft(segment, ". ") == "" { // Windows reads ".. " as ".."
			return true
		}
	}
	return false
}
