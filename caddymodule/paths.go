package caddymodule

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// errUncleanPath refuses a path that the app may read as another one than Caddy
// matched: a matcher cleans the path, a proxy hands on what was sent. An app that
// mounts by prefix would take /hooks/billing/../github, signed by github, for
// billing's.
var errUncleanPath = &refusal{reason: "unclean_path", status: http.StatusBadRequest,
	detail: "the path has a dot or empty segment, a semicolon, a backslash, an encoded slash or dot, or a control character: call the address as it is configured"}

// received returns the request as it was called, before any rewrite.
func received(r *http.Request) http.Request {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original
	}
	return *r
}

// isClean reports whether everybody reads a path alike: matchers that clean it,
// apps that do not, apps that decode %2f, take \ for / (Windows) or cut ;x off a
// segment (Java).
func isClean(u *url.URL) bool {
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
