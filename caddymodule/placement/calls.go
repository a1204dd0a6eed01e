package placement

import (
	"slices"
	"strings"

	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// A layer is a path matcher or a rewrite. Undoing it is a guess: a walk then shows
// whether it is right.
type layer struct {
	patterns     []string
	samples      []string    // of what a path_regexp matcher, a map or uri path_regexp matches
	strip, begin string      // a prefix that is stripped or added
	suffix       string      // a suffix that is stripped
	swaps        [][2]string // replaced texts
	whole        bool        // the new path does not depend on the old one
	free         bool        // the target has placeholders that the client may choose
	maybe        bool        // in an earlier route with a matcher
}

// An app is a proxy in the routes, and the way to it.
type app struct {
	server    string
	addresses []string
	hosts     []string // as in a seat
	layers    []layer
	refused   bool // in the error routes
	guarded   bool // an errorGuard is before it
	asked     bool // by a guard such as forward_auth
	exposed   bool // reported: at another address it takes the path of verified deliveries
}

func (t trail) app(h *reverseproxy.Handler, server string, f fixed) *app {
	if h.Rewrite != nil {
		t = t.rewritten(h.Rewrite)
	}
	return &app{server: server, addresses: socketsOf(h, f), hosts: t.sampleHosts(), layers: t.layers, refused: t.refused, guarded: t.guarded, asked: isGuard(h)}
}

// rewritten adds a rewrite to the trail.
func (t trail) rewritten(r *rewrite.Rewrite) trail {
	uri, _, _ := strings.Cut(r.URI, "?")
	begin, putsOn := strings.CutSuffix(r.URI, "{http.request.uri}")
	l := layer{free: hasFree(r)}
	switch {
	case r.StripPathSuffix != "" || len(r.URISubstring)+len(r.PathRegexp) > 0:
		t.vague = true
		l.suffix = r.StripPathSuffix
		for _, swap := range r.URISubstring {
			l.swaps = append(l.swaps, [2]string{swap.Find, swap.Replace})
		}
		for _, swap := range r.PathRegexp {
			samples := samplesOfRegexp(swap.Find)
			l.samples = append(l.samples, samples...)
			for _, sample := range samples {
				if !strings.Contains(swap.Replace, "$") {
					l.swaps = append(l.swaps, [2]string{strings.ReplaceAll(sample, "\x00", "x"), swap.Replace})
				}
			}
		}
	case strings.Contains(r.StripPathPrefix, "{"):
		t.vague = true
	case r.StripPathPrefix != "":
		l.strip = "/" + strings.Trim(r.StripPathPrefix, "/")
	case putsOn && !strings.Contains(begin, "{"):
		l.begin = begin
	case uri != "":
		t.vague = t.vague || strings.Contains(uri, "{")
		l.whole = true
	}
	t.layers = append(slices.Clip(t.layers), l)
	t.steps = append(slices.Clip(t.steps), step{rewrite: r})
	return t
}

// mapped adds the paths for which a map has values, which a rewrite may use.
func (t trail) mapped(h *maphandler.Handler) trail {
	l := layer{maybe: true}
	for _, m := range h.Mappings {
		if m.InputRegexp != "" {
			l.samples = append(l.samples, samplesOfRegexp(m.InputRegexp)...)
			continue
		}
		l.patterns = append(l.patterns, m.Input)
	}
	t.layers = append(slices.Clip(t.layers), l)
	return t
}

// maybe adds the rewrite of an earlier route that only some requests enter.
func (t trail) maybe(inside trail) trail {
	layers := slices.Clone(inside.layers)
	for i := len(t.layers); i < len(layers); i++ {
		layers[i].maybe = true
	}
	t.layers, t.vague = layers, true
	return t
}

// calls lists paths that the layers may turn into the given one, the path itself
// first.
func calls(path string, layers []layer) []string {
	paths, any, changed := []string{path}, false, false // changed by a later layer
	for _, l := range slices.Backward(layers) {
		if changed = changed || l.rewrites(); !changed {
			continue
		}
		var before []string
		for _, p := range paths {
			before = append(before, l.undone(p)...)
		}
		if any {
			before = append(before, l.examples("x")...)
		}
		any = any || l.whole || l.begin != ""
		paths = append(before, paths...)
	}
	if any {
		paths = append(paths, "/x")
	}
	return few(append([]string{path}, paths...), path)
}

// rewrites reports whether the layer changes the path.
func (l layer) rewrites() bool {
	return l.whole || l.strip+l.begin+l.suffix != "" || len(l.swaps) > 0 || len(l.samples) > 0 && l.free
}

// undone lists paths that a layer may turn into the given one.
func (l layer) undone(path string) (paths []string) {
	rest := strings.TrimPrefix(path, "/")
	if l.strip != "" {
		paths = append(paths, l.strip+path)
	}
	if rest, ok := strings.CutPrefix(path, l.begin); ok && l.begin != "" {
		paths = append(paths, "/"+strings.TrimPrefix(rest, "/"))
	}
	if l.suffix != "" {
		paths = append(paths, path+l.suffix)
	}
	for _, swap := range l.swaps {
		from, to := swap[0], swap[1]
		switch {
		case to != "":
			paths = append(paths, replacements(path, to, from)...)
		default:
			paths = append(paths, from+path, "/"+from+rest, path+from)
			for i := range path {
				if path[i] == '/' && i > 0 {
					paths = append(paths, path[:i]+from+path[i:], path[:i+1]+from+path[i+1:])
				}
			}
		}
	}
	return slices.DeleteFunc(paths, func(p string) bool { return !strings.HasPrefix(p, "/") })
}

// replacements lists the texts in which one old is replaced, or all are.
func replacements(text, old, with string) (all []string) {
	for at, from := 0, 0; ; from = at + len(old) {
		i := strings.Index(text[from:], old)
		if i < 0 {
			break
		}
		at = from + i
		all = append(all, text[:at]+with+text[at+len(old):])
	}
	if len(all) > 1 {
		all = append(all, strings.ReplaceAll(text, old, with))
	}
	return all
}

// calledAs undoes the rewrites of the layers above. A path with the stripped prefix
// is kept: /hooks/stripe inside handle_path /hooks/* is a mistake, not another way to
// write /hooks/hooks/stripe.
func calledAs(path string, above []layer) string {
	for _, l := range slices.Backward(above) {
		if l.maybe {
			continue
		}
		if l.strip != "" && !isUnder(path, l.strip) {
			path = l.strip + path
		}
		if rest, ok := strings.CutPrefix(path, l.begin); ok && l.begin != "" {
			path = "/" + strings.TrimPrefix(rest, "/")
		}
	}
	return path
}
