package caddymodule

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// servingPause is the interval of checks whether a configuration serves requests, and the
// delay of an attempt until then.
const servingPause = 20 * time.Millisecond

// unservedDelay is the delay of an attempt while no configuration serves requests. In tests
// none does, and it is long, so that what they send meets no attempt.
var unservedDelay = servingPause

// handBack makes an attempt through the server of the handler that has the delivery's
// name. If its routes do not lead to the handler, although they did on receipt (a
// handler above has removed the header that a matcher needs, or has replaced the
// host), the handler gets it directly, as soon as a delivery has shown what follows it.
// It does not get what something above it refuses.
func handBack(ctx context.Context, a *inbox.Attempt) inbox.Result {
	app := serving()
	if app == nil { // not in force yet, or the process ends
		return inbox.Result{Later: unservedDelay}
	}
	return app.handBack(ctx, a)
}

func (a *App) handBack(ctx context.Context, back *inbox.Attempt) inbox.Result {
	handlers := a.addressees(back)
	handlers, err := owners(ctx, handlers, back, len(handlers) > 0 && !mayListen(handlers[0].server, back.Delivery.Local))
	if len(handlers) == 0 {
		return unreached(err)
	}
	h := handlers[0]
	rest := h.rest.Load() // as it was before
	if len(handlers) == 1 {
		ctx = context.WithValue(ctx, addresseeKey{}, h)
	}
	r, course := attempt.Follow(ctx, h.server, back)
	if course != nil && slices.ContainsFunc(handlers, func(h *Handler) bool { return h.isClosedTo(back.Delivery, course) }) {
		status, header, _ := course.Answered()
		return inbox.Result{Refused: true, Status: status, RetryAfter: retryAfter(header, h.now())}
	}
	if r.Unreached && len(handlers) == 1 {
		if rest == nil && h.rest.Load() != nil { // meanwhile
			return inbox.Result{Later: servingPause}
		}
		direct := h.direct(back.Delivery, rest)
		if direct != nil && !h.hasPath(back.Delivery) {
			if handlers, err = owners(ctx, handlers, back, true); len(handlers) == 0 {
				return unreached(err)
			}
		}
		if direct != nil {
			r = attempt.Send(ctx, direct, back)
		}
	}
	return r
}

// unreached is the result without a handler. An error may be over soon.
func unreached(err error) inbox.Result {
	if err != nil {
		return inbox.Result{Later: notNowPause}
	}
	return inbox.Result{Unreached: true}
}

type addresseeKey struct{}

// addresseeOf returns the only handler that an attempt may be for; nil for one that
// several may get, and for a request from outside.
func addresseeOf(ctx context.Context) *Handler {
	h, _ := ctx.Value(addresseeKey{}).(*Handler)
	return h
}

// addressees returns the handlers on one server for a stored delivery: those of its
// name that serve its host and, if they have several addresses, at the address that
// received it. It returns none if that is in doubt: another site's app must not get it,
// unless an operator replays it.
func (a *App) addressees(back *inbox.Attempt) []*Handler {
	d := back.Delivery
	all := a.named(back.Entry.Handler)
	all = slices.DeleteFunc(all, func(h *Handler) bool { return h.server == nil || !back.Entry.Replayed && !a.serves(h, d) })
	for _, fits := range []func(*Handler) bool{
		func(h *Handler) bool { return listens(h.server, d.Local) },
		func(h *Handler) bool { site := a.site(h); return site != nil && site.Lists(d.Host) },
	} {
		misses := func(h *Handler) bool { return !fits(h) }
		if !slices.ContainsFunc(all, fits) {
			continue
		}
		all = slices.DeleteFunc(all, misses)
	}
	if slices.ContainsFunc(all, func(h *Handler) bool { return h.server != all[0].server }) {
		return nil
	}
	return all
}

// serves reports whether a handler is one for the sender of a delivery, and its site is
// meant for the host, as those that received it were.
func (a *App) serves(h *Handler, d *inbox.Delivery) bool {
	if h.providerID() != d.Provider {
		return false
	}
	now := a.siteFor(h, d.Host)
	return d.Site == inbox.AnySite || now == inbox.Lists || now == d.Site
}

// siteFor says how the site of a handler matches a host.
func (a *App) siteFor(h *Handler, host string) inbox.Site {
	site := a.site(h)
	switch {
	case site == nil:
		return inbox.AnySite
	case site.Lists(host):
		return inbox.Lists
	case site.Covers(host):
		return inbox.Covers
	}
	return inbox.AnySite
}

// listens reports whether a server listens at the local address of a connection.
func listens(s *caddyhttp.Server, local string) bool {
	addr, err := netip.ParseAddrPort(local)
	return slices.ContainsFunc(s.Listen, func(text string) bool {
		l, bad := caddy.ParseNetworkAddress(text)
		switch {
		case bad != nil:
			return false
		case err != nil: // a Unix socket
			path, _, _ := strings.Cut(l.Host, "|") // its mode
			return l.IsUnixNetwork() && path == local
		case uint(addr.Port()) < l.StartPort || uint(addr.Port()) > l.EndPort:
			return false
		}
		ip, err := netip.ParseAddr(l.Host)
		return err != nil || ip.IsUnspecified() || ip.Unmap() == addr.Addr().Unmap()
	})
}

// direct returns what calls the handler without the routes that lead to it, with the
// request as it saw it on receipt; nil before its first delivery, and for a handler that
// several routes invoke, each with an app of its own. Variables that those routes set are
// missing.
func (h *Handler) direct(d *inbox.Delivery, rest *rest) http.Handler {
	if rest == nil || h.app.isInvoked(h) {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, h.server)
		attempt.ShowAsSeen(r, d)
		attempt.SetRouteGroups(r.Context(), rest.groups)
		_ = h.ServeHTTP(w, r, rest.next)
	})
}

// A rest is the route behind a handler: the same for each of its deliveries.
type rest struct {
	next   caddyhttp.Handler
	groups []string // of routes that are decided
	past   []any    // matchers of headers that the routes no longer satisfy when they reach the handler
}

// leadsTo records the route behind the handler. With its first delivery, the stored
// ones that do not reach the handler otherwise become due.
func (h *Handler) leadsTo(r *http.Request, next caddyhttp.Handler) {
	if h.rest.Load() != nil || h.server == nil ||
		!h.rest.CompareAndSwap(nil, &rest{next, attempt.RouteGroups(r.Context()), h.pastMatchers(r)}) {
		return
	}
	inboxes.Rerouted()
}
