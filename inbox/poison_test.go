package inbox_test

import (
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// Whoever captured genuine deliveries sends them again under other ids, with something
// unsigned that the app never answers. Their numbers here are from 1000.
const poison = 1000

// poisoned has the app answer everything but poison.
func (b *bench) poisoned() {
	b.app.set(func(a *inbox.Attempt) inbox.Result {
		if int(a.Entry.Key[0])+int(a.Entry.Key[1])<<8 >= poison {
			return inbox.Result{}
		}
		return inbox.Result{Status: 200}
	})
}

// receive stores a delivery as a handler does, which asks the app first if that is up.
func (b *bench) receive(n int, from inbox.Trace) {
	b.Helper()
	down := b.box.Holds(shop)
	got, err := b.box.Accept(b.Context(), &inbox.Delivery{Key: key(n), Queue: shop, Received: time.Now(), Trace: from}, !down)
	if err != nil {
		b.Fatal(err)
	}
	if !down {
		b.box.Finish(got.Attempt, b.app.deliver(b.Context(), got.Attempt))
	}
}

// delay returns how long a delivery that was received at a time waited for its first
// attempt.
func (b *bench) delay(n int, at time.Duration) time.Duration {
	b.Helper()
	calls := b.app.calls(n)
	if len(calls) == 0 {
		b.Errorf("%d was not sent to the app, which is up", n)
		return 0
	}
	return calls[0] - at
}

func TestCopiesOfOneContentDoNotMakeAnAppDown(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.poisoned()
		for n := range 100 {
			b.receive(poison+n, inbox.Trace{Content: 1, Client: uint16(n)})
			b.pass(time.Second)
			if b.box.Holds(shop) {
				b.Fatalf("down after %d copies of one delivery", n+1)
			}
			if n%10 == 0 {
				b.receive(n, inbox.Trace{Content: 100 + uint32(n), Client: 200})
				b.state(n, 0)
			}
		}
		b.app.set(says(502)) // now it is down
		for n := range 3 {
			b.receive(500+n, inbox.Trace{Content: 500 + uint32(n), Client: 200})
		}
		if !b.box.Holds(shop) {
			b.Error("it is not noticed that the app is down")
		}
	})
}

// TestProbesAreSharedByContentAndClient: who makes an app seem down has one turn of
// several, whether they send few contents from many addresses or many from one, in a
// steady stream, in bursts, or before the delivery that waits.
func TestProbesAreSharedByContentAndClient(t *testing.T) {
	for name, from := range map[string]func(n int) inbox.Trace{
		"three contents from anywhere":  func(n int) inbox.Trace { return inbox.Trace{Content: uint32(1 + n%3), Client: uint16(1000 + n)} },
		"any content from an address":   func(n int) inbox.Trace { return inbox.Trace{Content: uint32(1 + n), Client: 1} },
		"three contents, clients alike": func(n int) inbox.Trace { return inbox.Trace{Content: uint32(1 + n%3), Client: 2} },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, inbox.Options{}, func(b *bench) {
				b.poisoned()
				sent := 0
				stranger := func(copies int) {
					for range copies {
						b.receive(poison+sent, from(sent))
						sent++
					}
				}
				for n := range 8 {
					stranger(1 + n%4*25) // what waits before
					at := time.Since(b.app.start)
					b.receive(n, inbox.Trace{Content: 1_000_000 + uint32(n), Client: 2})
					for range 40 {
						stranger(1)
						b.pass(time.Second)
					}
					if d := b.delay(n, at); d > 21*time.Second {
						b.Errorf("%d waited %v", n, d)
					}
				}
			})
		})
	}
}

// TestProbesReachWhatTheAppHasSeen: deliveries that were probed in an outage, or that the
// app answered with an error before it, have turns too while new ones arrive.
func TestProbesReachWhatTheAppHasSeen(t *testing.T) {
	for name, answer := range map[string]inbox.Result{"no answer": {}, "an error": {Status: 500}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, inbox.Options{}, func(b *bench) {
				b.app.set(func(a *inbox.Attempt) inbox.Result { return answer })
				b.receive(0, inbox.Trace{Content: 1_000_000, Client: 2})
				b.poisoned()
				for n := range 300 {
					b.receive(poison+n, inbox.Trace{Content: uint32(1 + n%3), Client: 1})
				}
				for n := range 60 {
					b.receive(poison+300+n, inbox.Trace{Content: uint32(1 + n%3), Client: 1})
					b.pass(time.Second)
				}
				b.state(0, 0)
			})
		})
	}
}
