package inbox_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

func TestAnEngineThatOpensLate(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.accept(shop, 1)
		b.pass(0)
		b.app.set(says(500))
		b.accept(shop, 2)
		b.pass(0)
		b.mem.Ail(fmt.Errorf("the test says so"))
		b.app.set(says(200))
		b.pass(time.Minute)
		if _, err := b.box.Accept(b.Context(), &inbox.Delivery{Key: key(3), Queue: shop}, false); err == nil {
			b.Error("it accepts")
		}
		b.mem.Ail(nil)
		b.pass(2 * time.Second)
		b.state(2, 0)
	})
}

func TestCloseWaitsWithinItsBudget(t *testing.T) {
	for lasts, want := range map[time.Duration]inbox.State{5 * time.Second: 0, time.Minute: inbox.Pending} {
		synctest.Test(t, func(t *testing.T) {
			mem := inboxtest.NewMemory(time.Now, 0)
			p := &app{start: time.Now(), answer: says(200), lasts: lasts, asked: make(map[inbox.Key][]time.Duration)}
			box := inbox.NewBox(inbox.Options{Engine: mem, Deliver: p.deliver})
			box.Configure(anyPolicy)
			box.Accept(t.Context(), &inbox.Delivery{Key: key(1), Queue: shop, Received: time.Now()}, false)
			box.Accept(t.Context(), &inbox.Delivery{Key: key(2), Queue: shop, Received: time.Now()}, false)
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			start := time.Now()
			box.Close(ctx)
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("closing took %v", took)
			}
			e, _, _ := mem.Find(t.Context(), key(1))
			if e.State != want || e.Attempts != 0 {
				t.Errorf("an attempt of %v: %+v", lasts, e)
			}
			if e, _, _ := mem.Find(t.Context(), key(2)); e.State != inbox.Pending || len(p.calls(2)) != 0 {
				t.Errorf("what waited: %+v, tried %v", e, p.calls(2))
			}
		})
	}
}

// A stuckEngine does not answer Queues until it is released. If it is deaf, the end of
// the context does not release it.
type stuckEngine struct {
	*inboxtest.Memory
	deaf    bool
	release chan struct{}
	closed  bool
}

func (e *stuckEngine) Queues(ctx context.Context) ([]inbox.QueueStats, error) {
	if e.deaf {
		ctx = context.Background()
	}
	select {
	case <-e.release:
		return e.Memory.Queues(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *stuckEngine) Close(ctx context.Context) error {
	e.closed = true
	return e.Memory.Close(ctx)
}

func TestCloseWaitsForAnEngineThatHangsWithinItsBudget(t *testing.T) {
	for deaf, limit := range map[bool]time.Duration{false: 10 * time.Second, true: 12 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			e := &stuckEngine{Memory: inboxtest.NewMemory(time.Now, 0), deaf: deaf, release: make(chan struct{})}
			p := &app{start: time.Now(), answer: says(200), asked: make(map[inbox.Key][]time.Duration)}
			box := inbox.NewBox(inbox.Options{Engine: e, Deliver: p.deliver})
			go box.Configure(map[string]inbox.Policy{"shop": {Expire: time.Second}})
			synctest.Wait() // it is in Queues
			box.Accept(t.Context(), &inbox.Delivery{Key: key(1), Queue: shop, Received: time.Now()}, false)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			start := time.Now()
			box.Close(ctx)
			if took := time.Since(start); took != limit || !e.closed {
				t.Errorf("deaf %v: closing took %v, want %v; engine closed: %v", deaf, took, limit, e.closed)
			}
			close(e.release)
			synctest.Wait()
			if got, _, _ := e.Find(t.Context(), key(1)); got.State != inbox.Pending || p.total() > 0 {
				t.Errorf("deaf %v: after Close, %d attempts and the delivery is %v", deaf, p.total(), got.State)
			}
		})
	}
}
