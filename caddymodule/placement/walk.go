package placement

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// A reply is a response that may be a 2xx and ends the request.
type reply struct {
	by  string // as in the Caddyfile: reverse_proxy app:3000
	app string // the same if it identifies an app

	addresses []string // of the app
	host      string   // the Host header that the proxy sets; "" if it sets none, or no constant
	called    string   // the path of the original request
	path      string   // of the request at the app
	free      bool     // the client chooses the path
	asCalled  bool     // it reads the path of the original request line
	fixed     bool     // a respond: no app

	patience time.Duration // its own time limit; 0: it ends with the request
}

// A walker takes imagined requests through the routes of one server and records what
// they meet.
type walker struct {
	server *caddyhttp.Server
	budget *int                      // remaining routes to try
	loose  map[*caddyhttp.Route]bool // routes with a loose matcher
	given  verdict                   // the result of their loose matchers
	fits   []looseRoute              // those that it enters
	dares  bool                      // unclear matchers match or not, as the client likes, but for
	above  map[*caddyhttp.Route]bool // those above handlers

	met     []*Handler           // certainly, by a request that passed no other
	touched map[*Handler]bool    // by any request
	missed  map[*Handler]string  // the path of a request at a route that does not match it
	answers []int                // statuses of respond for requests that passed no handler
	open    []reply              // certainly unanswered: Caddy responds with an empty 200
	empty   bool                 // it met an unknown module, or one that may stop it
	opaque  bool                 // replies to what a handler lets through
	behind  map[*Handler][]reply // certainly unanswered after the handler
	dropped map[*Handler]bool    // nothing answers what it lets through, for certain
	late    map[*Handler]string  // the kind of matcher that looks at the client's address after it
	second  []pair               // pairs of handlers that one request reaches, which is refused
	doubts  bool                 // a matcher was unclear
}

// A pair is two handlers that one request reaches.
type pair struct {
	first, second *Handler
	always        bool // whatever a client does after the first
}

// maxInvoked limits routes that invoke each other.
const maxInvoked = 8

type onward func(imagined)

// walk takes one request through the server's routes.
func (w *walker) walk(m imagined) { w.through(w.server.Routes, m) }

// through takes one request through routes.
func (w *walker) through(routes caddyhttp.RouteList, m imagined) {
	w.touched, w.missed = make(map[*Handler]bool), make(map[*Handler]string)
	w.behind, w.dropped, w.late = make(map[*Handler][]reply), make(map[*Handler]bool), make(map[*Handler]string)
	w.routes(routes, m, w.unanswered)
	if *w.budget <= 0 { // half a walk proves nothing
		w.met, w.open, w.empty, w.dropped, w.second, w.late = nil, nil, false, nil, nil, nil
	}
}

func (w *walker) unanswered(m imagined) {
	switch {
	case m.unsure, m.trusted && m.passed == nil:
	case m.passed == nil:
		w.empty = true
	default:
		w.dropped[m.passed] = true
	}
}

func (w *walker) routes(list caddyhttp.RouteList, m imagined, next onward) {
	for i := range list {
		if *w.budget--; *w.budget <= 0 {
			return
		}
		route := &list[i]
		if route.Group != "" && slices.Contains(m.groups, route.Group) {
			continue
		}
		m.fits = slices.ContainsFunc(w.fits, func(l looseRoute) bool { return l.route == route })
		m.loose, m.given = w.loose[route], w.given
		v := m.judge(matchersOf(route))
		if v == unclear {
			w.doubts = true
			if w.dares && !w.above[route] {
				v = either
			}
		}
		if v == never {
			w.miss(route, m)
			continue
		}
		if v != always && route.Group == "" && !route.Terminal && onlyPassesOn(route) {
			continue
		}
		if kind := addressKind(matchersOf(route)); kind != "" && m.passed != nil && !m.unsure {
			w.late[m.passed] = kind
		}
		m.unsure, m.chosen = m.unsure || v == unclear, m.chosen || v != always
		rest := list[i+1:]
		if v != always {
			w.routes(rest, m, next)
		}
		w.enter(route, m, func(m imagined) { w.routes(rest, m, next) })
		return
	}
	next(m)
}

// enter takes a request into a route that matches it.
func (w *walker) enter(route *caddyhttp.Route, m imagined, next onward) {
	if route.Group != "" {
		m.groups = append(slices.Clip(m.groups), route.Group)
	}
	if route.Terminal {
		next = w.unanswered
	}
	w.handlers(route.Handlers, m, next)
}

func (w *walker) miss(route *caddyhttp.Route, m imagined) {
	for _, h := range route.Handlers {
		if h, ok := h.(Verifier); ok {
			w.missed[h.Placed()] = m.r.URL.Path
		}
	}
}

