// Package placement finds unsafe placements of the verify_webhook handlers of a
// configuration: requests that bypass them and reach the app, on the same site, on
// another one or through the error routes; routes that keep every request from them;
// handlers that would treat each other's deliveries as copies.
//
// It reads the routes of a loaded configuration in three ways. A seat is the place of a
// handler: what the matchers above it require of a request. A walk takes an imagined
// request, made from a seat, through the routes as Caddy would, through both branches
// if the client decides, and records what it meets. A survey walks from every seat. A
// probe is a walk with an additional question: where does a request go that fails a
// matcher, that has another host, or that the error routes get? If a walk meets
// something unknown, it proves nothing, and the survey reports nothing. A loose matcher
// is one that the walk cannot evaluate, such as an expression. What a client may choose
// for the target of a rewrite is in choice.go. A bypass follows all
// requests of a host at once, without paths, and looks for those that miss a
// verify_webhooks block.
//
// It knows Caddy's own modules and, about a handler, only Handler, about a block only
// its prefix: it does not import the gateway.
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

// Handler describes a Verifier.
type Handler struct {
	Name       string        // in logs and metrics
	Named      bool          // configured: the name, not provider, host and path, is its scope
	Provider   string        // its id, or ""
	Place      int           // index among the handlers of the configuration
	Method     string        // one of its methods
	Keys       string        // its keys in full, secrets included: to be compared, never shown
	PathSigned bool          // the path is signed
	NoDedupe   bool          // it forwards every copy
	Greets     bool          // it answers handshakes of its provider
	Inbox      bool          // it stores deliveries under its name
	Options    string        // of its inbox, for all that is stored under its name
	Timeout    time.Duration // its limit for the app
	Refuses    int           // the status of a failed verification
}

// A Finding is a problem of a configuration for its operator.
type Finding struct {
	Message string
	Fields  []zap.Field
}

// Survey returns warnings, or an error if the configuration must not start. It may
// panic if a matcher of another module does when given an imagined request.
func Survey(app *caddyhttp.App) ([]Finding, error) { return surveyOf(app).findings() }

// A spot is the address of a request.
type spot struct{ host, path string }

func (s spot) String() string { return s.host + s.path }

// placed is a handler in a server.
type placed struct {
	handler *Handler
	server  string
}

// A survey is what imagined requests met in the routes of a configuration.
type survey struct {
	servers  map[string]*caddyhttp.Server
	secure   map[string]bool // servers with TLS
	seats    []seat
	blocks   []blockPlace
	apps     []*app
	loose    map[*caddyhttp.Route]bool
	budget   int
	walks    map[string]*walker
	probes   map[probe]*walker
	fixed    map[string]fixed    // what has one value in a server
	captures map[string]captures // of expressions in a server
	errors   map[string][]int    // statuses that a server's routes name
	local    map[string]bool     // servers that listen for this machine alone
	public   map[string]bool     // servers that strangers reach; nil: not yet found

	met     map[spot][]placed
	touched map[*Handler]bool
	behind  map[*Handler][]reply
	blurred map[*Handler]bool // a walk that met it also met something unknown
	late    map[*Handler]string
}

// surveyBudget is the number of routes that a survey tries, about a third of a
// second. A configuration of thousands of handlers is surveyed only in part.
const surveyBudget = 250_000

func surveyOf(app *caddyhttp.App) *survey {
	s := &survey{
		servers: app.Servers, secure: make(map[string]bool), local: make(map[string]bool), budget: surveyBudget, walks: make(map[string]*walker), probes: make(map[probe]*walker), fixed: make(map[string]fixed), captures: make(map[string]captures), errors: make(map[string][]int),
		met: make(map[spot][]placed), touched: make(map[*Handler]bool), behind: make(map[*Handler][]reply),
		loose: make(map[*caddyhttp.Route]bool), blurred: make(map[*Handler]bool), late: make(map[*Handler]string),
	}
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		s.local[name] = isLocal(app.Servers[name])
		s.secure[name] = speaksTLS(app, app.Servers[name])
		p := placeOf(name, app.Servers[name])
		s.seats, s.blocks, s.apps = append(s.seats, p.seats...), append(s.blocks, p.blocks...), append(s.apps, p.apps...)
		maps.Copy(s.loose, p.loose)
		s.fixed[name], s.captures[name], s.errors[name] = p.fixed.single(), p.captures, p.errors
	}
	return s
}

// walkAll walks from every seat.
func (s *survey) walkAll() {
	for i := range s.seats {
		s.prove(&s.seats[i])
	}
	for _, seat := range s.seats {
		for _, server := range s.serversOf(seat) {
			for at := range seat.spots() {
				s.try(server, seat.handler.Method, at)
			}
		}
	}
}

// findings returns warnings, or an error if the configuration must not start.
// Blocks are first: that search asks no matcher, which may panic.
func (s *survey) findings() (all []Finding, err error) {
	if all, err = s.bypassed(); err != nil {
		return nil, err
	}
	s.walkAll()
	if err := s.conflict(); err != nil {
		return nil, err
	}
	if err := s.oneQueue(); err != nil {
		return nil, err
	}
	for _, find := range []func() []Finding{s.unguarded, s.detours, s.unmarked, s.impossible, s.shadowed, s.refused, s.unanswered, s.dropped, s.judges, s.endless, s.shared, s.apartWithoutNames, s.sameName, s.anyPath, s.claimedAddress, s.guardedLate} {
		all = append(all, find()...)
	}
	return all, nil
}

// speaksTLS decides like Caddy when it starts to listen. A server with both counts as
// TLS.
func speaksTLS(app *caddyhttp.App, server *caddyhttp.Server) bool {
	plain := cmp.Or(app.HTTPPort, caddyhttp.DefaultHTTPPort)
	return len(server.TLSConnPolicies) > 0 && slices.ContainsFunc(server.Listen, func(text string) bool {
		a, err := caddy.ParseNetworkAddress(text)
		return err == nil && int(a.StartPort) != plain
	})
}

// serversOf lists the seat's server, and others where a request to the same host and
// path may reach another handler of the same scope, which does not include the port.
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

// try walks once and caches the result.
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
	maps.Copy(s.late, w.late)
	if w.opaque {
		maps.Copy(s.blurred, w.touched)
	}
	for h, answers := range w.behind {
		s.behind[h] = append(s.behind[h], answers...)
	}
	return w
}

// appBehind is what answers behind a handler, "" if that is unknown.
func (s *survey) appBehind(h *Handler) string { return appsOf(s.behind[h]) }

func appsOf(replies []reply) string {
	var apps []string
	for _, a := range replies {
		if a.app == "" {
			return ""
		}
		apps = append(apps, a.app)
	}
	return strings.Join(sorted(apps), ", ")
}

func sorted(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}
