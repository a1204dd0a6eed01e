package caddymodule

import (
	"bytes"
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// forEachProxy prepares handlers that are not provisioned yet, and those within them, so
// that each proxy gets the whole body of a delivery, also after another one has read it,
// and so that templates make no answer of none. Other requests notice nothing.
func forEachProxy(routes caddyhttp.RouteList) {
	for _, route := range routes {
		for i, raw := range route.HandlersRaw {
			route.HandlersRaw[i] = prepared(raw)
		}
	}
}

// forFollowing prepares all that may follow the module that ctx provisions: Caddy
// provisions it later. Of a server, the first module prepares what is not provisioned yet.
func (a *App) forFollowing(ctx caddy.Context) {
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		if a.prepared[server] {
			return
		}
		if a.prepared == nil {
			a.prepared = make(map[*caddyhttp.Server]bool)
		}
		a.prepared[server] = true
		server.RegisterConnContext(a.entry.wait)
		forEachProxy(server.Routes)
		if server.Errors != nil {
			forEachProxy(server.Errors.Routes)
		}
		for _, route := range server.NamedRoutes {
			forEachProxy(caddyhttp.RouteList{*route})
		}
	}
	for _, module := range ctx.Modules() {
		if sub, ok := module.(*caddyhttp.Subroute); ok {
			forEachProxy(sub.Routes)
			if sub.Errors != nil {
				forEachProxy(sub.Errors.Routes)
			}
		}
	}
}

func prepared(raw json.RawMessage) json.RawMessage {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var handler any
	if decoder.Decode(&handler) != nil {
		return raw // Caddy reports it
	}
	p := new(preparer)
	if handler = p.prepare(handler); !p.changed {
		return raw
	}
	return caddyconfig.JSON(handler, nil)
}

// A preparer changes handlers in JSON. What it has prepared it leaves alone.
type preparer struct{ changed bool }

type object = map[string]any

func (p *preparer) prepare(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = p.prepare(v[i])
		}
	case object:
		if isWatched(v) {
			return v
		}
		for name := range v {
			v[name] = p.prepare(v[name])
		}
		switch v["handler"] {
		case "reverse_proxy":
			p.proxy(v)
		case "intercept":
			p.responses(v, func(response object) bool { return response["routes"] != nil })
		case "subroute":
			if errors, ok := v["errors"].(object); ok {
				p.begin(errors)
			}
		case "templates":
			p.changed = true
			return object{"handler": "subroute", "routes": []any{object{"handle": []any{v, object{"handler": answeredName}}}}}
		}
	}
	return value
}

// isWatched reports whether the handler is templates as prepare leaves it.
func isWatched(handler object) bool {
	routes, _ := handler["routes"].([]any)
	if len(routes) != 1 {
		return false
	}
	route, _ := routes[0].(object)
	handlers, _ := route["handle"].([]any)
	return len(handlers) == 2 && isHandler(handlers[1], answeredName)
}

func isHandler(value any, name string) bool {
	handler, _ := value.(object)
	return handler["handler"] == name
}

// proxy prepares a reverse_proxy: the routes for its response, or the handlers after it if
// there are none, and its retries. One that sends no body, such as forward_auth, leaves
// the body as it is.
func (p *preparer) proxy(v object) {
	rewrite, _ := v["rewrite"].(object)
	if method := rewrite["method"]; method != "GET" && method != "HEAD" {
		p.responses(v, func(response object) bool { return response["status_code"] == nil })
	}
	balancing, _ := v["load_balancing"].(object)
	if balancing["retries"] == nil && balancing["try_duration"] == nil {
		return
	}
	matches, _ := balancing["retry_match"].([]any)
	if len(matches) == 0 { // Caddy's default
		matches = []any{object{"method": []any{"GET"}}}
	}
	for _, set := range matches {
		if set, ok := set.(object); ok && set[retryName] == nil {
			set[retryName], p.changed = object{}, true
		}
	}
	balancing["retry_match"] = matches
}

// responses prepares the routes for the responses that have some.
func (p *preparer) responses(v object, routed func(response object) bool) {
	responses, _ := v["handle_response"].([]any)
	for _, response := range responses {
		if response, ok := response.(object); ok && routed(response) {
			p.begin(response)
		}
	}
}

// begin lets the routes of v begin with the whole body.
func (p *preparer) begin(v object) {
	routes, _ := v["routes"].([]any)
	if len(routes) > 0 {
		first, _ := routes[0].(object)
		if handlers, _ := first["handle"].([]any); len(handlers) == 1 && isHandler(handlers[0], wholeBodyName) {
			return
		}
	}
	v["routes"] = append([]any{object{"handle": []any{object{"handler": wholeBodyName}}}}, routes...)
	p.changed = true
}
