package inbox_test

import (
	"slices"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

const replayed = 1000 // deliveries; what arrives has higher numbers

// bury makes dead letters.
func (b *bench) bury(numbers ...int) {
	b.Helper()
	for _, n := range numbers {
		got, err := b.mem.Accept(b.Context(), &inbox.Delivery{Key: key(n), Queue: shop, Received: time.Now()}, true)
		if err != nil {
			b.Fatal(err)
		}
		b.mem.Settle(got.Attempt, inbox.Settlement{To: inbox.Dead, Status: 410})
	}
}

func (b *bench) replay() {
	b.Helper()
	n, err := b.mem.Replay(b.Context(), inbox.Selection{Handler: "shop", States: []inbox.State{inbox.Dead}}, "")
	if err != nil || n != replayed {
		b.Fatalf("%d are replayed: %v", n, err)
	}
}

func (b *bench) lasts(d time.Duration) {
	b.app.mu.Lock()
	defer b.app.mu.Unlock()
	b.app.lasts = d
}

func TestReplaysWaitForWhatArrives(t *testing.T) {
	inBubble(t, inbox.Options{Concurrency: 4}, func(b *bench) {
		b.lasts(100 * time.Millisecond)
		b.bury(numbers(0, replayed)...)
		b.replay()
		b.pass(5 * time.Second)
		for n := replayed; n < replayed+50; n++ {
			began := time.Since(b.app.start)
			b.accept(shop, n)
			b.pass(time.Second)
			if got := b.app.calls(n); len(got) != 1 || got[0]-began > 100*time.Millisecond {
				b.Errorf("it arrives at %v and is tried at %v, want one attempt of another one between", began, got)
			}
		}
		b.pass(time.Minute)
		if b.app.total() != replayed+50 || b.app.most != 3 {
			b.Errorf("%d attempts, %d at once; want each once, and three quarters of 4", b.app.total(), b.app.most)
		}
	})
}

// A replay while the app is down makes nothing but the probes; when the app is back, it
// gets what arrived meanwhile first, and no more at once than it has answered.
func TestAReplayWhileTheAppIsDown(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.bury(numbers(0, replayed)...)
		b.app.set(says(502))
		b.accept(shop, numbers(replayed, replayed+3)...)
		b.pass(time.Second)
		if !b.box.Holds(shop) {
			b.Fatal("the app is not down")
		}
		before := b.app.total()
		b.replay()
		b.pass(10 * time.Minute)
		if probes := b.app.total() - before; probes < 115 || probes > 121 {
			b.Errorf("%d attempts in ten minutes, want a probe every 5 s", probes)
		}
		b.accept(shop, numbers(replayed+3, replayed+200)...)
		b.app.set(says(200))
		b.lasts(time.Second)
		before = b.app.total()
		for atOnce := 0; atOnce < 12; {
			b.pass(time.Second)
			b.app.mu.Lock()
			now := b.app.running
			b.app.mu.Unlock()
			if now > max(1, 2*atOnce) {
				b.Fatalf("%d attempts at once after %d", now, atOnce)
			}
			atOnce = max(atOnce, now)
		}
		b.pass(5 * time.Minute)
		for n := range replayed + 200 {
			b.state(n, 0)
		}
		var last time.Duration
		first := time.Since(b.app.start)
		for _, k := range b.app.order[before+2:] { // after the probe, which may be of any, and its successor
			n := int(k[0]) + int(k[1])<<8
			calls := b.app.calls(n)
			began := calls[len(calls)-1] // not the place in order: those that begin at one instant may overtake each other
			switch {
			case n >= replayed:
				last = max(last, began)
			case !slices.Contains(b.app.order[:before+2], k): // probed in vain: it waits for the app
				first = min(first, began)
			}
		}
		if first < last {
			b.Errorf("a replayed one is tried at %v, and one that arrived at %v", first, last)
		}
	})
}

// After a start, the configuration may serve a moment later than the box begins.
func TestAReplayThatMayNotBeMadeYetKeepsItsTurn(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		const dead, arrived = 200, 20
		b.app.set(func(*inbox.Attempt) inbox.Result { return inbox.Result{Later: 20 * time.Millisecond} })
		b.bury(numbers(0, dead)...)
		if _, err := b.mem.Replay(b.Context(), inbox.Selection{Handler: "shop"}, ""); err != nil {
			b.Fatal(err)
		}
		b.pass(50 * time.Millisecond)
		for n := range arrived {
			b.accept(shop, dead+n)
		}
		b.pass(50 * time.Millisecond)
		b.lasts(time.Millisecond)
		before := b.app.total()
		b.app.set(says(200))
		b.pass(time.Minute)
		for n := range arrived {
			if place := slices.Index(b.app.order[before:], key(dead+n)); place < 0 || place >= 2*arrived {
				b.Errorf("the one that arrived as number %d is attempt %d", n, place)
			}
		}
	})
}

func TestAReplayContinuesAfterARestart(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.lasts(100 * time.Millisecond)
		b.bury(numbers(0, replayed)...)
		b.replay()
		b.pass(2050 * time.Millisecond)
		done := b.app.total()
		if done == 0 || done >= replayed {
			b.Fatalf("%d attempts: it is not in the middle", done)
		}
		if err := b.box.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.mem.Restart()
		b.box = inbox.NewBox(inbox.Options{Engine: b.mem, Deliver: b.app.deliver})
		defer b.box.Close(b.Context())
		b.box.Configure(anyPolicy)
		b.accept(shop, replayed)
		b.pass(250 * time.Millisecond) // a replayed one may have been first
		b.state(replayed, 0)
		b.pass(time.Minute)
		for n := range replayed {
			b.state(n, 0)
			if got := b.app.calls(n); len(got) != 1 {
				b.Errorf("%d: attempts at %v, want one", n, got)
			}
		}
	})
}

// TestADeliveryThatMayNotBeMadeYetIsMadeSoon: also one that waits for the app, which
// answers others meanwhile, or has not been asked since a start.
func TestADeliveryThatMayNotBeMadeYetIsMadeSoon(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.app.set(says(502))
		b.accept(shop, 1)
		b.pass(time.Second)
		if b.box.Holds(shop) || b.state(1, inbox.Pending).Hold != inbox.HoldApp {
			b.Fatal("the app is down, or the delivery does not wait for it")
		}
		b.app.set(func(*inbox.Attempt) inbox.Result { return inbox.Result{Later: 20 * time.Millisecond} })
		b.pass(5 * time.Second)
		b.app.set(says(200))
		b.pass(time.Second)
		b.state(1, 0)
	})
}
