package caddymodule

import (
	"regexp"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
)

// covers reports whether a, which ends in /*, includes every path of b.
func covers(a, b string) bool {
	return appview.Covers(a, b) || appview.FoldCase(a) == appview.FoldCase(b+"*")
}

// toApps is the same for paths for which an app may have one route.
func toApps(path string) string { return appview.FoldCase(strings.TrimSuffix(path, "/")) }

// nearOthers returns a regular expression of the paths below a sender's /* that apps may
// read as another sender's exact path: with a slash or an extension at its end, or below
// it. It returns "" if there are none. Without it, who has this sender's key could call
// another sender's route in the app.
func nearOthers(path string, others []string) string {
	folder := strings.TrimSuffix(path, "/*")
	var near []string
	for _, other := range others {
		exact := strings.TrimSuffix(other, "/")
		switch {
		case strings.HasSuffix(exact, "/*"):
		case toApps(exact) == toApps(folder): // its folder
			near = append(near, regexp.QuoteMeta(exact)+"/$")
		case covers(path, other):
			near = append(near, regexp.QuoteMeta(exact)+`(?:$|[\s/.:;?#%\\])`)
		}
	}
	if len(near) == 0 {
		return ""
	}
	return "(?i)^(?:" + strings.Join(near, "|") + ")"
}
