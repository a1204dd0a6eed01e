package caddymodule

import (
	"io"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// Handshake configures the handshakes of the provider's file: requests by which the
// sender checks the address.
type Handshake struct {
	// Leave them to the app: they are handled like any other request.
	Off bool `json:"off,omitempty"`
}

// handshakes returns those that the handler answers.
func (h *Handler) handshakes(p *providers.Provider) []verifier.Handshake {
	if p == nil || h.Handshake != nil && h.Handshake.Off {
		return nil
	}
	return p.Handshakes(h.Param)
}

// answerHandshake answers instead of the app. A handshake is never claimed or
// forwarded.
func (d *delivery) answerHandshake() error {
	if err := d.visit(); err != nil {
		return d.refuse(err)
	}
	header := d.w.Header()
	for name, value := range d.answer.Header {
		header.Set(name, value)
	}
	header.Set("X-Content-Type-Options", "nosniff")
	if d.answer.ContentType != "" {
		header.Set("Content-Type", d.answer.ContentType)
	}
	if d.r.ProtoMajor == 1 && d.unread() { // see refuse
		header.Set("Connection", "close")
	}
	d.repl.Set(prefix+"handshake", true)
	d.end(metrics.Handshake, "")
	d.h.logger.Debug("handshake answered", zap.String("name", d.h.Name), zap.Int("status", d.answer.Status))
	d.w.WriteHeader(d.answer.Status)
	_, _ = io.WriteString(d.w, d.answer.Body) // a sender that is gone retries
	return nil
}
