package attempt

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A Course is what happened to an attempt on the way to its handler.
type Course struct {
	mu       sync.Mutex
	answered bool
	status   int
	header   http.Header
	passed   map[any][]any
}

// Answered reports whether something answered, refused or broke off the attempt, with
// which status (0: none) and header. If nothing did, Caddy's answer is an empty 200.
func (c *Course) Answered() (status int, header http.Header, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status, c.header, c.answered
}

// Passed reports whether the attempt passed a place by, and the matchers that kept it out.
func (c *Course) Passed(place any) (matchers []any, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	matchers, yes = c.passed[place]
	return matchers, yes
}

func (c *Course) answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = true
	if c.status == 0 {
		c.status = status
	}
}

// PassBy records that a request, if it is an attempt, passes a place by: it is not for
// what is there. The matchers say why.
func PassBy(ctx context.Context, place any, matchers ...any) {
	b, _ := ctx.Value(returnKey{}).(*Return)
	if b == nil {
		return
	}
	b.course.mu.Lock()
	defer b.course.mu.Unlock()
	if b.course.passed == nil {
		b.course.passed = make(map[any][]any)
	}
	b.course.passed[place] = append(b.course.passed[place], matchers...)
}

// A Fork is a place in a list of routes: that of a route with matchers. As the only
// matcher of its last set it is asked if no other set matches, and does not match either.
type Fork struct{ sets caddyhttp.MatcherSets }

// ForkAt returns the fork of a route, which it makes if there is none; nil for a route
// that every request enters.
func ForkAt(route *caddyhttp.Route) *Fork {
	if len(route.MatcherSets) == 0 {
		return nil
	}
	if f := ForkOf(route); f != nil {
		return f
	}
	f := &Fork{slices.Clone(route.MatcherSets)}
	route.MatcherSets = append(slices.Clip(route.MatcherSets), caddyhttp.MatcherSet{f})
	return f
}

// ForkOf returns the fork of a route, or nil.
func ForkOf(route *caddyhttp.Route) *Fork {
	if n := len(route.MatcherSets); n > 0 && len(route.MatcherSets[n-1]) == 1 {
		f, _ := route.MatcherSets[n-1][0].(*Fork)
		return f
	}
	return nil
}

// Matchers returns those of the route.
func (f *Fork) Matchers() []any { return slices.Concat(f.sets...) }

// Matches reports whether the route is one for r by those of its matchers that count.
func (f *Fork) Matches(r *http.Request, counts func(matcher any) bool) bool {
	return slices.ContainsFunc(f.sets, func(set caddyhttp.MatcherSet) bool {
		return !slices.ContainsFunc(set, func(matcher any) bool {
			if !counts(matcher) {
				return false
			}
			yes, err := (caddyhttp.MatcherSet{matcher}).MatchWithError(r)
			return err != nil || !yes
		})
	})
}

// CaddyModule names it for placement. It is not registered: no configuration names it.
func (*Fork) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.verify_webhook_fork", New: func() caddy.Module { return new(Fork) }}
}

// MatchWithError records the matchers that keep an attempt out.
func (f *Fork) MatchWithError(r *http.Request) (bool, error) {
	if !Is(r.Context()) {
		return false, nil
	}
	var against []any
	for _, set := range f.sets {
		for _, matcher := range set {
			if yes, err := (caddyhttp.MatcherSet{matcher}).MatchWithError(r); err != nil || !yes {
				against = append(against, matcher)
			}
		}
	}
	PassBy(r.Context(), f, against...)
	return false, nil
}

// Interface guards
var (
	_ caddy.Module                      = (*Fork)(nil)
	_ caddyhttp.RequestMatcherWithError = (*Fork)(nil)
)
