package dedupe_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

var errBroken = errors.New("connection refused")

// A faulty store is between one gate and the store that it shares with others. The
// hook, called with the name of each call, may sleep, fail the call before it has an
// effect, or let it have its effect and lose the reply.
type faulty struct {
	dedupe.Store
	mu    sync.Mutex
	hook  func(op string) fault
	calls map[string]int
}

type fault struct {
	before error // the call has no effect
	after  error // it has an effect, but the reply is lost
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

func (f *faulty) ForgetStatus(ctx context.Context, status int) (gone []dedupe.Key, err error) {
	err = f.do(ctx, "forget status", func() error {
		gone, err = f.Store.(dedupe.Forgetter).ForgetStatus(ctx, status)
		return err
	})
	return gone, err
}

func (f *faulty) Forgotten(ctx context.Context, k dedupe.Key) (forgotten bool, err error) {
	err = f.do(ctx, "forgotten", func() error {
		if s, ok := f.Store.(*server); ok {
			forgotten = s.note(k, false)
		}
		return nil
	})
	return forgotten, err
}

// A server is a memory shared by several instances. It records which deliveries were
// forgotten, and may lose its data.
type server struct {
	*dedupe.Memory
	mu    sync.Mutex
	notes map[dedupe.Key]bool
}

func newServer() *server {
	return &server{Memory: dedupe.NewMemory(dedupe.MemoryOptions{}), notes: map[dedupe.Key]bool{}}
}

func (s *server) note(k dedupe.Key, write bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if write {
		s.notes[k] = true
	}
	return s.notes[k]
}

func (s *server) Forget(ctx context.Context, k dedupe.Key) (bool, error) {
	found, err := s.Memory.Forget(ctx, k)
	if err == nil {
		s.note(k, true)
	}
	return found, err
}

func (s *server) ForgetStatus(ctx context.Context, status int) ([]dedupe.Key, error) {
	gone, err := s.Memory.ForgetStatus(ctx, status)
	for _, k := range gone {
		s.note(k, true)
	}
	return gone, err
}

// A forgetful store is a memory that can be flushed.
type forgetful struct{ memory atomic.Pointer[dedupe.Memory] }

func (f *forgetful) flush() { f.memory.Store(dedupe.NewMemory(dedupe.MemoryOptions{})) }

func (f *forgetful) Claim(ctx context.Context, k dedupe.Key, t dedupe.Token, l time.Duration) (dedupe.State, error) {
	return f.memory.Load().Claim(ctx, k, t, l)
}

func (f *forgetful) Renew(ctx context.Context, k dedupe.Key, t dedupe.Token, l time.Duration) (bool, error) {
	return f.memory.Load().Renew(ctx, k, t, l)
}

func (f *forgetful) Done(ctx context.Context, k dedupe.Key, m dedupe.Mark) error {
	return f.memory.Load().Done(ctx, k, m)
}

func (f *forgetful) Release(ctx context.Context, k dedupe.Key, t dedupe.Token) error {
	return f.memory.Load().Release(ctx, k, t)
}

func (f *forgetful) Health() error { return nil }
