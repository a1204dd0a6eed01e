package placement

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// A seat is the place of a handler: what the matchers above it require of a request.
type seat struct {
	handler *Handler
	server  string
	hosts   []string // only "" if any host matches
	paths   []string // as called
	inside  []string // the same, as the handler sees them
	layers  []layer
	below   []string // examples of everything below a path
	own     []string // the path patterns beside the handler, as written
	vague   bool     // no path is known to reach it
	doubt   bool     // a matcher above may exclude the paths
	guesses []string // other paths
	literal []string // guesses in which nothing may be another text
	tried   bool     // the paths are guesses
	partial bool     // of which some stand for others, which another route may not match
	steps   []step
	others  []string // other matchers: header, query
	named   []string // every host matched above, as written
	guessed bool     // something other than a host matcher may check the host above
	loose   []looseRoute
	block   any        // the matcher of the block around it; nil without one
	watched bool       // as in Places
	strips  bool       // as in Places
	limits  [][]string // of the path as called, see limitsOf; none if something may change it before
}

// maxSamples limits the samples for a handler.
const maxSamples = 8

// A trail leads from a server's routes to a handler, outermost first.
type trail struct {
	hosts   []string
	layers  []layer
	others  []string
	vague   bool // a rewrite above changes the path in unknown ways
	doubt   bool // as in a seat
	steps   []step
	named   []string // as in a seat
	guessed bool
	loose   []looseRoute
	refused bool     // in the error routes
	guarded bool     // behind an errorGuard
	block   any      // as in a seat
	inside  []string // as in a blockPlace
	anyHost bool     // one of the matchers matches hosts that are not listed
	watched bool     // as in Places
	strips  bool     // as in Places
}

// A looseRoute has a loose matcher, for which there is no sample: an expression,
// path_regexp.
type looseRoute struct {
	route *caddyhttp.Route
	kind  string // of the matcher
}

// A place is what a visit of a server's routes finds.
type place struct {
	name     string
	server   *caddyhttp.Server
	seats    []seat
	blocks   []blockPlace
	apps     []*app
	loose    map[*caddyhttp.Route]bool // above a seat
	fixed    fixed
	captures captures
	errors   []int // statuses that the routes name
	changes  bool  // a handler in the routes may change the path
}

// placeOf finds the handlers in a server's routes, except error routes, and its apps,
// including those in error routes.
func placeOf(name string, server *caddyhttp.Server) *place {
	p := &place{name: name, server: server, loose: make(map[*caddyhttp.Route]bool), fixed: fixedIn(server), captures: make(captures)}
	p.visit(server.Routes, trail{}, 0)
	for i := range p.seats {
		if !p.changes {
			p.seats[i].limits = limitsOf(p.seats[i].steps)
		}
	}
	if server.Errors != nil {
		p.visit(server.Errors.Routes, trail{refused: true}, 0)
	}
	return p
}

