package caddymodule

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// isClosedTo reports whether an attempt was refused on the way to the handler: something
// answered it before the routes passed the handler by, or a guard among the matchers of
// these routes kept it out. Other matchers say that the delivery has another way now.
func (h *Handler) isClosedTo(d *inbox.Delivery, course *attempt.Course) bool {
	// A guard may ask for a header that a route has removed since: then it says nothing.
	places, _ := h.app.places(h)
	for _, place := range h.way {
		against, passed := course.Passed(place)
		if !passed {
			continue
		}
		rest := h.rest.Load()
		return slices.ContainsFunc(against, func(matcher any) bool {
			switch decides(matcher) {
			case byPlace:
				return false
			case byHeader: // without a first delivery nobody knows whether the routes remove it
				return rest != nil && !slices.Contains(rest.past, matcher)
			case byAddress:
				return true
			}
			return !places.Strips
		})
	}
	_, _, answered := course.Answered()
	return answered && !places.Strips && !h.isAnothers(d.Host)
}

// isAnothers reports whether requests for a host are for another site of the server,
// whose answers say nothing of this one.
func (h *Handler) isAnothers(host string) bool {
	if site := h.app.site(h); site != nil && !site.Lists(host) && !site.Covers(host) {
		return true
	}
	own := slices.IndexFunc(h.server.Routes, func(route caddyhttp.Route) bool {
		fork := attempt.ForkOf(&route)
		return fork != nil && len(h.way) > 0 && h.way[0] == fork
	})
	if own < 0 {
		return false
	}
	r := &http.Request{Method: http.MethodPost, Host: host, URL: new(url.URL), Header: make(http.Header)}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), attempt.Unread(), h.server)
	for _, route := range h.server.Routes[:own] {
		if !route.Terminal || !ofHosts(route.MatcherSets) {
			return false
		}
		if yes, err := route.MatcherSets.AnyMatchWithError(r); err == nil && yes {
			return true
		}
	}
	return false
}

// ofHosts reports whether a route is a site as a Caddyfile has it: for some hosts.
func ofHosts(sets caddyhttp.MatcherSets) bool {
	return len(sets) > 0 && !slices.ContainsFunc(sets, func(set caddyhttp.MatcherSet) bool {
		return len(set) == 0 || slices.ContainsFunc(set, func(matcher any) bool {
			switch matcher.(type) {
			case *caddyhttp.MatchHost, *attempt.Fork:
				return false
			}
			return true
		})
	})
}

// wayTo returns the places that a request passes, from the outermost, before it reaches
// the handler that ctx provisions: forks in lists of routes, and its block. It relies on
// Caddy's order: routes are provisioned one after the other, after all their matchers.
func wayTo(ctx caddy.Context) (way []any) {
	into := func(routes caddyhttp.RouteList) {
		i := slices.IndexFunc(routes, func(r caddyhttp.Route) bool { return len(r.HandlersRaw) > 0 })
		if i < 0 { // it is in the error routes, or in a named route
			return
		}
		if fork := attempt.ForkAt(&routes[i]); fork != nil {
			way = append(way, fork)
		}
	}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		into(server.Routes)
	}
	for _, module := range ctx.Modules() {
		switch m := module.(type) {
		case *caddyhttp.Subroute:
			into(m.Routes)
		case *Block:
			way = append(way, m)
		}
	}
	return way
}

// pastMatchers returns the matchers of headers on the way to the handler that a request
// which has reached it does not satisfy any more, because a route has removed or replaced
// what they ask for. They cannot let the stored delivery in either.
func (h *Handler) pastMatchers(r *http.Request) (past []any) {
	before, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	repl := caddy.NewReplacer() // the matchers may set placeholders
	repl.Map(before.Get)
	r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl))
	for _, place := range h.way {
		fork, ok := place.(*attempt.Fork)
		if !ok {
			continue
		}
		for _, matcher := range fork.Matchers() {
			if decides(matcher) != byHeader {
				continue
			}
			if yes, err := (caddyhttp.MatcherSet{matcher}).MatchWithError(r); err == nil && !yes {
				past = append(past, matcher)
			}
		}
	}
	return past
}

// What a matcher decides by. A route to which an attempt finds its way no longer by its
// place has moved. By a header it may have been closed, or lack what routes have removed.
// By the client's address it was closed, and by anything else that may be a header, unless
// routes remove some.
type decidedBy int

const (
	byPlace decidedBy = iota
	byHeader
	byOther
	byAddress
)

func decides(matcher any) decidedBy {
	switch m := matcher.(type) {
	case *caddyhttp.MatchHost, *caddyhttp.MatchPath, *caddyhttp.MatchPathRE, *caddyhttp.MatchMethod, *MatchPrefix:
		return byPlace
	case *caddyhttp.MatchHeader, *caddyhttp.MatchHeaderRE:
		return byHeader
	case *caddyhttp.MatchRemoteIP, *caddyhttp.MatchClientIP:
		return byAddress
	case *caddyhttp.MatchNot:
		most := byPlace
		for _, set := range m.MatcherSets {
			for _, inner := range set {
				most = max(most, decides(inner))
			}
		}
		return most
	}
	return byOther
}
