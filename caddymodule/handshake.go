package caddymodule

import (
	"io"
	"net/http"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
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

// maxVisited is the number of remembered addresses: repeating a captured handshake
// must not cause more visits.
const maxVisited = 16

// A visitor requests the addresses of signed handshakes.
type visitor struct {
	fetcher keys.Fetcher

	mu   sync.Mutex
	done []string
}

var errNotVisited = &refusal{reason: "handshake_failed", status: http.StatusServiceUnavailable, retryAfter: 10,
	detail: "the address to visit did not answer 200: see the log"}

// visit requests the address of a handshake, and waits for it: if the handshake were
// answered first, a failed visit would never be retried. The content at the address
// is dropped.
func (d *delivery) visit() error {
	address, v := d.answer.Visit, &d.h.visits
	if address == "" || v.visited(address) {
		return nil
	}
	err := v.fetcher.Visit(d.r.Context(), address, clientOf(d.r), func(err error) error {
		if err != nil {
			d.h.logger.Error("the sender's handshake is not confirmed", zap.String("name", d.h.Name), zap.Error(err))
			return err
		}
		v.remember(address)
		d.h.logger.Info("the sender's handshake is confirmed", zap.String("name", d.h.Name))
		return nil
	})
	if err != nil {
		return errNotVisited
	}
	return nil
}

func (v *visitor) visited(address string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Contains(v.done, address)
}

func (v *visitor) remember(address string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.done = append(v.done, address); len(v.done) > maxVisited {
		v.done = v.done[1:]
	}
}
