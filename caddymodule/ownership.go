package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/tenants"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// owners returns those of the handlers that a delivery of their name is for. A default name
// is the provider's, and another customer's handler may have had it: what was received at
// another host, or elsewhere, at another port or path, goes only to one whose keys verify
// it, as does what has the default name of one handler and the configured name of another.
// What an operator replays goes by the name. The error says that keys are not known now.
func owners(ctx context.Context, handlers []*Handler, back *inbox.Attempt, elsewhere bool) (all []*Handler, err error) {
	place := back.Delivery.Place
	for _, h := range handlers {
		same := place == "" || place == h.place(back.Delivery.Host)
		yes := back.Entry.Replayed || same && (h.named || !elsewhere)
		if !yes {
			var unknown error
			yes, unknown = h.verifies(ctx, back.Delivery)
			err = errors.Join(err, unknown)
		}
		if yes {
			all = append(all, h)
		}
	}
	return all, err
}

// place is [inbox.Delivery.Place] of a delivery for a host: the host, or the pattern of the
// site for it, if the handler has a default name.
func (h *Handler) place(host string) string {
	if h.named {
		return "named"
	}
	if site := h.app.site(h); site != nil {
		return "at " + site.Pattern(host)
	}
	return "unnamed"
}

// keysChanged is called with each new snapshot of the keys. What they did not verify may be
// the handler's now: see owners.
func (h *Handler) keysChanged() {
	h.metrics.KeysChanged()
	if app := current(); app != nil && app == h.app {
		inboxes.Rerouted()
	}
}

// verifies reports whether a key that the handler has now verifies a stored delivery, as
// of its receipt.
func (h *Handler) verifies(ctx context.Context, d *inbox.Delivery) (bool, error) {
	keys := h.keys.Snapshot()
	if h.tenants != nil && d.Tenant != "" {
		var err error
		keys, err = h.tenants.cache.Find(ctx, d.Tenant, netip.Prefix{})
		if errors.Is(err, tenants.ErrUnknown) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	if keys == nil {
		return false, errKeyUnavailable
	}
	req := verifier.Request{Method: d.Method, Header: d.Header, Target: d.Target, Host: d.Host, TLS: d.TLS != nil}
	if u, err := url.ParseRequestURI(d.Target); err == nil && !strings.HasPrefix(d.Target, "/") { // as in arrive
		req.Target = u.RequestURI()
	}
	judged, err := keys.Verifier.Judge(&req, d.Body, d.Received)
	return err == nil && judged.Verdict != (verifier.Verdict{}), nil
}

// hasPath reports whether the routes lead the path of a delivery, as received or as seen by
// the handler that received it, to this one, whatever else they require. It says no of a
// path that is in doubt: rewritten between routes, or without a matcher of its own.
func (h *Handler) hasPath(d *inbox.Delivery) bool {
	ways := []string{d.Target, cmp.Or(d.Seen.Target, d.Target)}
	return len(h.way) > 0 && !slices.ContainsFunc(h.way, func(place any) bool {
		return !slices.ContainsFunc(ways, func(target string) bool {
			u, err := url.ParseRequestURI(target)
			if err != nil {
				return false
			}
			switch place := place.(type) {
			case *Block:
				s := place.senderOf(u.Path)
				return s != nil && s.handler == h
			case *attempt.Fork:
				r := &http.Request{Method: d.Method, Host: d.Host, URL: u, RequestURI: target, Header: http.Header(d.Header).Clone()}
				return place.Matches(caddyhttp.PrepareRequest(r, caddy.NewReplacer(), attempt.Unread(), h.server), mayLookAtPath)
			}
			return false
		})
	})
}

func mayLookAtPath(matcher any) bool {
	switch matcher.(type) {
	case *caddyhttp.MatchHost, *caddyhttp.MatchMethod:
		return false
	}
	by := decides(matcher)
	return by == byPlace || by == byOther
}

// mayListen is [listens], and true for a socket that was handed over, whose address is
// unknown.
func mayListen(s *caddyhttp.Server, local string) bool {
	return local == "" || listens(s, local) || slices.ContainsFunc(s.Listen, func(text string) bool {
		l, err := caddy.ParseNetworkAddress(text)
		return err == nil && l.IsFdNetwork()
	})
}
