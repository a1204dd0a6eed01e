package caddymodule

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
)

// The marks are headers that only the gateway sets. Since it deletes any others, an
// app can rely on them.
const (
	markVerified = "Webhook-Verified" // the handler's name
	markDelivery = "Webhook-Delivery" // the delivery's key in hex
	markTenant   = "Webhook-Tenant"   // whose key verified it
)

var marks = []string{
	markVerified, markDelivery, markTenant,
	"Webhook-Attempt", "Webhook-Received", "Webhook-Stored", "Webhook-Duplicate",
}

// deleteMarks removes marks from a request, and names that an app may read as marks.
// It runs before the gateway can refuse the request, and before handle_errors gets one
// that something else refused earlier (see errorGuard): handle_errors may pass it to an
// app. Trailers go too.
func deleteMarks(r *http.Request) {
	for name := range r.Header {
		if appview.IsHeader(name, marks) {
			delete(r.Header, name)
		}
	}
	deleteTrailers(r)
	deleteUpgrade(r)
}

// deleteUpgrade removes an Upgrade other than to a websocket. An app that changes to
// HTTP/2 (h2c, RFC 7540 §3.2) gets further requests in the same connection, which a proxy
// joins and no handler sees: for any path, with any marks.
func deleteUpgrade(r *http.Request) {
	lines := r.Header["Upgrade"]
	if len(lines) != 1 || !strings.EqualFold(strings.TrimSpace(lines[0]), "websocket") {
		delete(r.Header, "Upgrade")
	}
}

// deleteTrailers removes all trailers: some apps read them as headers, and net/http
// adds to them whatever follows the body, declared or not.
func deleteTrailers(r *http.Request) {
	r.Trailer = nil
	delete(r.Header, "Trailer")
}

// bodyHeaders say how the body is read. What they say here, a twin must not change for
// the app.
var bodyHeaders = []string{"Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Content-Transfer-Encoding", "Content-Range"}

// checkHeaders refuses a scheme that reads a mark: it is deleted before verification,
// so every delivery would be refused.
func (h *Handler) checkHeaders() error {
	read := h.rules.Scheme().HeaderNames()
	for _, name := range read {
		if appview.IsHeader(name, marks) {
			return fmt.Errorf("header %s: the gateway deletes it from every request, because only the gateway sets it: name a header of the sender", name)
		}
	}
	h.checked = slices.Concat(read, bodyHeaders)
	if h.provider != nil { // the event and the origin are part of a delivery's identity, and its twin is not
		h.checked = append(h.checked, h.provider.DecidingHeaders()...)
	}
	return nil
}

// checks reports whether the handler checks a header, by exactly this name.
func (h *Handler) checks(name string) bool {
	return slices.ContainsFunc(h.checked, func(own string) bool { return strings.EqualFold(own, name) })
}

// hidesRetry reports whether a header is one by which apps are known to drop retries, and
// the delivery the inbox's: the 200 of an app that drops it would settle what the app has
// not accepted. Without an inbox only the app can tell a retry of what another gateway, or
// this one before a restart, has given it.
func (d *delivery) hidesRetry(name string) bool {
	p := d.h.provider
	return (d.box != nil || d.attempts > 0) && !d.nameless && d.unverified == nil &&
		p != nil && appview.IsHeader(name, p.RetryHeader) && !d.h.checks(name)
}
