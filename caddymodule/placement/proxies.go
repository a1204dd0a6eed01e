package placement

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// isGuard reports whether a proxy only asks whether a request may go on, as forward_auth
// does: the server gets GET or HEAD without the body, and none of its 2xx is the answer,
// since each goes on to the handlers behind. Any other proxy leads to an app, by its
// rewrite.
func isGuard(h *reverseproxy.Handler) bool {
	if !onlyAsks(h) {
		return false
	}
	for _, response := range h.HandleResponse {
		m := response.Match
		if m != nil && len(m.StatusCode) > 0 && !slices.ContainsFunc(m.StatusCode, isOf2xx) {
			continue
		}
		if response.StatusCode != "" || !goesOn(response.Routes) {
			return false
		}
		if m == nil || len(m.Headers) == 0 && (m.StatusCode == nil || slices.Contains(m.StatusCode, 2)) {
			return true // no 2xx is left
		}
	}
	return false
}

// onlyAsks reports whether a proxy sends no body. Caddy compares the method as written.
func onlyAsks(h *reverseproxy.Handler) bool {
	return h.Rewrite != nil && (h.Rewrite.Method == http.MethodGet || h.Rewrite.Method == http.MethodHead)
}

// namesPath reports whether a proxy, which only asks, names a path that is none of the client's.
func namesPath(h *reverseproxy.Handler) bool {
	path, _, _ := strings.Cut(h.Rewrite.URI, "?")
	return path != "" && !strings.Contains(path, "{")
}

// deletesMarks reports whether a handler deletes all marks of the request, as request_header
// -Webhook* does. Caddy adds and sets headers before.
func deletesMarks(h *headers.HeaderOps) bool {
	return h != nil && slices.ContainsFunc(h.Delete, func(name string) bool { return strings.EqualFold(name, "webhook*") })
}

// letsIn reports whether only requests that the server has approved enter the routes for
// a response. All others may be a stranger's.
func letsIn(h *reverseproxy.Handler, response caddyhttp.ResponseHandler) bool {
	m := response.Match
	return onlyAsks(h) && m != nil && len(m.StatusCode) > 0 && !slices.ContainsFunc(m.StatusCode, func(code int) bool { return !isOf2xx(code) })
}

// isOf2xx also takes 2, Caddy's form of all of them.
func isOf2xx(code int) bool { return code == 2 || code/100 == 2 }

// goesOn reports whether routes refuse a request or pass it on, and do not answer it.
func goesOn(list caddyhttp.RouteList) bool {
	return !slices.ContainsFunc(list, func(route caddyhttp.Route) bool {
		return route.Terminal || slices.ContainsFunc(route.Handlers, mayAnswer)
	})
}

func mayAnswer(h caddyhttp.MiddlewareHandler) bool {
	switch h := h.(type) {
	case *caddyhttp.Subroute:
		return !goesOn(h.Routes)
	case *rewrite.Rewrite, *caddyhttp.VarsMiddleware, *maphandler.Handler, *caddyhttp.StaticError:
		return false
	case *caddyhttp.StaticResponse:
		_, answers := replyOf(h, http.MethodPost)
		return answers
	}
	return !passesOn(h)
}

// proxy takes a request to an app, and into the routes for its responses, which may pass
// it on.
func (w *walker) proxy(h *reverseproxy.Handler, m imagined, rest onward) {
	if *w.budget--; *w.budget <= 0 {
		return
	}
	if isGuard(h) {
		if m.passed == nil {
			w.responses(h, m, rest)
		}
		w.login(m, rest)
		return
	}
	if w.responses(h, m, rest) && m.passed != nil {
		return // a delivery's app is behind it
	}
	a, requests := replyOfProxy(h, m.fixed), []imagined{m}
	if h.Rewrite != nil {
		requests = m.rewrite(h.Rewrite)
	}
	for _, m := range requests {
		w.note(a, m)
	}
}

// responses takes a request into the routes for the responses that do not answer it: a
// stranger's without one of those that the server has approved, a delivery with them only.
// It reports whether there are any.
func (w *walker) responses(h *reverseproxy.Handler, m imagined, rest onward) (found bool) {
	for _, response := range h.HandleResponse {
		if response.StatusCode == "" && letsIn(h, response) == (m.passed != nil) {
			empty := w.empty
			w.routes(response.Routes, m, rest)
			w.empty, found = empty, true // for some responses at most
		}
	}
	return found
}

// proxy returns what goes on to the handlers behind a proxy.
func (b *bypass) proxy(h *reverseproxy.Handler, f flow) (out flow) {
	for _, response := range h.HandleResponse {
		in := f
		switch {
		case response.StatusCode != "":
			continue
		case letsIn(h, response): // a few, which count as guarded
			in = f.letIn()
		case onlyAsks(h) && response.Match != nil:
			in = f.atMost(perhaps)
		}
		out = out.or(b.routes(response.Routes, in))
	}
	if isGuard(h) { // it answers all others
		a := reply{by: "forward_auth " + strings.Join(addressesOf(h), " "), addresses: socketsOf(h, b.fixed)}
		switch {
		case f.open != none && !namesPath(h):
			b.askedAsCalled = append(b.askedAsCalled, a)
		case f.marked != none && !(h.Headers != nil && deletesMarks(h.Headers.Request)):
			b.asked = append(b.asked, a)
		}
		b.ended = max(b.ended, f.open)
		return out
	}
	a := replyOfProxy(h, b.fixed)
	switch {
	case f.open == some:
		b.past = append(b.past, a)
	case f.open == perhaps:
		b.perhaps = append(b.perhaps, a)
	}
	if f.verified != none {
		b.behind = append(b.behind, a.addresses...)
	}
	if b.open {
		return f
	}
	return out
}

func replyOfProxy(h *reverseproxy.Handler, f fixed) reply {
	a := reply{by: "reverse_proxy"}
	if addresses := addressesOf(h); len(addresses) > 0 {
		a.by += " " + strings.Join(addresses, " ")
	}
	if t, ok := h.Transport.(*fastcgi.Transport); ok { // REQUEST_URI is the original path
		a.asCalled = true
		// It checks the context only while connecting.
		a.patience = time.Duration(max(t.ReadTimeout, t.WriteTimeout))
		if t.ReadTimeout <= 0 || t.WriteTimeout <= 0 {
			a.patience = math.MaxInt64
		}
	}
	a.addresses = socketsOf(h, f)
	if isKnown(h.DynamicUpstreams) {
		a.app = strings.Join(socketsOf(h, nil), " ") // what map and vars make of it may depend on the request
	}
	a.host = hostAt(h, f)
	return a
}
