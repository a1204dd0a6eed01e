package inbox_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

// A busyEngine takes 10 ms for a delivery, so that an app which answers at once has always
// answered the last one.
type busyEngine struct{ *inboxtest.Memory }

func (e busyEngine) Take(ctx context.Context, q inbox.Queue, which inbox.Which) (*inbox.Attempt, error) {
	time.Sleep(10 * time.Millisecond)
	return e.Memory.Take(ctx, q, which)
}

func TestABusyQueueLeavesOthersTheirTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := inboxtest.NewMemory(time.Now, 0)
		b := &bench{T: t, mem: mem}
		b.app = &app{start: time.Now(), answer: says(500), asked: make(map[inbox.Key][]time.Duration)}
		b.box = inbox.NewBox(inbox.Options{Engine: busyEngine{mem}, Deliver: b.app.deliver})
		b.box.Configure(anyPolicy)
		defer b.box.Close(context.Background())

		b.accept(inbox.Queue{Handler: "other"}, replayed)
		time.Sleep(time.Second)
		b.app.set(says(200))
		b.bury(numbers(0, replayed)...)
		b.replay()
		time.Sleep(time.Minute)
		if got := b.app.calls(replayed); len(got) != 2 || got[1]-got[0] > inbox.DefaultRetry[0]*6/5+time.Second/2 {
			b.Errorf("another queue's delivery is tried at %v, want again after 5 s", got)
		}
		if b.app.total() != replayed+2 {
			b.Errorf("%d attempts", b.app.total())
		}
	})
}

// TestAnAttemptThatHasEndedHoldsNoDelivery: its goroutine waits for another one, which
// may be a day later, and its body would count against no limit meanwhile.
func TestAnAttemptThatHasEndedHoldsNoDelivery(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		var made weak.Pointer[inbox.Delivery]
		b.app.set(func(a *inbox.Attempt) inbox.Result {
			made = weak.Make(a.Delivery)
			return inbox.Result{Status: 200}
		})
		b.accept(shop, 1)
		b.pass(time.Minute)
		runtime.GC()
		if b.state(1, 0); made.Value() != nil {
			b.Error("the delivery is still held")
		}
	})
}
