package caddymodule

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
)

func init() {
	caddy.RegisterModule(new(MatchPrefix))
}

// MatchPrefix matches the requests that a verify_webhooks block owns: /hooks/*, or *
// for all. Caddy's own path matcher sees only the cleaned path, which is outside the
// prefix for /hooks/acme/../../x and /hooks;x/stripe; an app that reads them
// differently would get them from the next route. This one matches if the original
// path is /hooks or below it, also as Windows, IIS or PATH_INFO have it (/hooks./x,
// /(S(x))/hooks, /index.php/hooks), or if it is unclean and contains the segments of
// /hooks anywhere, so that no reading of it is left to another route. Case is ignored. Behind
// a rewrite it also matches if the request has a header by which an app may read such a
// path: what the block has let pass may lead there.
type MatchPrefix string

// CaddyModule returns the Caddy module information.
func (*MatchPrefix) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.verify_webhook_prefix", New: func() caddy.Module { return new(MatchPrefix) }}
}

// Provision checks the prefix.
func (m *MatchPrefix) Provision(caddy.Context) error { return appview.Prefix(*m).Check() }

// UnmarshalCaddyfile reads
//
//	verify_webhook_prefix <prefix>
func (m *MatchPrefix) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume matcher name
	var text string
	if !d.AllArgs(&text) {
		return d.Errf("verify_webhook_prefix takes one prefix: verify_webhook_prefix /hooks/*")
	}
	*m = MatchPrefix(text)
	if err := appview.Prefix(*m).Check(); err != nil {
		return d.Errf("%v", err)
	}
	return nil
}

// MatchWithError reports whether an app may read the request as one below the prefix.
func (m MatchPrefix) MatchWithError(r *http.Request) (bool, error) {
	called := received(r).URL
	rewritten := called != nil && called.Path != r.URL.Path
	return m.owns(r) || rewritten && len(appview.Prefix(m).Detours(r.Header, r.URL.Path)) > 0, nil
}

// owns reports whether the request is below the prefix, or may be: x:/hooks and
// http:hooks have no path here, but a proxy passes all of it to the app.
func (m MatchPrefix) owns(r *http.Request) bool {
	return r.URL.Opaque != "" || appview.Prefix(m).Owns(r.URL.Path)
}

// guardErrorRoutes puts an errorGuard before all error routes that may get a request
// which was refused before it reached the module that ctx provisions: those of its
// server and of the subroutes around it. Caddy itself refuses before any route (421
// with strict_sni_host), and so do handlers above the module, such as request_body.
//
// The guards learn the prefix, if the module is a block.
//
// It relies on Caddy's order: a server, like a subroute, provisions its error routes
// after its routes.
func guardErrorRoutes(ctx caddy.Context, prefix appview.Prefix) error {
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server.Errors != nil {
		if err := guardErrors(ctx, server.Routes, server.Errors, prefix); err != nil {
			return err
		}
	}
	for _, module := range ctx.Modules() {
		if sub, ok := module.(*caddyhttp.Subroute); ok && sub.Errors != nil {
			if err := guardErrors(ctx, sub.Routes, sub.Errors, prefix); err != nil {
				return err
			}
		}
	}
	return nil
}

// guardErrors guards the error routes of a server or subroute. If its own routes are
// provisioned already, so are its error routes, or they are right now: the module is
// in a named route or is itself in the error routes. A server has compiled them, but
// their subroutes, and all of a Caddyfile are, are compiled for each request.
func guardErrors(ctx caddy.Context, routes caddyhttp.RouteList, config *caddyhttp.HTTPErrorConfig, prefix appview.Prefix) error {
	if there := guardOf(config.Routes); there != nil {
		there.learn(prefix)
		return nil
	}
	guard := new(errorGuard)
	guard.learn(prefix)
	if slices.ContainsFunc(routes, func(r caddyhttp.Route) bool { return r.HandlersRaw != nil }) {
		if len(config.Routes) > 0 {
			config.Routes = slices.Insert(config.Routes, 0, guard.route())
		}
		return nil
	}
	for _, route := range config.Routes {
		for _, handler := range route.Handlers {
			sub, ok := handler.(*caddyhttp.Subroute)
			if !ok {
				continue
			}
			if there := guardOf(sub.Routes); there != nil { // the same in all
				there.learn(prefix)
				continue
			}
			first := caddyhttp.RouteList{guard.route()}
			if err := first.Provision(ctx); err != nil {
				return err
			}
			sub.Routes = slices.Insert(sub.Routes, 0, first[0])
		}
	}
	return nil
}

// guardOf returns the guard before routes, or nil.
func guardOf(routes caddyhttp.RouteList) *errorGuard {
	if len(routes) == 0 || len(routes[0].Handlers) == 0 {
		return nil
	}
	guard, _ := routes[0].Handlers[0].(*errorGuard)
	return guard
}

// An errorGuard deletes forged marks and trailers from requests that a server's error
// routes get, and headers by which an app may read them as requests for the prefix of one
// of its blocks. If a handler has had the request, it has deleted the marks: they are its
// own, for an app that error routes ask instead, and the body is whole again. An attempt from the inbox ends here,
// such as one that a handler above refuses: see again.
type errorGuard struct {
	prefixes []appview.Prefix // complete once the server is provisioned
}

// learn adds the prefix of a block. One that owns all paths hides none.
func (g *errorGuard) learn(prefix appview.Prefix) {
	if prefix.Base() != "" && !slices.Contains(g.prefixes, prefix) {
		g.prefixes = append(g.prefixes, prefix)
	}
}

func (g *errorGuard) route() caddyhttp.Route {
	return caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{g}}
}

// CaddyModule names it in Caddy's trace and for placement. It is not registered: no
// configuration names it.
func (*errorGuard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.verify_webhook_errors", New: func() caddy.Module { return new(errorGuard) }}
}

func (g *errorGuard) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if attempt.Is(r.Context()) {
		err, _ := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
		w.WriteHeader(errorStatus(err))
		return nil
	}
	if _, verified := caddyhttp.GetVar(r.Context(), handlerVar).(string); verified {
		deleteTrailers(r)
	} else {
		deleteMarks(r)
	}
	if !isVerified(r) {
		appview.DeleteDetours(r.Header, r.URL.Path, g.prefixes...)
	}
	if d := deliveryOf(r); d != nil && d.whole { // r need not be the handler's request
		d.giveTo(r)
	}
	return next.ServeHTTP(w, r)
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchPrefix)(nil)
	_ caddyfile.Unmarshaler             = (*MatchPrefix)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchPrefix)(nil)
)
