package caddymodule

import (
	"net/http"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// dress makes the headers that the app sees: none that a sender could set to
// look verified, none that would undo the framing, the mark of the verdict, and
// a signature of the gateway's own where the app wants one.
func (d *delivery) dress() error {
	h := d.r.Header
	signer := d.h.keys.signer.Load()
	for name := range h {
		if is(name, marks) || signer != nil && is(name, upstreamHeaders) {
			delete(h, name)
		}
	}
	// Connection could nominate the mark as hop-by-hop and have it removed;
	// Upgrade, Expect and Incremental (RFC 10036) ask for what a buffered
	// request cannot be.
	for _, name := range []string{"Connection", "Upgrade", "Expect", "Incremental"} {
		h.Del(name)
	}
	if d.unverified != nil {
		return nil
	}
	h.Set("Webhook-Verified", d.h.Name)
	if d.key != "" {
		h.Set("Webhook-Delivery", d.key)
	}
	if signer == nil {
		return nil
	}
	return d.sign(signer, h)
}

// sign signs for the app. The delivery's key is the message's id: the same for
// every copy that the app may see.
func (d *delivery) sign(signer *verifier.Verifier, h http.Header) error {
	id := d.key
	if id == "" {
		id = dedupe.NewKey(d.h.Name, string(d.check.Content(d.body))).String()
	}
	return signer.Sign(&verifier.Request{Header: h}, id, d.h.now(), d.body)
}

// Headers that the gateway alone may set, and those that it sets as a sender of
// Standard Webhooks.
var (
	marks           = []string{"Webhook-Verified", "Webhook-Delivery"}
	upstreamHeaders = []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"}
)

// is reports whether a header is one of names, or would become one in an app
// that takes _ and . for - (CGI does).
func is(name string, names []string) bool {
	for _, n := range names {
		if len(n) == len(name) && strings.EqualFold(asDashes.Replace(name), n) {
			return true
		}
	}
	return false
}

var asDashes = strings.NewReplacer("_", "-", ".", "-")
