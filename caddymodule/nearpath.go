package caddymodule

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
)

// covers reports whether a, which ends in /*, includes every path of b.
func covers(a, b string) bool {
	return appview.Covers(a, b) || appview.FoldCase(a) == appview.FoldCase(b+"*")
}

// toApps is the same for paths for which an app may have one route.
func toApps(path string) string { return appview.FoldCase(strings.TrimSuffix(path, "/")) }

// nearPaths matches the paths below a sender's /* that apps may read as another sender's
// exact path, or as one below it, and those with a script's name, behind which is a path
// of any sender. Without it, who has this sender's key could call another sender's route
// in the app, and a tenant another tenant's.
type nearPaths []appview.Reading

// nearOthers returns the near paths of a sender's /*, which is one of all paths.
func nearOthers(path string, all []string) (near nearPaths) {
	for _, other := range all {
		base, many := strings.CutSuffix(other, "/*")
		folder := toApps(base) == toApps(strings.TrimSuffix(path, "/*"))
		if !many && (folder || covers(path, other)) {
			near = append(near, appview.ReadingOf(other, !folder))
			continue
		}
		if base != "" {
			near = append(near, appview.BehindScript(base))
		}
	}
	return near
}

// CaddyModule names it for placement. It is not registered: no configuration names it.
func (nearPaths) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.verify_webhook_near", New: func() caddy.Module { return new(nearPaths) }}
}

func (n nearPaths) match(path string) bool { return len(n) > 0 && appview.IsReadAs(path, n) }

// MatchWithError compares the path as Caddy's matchers clean it.
func (n nearPaths) MatchWithError(r *http.Request) (bool, error) {
	return n.match(caddyhttp.CleanPath(r.URL.Path, true)), nil
}

// Interface guards
var _ caddyhttp.RequestMatcherWithError = nearPaths(nil)
