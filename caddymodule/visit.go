package caddymodule

import (
	"net/http"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// maxVisited is how many visited addresses are remembered: who repeats a
// captured handshake must not have them visited anew.
const maxVisited = 16

// A visitor requests the addresses that signed handshakes ask for.
type visitor struct {
	fetcher keys.Fetcher

	mu   sync.Mutex
	done []string
}

var errNotVisited = &refusal{reason: "handshake_failed", status: http.StatusServiceUnavailable, retryAfter: 10,
	detail: "the address that the sender wants requested did not answer 200: see the log"}

// visit requests the address that a handshake names, and waits: were it answered
// before, a visit that fails would never be asked for again. What the address
// answers is dropped.
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
