package caddymodule

import (
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/stores"
)

// forgets warns of deliveries that this configuration no longer remembers.
func (a *App) forgets(before *App) (findings []placement.Finding) {
	if !stores.Same(before.store, a.store) {
		findings = append(findings, placement.Finding{
			Message: "another store than before the reload: it does not know the deliveries accepted so far, so their copies are forwarded again",
			Fields:  []zap.Field{zap.String("before", stores.Describe(before.store)), zap.String("now", stores.Describe(a.store))},
		})
	}
	told := make(map[string]bool)
	for _, was := range before.named("") {
		is := a.heir(before, was)
		if is == nil || told[was.Name] {
			continue
		}
		told[was.Name] = true
		f := placement.Finding{
			Message: "a handler has another name than before the reload: it does not know the deliveries accepted under the old one, so their copies are forwarded again",
			Fields:  []zap.Field{zap.String("before", called(was)), zap.String("now", called(is))},
		}
		if is.recogniser.scope == was.recogniser.scope {
			f = placement.Finding{
				Message: "a handler identifies deliveries by something else than before the reload (the port on sites for any host, the method, a header of the event, dedupe key): it does not know those accepted so far, so their copies are forwarded again",
				Fields:  []zap.Field{zap.String("name", called(is))},
			}
		}
		findings = append(findings, f)
	}
	return findings
}

// heir returns the handler that replaces one of the configuration before, if none knows its
// deliveries: one of its scope, if there is any. One that was there before is none.
func (a *App) heir(before *App, was *Handler) (is *Handler) {
	if was.recogniser.off {
		return nil
	}
	for _, h := range a.named("") {
		if h.recogniser.off || h.recogniser.scheme != was.recogniser.scheme || h.placed.Keys != was.placed.Keys {
			continue
		}
		if h.knowsAs(was) {
			return nil
		}
		if (is == nil || h.recogniser.scope == was.recogniser.scope) && !slices.ContainsFunc(before.named(""), h.knowsAs) {
			is = h
		}
	}
	return is
}

// knowsAs reports whether both identify deliveries of one sender alike.
func (h *Handler) knowsAs(other *Handler) bool {
	return h.recogniser.scheme == other.recogniser.scheme && h.placed.Keys == other.placed.Keys &&
		h.recogniser.scope == other.recogniser.scope && h.identifiedBy() == other.identifiedBy()
}

// identifiedBy describes what identifies deliveries of the handler, beside host and path.
func (h *Handler) identifiedBy() string {
	r, port := &h.recogniser, ""
	if site := h.app.site(h); site != nil && !h.named {
		port = site.Port()
	}
	return fmt.Sprint(r.identity, r.counts, r.method, port)
}

// called returns the configured name.
func called(h *Handler) string {
	if !h.named {
		return h.Name + ", by default"
	}
	return h.Name
}
