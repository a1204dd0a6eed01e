package dedupe

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	breakerLimit = 5                      // consecutive failures that mark a store as down
	breakerSlow  = 300 * time.Millisecond // a slower response counts as a failure
	breakerPause = 2 * time.Second        // between probes of a store that is down
)

// errStoreDown reports a call that was not made because the breaker is open.
var errStoreDown = errors.New("the dedupe store is down")

// A breaker keeps deliveries from waiting for a store that does not respond. While it
// is open only the background goroutine calls the store, so that no delivery waits
// for a probe. The zero breaker is closed.
//
// Only claims and dones count, because they need space; a full Redis still renews and
// releases, and would look healthy.
type breaker struct {
	failures atomic.Int32
	down     atomic.Bool
}

func (b *breaker) open() bool { return b.down.Load() }

// note counts a call and reports whether it opened the breaker.
func (b *breaker) note(err error, took time.Duration) (tripped bool) {
	if err == nil && took <= breakerSlow {
		if b.failures.Load() != 0 {
			b.failures.Store(0)
		}
		return false
	}
	return b.failures.Add(1) >= breakerLimit && !b.down.Swap(true)
}

func (b *breaker) close() {
	b.failures.Store(0)
	b.down.Store(false)
}

// The four calls with their time limits; a claim and a done of a store in this process
// have none, and do not count for the breaker. None uses the request's context: a client
// that disconnects must not leave a claim undecided, nor count against the store.

func (g *Gate) claimStore(key Key, token Token, lease time.Duration) (state State, err error) {
	if g.instant {
		return g.store.Claim(g.ctx, key, token, lease)
	}
	err = g.counted(g.ctx, func(ctx context.Context) error {
		state, err = g.store.Claim(ctx, key, token, lease)
		return err
	})
	return state, err
}

func (g *Gate) doneStore(ctx context.Context, key Key, m Mark) error {
	return g.counted(ctx, func(ctx context.Context) error {
		return g.store.Done(ctx, key, m)
	})
}

func (g *Gate) renewStore(key Key, token Token, lease time.Duration) (bool, error) {
	if g.breaker.open() {
		return false, errStoreDown
	}
	ctx, cancel := context.WithTimeout(g.ctx, renewBudget)
	defer cancel()
	return g.store.Renew(ctx, key, token, lease)
}

func (g *Gate) releaseStore(ctx context.Context, key Key, token Token) error {
	if g.breaker.open() {
		return errStoreDown
	}
	ctx, cancel := context.WithTimeout(ctx, callBudget)
	defer cancel()
	return g.store.Release(ctx, key, token)
}

func (g *Gate) counted(ctx context.Context, call func(context.Context) error) error {
	if g.breaker.open() {
		return errStoreDown
	}
	ctx, cancel := context.WithTimeout(ctx, callBudget)
	defer cancel()
	start := time.Now()
	err := call(ctx)
	if errors.Is(err, ErrFull) {
		return err // the store is healthy
	}
	if g.breaker.note(err, time.Since(start)) {
		g.announceDown(err)
	}
	return err
}

func (g *Gate) announceDown(err error) {
	until := "deliveries are answered 503 with Retry-After, except copies of what this instance accepted"
	if g.decidesAlone() {
		until = "deliveries are forwarded, and copies of what another instance accepted too"
	}
	g.log.Error("the dedupe store is down; until it is back, "+until, "error", err)
	g.wakeWriter()
}

// Check probes the store once, without a delivery, and marks it down if it does not
// answer within a second. Called at start, it reports a wrong address before the first
// delivery waits for it.
func (g *Gate) Check() {
	ctx, cancel := context.WithTimeout(g.ctx, renewBudget)
	defer cancel()
	if err := g.try(ctx); err != nil && g.ctx.Err() == nil && !g.breaker.down.Swap(true) {
		g.announceDown(err)
	}
}

// try claims and releases a random key. Only a complete claim shows that there is
// space and that the server is not a replica.
func (g *Gate) try(ctx context.Context) error {
	key, token := Key(g.newToken()), g.newToken()
	if _, err := g.store.Claim(ctx, key, token, breakerPause); err != nil {
		return err
	}
	return g.store.Release(ctx, key, token)
}
