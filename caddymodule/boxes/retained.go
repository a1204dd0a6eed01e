package boxes

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/inbox/bolt"
)

// retainPause is the interval of checks whether a retained inbox is empty.
var retainPause = time.Second

// openBudget is how long an inbox may take to open before it counts as empty, once no
// configuration uses it.
const openBudget = 5 * time.Minute

// use counts a configuration that uses b. If b is retained, it is no longer.
func (b *Box) use() {
	b.pool.mu.Lock()
	b.configurations++
	was := b.forsake()
	b.pool.mu.Unlock()
	if was {
		b.Release()
	}
}

// retain takes the reference of a configuration that goes away, if it was the last one
// and b is still needed. It reports whether it did. What only a refused reload has named
// may be another gateway's.
func (b *Box) retain() bool {
	p := b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	b.configurations--
	if b.configurations > 0 || !b.served.Load() || p.o.InForce() == nil || caddy.Exiting() || !b.needed() {
		return false
	}
	p.last++
	b.serial, b.forsaken = p.last, make(chan struct{})
	p.retained = append(p.retained, b)
	go b.watch(b.forsaken)
	return true
}

// forsake removes b from the retained ones, and reports whether it was one: then its
// reference is the caller's. Pool.mu is held.
func (b *Box) forsake() bool {
	i := slices.Index(b.pool.retained, b)
	if i < 0 {
		return false
	}
	b.pool.retained = slices.Delete(b.pool.retained, i, i+1)
	close(b.forsaken)
	return true
}

// watch closes b when it is no longer needed.
func (b *Box) watch(forsaken <-chan struct{}) {
	tick := time.NewTicker(retainPause)
	defer tick.Stop()
	for {
		select {
		case <-forsaken:
			return
		case <-tick.C:
		}
		b.pool.mu.Lock()
		gone := !b.needed() && b.forsake()
		b.pool.mu.Unlock()
		if gone {
			caddy.Log().Named("verify_webhook.inbox").Info("an inbox that is no longer configured is closed: nothing is left in it", zap.String("inbox", describe(b.module)))
			b.Release()
			return
		}
	}
}

// needed reports whether b holds deliveries, or may get some from requests of earlier
// configurations. It is not needed if the inbox in force has the same storage.
func (b *Box) needed() bool {
	if id := b.Engine().Status().ID; id != "" {
		if c := b.pool.o.InForce(); c != nil && c.storageOf(b) == id {
			return false
		}
	}
	if n, _ := b.pool.open.References(b.identity); n > 1 {
		return true
	}
	if owed, known := b.owed(); known {
		return owed.total() > 0
	}
	if errors.Is(b.Engine().Status().Health, bolt.ErrInUse) {
		return b.first.Load() && time.Since(b.opened) < overlap // otherwise it is another gateway's
	}
	return time.Since(b.opened) < openBudget
}

// storageOf returns the ID of the storage of the configuration's inbox, unless that is b.
func (c *Configuration) storageOf(b *Box) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.box == nil || c.box == b {
		return ""
	}
	return c.box.Engine().Status().ID
}

// owings are the numbers of deliveries that the app has not accepted.
type owings struct{ pending, dead, locked int }

func (o owings) total() int { return o.pending + o.dead + o.locked }

// owed counts the deliveries of b, or returns the latest known numbers while it is not
// open.
func (b *Box) owed() (o owings, known bool) {
	ctx, cancel := context.WithTimeout(context.Background(), glanceBudget)
	defer cancel()
	queues, err := b.Engine().Queues(ctx)
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	if err != nil {
		return b.seen.owed, b.seen.counted
	}
	for _, q := range queues {
		o.pending, o.dead, o.locked = o.pending+q.Pending+q.InAttempt, o.dead+q.Dead, o.locked+q.Locked
	}
	b.seen.owed, b.seen.counted = o, true
	return o, true
}

// isRetained reports whether no configuration uses b.
func (b *Box) isRetained() bool {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return slices.Contains(b.pool.retained, b)
}

// allRetained returns the retained inboxes, oldest first, and a function to call when
// they are no longer used.
func (p *Pool) allRetained() (all []*Box, done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.retained) == 0 {
		return nil, func() {}
	}
	all = slices.Clone(p.retained)
	for _, b := range all {
		b.visitors.Add(1) // it is still in the pool
	}
	return all, func() {
		for _, b := range all {
			b.visitors.Done()
		}
	}
}

// AnyRetained reports whether the function does so for a retained inbox.
func (p *Pool) AnyRetained(is func(*Box) bool) bool {
	all, done := p.allRetained()
	defer done()
	return slices.ContainsFunc(all, is)
}

// Any reports whether the function does so for an open inbox.
func (p *Pool) Any(is func(*Box) bool) (found bool) {
	p.each(func(b *Box) { found = found || is(b) })
	return found
}

// closeRetained closes all of them, without a configuration to deliver through. Only
// the end of the process waits.
func (p *Pool) closeRetained() {
	p.mu.Lock()
	all := slices.Clone(p.retained)
	for _, b := range all {
		b.forsake()
	}
	p.mu.Unlock()
	var closing sync.WaitGroup
	for _, b := range all {
		closing.Go(b.close)
	}
	if caddy.Exiting() {
		closing.Wait()
	}
}
