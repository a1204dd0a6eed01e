// Package placement says what is unsafe about where the verify_webhook handlers
// of a configuration are placed: requests that walk past them to the app, on the
// same site, on another one or through the error routes, routes that keep every
// request from them, handlers that would take each other's deliveries for copies.
//
// It reads the routes of a loaded configuration in two ways. A seat is where a
// handler is placed: what the matchers above it suggest that a request must be
// like to reach it. A walk takes an imagined request, made from a seat, through
// the routes as Caddy would, and through both branches where the client decides,
// and notes what it meets. A survey walks from every seat and tells what it found.
// A probe is a walk that asks one question more: where does a request go that strays
// from a matcher, that another host is called for, or that the error routes get?
// Where the walk meets what it does not know, it proves nothing, and the survey
// stays silent.
//
// It knows Caddy's own modules and, of a handler, what Handler says: it imports
// nothing of the gateway.
package placement

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// A Verifier is a verify_webhook handler in the routes: no request passes it
// unverified.
type Verifier interface {
	caddyhttp.MiddlewareHandler

	// Placed returns the same pointer at every call.
	Placed() *Handler
}

// Handler is what matters here of a Verifier.
type Handler struct {
	Name       string        // what it is called in logs and metrics
	Named      bool          // by its operator: the name, and not provider, host and path, is the scope of what it remembers
	Provider   string        // its id, "" without one
	Place      int           // among the handlers of the configuration, from 0
	Method     string        // one that it takes
	Keys       string        // spells out what it verifies with, secrets included: it is compared, never shown
	PathSigned bool          // by what it verifies
	NoDedupe   bool          // it forwards every copy
	Timeout    time.Duration // that it gives the app
}

// A Finding is something about a configuration that its operator should know.
type Finding struct {
	Message string
	Fields  []zap.Field
}

// Survey returns what is to be warned of, or why the configuration must not start.
// It may panic where a matcher of another module does, which it asks about
// requests that nobody sent.
func Survey(app *caddyhttp.App) ([]Finding, error) { return surveyOf(app).findings() }

// A spot is what a request is sent to.
type spot struct{ host, path string }

func (s spot) String() string { return s.host + s.path }

// placed is a handler in a server.
type placed struct {
	handler *Handler
	server  string
}

// A survey is what imagined requests met in the routes of a configuration.
type survey struct {
	servers map[string]*caddyhttp.Server
	secure  map[string]bool // speaks TLS
	seats   []seat
	apps    []app
	loose   map[*caddyhttp.Route]bool
	budget  int
	walks   map[string]*walker
	probes  map[probe]*walker

	met     map[spot][]placed
	touched map[*Handler]bool
	behind  map[*Handler][]reply
	blurred map[*Handler]bool // a walk that met it came to what it cannot judge
}

// surveyBudget is how many routes a survey tries, a third of a second's work. A
// configuration of thousands of handlers is surveyed in part.
const surveyBudget = 250_000

func surveyOf(app *caddyhttp.App) *survey {
	s := &survey{
		servers: app.Servers, secure: make(map[string]bool), budget: surveyBudget, walks: make(map[string]*walker), probes: make(map[probe]*walker),
		met: make(map[spot][]placed), touched: make(map[*Handler]bool), behind: make(map[*Handler][]reply),
		loose: make(map[*caddyhttp.Route]bool), blurred: make(map[*Handler]bool),
	}
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		s.secure[name] = speaksTLS(app, app.Servers[name])
		p := placeOf(name, app.Servers[name])
		s.seats, s.apps = append(s.seats, p.seats...), append(s.apps, p.apps...)
		maps.Copy(s.loose, p.loose)
	}
	for _, seat := range s.seats {
		for _, server := range s.serversOf(seat) {
			for at := range seat.spots() {
				s.try(server, seat.handler.Method, at)
			}
		}
	}
	return s
}

// findings returns what is to be warned of, or why the configuration must not
// start.
func (s *survey) findings() (all []Finding, err error) {
	if err := s.conflict(); err != nil {
		return nil, err
	}
	for _, find := range []func() []Finding{s.unguarded, s.detours, s.impossible, s.shadowed, s.refused, s.unanswered, s.dropped, s.endless, s.shared, s.sameName, s.anyPath} {
		all = append(all, find()...)
	}
	return all, nil
}

// speaksTLS decides as Caddy does when it starts to listen. A server that speaks
// both counts as one that does.
func speaksTLS(app *caddyhttp.App, server *caddyhttp.Server) bool {
	plain := cmp.Or(app.HTTPPort, caddyhttp.DefaultHTTPPort)
	return len(server.TLSConnPolicies) > 0 && slices.ContainsFunc(server.Listen, func(text string) bool {
		a, err := caddy.ParseNetworkAddress(text)
		return err == nil && int(a.StartPort) != plain
	})
}

// serversOf lists the seat's server, and others where a request to the same host
// and path may reach another handler of the same scope: a scope knows no port.
func (s *survey) serversOf(at seat) []string {
	servers := []string{at.server}
	if at.handler.Named || len(s.servers) == 1 {
		return servers
	}
	for _, other := range s.seats {
		if other.handler.Named || other.handler.Name != at.handler.Name || slices.Contains(servers, other.server) {
			continue
		}
		if slices.ContainsFunc(other.hosts, func(host string) bool { return slices.Contains(at.hosts, host) }) {
			servers = append(servers, other.server)
		}
	}
	return servers
}

// try walks once, however often it is called.
func (s *survey) try(server, method string, at spot) *walker {
	key := strings.Join([]string{server, method, at.host, at.path}, "\x00")
	if w := s.walks[key]; w != nil {
		return w
	}
	w := &walker{server: s.servers[server], budget: &s.budget}
	s.walks[key] = w
	w.walk(imagine(method, s.secure[server], at.host, at.path))
	for _, h := range w.met {
		s.met[at] = append(s.met[at], placed{h, server})
	}
	maps.Copy(s.touched, w.touched)
	if w.opaque {
		maps.Copy(s.blurred, w.touched)
	}
	for h, answers := range w.behind {
		s.behind[h] = append(s.behind[h], answers...)
	}
	return w
}

// appBehind is what answers behind a handler, "" where that cannot be told.
func (s *survey) appBehind(h *Handler) string {
	var apps []string
	for _, a := range s.behind[h] {
		if a.app == "" {
			return ""
		}
		apps = append(apps, a.app)
	}
	slices.Sort(apps)
	return strings.Join(slices.Compact(apps), ", ")
}

func sorted(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}