func (w *walker) handlers(list []caddyhttp.MiddlewareHandler, m imagined, next onward) {
	if len(list) == 0 {
		next(m)
		return
	}
	rest := func(m imagined) { w.handlers(list[1:], m, next) }
	switch h := list[0].(type) {
	case Verifier:
		w.meet(h.Placed(), m, rest)
	case Block:
		w.routes(h.AsRoutes(), m, rest)
	case *caddyhttp.Subroute:
		w.routes(h.Routes, m, rest)
	case *caddyhttp.Invoke:
		if route := w.server.NamedRoutes[h.Name]; route != nil && m.depth < maxInvoked {
			m.depth++
			w.routes(caddyhttp.RouteList{*route}, m, rest)
		}
	case *rewrite.Rewrite:
		for _, m := range m.rewrite(h) {
			rest(m)
		}
	case *caddyhttp.VarsMiddleware, *maphandler.Handler: // which a rewrite may use
		rest(m.set(h))
	case *intercept.Intercept:
		w.intercept(h, m, rest)
	case *reverseproxy.Handler:
		w.proxy(h, m, rest)
	default:
		w.other(h, m, rest)
	}
}

// intercept also takes a request into the routes for its response: for any if an app
// answers. A refusal of verify_webhook is an error, not a response.
func (w *walker) intercept(h *intercept.Intercept, m imagined, rest onward) {
	answers, replies := len(w.answers), len(w.open)
	rest(m)
	for _, status := range w.answers[answers:] {
		for _, handler := range h.HandleResponse {
			if handler.Match == nil || handler.Match.Match(status, nil) {
				w.routes(handler.Routes, m, func(imagined) {})
				break
			}
		}
	}
	if slices.ContainsFunc(w.open[replies:], func(a reply) bool { return len(a.addresses) > 0 }) {
		for _, handler := range h.HandleResponse {
			w.routes(handler.Routes, m, func(imagined) {})
		}
	}
}

// other takes a request into a handler that neither verifies nor routes.
func (w *walker) other(h caddyhttp.MiddlewareHandler, m imagined, rest onward) {
	if passesOn(h) {
		rest(m)
		return
	}
	if h, ok := h.(*caddyhttp.StaticResponse); ok && m.passed == nil && !m.unsure && !m.trusted {
		if status, err := strconv.Atoi(string(h.StatusCode)); err == nil {
			w.answers = append(w.answers, status)
		}
	}
	if a, ok := replyOf(h, m.r.Method); ok {
		w.note(a, m)
		return
	}
	switch kindOf(h) {
	case "http.handlers.error", "http.handlers.static_response", "http.handlers.file_server": // a refusal
	case "http.handlers.authentication":
		w.login(m, rest)
	default:
		w.opaque = true
	}
}

// login takes a request past a login, where it is one of those that may pass. Deliveries
// go on to the same app as without it.
func (w *walker) login(m imagined, rest onward) {
	w.opaque = w.opaque || m.passed == nil
	m.trusted = true
	rest(m)
}

func (w *walker) meet(h *Handler, m imagined, rest onward) {
	w.touched[h] = true
	if m.passed != nil { // two on one request are refused
		if !m.unsure {
			w.second = append(w.second, pair{m.passed, h, !m.chosen})
		}
		return
	}
	if !m.unsure && !slices.Contains(w.met, h) {
		w.met = append(w.met, h)
	}
	m.passed, m.chosen = h, false
	rest(m.after(func(_ *http.Request, repl *caddy.Replacer) {
		repl.Set(prefix+"name", h.Name)
		repl.Set(prefix+"provider", h.Provider)
		repl.Set(prefix+"verified", true)
	}))
}

func (w *walker) note(a reply, m imagined) {
	a.called = m.called
	if a.path, a.free = m.r.URL.Path, m.free; a.asCalled {
		a.path, a.free = m.called, false
	}
	switch {
	case m.passed != nil:
		w.behind[m.passed] = append(w.behind[m.passed], a)
	case !m.unsure && !m.trusted:
		w.open = append(w.open, a)
	}
}

func onlyPassesOn(route *caddyhttp.Route) bool {
	return !slices.ContainsFunc(route.Handlers, func(h caddyhttp.MiddlewareHandler) bool { return !passesOn(h) })
}

// errorGuard is the handler that the gateway puts before all error routes.
const errorGuard = "http.handlers.verify_webhook_errors"

// passesOn knows the handlers that pass on every request with host and path
// unchanged.
func passesOn(h caddyhttp.MiddlewareHandler) bool {
	switch h := h.(type) {
	case Block:
		return len(h.AsRoutes()) == 0
	case *caddyhttp.StaticResponse:
		return h.StatusCode == "103"
	case *fileserver.FileServer:
		return h.PassThru
	}
	switch kindOf(h) {
	case errorGuard, "http.handlers.copy_response_headers", "http.handlers.encode", "http.handlers.headers",
		"http.handlers.log_append", "http.handlers.push", "http.handlers.request_body",
		"http.handlers.templates", "http.handlers.timeouts", "http.handlers.tracing",
		"http.handlers.verify_webhook_answered", "http.handlers.verify_webhook_body":
		return true
	}
	return false
}

// replyOf returns what may answer a delivery with a 2xx, other than an app. A file server
// refuses a POST.
func replyOf(h caddyhttp.MiddlewareHandler, method string) (reply, bool) {
	switch h := h.(type) {
	case *caddyhttp.StaticResponse:
		status, err := strconv.Atoi(string(h.StatusCode))
		if h.Abort || string(h.StatusCode) != "" && (err != nil || status < 200 || status > 299) {
			return reply{}, false
		}
		return reply{by: strings.TrimSpace("respond " + string(h.StatusCode)), fixed: true}, true
	case *fileserver.FileServer:
		return reply{by: "file_server"}, method == http.MethodGet
	}
	return reply{}, false
}
