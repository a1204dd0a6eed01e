package placement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/requestbody"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"go.uber.org/zap"
)

// A Block is the guard of a verify_webhooks block in the routes. Every request of its
// site has to pass it.
type Block interface {
	caddyhttp.MiddlewareHandler

	// Owned returns the prefix of the block, as written: /hooks/*.
	Owned() string
	// AsRoutes returns routes that do what the block does with its prefix, the same at
	// every call. Without any it passes on every request.
	AsRoutes() caddyhttp.RouteList
}

// A blockPlace is the place of a block.
type blockPlace struct {
	block     Block
	server    string
	hosts     []string // as in a seat
	inside    []string // matchers above it, except of hosts: path /api/*
	addresses []string // of the apps in it
}

func (t trail) place(b Block, server string) blockPlace {
	hosts := t.sampleHosts()
	if t.anyHost && hosts[0] != "" {
		hosts = append(hosts, "")
	}
	return blockPlace{block: b, server: server, hosts: hosts, inside: t.inside}
}

// bypassed finds blocks that some requests of their site pass by on the way to an
// app: a matcher around the block keeps them from it, or an earlier route answers or
// refuses them. An app that is also behind the block is an error: it can get what the
// block promises to refuse.
func (s *survey) bypassed() (findings []Finding, err error) {
	budget, told, ofBlocks := surveyBudget, make(map[string]bool), make(map[string]bool)
	for _, at := range s.blocks {
		for _, address := range at.addresses {
			ofBlocks[address] = true
		}
	}
	tell := func(at blockPlace, host string, apps []string, before, after string) {
		message := before + strings.Join(apps, ", ") + after
		key := fmt.Sprint(message, at.block.Owned(), at.inside)
		if len(apps) == 0 || told[key] {
			return
		}
		told[key] = true
		findings = append(findings, Finding{
			message, []zap.Field{zap.String("prefix", at.block.Owned()), zap.Strings("inside", at.inside), zap.String("host", host)},
		})
	}
	for _, at := range s.blocks {
		met, unreached := false, error(nil)
		for _, host := range at.hosts {
			b := &bypass{block: at.block, server: s.servers[at.server], host: host, budget: &budget, fixed: s.fixed[at.server]}
			if app := b.search(); app != "" {
				return nil, at.notOfItsSite("some", app, host)
			}
			if !b.met { // its handlers report that no request reaches them
				if app := b.instead(); app != "" {
					unreached = at.notOfItsSite("all", app, host)
				}
				continue
			}
			met = true
			isOther := func(a reply) bool {
				return !share(a.addresses, b.behind) && !slices.ContainsFunc(a.addresses, func(a string) bool { return ofBlocks[a] })
			}
			tell(at, host, namesOf(b.past, b.perhaps), "verify_webhooks does not see every request of its site: some reach ",
				" with marks that a client may have written; write the block directly into the site, beside handle, route and invoke")
			tell(at, host, namesOf(b.refused), "requests that are refused before verify_webhooks reach ",
				" through intercept or error routes, with marks that a client may have written; write request_header -Webhook* before that proxy")
			tell(at, host, namesOf(slices.DeleteFunc(slices.Concat(b.asked, b.askedAsCalled), isOther)), "requests reach ", " before verify_webhooks, with marks that a client may have written; write the block before forward_auth")
		}
		if !met && unreached != nil {
			return nil, unreached
		}
	}
	return findings, nil
}

// namesOf lists the apps of replies.
func namesOf(replies ...[]reply) (names []string) {
	for _, a := range slices.Concat(replies...) {
		names = append(names, a.by)
	}
	return sorted(names)
}

func (at blockPlace) notOfItsSite(missed, app, host string) error {
	why := "it is behind a route that answers " + missed
	if len(at.inside) > 0 {
		why = "it is inside a route for " + strings.Join(at.inside, ", ")
	}
	if host != "" {
		host = " to " + host
	}
	return fmt.Errorf("verify_webhooks %s does not see every request of its site: %s. Requests%s reach %s past it, with forged marks, or with a path that the app reads as one below the prefix. "+
		"Write the block directly into the site, beside handle, route and invoke, with the prefix as clients call it", at.block.Owned(), why, host, app)
}

// A level says whether there are requests of a kind.
type level uint8

