package boxes

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

// A hungEngine answers nothing while it hangs.
type hungEngine struct {
	inbox.Engine
	hangs atomic.Bool
	asked atomic.Int32
}

func (e *hungEngine) Queues(ctx context.Context) ([]inbox.QueueStats, error) {
	if _, ours := ctx.Deadline(); ours && e.hangs.Load() { // the box itself asks without one
		e.asked.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return e.Engine.Queues(ctx)
}

// TestAScrapeDoesNotWaitForAnEngine: it gets what was last known, and scrapes that
// come in between start no second look.
func TestAScrapeDoesNotWaitForAnEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &hungEngine{Engine: inboxtest.NewMemory(time.Now, 0)}
		b := &Box{Box: inbox.NewBox(inbox.Options{Engine: engine, Deliver: func(context.Context, *inbox.Attempt) inbox.Result { return inbox.Result{} }})}
		defer b.Close(t.Context())
		b.Pause("acme")
		if _, err := b.Accept(t.Context(), &inbox.Delivery{Key: inbox.Key{1}, Queue: inbox.Queue{Handler: "acme"}, Received: time.Now()}, false); err != nil {
			t.Fatal(err)
		}
		if g := b.glance(); !g.known || len(g.queues) != 1 || g.queues[0].Pending != 1 {
			t.Fatalf("at first: %+v", g)
		}
		engine.hangs.Store(true)
		began := time.Now()
		for range 3 {
			if g := b.glance(); !g.known || len(g.queues) != 1 {
				t.Errorf("while it hangs: %+v", g)
			}
		}
		if took := time.Since(began); took != 3*glanceBudget || engine.asked.Load() != 1 {
			t.Errorf("three scrapes took %s and asked %d times", took, engine.asked.Load())
		}
		time.Sleep(2 * lookBudget)
		engine.hangs.Store(false)
		if g := b.glance(); len(g.queues) != 1 {
			t.Errorf("again: %+v", g)
		}
	})
}