// visit reports whether the routes act on errors or responses of what follows them:
// Caddy runs each route inside of those before it.
func (p *place) visit(list caddyhttp.RouteList, t trail, depth int) bool {
	var watching []string // groups of routes that do; of a group only one runs
	for i := range list {
		route := &list[i]
		inside, watches := t.into(route), false
		p.captures.add(matchersOf(route))
		inside.watched = t.watched || slices.ContainsFunc(watching, func(group string) bool { return group == "" || group != route.Group })
		for _, h := range route.Handlers {
			switch h := h.(type) {
			case Block:
				at, before := inside.place(h, p.name), len(p.apps)
				p.visit(h.AsRoutes(), inside, depth)
				for _, a := range p.apps[before:] {
					if !a.asked {
						at.addresses = append(at.addresses, a.addresses...)
					}
				}
				if len(p.blocks) < maxSeats {
					p.blocks = append(p.blocks, at)
				}
			case Verifier:
				if !t.refused {
					p.sit(inside, h.Placed(), route)
				}
			case *caddyhttp.Subroute:
				if h.Errors != nil {
					inside.watched, watches = true, true
				}
				if p.visit(h.Routes, inside, depth) {
					inside.watched, watches = true, true
				}
			case *caddyhttp.Invoke:
				if named := p.server.NamedRoutes[h.Name]; named != nil && depth < maxInvoked && len(p.seats) < maxSeats &&
					p.visit(caddyhttp.RouteList{*named}, inside, depth+1) {
					inside.watched, watches = true, true
				}
			case *rewrite.Rewrite:
				p.changes = true
				inside = inside.rewritten(h)
				if len(matchersOf(route)) == 0 {
					t = t.rewritten(h)
				} else {
					t = t.maybe(inside)
				}
			case *caddyhttp.StaticError:
				p.errors = append(p.errors, statusesOf(h, p.fixed)...)
			case *headers.Handler:
				strips := t.strips || removesHeaders(h.Request)
				inside.strips, t.strips = strips, strips
			case *maphandler.Handler:
				inside, t = inside.mapped(h), t.mapped(h)
			case *intercept.Intercept:
				p.visitAnswers(h.HandleResponse, inside, depth)
				inside.watched, watches = true, true
			case *reverseproxy.Handler:
				p.visitAnswers(h.HandleResponse, inside, depth)
				if len(p.apps) < maxSeats {
					p.apps = append(p.apps, inside.app(h, p.name, p.fixed))
				}
			default:
				t.guarded = t.guarded || kindOf(h) == errorGuard
				p.changes = p.changes || !keepsPath(h)
			}
		}
		if watches && !route.Terminal {
			watching = append(watching, route.Group)
		}
	}
	return len(watching) > 0
}

func (p *place) visitAnswers(handlers []caddyhttp.ResponseHandler, t trail, depth int) {
	for _, h := range handlers {
		p.visit(h.Routes, t, depth)
	}
}

func (p *place) sit(t trail, h *Handler, route *caddyhttp.Route) {
	p.seats = append(p.seats, t.seat(h, p.name, route))
	for _, l := range t.loose {
		p.loose[l.route] = true
	}
}

// removesHeaders reports whether a handler removes or replaces headers of the request, other
// than marks.
func removesHeaders(h *headers.HeaderOps) bool {
	if h == nil {
		return false
	}
	isOther := func(name string) bool { return !strings.HasPrefix(strings.ToLower(name), "webhook") }
	return len(h.Set)+len(h.Replace) > 0 || slices.ContainsFunc(h.Delete, isOther)
}

// maxSeats limits routes that invoke each other repeatedly.
const maxSeats = 10000

// into extends the trail into a route.
func (t trail) into(route *caddyhttp.Route) trail {
	hosts, patterns := hostsAndPaths(route)
	if len(hosts) > 0 {
		t.hosts, t.named = hosts, append(slices.Clip(t.named), hosts...)
		t.anyHost = t.anyHost || hostVerdict(matchersOf(route), "") != never
	}
	if len(patterns) > 0 {
		t.layers = append(slices.Clip(t.layers), layer{patterns: patterns})
	}
	t.inside = append(slices.Clip(t.inside), besidesHosts(route)...)
	t.steps = append(slices.Clip(t.steps), step{route: route})
	if samples := samplesOfRoute(route); len(samples) > 0 {
		t.layers = append(slices.Clip(t.layers), layer{samples: samples})
	}
	for _, set := range matchersOf(route) {
		for _, matcher := range set {
			t.guessed = t.guessed || mayLookAtHost(matcher)
			if kind := looseKind(matcher); kind != "" {
				t.loose = append(slices.Clip(t.loose), looseRoute{route, kind})
			}
			switch kind := kindOf(matcher).Name(); kind {
			case "host", "path":
			case "verify_webhook_prefix":
				t.block = matcher
				t.others = append(slices.Clip(t.others), kind)
			case "header", "query", "method", "remote_ip", "client_ip":
				t.others = append(slices.Clip(t.others), kind)
			default:
				t.others = append(slices.Clip(t.others), kind)
				t.vague, t.doubt = t.vague || kind == "file", true
			}
		}
	}
	return t
}

