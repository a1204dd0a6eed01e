// Package appview knows how an app may read a request otherwise than the gateway
// that judged it: which paths everybody reads alike, which an app may read as
// below a prefix, which names of headers it takes for one, whether the
// query names the method. It knows no Caddy.
package appview

import (
	"net/url"
	"strings"
)

// IsClean reports whether everybody reads a path alike: matchers that clean it,
// apps that do not, apps that decode %2f, take \ for / (Windows) or cut ;x off a
// segment (Java).
func IsClean(u *url.URL) bool {
	if u == nil {
		return true
	}
	if u.Opaque != "" { // x:/hooks, http:hooks: no path to match, and all of it to the app
		return false
	}
	// RawPath is set wherever Go would escape the path in another way. EscapedPath
	// would drop it where it holds a byte that should have been escaped.
	raw := strings.ToLower(u.RawPath)
	if strings.Contains(raw, "%2f") || strings.Contains(raw, "%2e") {
		return false
	}
	return isTidy(u.Path)
}

// isTidy reports whether no way of cleaning a decoded path changes it.
func isTidy(path string) bool {
	if strings.ContainsFunc(path, func(r rune) bool { return r != '/' && endsSegment(r) }) {
		return false
	}
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return true
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(path, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
