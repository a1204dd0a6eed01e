package caddymodule

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// guardErrorRoutes puts an errorGuard before all error routes that may get a request
// which was refused before it reached the module that ctx provisions: those of its
// server and of the subroutes around it. Caddy itself refuses before any route (421
// with strict_sni_host), and so do handlers above the module, such as request_body.
//
// It relies on Caddy's order: a server, like a subroute, provisions its error routes
// after its routes.
func guardErrorRoutes(ctx caddy.Context) error {
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server.Errors != nil {
		if err := guardErrors(ctx, server.Routes, server.Errors); err != nil {
			return err
		}
	}
	for _, module := range ctx.Modules() {
		if sub, ok := module.(*caddyhttp.Subroute); ok && sub.Errors != nil {
			if err := guardErrors(ctx, sub.Routes, sub.Errors); err != nil {
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
func guardErrors(ctx caddy.Context, routes caddyhttp.RouteList, config *caddyhttp.HTTPErrorConfig) error {
	if slices.ContainsFunc(routes, func(r caddyhttp.Route) bool { return r.HandlersRaw != nil }) {
		if len(config.Routes) > 0 && !isGuarded(config.Routes) {
			config.Routes = slices.Insert(config.Routes, 0, errorGuardRoute())
		}
		return nil
	}
	if isGuarded(config.Routes) {
		return nil
	}
	for _, route := range config.Routes {
		for _, handler := range route.Handlers {
			if sub, ok := handler.(*caddyhttp.Subroute); ok && !isGuarded(sub.Routes) {
				guard := caddyhttp.RouteList{errorGuardRoute()}
				if err := guard.Provision(ctx); err != nil {
					return err
				}
				sub.Routes = slices.Insert(sub.Routes, 0, guard[0])
			}
		}
	}
	return nil
}

func errorGuardRoute() caddyhttp.Route {
	return caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{errorGuard{}}}
}

func isGuarded(routes caddyhttp.RouteList) bool {
	if len(routes) == 0 || len(routes[0].Handlers) == 0 {
		return false
	}
	_, is := routes[0].Handlers[0].(errorGuard)
	return is
}

// An errorGuard deletes forged marks and trailers from requests that a server's error
// routes get. If a handler has had the request, it has deleted them: marks are its
// own, for an app that error routes ask instead.
type errorGuard struct{}

// CaddyModule names it in Caddy's trace and for placement. It is not registered: no
// configuration names it.
func (errorGuard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.verify_webhook_errors", New: func() caddy.Module { return errorGuard{} }}
}

func (errorGuard) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if _, verified := caddyhttp.GetVar(r.Context(), handlerVar).(string); verified {
		deleteTrailers(r)
	} else {
		deleteMarks(r)
	}
	return next.ServeHTTP(w, r)
}
