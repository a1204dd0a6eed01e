package caddymodule

import (
	"bytes"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// setUpstreamHeaders sets the headers for the app: none that would undo the framing,
// or that hold another id or time than the verified one, the mark of the verdict, and
// the gateway's own signature if configured, replacing any received.
func (d *delivery) setUpstreamHeaders(h http.Header) error {
	for _, name := range d.h.rules.Unread(h) { // before any that was verified is replaced
		delete(h, name)
	}
	var signer *verifier.Verifier
	if d.keys != nil { // otherwise the key on receipt is gone
		signer = d.keys.Signer
	}
	if signer != nil {
		for name := range h {
			if appview.IsHeader(name, upstreamHeaders) {
				delete(h, name)
			}
		}
	}
	// Connection could declare the mark hop-by-hop and have it removed; Upgrade,
	// Expect and Incremental (RFC 10036) ask for what a buffered request cannot do.
	for _, name := range []string{"Connection", "Upgrade", "Expect", "Incremental"} {
		delete(h, name)
	}
	// One sender could pass off its delivery as another's. Signed headers are the
	// sender's word, and stay; so does the host that a trusted proxy states. An app that
	// equates characters of names could read a twin instead of what was checked.
	proxied, _ := caddyhttp.GetVar(d.r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	for name := range h {
		leads := appview.IsHeader(name, appview.RoutingHeaders) || !proxied && appview.IsHeader(name, appview.HostHeaders)
		twin := appview.IsHeader(name, d.h.checked) && !d.h.checks(name)
		if (leads || twin || d.hidesRetry(name)) && (d.unverified != nil || !d.h.rules.SignsHeader(name)) {
			delete(h, name)
		}
	}
	if d.unverified != nil {
		return nil
	}
	if h["Content-Type"] == nil { // Rack would read a form
		switch {
		case d.h.rules.SignsMembers() && isJSON(d.body):
			h["Content-Type"] = []string{"application/json"}
		case d.h.rules.SignsUnpacked(d.body):
			h["Content-Type"] = []string{"application/octet-stream"}
		}
	}
	h[markVerified] = []string{d.h.Name}
	if d.tenant != "" {
		h[markTenant] = []string{d.tenant}
	}
	if d.key != "" {
		h[markDelivery] = []string{d.key}
	}
	if signer == nil {
		return nil
	}
	return d.sign(signer, h)
}

// isJSON reports whether a body that was read as JSON or as a form was JSON.
func isJSON(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}

// sign signs for the app. The delivery's key is the message id: the same for every
// copy that the app may see.
func (d *delivery) sign(signer *verifier.Verifier, h http.Header) error {
	id := d.key
	if id == "" { // equal bodies may be different deliveries
		id = dedupe.Key(dedupe.NewToken()).String()
	}
	return signer.Sign(&verifier.Request{Header: h}, id, d.h.now(), d.body)
}

// upstreamHeaders are those that the gateway sets, following Standard Webhooks.
var upstreamHeaders = []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"}
