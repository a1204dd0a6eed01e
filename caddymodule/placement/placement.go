// Package placement says what is unsafe about where the verify_webhook handlers
// of a configuration are placed: requests that walk past them to the app, routes
// that keep every request from them, handlers that would take each other's
// deliveries for copies.
//
// It reads the routes of a loaded configuration in two ways. A seat is where a
// handler is placed: what the matchers above it suggest that a request must be
// like to reach it. A walk takes an imagined request, made from a seat, through
// the routes as Caddy would, and through both branches where the client decides,
// and notes what it meets. A survey walks from every seat and tells what it found.
// Where the walk meets what it does not know, it proves nothing, and the survey
// stays silent.
//
// It knows Caddy's own modules and, of a handler, what Handler says: it imports
// nothing of the gateway.
package placement

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

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
	Name       string // what it is called in logs and metrics
	Named      bool   // by its operator: the name, and not provider, host and path, is the scope of what it remembers
	Provider   string // its id, "" without one
	Place      int    // among the handlers of the configuration, from 0
	Method     string // one that it takes
	Keys       string // spells out what it verifies with, secrets included: it is compared, never shown
	PathSigned bool   // by what it verifies
	NoDedupe   bool   // it forwards every copy
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
	budget  int
	walks   map[string]*walker

	met     map[spot][]placed
	touched map[*Handler]bool
	behind  map[*Handler][]reply
}

// surveyBudget is how many routes a survey tries, a third of a second's work. A
// configuration of thousands of handlers is surveyed in part.
const surveyBudget = 250_000