const (
	none    level = iota
	perhaps       // something that the search does not know may stop them
	some
)

// A flow is the requests at one point of the routes, by what they have passed.
type flow struct {
	open     level // neither the block nor any Verifier
	marked   level // those of them whose marks nothing has deleted
	guarded  level // the block
	verified level // the block and a Verifier
}

func (f flow) or(g flow) flow {
	return flow{max(f.open, g.open), max(f.marked, g.marked), max(f.guarded, g.guarded), max(f.verified, g.verified)}
}

// letIn returns the flow behind what stops strangers, or deletes their marks.
func (f flow) letIn() flow { return flow{guarded: max(f.open, f.guarded), verified: f.verified} }

func (f flow) atMost(l level) flow {
	return flow{min(f.open, l), min(f.marked, l), min(f.guarded, l), min(f.verified, l)}
}

// fromClients is the flow of requests that have passed nothing.
func fromClients(l level) flow { return flow{open: l, marked: l} }

// A bypass is a search for the apps that requests of one host reach without passing
// the block. Unlike a walk, it imagines no path: every matcher except of a host
// matches some requests and misses others.
type bypass struct {
	block  Block // nil: any
	server *caddyhttp.Server
	host   string
	budget *int
	depth  int  // of invoked routes
	open   bool // no app answers: what would be behind the block if it were reached
	fixed  fixed

	met           bool     // some requests reach the block
	behind        []string // addresses of apps that verified requests reach
	past          []reply  // of apps to open requests
	perhaps       []reply
	refused       []reply               // perhaps, through the later routes
	asked         []reply               // by a guard such as forward_auth, which may forward marks
	askedAsCalled []reply               // with the path of the request
	ended         level                 // open requests that are answered or refused
	later         []caddyhttp.RouteList // for what is answered or refused
}

// search returns an app that is behind the block and that some requests reach past
// it, "" if there is none.
func (b *bypass) search() (app string) {
	b.routes(b.server.Routes, fromClients(some))
	b.afterwards()
	for _, a := range b.past {
		if share(a.addresses, b.behind) {
			return a.by
		}
	}
	return ""
}

// afterwards takes the open requests that are answered or refused through the routes of
// intercept and the error routes.
func (b *bypass) afterwards() {
	if b.server.Errors != nil {
		b.later = append(b.later, b.server.Errors.Routes)
	}
	atOnce := len(b.perhaps)
	for i := 0; i < len(b.later); i++ { // they may add to it
		b.routes(b.later[i], fromClients(b.ended).atMost(perhaps))
	}
	b.perhaps, b.refused = b.perhaps[:atOnce], b.perhaps[atOnce:]
}

// instead returns an app that is behind the block and that every request reaches before
// it, "" if there is none.
func (b *bypass) instead() (app string) {
	beyond := &bypass{block: b.block, server: b.server, host: b.host, budget: b.budget, open: true, fixed: b.fixed}
	beyond.routes(b.server.Routes, fromClients(some))
	for _, a := range b.past {
		if share(a.addresses, beyond.behind) {
			return a.by
		}
	}
	return ""
}

// routes takes a flow through a list and returns what leaves it. Caddy enters one
// route of a group.
func (b *bypass) routes(list caddyhttp.RouteList, free flow) (out flow) {
	taken := make(map[string]flow) // by group, one of whose routes it has entered
	for i := range list {
		route := &list[i]
		v := hostVerdict(matchersOf(route), b.host)
		if v == never {
			continue
		}
		for group, f := range taken {
			if group != route.Group {
				taken[group] = b.route(route, v, f)
			}
		}
		if route.Group == "" {
			free = b.route(route, v, free)
			continue
		}
		taken[route.Group] = taken[route.Group].or(b.route(route, always, free))
		if v == always {
			free = flow{}
		}
	}
	for _, f := range taken {
		free = free.or(f)
	}
	return free
}

// route returns what leaves a route, and what does not enter it.
func (b *bypass) route(route *caddyhttp.Route, v verdict, in flow) (out flow) {
	if *b.budget--; *b.budget <= 0 {
		return flow{}
	}
	if v != always {
		out = in
	}
	if through := b.handlers(route.Handlers, in); !route.Terminal {
		out = out.or(through)
	}
	return out
}

