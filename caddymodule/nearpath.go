package caddymodule

import (
	"regexp"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
)

// covers reports whether the path of s, which ends in /*, includes every path of other.
func (s *blockSender) covers(other *blockSender) bool {
	return appview.Covers(s.path, other.path) || appview.FoldCase(s.path) == appview.FoldCase(other.path+"*")
}

// sameToApps reports whether an app may have one route for both paths.
func sameToApps(a, b string) bool {
	return appview.FoldCase(strings.TrimSuffix(a, "/")) == appview.FoldCase(strings.TrimSuffix(b, "/"))
}

// nearOthers returns a regular expression of the paths below a sender's /* that apps may
// read as another sender's exact path: with a slash or an extension at its end, or below
// it. It returns "" if there are none. Without it, who has this sender's key could call
// another sender's route in the app.
func (b *block) nearOthers(s *blockSender) string {
	folder, ok := strings.CutSuffix(s.path, "/*")
	if !ok {
		return ""
	}
	var near []string
	for _, other := range b.senders {
		exact := strings.TrimSuffix(other.path, "/")
		switch {
		case strings.HasSuffix(exact, "/*"):
		case sameToApps(exact, folder): // its folder
			near = append(near, regexp.QuoteMeta(exact)+"/$")
		case s.covers(other):
			near = append(near, regexp.QuoteMeta(exact)+`(?:$|[\s/.:;?#%\\])`)
		}
	}
	if len(near) == 0 {
		return ""
	}
	return "(?i)^(?:" + strings.Join(near, "|") + ")"
}
