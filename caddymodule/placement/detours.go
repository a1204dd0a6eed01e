package placement

import (
	"iter"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// A detour is a way for unverified requests to reach an app with the path of verified
// deliveries, or one below the prefix of their block, which the app may trust as much.
// Detours of one folder are reported once.
type detour struct {
	prefix, by, where, how, host, folder string

	elsewhere bool // at another site, for certain
}

// Kinds of detours.
const (
	onePath   = "with the path of verified deliveries"
	ownPrefix = "below the prefix of verify_webhooks"

	byRewrite = "handle_path or a rewrite makes it the same"
	byPrefix  = "a rewrite leads there"
	byHost    = "another site, or another address of this one, has the same app"
	byRoute   = "another route leads there"
	byChoice  = "a rewrite whose target the client may choose leads there"
	byError   = "handle_errors sends it refused requests"

	ifMatched = ", for requests that match an expression or another matcher that this check cannot evaluate"
)

// detours finds unverified requests that reach an app as verified deliveries do:
// through a route that strips or adds a prefix, another host, or an error
// route.
func (s *survey) detours() (findings []Finding) {
	names, example := make(map[detour][]string), make(map[detour][]zap.Field)
	var all []detour
	for _, seat := range s.seats {
		for at := range seat.spots() {
			if _, by, _ := s.gapAt(seat, at); by != "" { // already reported
				continue
			}
			for d, fields := range s.detoursOf(seat, at) {
				if names[d] == nil {
					all, example[d] = append(all, d), fields
				}
				names[d] = append(names[d], seat.handler.Name)
			}
		}
	}
	for _, d := range all {
		if exact := (detour{where: onePath, by: d.by, host: d.host, folder: d.folder}); d.where == ownPrefix && slices.ContainsFunc(all, exact.sameWay) {
			continue // it leads to the path of another sender of the block
		}
		findings = append(findings, Finding{
			"requests reach " + d.by + " " + d.where + ", without passing verify_webhook: " + d.how + "; " + d.remedy(),
			append([]zap.Field{zap.Strings("names", sorted(names[d]))}, example[d]...),
		})
	}
	return findings
}

// remedy returns lines for the operator to write. The handler also deletes marks, but
// Caddy sorts it before rewrites, whose result only a matcher behind them sees.
func (d detour) remedy() string {
	if d.elsewhere {
		return guardRemedy(d.prefix)
	}
	return "refuse it before that proxy, @hooks verify_webhook_prefix " + d.prefix + ", respond @hooks 404"
}

// sameWay reports whether both lead from one folder to one app, alike.
func (d detour) sameWay(e detour) bool {
	return d.where == e.where && d.by == e.by && d.host == e.host && d.folder == e.folder
}

// detoursOf yields the detours around a seat with an example, at most one for each
// app.
func (s *survey) detoursOf(seat seat, at spot) iter.Seq2[detour, []zap.Field] {
	return func(yield func(detour, []zap.Field) bool) {
		verified := s.verified(seat, at)
		reached := make(map[string]bool) // addresses
		for _, v := range verified {
			for _, address := range v.addresses {
				reached[address] = true
			}
		}
		for _, to := range s.apps {
			if !slices.ContainsFunc(to.addresses, func(address string) bool { return reached[address] }) ||
				to.server != seat.server && !s.local[seat.server] && s.isPrivate(to.server) {
				continue
			}
			w := way{to: to, seat: seat, at: at, verified: verified}
			d, fields, found := s.detourBy(w)
			if !found {
				w.dares = true
				d, fields, found = s.detourBy(w)
				d.how += ifMatched
			}
			to.exposed = to.exposed || found && d.elsewhere
			if found && !yield(d, fields) {
				return
			}
		}
	}
}

// A way leads to an app from where a seat's deliveries are called, or elsewhere.
type way struct {
	to       *app
	seat     seat
	at       spot
	verified []reply // to the seat's deliveries
	dares    bool    // as in a walker
}

// detourBy returns the detour of a way, if there is one, and its example.
func (s *survey) detourBy(w way) (d detour, example []zap.Field, found bool) {
	near, a, found := s.wayTo(w, isSame)
	d = detour{prefix: folderThere(a.path), where: onePath, how: w.how(near, a)}
	d.elsewhere = d.how == byHost && (w.to.server != w.seat.server || w.to.hosts[0] != "" || w.seat.block != nil)
	if !found {
		if near, a, found = s.wayTo(w, w.seat.bothBelow); !found {
			return detour{}, nil, false
		}
		if d.prefix, d.where, d.how = w.seat.prefix(), ownPrefix, w.how(near, a); d.how != byError && d.how != byChoice {
			d.how = byPrefix
		}
	}
	d.by, d.host, d.folder = a.by, near.host, path.Dir(near.path)
	return d, []zap.Field{zap.Stringer("request", near), zap.String("path_there", a.path)}, true
}

// wayTo returns a request that reaches an app with a path that is like that of
// verified deliveries.
func (s *survey) wayTo(w way, alike func(path, verified string) bool) (near spot, a reply, found bool) {
	for _, v := range w.verified {
		if !share(w.to.addresses, v.addresses) {
			continue
		}
		for near, open := range s.waysTo(w, v.path) {
			for _, a := range open {
				if share(a.addresses, v.addresses) && alike(a.path, v.path) {
					return near, a, true
				}
			}
		}
	}
	return spot{}, reply{}, false
}

func isSame(a, b string) bool { return path.Clean(a) == path.Clean(b) }

// bothBelow reports whether the block around the seat owns both paths.
func (s seat) bothBelow(a, b string) bool {
	owns := func(path string) bool { return imagine(s.handler.Method, false, "", path).ask(s.block) == always }
	return s.block != nil && owns(a) && owns(b)
}

// prefix is that of the block, as written.
func (s seat) prefix() string { return reflect.Indirect(reflect.ValueOf(s.block)).String() }

// verified returns the replies to deliveries that pass the seat's handler.
func (s *survey) verified(seat seat, at spot) []reply {
	answers := s.try(seat.server, seat.handler.Method, at).behind[seat.handler]
	if len(answers) > 0 || len(seat.loose) == 0 {
		return answers
	}
	return s.probe(probe{server: seat.server, method: seat.handler.Method, at: at, strays: true, into: seat.handler}, seat.loose...).behind[seat.handler]
}

// waysTo walks to an app as the layers above it suggest, and yields the replies.
func (s *survey) waysTo(w way, path string) iter.Seq2[spot, []reply] {
	return func(yield func(spot, []reply) bool) {
		wanted := calls(path, w.to.layers)
		for _, host := range w.hosts() {
			for _, called := range wanted {
				if at := (spot{host, called}); !yield(at, s.repliesTo(w, at, wanted)) {
					return
				}
			}
		}
		for _, call := range w.marked() {
			for _, a := range s.repliesTo(w, call, wanted) {
				for _, at := range append(solved(call, a.path, path), call.unmarked()) {
					if !yield(at, s.repliesTo(w, at, wanted)) {
						return
					}
				}
			}
		}
	}
}

// repliesTo walks to an app, or takes a refused request to it.
func (s *survey) repliesTo(w way, at spot, wanted []string) []reply {
	p := probe{server: w.to.server, method: w.seat.handler.Method, at: at, wanted: strings.Join(wanted, "\x00")}
	met := at == w.at && w.to.server == w.seat.server
	switch {
	case w.to.refused && met:
		p.refuses = w.seat.handler
	case w.to.refused:
		p.refuses = nobody
	case met && !w.dares: // gapAt has checked that
		return nil
	}
	return s.dare(p, w.dares)
}

// marked lists calls with markers, if a rewrite above the app needs them.
func (w way) marked() (calls []spot) {
	if !slices.ContainsFunc(w.to.layers, func(l layer) bool { return l.free }) {
		return nil
	}
	hosts := w.hosts()
	if w.to.hosts[0] == "" {
		hosts = append(slices.Clip(hosts), markedHost)
	}
	for _, path := range marked(w.to.layers) {
		for _, host := range hosts {
			calls = append(calls, spot{host, path})
		}
	}
	return calls
}

// hosts lists hosts that lead to the app.
func (w way) hosts() []string {
	if w.to.hosts[0] == "" {
		return []string{w.at.host, "other.invalid"}
	}
	return w.to.hosts
}

// nobody refuses what reaches no handler.
var nobody = &Handler{Refuses: http.StatusNotFound}

// dare returns the replies to a probe, or to one that dares if that makes a difference.
func (s *survey) dare(p probe, dares bool) []reply {
	w := s.probe(p)
	if dares && w.doubts {
		p.dares = true
		w = s.probe(p)
	}
	return w.open
}

// how says how a request gets to the app.
func (w way) how(near spot, a reply) string {
	switch {
	case w.to.refused:
		return byError
	case a.free:
		return byChoice
	case near == w.at && w.to.server == w.seat.server:
		return byRoute
	case near.path == w.at.path:
		return byHost
	}
	return byRewrite
}

// folderThere proposes a prefix to refuse in front of an app.
func folderThere(there string) string {
	prefix := path.Dir(there)
	if prefix == "/" {
		prefix = there
	}
	return strings.TrimSuffix(prefix, "/") + "/*"
}

// A probe is a walk that answers one question and does not change the survey.
type probe struct {
	server, method string
	at             spot
	strays         bool     // it fails loose matchers in routes above handlers:
	given          verdict  // never or always: the result of all loose matchers
	into           *Handler // whose routes it enters nevertheless
	wanted         string   // the paths that a client gives to a rewrite under its control, joined
	refuses        *Handler // and the error routes follow
	dares          bool     // as in a walker
}

// probe walks once for each probe and caches the result.
func (s *survey) probe(p probe, into ...looseRoute) *walker {
	if w := s.probes[p]; w != nil {
		return w
	}
	w := &walker{server: s.servers[p.server], budget: &s.budget, dares: p.dares, above: s.loose}
	s.probes[p] = w
	m := imagine(p.method, s.secure[p.server], p.at.host, p.at.path)
	m.wanted, m.captures = strings.Split(p.wanted, "\x00"), s.captures[p.server]
	switch {
	case p.strays:
		w.loose, w.given, w.fits = s.loose, p.given, into
		w.walk(m)
	case p.refuses != nil:
		for _, status := range s.statuses(p) {
			w.through(w.server.Errors.Routes, m.refusedBy(p.refuses, status))
		}
	default:
		w.walk(m)
	}
	return w
}
