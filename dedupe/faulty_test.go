package dedupe_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

var errBroken = errors.New("connection refused")

// A faulty store stands between one gate and the store that it shares with
// others. Faults are decided by hook, which sees the name of each call: it may
// sleep, fail the call before it has an effect, or let it have its effect and
// lose the reply.
type faulty struct {
	dedupe.Store
	mu    sync.Mutex
	hook  func(op string) fault
	calls map[string]int
}

type fault struct {
	before error // the call has no effect
	after  error // it has, but nobody learns of it
	delay  time.Duration
}

func (f *faulty) set(hook func(op string) fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func (f *faulty) down() { f.set(func(string) fault { return fault{before: errBroken} }) }
func (f *faulty) up()   { f.set(nil) }

func (f *faulty) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

func (f *faulty) do(ctx context.Context, op string, call func() error) error {
	f.mu.Lock()
	if f.calls == nil {
		f.calls = map[string]int{}
	}
	f.calls[op]++
	hook := f.hook
	f.mu.Unlock()
	var x fault
	if hook != nil {
		x = hook(op)
	}
	if x.delay > 0 {
		select {
		case <-time.After(x.delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if x.before != nil {
		return x.before
	}
	if err := call(); err != nil {
		return err
	}
	return x.after
}

func (f *faulty) Claim(ctx context.Context, k dedupe.Key, t dedupe.Token, l time.Duration) (s dedupe.State, err error) {
	err = f.do(ctx, "claim", func() error { s, err = f.Store.Claim(ctx, k, t, l); return err })
	if err != nil {
		s = dedupe.State{}
	}
	return s, err
}

func (f *faulty) Renew(ctx context.Context, k dedupe.Key, t dedupe.Token, l time.Duration) (held bool, err error) {
	err = f.do(ctx, "renew", func() error { held, err = f.Store.Renew(ctx, k, t, l); return err })
	return held && err == nil, err
}

func (f *faulty) Done(ctx context.Context, k dedupe.Key, m dedupe.Mark) error {
	return f.do(ctx, "done", func() error { return f.Store.Done(ctx, k, m) })
}

func (f *faulty) Release(ctx context.Context, k dedupe.Key, t dedupe.Token) error {
	return f.do(ctx, "release", func() error { return f.Store.Release(ctx, k, t) })
}

func (f *faulty) Forget(ctx context.Context, k dedupe.Key) (found bool, err error) {
	err = f.do(ctx, "forget", func() error { found, err = f.Store.(dedupe.Forgetter).Forget(ctx, k); return err })
	return found, err
}
