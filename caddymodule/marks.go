package caddymodule

import (
	"fmt"
	"net/http"

	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
)

// The marks are headers that only the gateway sets. Where the gateway deletes
// them, an app that finds one can rely on it.
const (
	markVerified = "Webhook-Verified" // the handler's name
	markDelivery = "Webhook-Delivery" // the delivery's key in hex
)

var marks = []string{
	markVerified, markDelivery,
	"Webhook-Tenant", "Webhook-Attempt", "Webhook-Received", "Webhook-Stored", "Webhook-Duplicate",
}

// deleteMarks removes the marks that a request comes with, and the names that an
// app takes for them. It runs before anything can refuse the request: what is
// refused goes to handle_errors, which may hand it to an app all the same.
//
// Trailers go altogether: some apps read them as headers, and net/http adds to
// them whatever comes after the body, declared or not.
func deleteMarks(r *http.Request) {
	for name := range r.Header {
		if appview.IsHeader(name, marks) {
			delete(r.Header, name)
		}
	}
	r.Trailer = nil
	r.Header.Del("Trailer")
}

// checkHeaders refuses a scheme that reads a mark: it is deleted before the
// scheme is asked, and every delivery would be refused.
func (h *Handler) checkHeaders() error {
	for _, name := range h.rules.Scheme().HeaderNames() {
		if appview.IsHeader(name, marks) {
			return fmt.Errorf("header %s: the gateway deletes it from every request, because it is the gateway's own: name a header that the sender sets", name)
		}
	}
	return nil
}
