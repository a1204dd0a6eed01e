package caddymodule

import (
	"net/http"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

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
