package caddymodule

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
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
// of any sender, also of another block in front of the app. Without it, who has this
// sender's key could call another sender's route in the app, and a tenant another tenant's.
type nearPaths struct {
	below  []appview.Reading
	behind []appview.Reading // the same for all senders
	beside func() [][]appview.Reading
}

// nearOthers returns the near paths of a sender's /*, but for those behind a script.
func nearOthers(path string, others []string) (near nearPaths) {
	for _, other := range others {
		folder := toApps(other) == toApps(strings.TrimSuffix(path, "/*"))
		if !strings.HasSuffix(other, "/*") && (folder || covers(path, other)) {
			near.below = append(near.below, appview.ReadingOf(other, !folder))
		}
	}
	return near
}

// besides returns the readings, behind a script, of what other blocks own that are in front
// of the block's app, and of its own.
func (a *App) besides(b *Block) [][]appview.Reading {
	a.grouped.Do(func() {
		app := a.http()
		if app == nil {
			return
		}
		a.beside = make(map[placement.Block][][]appview.Reading)
		type pair struct {
			block placement.Block
			paths string
		}
		has := make(map[pair]bool)
		for _, group := range placement.Together(app) {
			var paths []string
			for other := range group {
				paths = append(paths, other.(*Block).claims()...)
			}
			slices.Sort(paths)
			paths = slices.Compact(paths)
			readings, key := behindScripts(paths), strings.Join(paths, " ")
			for one := range group {
				if p := (pair{one, key}); len(group) > 1 && !has[p] {
					a.beside[one], has[p] = append(a.beside[one], readings), true
				}
			}
		}
	})
	return a.beside[b]
}

// claims returns the paths of the senders, or, of a guard, all below its prefix.
func (b *Block) claims() []string {
	if base := appview.Prefix(b.Prefix).Base(); base != "" && len(b.Senders) == 0 {
		return []string{base, base + "/*/*"} // one word alone is a customer's: see behindScripts
	}
	return b.paths()
}

// behindScripts returns the readings of all senders' paths behind a script. One word alone
// is no such path: the folder acme.pl may be a customer's.
func behindScripts(paths []string) (behind []appview.Reading) {
	for _, path := range paths {
		if base := strings.TrimSuffix(path, "/*"); strings.Contains(strings.Trim(base, "/"), "/") {
			behind = append(behind, appview.BehindScript(base))
		}
	}
	return behind
}

// CaddyModule names it for placement. It is not registered: no configuration names it.
func (nearPaths) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.verify_webhook_near", New: func() caddy.Module { return new(nearPaths) }}
}

func (n nearPaths) match(path string) bool {
	if appview.IsReadAs(path, n.below, n.behind) {
		return true
	}
	beside := n.beside()
	return len(beside) > 0 && appview.IsReadAs(path, beside...)
}

// MatchWithError compares the path as Caddy's matchers clean it.
func (n nearPaths) MatchWithError(r *http.Request) (bool, error) {
	return n.match(caddyhttp.CleanPath(r.URL.Path, true)), nil
}

// Interface guards
var _ caddyhttp.RequestMatcherWithError = nearPaths{}
