package caddymodule

import (
	"sync"
	"sync/atomic"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// budget limits the bytes held at once.
type budget struct {
	limit, used atomic.Int64
}

// The purposes of memory. The closer a delivery is to the app, the more of a budget
// it may use: large bodies, which anyone can send, leave an eighth for small ones,
// and all bodies leave a sixteenth for verified deliveries.
const (
	forLargeBody int64 = 8
	forSmallBody int64 = 16
	forTheApp    int64 = 0
)

// smallBody is the size of most deliveries.
const smallBody = 16 << 10

// atTheApp is the memory of a delivery, besides its body, while the app works on it:
// two connections with their buffers, four goroutines. Measured with reverse_proxy
// over HTTP/1.1, 3 000 concurrent deliveries: 60 kB of resident memory each.
const atTheApp = 64 << 10

// take charges n more bytes to a delivery that holds some, or returns false and
// charges nothing if they do not fit. A single delivery may use everything: otherwise
// a body nearly as large as the budget would never be accepted.
func (b *budget) take(n, holds, purpose int64) bool {
	limit := b.limit.Load()
	most := limit
	if purpose != forTheApp {
		most -= limit / purpose
	}
	used := b.used.Add(n)
	if used <= most || used == holds+n && (used <= limit || purpose == forTheApp) {
		return true
	}
	b.used.Add(-n)
	return false
}

// give returns n bytes.
func (b *budget) give(n int64) { b.used.Add(-n) }

// portions are what the deliveries of each tenant at the app hold, in bytes.
type portions struct {
	mu    sync.Mutex
	held  map[dedupe.Share]int64
	total int64
}

// take gives a tenant n more bytes of limit, unless it would hold more than tenants leave:
// so one that keeps the app busy leaves as much for the others. A single delivery always
// may.
func (p *portions) take(of dedupe.Share, n, limit int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := p.held[of]
	if held > 0 && held+n > limit-p.total {
		return false
	}
	if p.held == nil {
		p.held = make(map[dedupe.Share]int64)
	}
	p.held[of] = held + n
	p.total += n
	return true
}

// give returns n bytes of a tenant.
func (p *portions) give(of dedupe.Share, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total -= n
	if p.held[of] -= n; p.held[of] <= 0 {
		delete(p.held, of)
	}
}

// charge takes bytes from the handler's share and from the total budget.
func (d *delivery) charge(n, purpose int64) bool {
	if !d.h.buffered.take(n, d.charged, purpose) {
		return false
	}
	if !buffered.take(n, d.charged, purpose) {
		d.h.buffered.give(n)
		return false
	}
	d.charged += n
	return true
}

// chargeForward charges the memory for forwarding. A budget too small for 16
// deliveries covers only bodies.
func (d *delivery) chargeForward() error {
	limit := d.h.buffered.limit.Load()
	n := min(atTheApp, limit/16)
	if share := d.share(); share != 0 && d.unverified == nil { // otherwise a stranger has named the tenant
		if !d.h.portions.take(share, d.charged+n, limit) {
			return errManyOfTenant
		}
		d.portion = d.charged + n
	}
	if !d.charge(n, forTheApp) {
		return errManyInFlight
	}
	return nil
}

// uncharge returns the bytes charged to the delivery.
func (d *delivery) uncharge() {
	d.discharge(d.charged)
	if d.portion > 0 {
		d.h.portions.give(d.share(), d.portion)
		d.portion = 0
	}
}

// discharge returns n of them.
func (d *delivery) discharge(n int64) {
	d.h.buffered.give(n)
	buffered.give(n)
	d.charged -= n
}
