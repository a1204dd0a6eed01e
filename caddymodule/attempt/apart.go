package attempt

import (
	"context"
	"maps"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A Request is a request of its own: what the handlers after ours change of it, its
// headers, its variables, its placeholders, is not shared with the request that was
// received. Of that, only what was set before is seen.
type Request struct {
	*http.Request

	received *http.Request
	joined   atomic.Bool
}

// routeGroups is where Caddy notes which route of a group matched. The rest of the
// routes depends on it, so a request of its own needs a copy.
const routeGroups = caddy.CtxKey("route_group")

// Apart makes a request like received, with the context ctx, which must have the
// values of received's, answered by w.
func Apart(ctx context.Context, received *http.Request, w http.ResponseWriter) *Request {
	from := received.Context()
	server, _ := from.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	repl := caddy.NewReplacer()
	own := caddyhttp.PrepareRequest(received.WithContext(ctx), repl, w, server)
	r := &Request{Request: own, received: received}

	// PrepareRequest takes what it gets for a request as it was called.
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

// Join lets the received request see the variables and placeholders that the
// handlers have set, for the access log and the handlers before ours. It is called
// after they have returned, by the goroutine of the received request.
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
