package redis

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	maxAlone     = 8                      // calls at once that have a round trip each
	maxTrips     = 2                      // round trips at once of more calls
	batchMax     = 128                    // calls in one round trip
	batchWait    = time.Millisecond       // for a round trip to end
	batchTimeout = 500 * time.Millisecond // of one round trip; no claim or done waits longer
)

// A batcher sends commands that are called at the same time in one round trip: a
// system call and a wake-up at either end cost more than the command. Few calls at
// once are sent immediately, each on its own connection. Of more, those that find two
// round trips under way wait until one ends, and leave together.
//
// A batch is only a first attempt. Each call has its own result and time limit, and
// one that fails in a batch is repeated alone.
type batcher struct {
	client redis.UniversalClient
	wait   time.Duration // batchWait; bounds what a connection that hangs costs the calls behind it

	mu      sync.Mutex
	calls   int // not yet answered
	trips   int // under way
	waiting []*batch
}

type batch struct {
	calls    []batched
	late     *time.Timer
	answered chan struct{}
}

type batched struct {
	*redis.Cmd
	ctx context.Context
}

// NoRetry keeps the client from repeating a whole batch, with calls that are answered
// or no longer wanted.
func (batched) NoRetry() bool { return true }

// do sends c and waits for its reply or the end of ctx.
func (b *batcher) do(ctx context.Context, c *redis.Cmd) *redis.Cmd {
	w := b.enter(ctx, c)
	defer b.leave()
	if w == nil {
		_ = b.client.Process(ctx, c)
		b.land()
		return c
	}
	select {
	case <-w.answered:
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) {
			_ = b.client.Process(ctx, c)
		}
		return c
	case <-ctx.Done():
		c := redis.NewCmd(ctx) // the batch still has the other
		c.SetErr(ctx.Err())
		return c
	}
}

// enter returns the batch that c is part of, or nil if it leaves alone.
func (b *batcher) enter(ctx context.Context, c *redis.Cmd) *batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.calls <= maxAlone || b.trips < maxTrips {
		b.trips++
		return nil
	}
	n := len(b.waiting)
	if n == 0 || len(b.waiting[n-1].calls) == batchMax {
		w := &batch{answered: make(chan struct{})}
		w.late = time.AfterFunc(b.wait, func() { b.fly(b.next()) })
		b.waiting = append(b.waiting, w)
		n++
	}
	w := b.waiting[n-1]
	w.calls = append(w.calls, batched{c, ctx})
	return w
}

func (b *batcher) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls--
}

// next returns the batch that waits longest, or nil.
func (b *batcher) next() *batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.nextLocked()
}

func (b *batcher) nextLocked() *batch {
	if len(b.waiting) == 0 {
		return nil
	}
	w := b.waiting[0]
	b.waiting = b.waiting[1:]
	b.trips++
	w.late.Stop()
	return w
}

// land ends a round trip, and lets the next batch leave if it may.
func (b *batcher) land() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trips--
	if b.trips < maxTrips {
		if w := b.nextLocked(); w != nil {
			go b.fly(w)
		}
	}
}

// fly sends a batch, without the calls that are no longer wanted.
func (b *batcher) fly(w *batch) {
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	p := b.client.Pipeline()
	for _, c := range w.calls {
		if err := c.ctx.Err(); err != nil {
			c.SetErr(err)
			continue
		}
		_ = p.Process(ctx, c)
	}
	_, _ = p.Exec(ctx) // every command has its own error
	close(w.answered)
	b.land()
}