func (b *bypass) handlers(list []caddyhttp.MiddlewareHandler, f flow) flow {
	for _, h := range list {
		if f == (flow{}) {
			break
		}
		switch h := h.(type) {
		case Block:
			if b.block == nil || h == b.block {
				b.met = true
				f = f.letIn()
			}
			f = b.routes(h.AsRoutes(), f)
		case Verifier:
			f = flow{verified: max(f.guarded, f.verified)}
		case *caddyhttp.Subroute:
			if h.Errors != nil && f.open != none {
				b.later = append(b.later, h.Errors.Routes)
			}
			f = b.routes(h.Routes, f)
		case *caddyhttp.Invoke:
			f = b.invoke(h, f)
		case *intercept.Intercept:
			for _, handler := range h.HandleResponse {
				if f.open != none {
					b.later = append(b.later, handler.Routes)
				}
			}
		case *reverseproxy.Handler:
			f = b.proxy(h, f)
		case *rewrite.Rewrite, *caddyhttp.VarsMiddleware, *maphandler.Handler:
		case *headers.Handler:
			if deletesMarks(h.Request) {
				f.marked = none
			}
		default:
			f = b.other(h, f)
		}
	}
	return f
}

func (b *bypass) invoke(h *caddyhttp.Invoke, f flow) flow {
	route := b.server.NamedRoutes[h.Name]
	if route == nil || b.depth >= maxInvoked {
		return f
	}
	b.depth++
	defer func() { b.depth-- }()
	return b.routes(caddyhttp.RouteList{*route}, f)
}

// other takes a flow into a handler that neither routes nor leads to an app.
func (b *bypass) other(h caddyhttp.MiddlewareHandler, f flow) flow {
	if kindOf(h) == errorGuard { // it deletes marks, as the block does
		return f.letIn()
	}
	if passesOn(h) {
		if body, ok := h.(*requestbody.RequestBody); ok && body.MaxSize > 0 {
			b.ended = max(b.ended, f.open)
		}
		return f
	}
	switch kindOf(h) {
	case "http.handlers.static_response", "http.handlers.error", "http.handlers.file_server":
		b.ended = max(b.ended, f.open)
		return flow{}
	case "http.handlers.authentication": // for a delivery that may pass
		b.ended = max(b.ended, f.open)
		return flow{guarded: f.guarded, verified: f.verified}
	}
	f = f.atMost(perhaps)
	b.ended = max(b.ended, f.open)
	return f
}

// hostVerdict evaluates matchers of hosts. Any other matches some requests.
func hostVerdict(sets caddyhttp.MatcherSets, host string) verdict {
	if len(sets) == 0 {
		return always
	}
	v := never
	for _, set := range sets {
		all := always
		for _, matcher := range set {
			all = all.and(hostVerdictOf(matcher, host))
		}
		v = v.or(all)
	}
	return v
}

func hostVerdictOf(matcher any, host string) verdict {
	switch m := matcher.(type) {
	case *caddyhttp.MatchHost:
		for _, pattern := range *m {
			if matchesHost(pattern, host) {
				return always
			}
		}
		return never
	case *caddyhttp.MatchNot:
		v := never
		for _, set := range m.MatcherSets {
			v = v.or(hostVerdict(caddyhttp.MatcherSets{set}, host))
		}
		return v.not()
	}
	return either
}

// matchesHost takes a placeholder for the host that is searched. Sites with thousands
// of hosts call it millions of times.
func matchesHost(pattern, host string) bool {
	switch {
	case len(pattern) == len(host) && strings.EqualFold(pattern, host):
		return true
	case !strings.ContainsAny(pattern, "*{"):
		return false
	}
	return strings.Contains(pattern, "{") || covers(strings.ToLower(pattern), strings.ToLower(host))
}

// besidesHosts describes the matchers of a route, except of hosts.
func besidesHosts(route *caddyhttp.Route) (matchers []string) {
	for _, set := range matchersOf(route) {
		for _, matcher := range set {
			if hostVerdictOf(matcher, "") != either {
				continue
			}
			text := kindOf(matcher).Name()
			if m, ok := matcher.(*caddyhttp.MatchPath); ok {
				text += " " + strings.Join(*m, " ")
			}
			matchers = append(matchers, text)
		}
	}
	return matchers
}
