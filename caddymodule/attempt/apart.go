package attempt

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A Request is independent of the received request: changes by the following handlers
// to its headers, variables and placeholders are not shared. It starts with those set
// before.
type Request struct {
	*http.Request

	received *http.Request
	joined   atomic.Bool
}

// routeGroups is where Caddy records the matched route of each group. The remaining
// routes depend on it, so an independent request needs a copy.
const routeGroups = caddy.CtxKey("route_group")

// RouteGroups returns the groups in which a request has been given its route.
func RouteGroups(ctx context.Context) []string {
	groups, _ := ctx.Value(routeGroups).(map[string]struct{})
	return slices.Collect(maps.Keys(groups))
}

// SetRouteGroups records that a request has been given its route in groups.
func SetRouteGroups(ctx context.Context, groups []string) {
	into, _ := ctx.Value(routeGroups).(map[string]struct{})
	for _, group := range groups {
		into[group] = struct{}{}
	}
}

// Apart makes an independent request like received, with the context ctx, which must
// have the values of received's, answered by w.
func Apart(ctx context.Context, received *http.Request, w http.ResponseWriter) *Request {
	from := received.Context()
	server, _ := from.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	repl := caddy.NewReplacer()
	own := caddyhttp.PrepareRequest(received.WithContext(ctx), repl, w, server)
	r := &Request{Request: own, received: received}

	// PrepareRequest treats its argument as the original request.
	*own = *own.WithContext(context.WithValue(own.Context(), caddyhttp.OriginalRequestCtxKey, from.Value(caddyhttp.OriginalRequestCtxKey)))
	own.Header = received.Header.Clone()
	if received.URL != nil {
		u := *received.URL
		own.URL = &u
	}
	copyMap[any](own.Context(), from, caddyhttp.VarsCtxKey)
	copyMap[struct{}](own.Context(), from, routeGroups)
	if before, ok := from.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(func(key string) (any, bool) {
			if r.joined.Load() { // before asks us now
				return nil, false
			}
			return before.Get(key)
		})
	}
	return r
}

// Join shows the received request the variables and placeholders that the handlers
// have set, for the access log and the earlier handlers. The goroutine of the
// received request calls it after they have returned.
func (r *Request) Join() {
	from := r.received.Context()
	copyMap[any](from, r.Context(), caddyhttp.VarsCtxKey)
	before, ok := from.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	own, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if ok {
		r.joined.Store(true)
		before.Map(own.Get)
	}
}

func copyMap[V any](to, from context.Context, key caddy.CtxKey) {
	into, _ := to.Value(key).(map[string]V)
	values, _ := from.Value(key).(map[string]V)
	if into != nil {
		maps.Copy(into, values)
	}
}