func surveyOf(app *caddyhttp.App) *survey {
	s := &survey{
		servers: app.Servers, secure: make(map[string]bool), budget: surveyBudget, walks: make(map[string]*walker),
		met: make(map[spot][]placed), touched: make(map[*Handler]bool), behind: make(map[*Handler][]reply),
	}
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		s.secure[name] = speaksTLS(app, app.Servers[name])
		s.seats = append(s.seats, seatsOf(name, app.Servers[name])...)
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
	for _, find := range []func() []Finding{s.unguarded, s.impossible, s.shadowed, s.unanswered, s.shared, s.sameName, s.anyPath} {
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

func (s *survey) differs(a, b *Handler) (how []string) {
	if a.Keys != b.Keys {
		how = append(how, "keys")
	}
	if one, other := s.appBehind(a), s.appBehind(b); one != "" && other != "" && one != other {
		how = append(how, "apps")
	}
	return how
}

// conflict refuses two handlers without names that one request may reach, by a
// header or its sender's address: their scope is provider, host and path, so one
// sender's delivery would be taken for a copy of the other's.
func (s *survey) conflict() error {
	for _, at := range slices.SortedFunc(maps.Keys(s.met), func(a, b spot) int { return cmp.Compare(a.String(), b.String()) }) {
		scopes := make(map[string]placed)
		for _, p := range s.met[at] {
			h := p.handler
			if h.Named || h.NoDedupe || h == scopes[h.Provider].handler {
				continue
			}
			first, taken := scopes[h.Provider]
			if !taken {
				scopes[h.Provider] = p
				continue
			}
			// A site with two addresses has each of its handlers twice.
			if first.server == p.server || len(s.differs(first.handler, h)) > 0 {
				return s.needNames(first.handler, h, at)
			}
		}
	}
	return nil
}

func (s *survey) needNames(a, b *Handler, at spot) error {
	var both []seat
	for _, seat := range s.seats {
		if seat.handler == a || seat.handler == b {
			both = append(both, seat)
		}
	}
	how := "a port"
	if kinds := kindsOf(both...); len(kinds) > 0 {
		how = strings.Join(kinds, ", ")
	}
	return fmt.Errorf("verify_webhook %s: the handlers %d and %d of the configuration have no name and can both get a request for %s (told apart by: %s): "+
		"a delivery that one has taken would be a duplicate for the other. Give each a name: name %s-1, and name %s-2",
		a.Name, min(a.Place, b.Place)+1, max(a.Place, b.Place)+1, at, how, a.Name, a.Name)
}

// unguarded finds requests near a handler's path that are answered, and pass no
// handler: its matcher does not fit them, and the route behind does.
func (s *survey) unguarded() (findings []Finding) {
	type gap struct{ folder, by string }
	names, example := make(map[gap][]string), make(map[gap]spot)
	var gaps []gap
	for _, seat := range s.seats {
		for at := range seat.spots() {
			near, by := s.gapAt(seat, at)
			if by == "" {
				continue
			}
			g := gap{folderOf(at.path), by}
			if names[g] == nil {
				gaps, example[g] = append(gaps, g), near
			}
			names[g] = append(names[g], seat.handler.Name)
		}
	}
	for _, g := range gaps {
		findings = append(findings, Finding{
			"requests reach " + g.by + " without passing verify_webhook: list the senders in one block, verify_webhooks " + g.folder + "; it lets nothing else below that prefix through",
			[]zap.Field{zap.Strings("names", sorted(names[g])), zap.Stringer("request", example[g])},
		})
	}
	return findings
}

// gapAt returns a request beside one that the seat's handler verifies, or should,
// and what answers it; "" if nothing does.
func (s *survey) gapAt(seat seat, at spot) (near spot, by string) {
	_, impossible := s.misses(seat)
	if !impossible && !slices.Contains(s.try(seat.server, seat.handler.Method, at).met, seat.handler) {
		return spot{}, ""
	}
	for _, near := range seat.near(at) {
		for _, a := range s.try(seat.server, seat.handler.Method, near).open {
			if impossible || s.mayBeBehind(a) {
				return near, a.by
			}
		}
	}
	return spot{}, ""
}

// mayBeBehind reports whether what answers may be an app that handlers protect.
// Another app may be open.
func (s *survey) mayBeBehind(a reply) bool {
	if a.app == "" {
		return true
	}
	for h := range s.behind {
		if app := s.appBehind(h); app == "" || slices.Contains(strings.Split(app, ", "), a.app) {
			return true
		}
	}
	return false
}

// folderOf proposes a prefix for a block.
func folderOf(p string) string {
	if folder := path.Dir(p); folder != "/" {
		return folder + "/*"
	}
	return "/hooks/*"
}

// impossible finds handlers that none of their requests can reach.
func (s *survey) impossible() (findings []Finding) {
	for _, seat := range s.seats {
		if seen, missed := s.misses(seat); missed {
			findings = append(findings, Finding{
				"no request can reach this verify_webhook: its matcher does not fit what handle_path, a rewrite or the route around it leaves of the path; write the path as it is there",
				[]zap.Field{zap.String("name", seat.handler.Name), zap.Strings("matcher", seat.own), zap.String("request", seat.paths[0]), zap.String("path_there", seen)},
			})
		}
	}
	return findings
}

// misses reports whether requests come to the seat's route and none can match it,
// and the path that the first one has there.
func (s *survey) misses(seat seat) (seen string, missed bool) {
	if seat.vague || s.touched[seat.handler] || len(seat.own) == 0 || s.budget <= 0 {
		return "", false
	}
	for at := range seat.spots() {
		w := s.try(seat.server, seat.handler.Method, at)
		if w.opaque {
			return "", false
		}
		if there, ok := w.missed[seat.handler]; ok && !missed {
			seen, missed = there, true
		}
	}
	return seen, missed
}

// shadowed finds handlers before which something else has answered all of their
// requests: what looks guarded is open.
func (s *survey) shadowed() (findings []Finding) {
	for _, seat := range s.seats {
		if by := s.shadow(seat); by != "" {
			findings = append(findings, Finding{
				"no request reaches this verify_webhook: " + by + " answers before it, and nothing is verified; write it before what answers, or into the same handle or route",
				[]zap.Field{zap.String("name", seat.handler.Name), zap.String("request", seat.paths[0])},
			})
		}
	}
	return findings
}

func (s *survey) shadow(seat seat) (by string) {
	if _, impossible := s.misses(seat); impossible || seat.vague || s.touched[seat.handler] || s.budget <= 0 {
		return ""
	}
	for at := range seat.spots() {
		w := s.try(seat.server, seat.handler.Method, at)
		if w.opaque || len(w.open) == 0 {
			return ""
		}
		by = w.open[0].by
	}
	return by
}

// unanswered finds what Caddy answers with an empty 200, which a sender with a
// wrong address takes for a delivery.
func (s *survey) unanswered() (findings []Finding) {
	example, where := make(map[string]spot), make(map[string][]string) // by message
	try := func(seat seat, at spot, message, place string) {
		if !slices.Contains(where[message], place) && s.try(seat.server, seat.handler.Method, at).empty {
			example[message] = cmp.Or(example[message], at)
			where[message] = append(where[message], place)
		}
	}
	for _, seat := range s.seats {
		listen := strings.Join(s.servers[seat.server].Listen, " ")
		for at := range seat.spots() {
			for _, near := range append(seat.near(at), spot{at.host, "/no-such-path"}) {
				try(seat, near, "requests for other paths get Caddy's empty 200, which a sender takes for success: end the site with respond 404", cmp.Or(at.host, listen))
			}
			if !s.secure[seat.server] { // else a client that asks for another host gets no certificate
				try(seat, spot{"other.invalid", at.path}, "requests for other hosts get Caddy's empty 200, which a sender takes for success: add a site for all hosts, "+everyHost(listen)+" { respond 404 }", listen)
			}
		}
	}
	for _, message := range slices.Sorted(maps.Keys(where)) {
		findings = append(findings, Finding{message, []zap.Field{zap.Strings("sites", where[message]), zap.Stringer("request", example[message])}})
	}
	return findings
}

// everyHost is the address of a site that takes what no other takes.
func everyHost(listen string) string {
	first, _, _ := strings.Cut(listen, " ")
	if a, err := caddy.ParseNetworkAddress(first); err == nil && a.StartPort != 0 {
		return fmt.Sprintf("http://:%d", a.StartPort)
	}
	return "http://"
}

func sorted(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}