func hostsAndPaths(route *caddyhttp.Route) (hosts, patterns []string) {
	for _, set := range matchersOf(route) {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost:
				hosts = append(hosts, *m...)
			case *caddyhttp.MatchPath:
				patterns = append(patterns, *m...)
			}
		}
	}
	return hosts, patterns
}

func (t trail) seat(h *Handler, server string, route *caddyhttp.Route) seat {
	s := seat{handler: h, server: server, vague: t.vague, others: t.others, named: t.named, guessed: t.guessed, loose: t.loose, block: t.block, watched: t.watched, strips: t.strips, layers: t.layers, steps: t.steps, doubt: t.doubt}
	_, s.own = hostsAndPaths(route)
	for i := len(t.layers) - 1; i >= 0; i-- {
		if t.layers[i].maybe {
			continue
		}
		for _, pattern := range t.layers[i].patterns {
			path, ok := sampleOf(pattern)
			if !ok {
				s.doubt = true
				continue
			}
			s.inside = append(s.inside, path)
			path = calledAs(path, t.layers[:i])
			s.paths = append(s.paths, path)
			if strings.HasSuffix(pattern, "/*") {
				s.below = append(s.below, path)
			}
		}
	}
	if s.doubt {
		s.guesses, s.literal = t.guesses("x"), t.guesses("y")
	}
	s.paths, s.hosts = few(s.paths, "/x"), t.sampleHosts()
	return s
}

// sampleHosts returns hosts that match the trail, only "" if any does.
func (t trail) sampleHosts() (hosts []string) {
	for _, host := range t.hosts {
		if !strings.Contains(host, "{") {
			hosts = append(hosts, strings.ReplaceAll(host, "*", "x"))
		}
	}
	return few(hosts, "")
}

// sampleOf returns a path that a pattern matches. A star inside a text has no
// representative sample.
func sampleOf(pattern string) (path string, ok bool) {
	fixed, isPrefix := strings.CutSuffix(pattern, "*")
	if !isPlain(fixed) || fixed != "" && fixed[0] != '/' {
		return "", false
	}
	if isPrefix {
		fixed += "x"
	}
	return "/" + strings.TrimPrefix(fixed, "/"), true
}

// isPlain reports whether a part of a pattern matches itself alone.
func isPlain(part string) bool { return !strings.ContainsAny(part, `*?[\{%`) }

func isUnder(path, folder string) bool {
	rest, ok := strings.CutPrefix(path, folder)
	return ok && (rest == "" || rest[0] == '/')
}

// few returns the first distinct texts, or only none if there are none.
func few(texts []string, none string) []string {
	seen := make(map[string]bool)
	texts = slices.DeleteFunc(texts, func(s string) bool {
		twice := seen[s]
		seen[s] = true
		return twice
	})
	if len(texts) == 0 {
		return []string{none}
	}
	return texts[:min(len(texts), maxSamples)]
}

// kindsOf lists what distinguishes requests of one path.
func kindsOf(seats ...seat) []string {
	kinds := make(map[string]bool)
	for _, s := range seats {
		for _, kind := range s.others {
			kinds[kind] = true
		}
	}
	return slices.Sorted(maps.Keys(kinds))
}

// spots yields the requests that should reach the seat.
func (s seat) spots() iter.Seq[spot] {
	return func(yield func(spot) bool) {
		for _, host := range s.hosts {
			for _, path := range s.paths {
				if !yield(spot{host, path}) {
					return
				}
			}
		}
	}
}

// near lists paths that an app may read as the same path, and the path itself, which
// a header may let pass.
func (s seat) near(at spot) []spot {
	near := []spot{at, {at.host, at.path + "/"}, {at.host, at.path + ".json"}}
	if folder := strings.TrimSuffix(at.path, "/x"); folder != "" && folder != at.path && (s.tried || slices.Contains(s.below, at.path)) {
		near = append(near, spot{at.host, folder})
	}
	return near
}
