package nats

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

func number(a *inbox.Attempt) int { return a.Delivery.Received.Nanosecond() }

func put(t *testing.T, e *Engine, n int, running bool) inbox.Accepted {
	t.Helper()
	got, err := e.Accept(t.Context(), delivery(n), running)
	if err != nil {
		t.Fatalf("accept %d: %v", n, err)
	}
	return got
}

// has waits until a gateway knows that a delivery is in a state; 0: removed.
func has(tb inboxtest.TB, e *Engine, n int, want inbox.State) {
	tb.Helper()
	until(tb, fmt.Sprintf("%d does not become %v", n, want), func() bool {
		got, _, err := e.Find(context.Background(), key(n))
		return err == nil && got.State == want
	})
}

// taken waits until a delivery is due, and takes it.
func taken(t *testing.T, e *Engine) (a *inbox.Attempt) {
	t.Helper()
	until(t, "nothing becomes due", func() bool {
		var err error
		a, err = e.Take(context.Background(), shop, inbox.NextDue)
		return a != nil && err == nil
	})
	return a
}

// gateways opens engines that share a stream. A gateway that is silent for 2 s counts as
// gone.
func gateways(t *testing.T, urls []string, n int) (all []*Engine) {
	t.Helper()
	for range n {
		all = append(all, open(t, Options{Servers: urls, MaxSize: 64 << 20, lease: 2 * time.Second, patience: 2 * time.Second}))
	}
	return all
}

func TestGatewaysKnowWhatOthersAccept(t *testing.T) {
	s := start(t)
	g := gateways(t, []string{s.url()}, 2)
	a, b := g[0], g[1]
	if a.Status().ID != b.Status().ID || a.Status().ID == "" {
		t.Errorf("of one stream: %q and %q", a.Status().ID, b.Status().ID)
	}
	got := put(t, a, 1, true)
	has(t, b, 1, inbox.InAttempt)
	if again := put(t, b, 1, true); !again.Copy || again.Attempt != nil {
		t.Errorf("a second attempt, while another gateway makes one: %+v", again)
	}
	a.Settle(got.Attempt, inbox.Settlement{To: inbox.Dead, Status: 410})
	has(t, b, 1, inbox.Dead)
	if n, err := b.Replay(t.Context(), inbox.Selection{Handler: "shop"}, ""); n != 1 || err != nil {
		t.Fatalf("replay: %d %v", n, err)
	}
	has(t, a, 1, inbox.Pending)
	b.Settle(taken(t, b), inbox.Settlement{To: inbox.Delivered, Status: 200})
	has(t, a, 1, 0)
	put(t, a, 2, false)
	if keys, err := b.Discard(t.Context(), inbox.Selection{Keys: []inbox.Key{key(2)}}); len(keys) > 1 || err != nil {
		t.Errorf("discard: %v %v", keys, err)
	}
}

// Two gateways accept, attempt, retry and replay the same deliveries at the same time. Each
// delivery has one attempt at a time.
func TestOneAttemptOverTwoGateways(t *testing.T) {
	s := start(t)
	const deliveries = 300
	g := gateways(t, []string{s.url()}, 2)
	var running [deliveries]atomic.Int32
	var tries [deliveries]atomic.Int32
	var left atomic.Int32
	left.Store(deliveries)
	var wg sync.WaitGroup
	for i, e := range g {
		wg.Go(func() {
			for n := range deliveries { // each at both gateways: one of the two is a copy
				if _, err := e.Accept(context.Background(), delivery(n), false); err != nil && tries[n].Load() == 0 {
					t.Errorf("accept %d at %d: %v", n, i, err)
				}
			}
		})
	}
	wg.Wait()
	stored := int32(0)
	for _, q := range must(g[0].Queues(t.Context())) {
		stored += int32(q.Pending)
	}
	if stored != deliveries {
		t.Fatalf("%d are stored, want %d", stored, deliveries)
	}
	for _, e := range g {
		for range 6 {
			wg.Go(func() {
				for left.Load() > 0 && t.Context().Err() == nil {
					a, err := e.Take(context.Background(), shop, inbox.NextDue)
					if err != nil || a == nil {
						time.Sleep(time.Millisecond) // only limits the polling: Changed serves one listener, and these are many
						continue
					}
					n := number(a)
					if running[n].Add(1) != 1 {
						t.Errorf("%d has two attempts", n)
					}
					tries[n].Add(1)
					_, _ = e.Replay(context.Background(), inbox.Selection{Keys: []inbox.Key{key(n)}}, "")
					running[n].Add(-1)
					if a.Entry.Attempts < 2 {
						e.Settle(a, inbox.Settlement{To: inbox.Pending, Status: 500})
					} else {
						e.Settle(a, inbox.Settlement{To: inbox.Delivered, Status: 200})
						left.Add(-1)
					}
				}
			})
		}
	}
	wg.Wait()
	for n := range deliveries {
		if got := tries[n].Load(); got != 3 {
			t.Errorf("%d had %d attempts, want 3", n, got)
		}
	}
	for i, e := range g {
		until(t, fmt.Sprintf("gateway %d still holds something", i), func() bool { return len(must(e.Queues(context.Background()))) == 0 })
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The attempts of a gateway that is killed are taken over; those of one that is closed,
// immediately.
func TestAGatewayStops(t *testing.T) {
	for how, lease := range map[string]time.Duration{"killed": 2 * time.Second, "closed": time.Minute} {
		t.Run(how, func(t *testing.T) {
			s := start(t)
			o := Options{Servers: []string{s.url()}, MaxSize: 64 << 20, lease: lease}
			a, b := open(t, o), open(t, o)
			put(t, a, 1, true)
			put(t, a, 2, false)
			has(t, b, 1, inbox.InAttempt)
			has(t, b, 2, inbox.Pending)
			if got, err := b.Take(t.Context(), shop, inbox.NextDue); got != nil || err != nil {
				t.Fatalf("taken from the gateway that attempts it or has just accepted it: %+v %v", got, err)
			}
			began := time.Now()
			if how == "killed" {
				a.halt()
			} else {
				closeEngine(t, a)
			}
			for range 2 {
				b.Settle(taken(t, b), inbox.Settlement{To: inbox.Delivered, Status: 200})
			}
			took := time.Since(began)
			t.Logf("taken over after %v, with a lease of %v", took, lease)
			if how == "closed" && took > lease/2 {
				t.Errorf("after the gateway was closed, the other one waits %v", took)
			}
		})
	}
}

// A gateway was cut off for so long that another one repeated its attempt.
func TestAnAttemptThatWasOvertaken(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		name string
		to   inbox.State
		want inbox.State
	}{{"and the app accepted it", inbox.Delivered, 0}, {"and failed", inbox.Pending, inbox.InAttempt}} {
		t.Run(c.name, func(t *testing.T) {
			g := gateways(t, []string{s.url()}, 2)
			a, b := g[0], g[1]
			n := int(c.to)
			old := put(t, a, n, true)
			has(t, b, n, inbox.InAttempt)
			sayGone(t, b, a.self.id)
			second := taken(t, b)
			a.Settle(old.Attempt, inbox.Settlement{To: c.to, Status: 200})
			until(t, "it is not written", func() bool { return a.Status().Unwritten == 0 })
			has(t, b, n, c.want)
			has(t, a, n, c.want)
			b.Settle(second, inbox.Settlement{To: inbox.Delivered, Status: 200})
			has(t, a, n, 0)
		})
	}
}

// sayGone declares a gateway gone, as another one does after silence.
func sayGone(t *testing.T, by *Engine, id sessionID) {
	t.Helper()
	until(t, "the gateway beats too often", func() bool {
		by.mu.Lock()
		seq := by.sessions[id].seq
		by.mu.Unlock()
		_, err := by.say(context.Background(), id, seq, sessionGone, goneTTL)
		return err == nil
	})
}

// A delivery does not reach its handler at one gateway: the others deliver it on its
// schedule, and that one tries it again with its next configuration.
func TestARouteThatOneGatewayDoesNotHave(t *testing.T) {
	s := start(t)
	g := gateways(t, []string{s.url()}, 2)
	a, b := g[0], g[1]
	first := put(t, a, 1, true)
	a.Settle(first.Attempt, inbox.Settlement{To: inbox.Pending, Status: 500})
	has(t, b, 1, inbox.Pending)
	b.Settle(taken(t, b), inbox.Settlement{To: inbox.Pending, Hold: inbox.HoldRoute, Unspent: true})
	until(t, "it is not written", func() bool { return b.Status().Unwritten == 0 })
	if e, _, _ := b.Find(t.Context(), key(1)); e.Hold != inbox.HoldRoute || !e.Due.IsZero() {
		t.Errorf("where it has no route: %+v", e)
	}

	second := taken(t, a)
	if e := second.Entry; e.Hold != inbox.HoldTime || e.Attempts != 1 || e.Status != 500 {
		t.Errorf("where it has a route: %+v", e)
	}
	a.Settle(second, inbox.Settlement{To: inbox.Pending, Status: 502, Hold: inbox.HoldApp})
	until(t, "it has not heard of the second attempt", func() bool {
		e, _, err := b.Find(t.Context(), key(1))
		return err == nil && e.State == inbox.Pending && e.Attempts == 2
	})
	for _, which := range []inbox.Which{inbox.NextDue, inbox.Probe} {
		if got, err := b.Take(t.Context(), shop, which); got != nil || err != nil {
			t.Errorf("taken again without a route: %+v %v", got, err)
		}
	}
	if err := b.Hasten(t.Context(), shop, inbox.HoldRoute); err != nil {
		t.Fatal(err)
	}
	third := taken(t, b)
	if third.Entry.Attempts != 2 {
		t.Errorf("with a route: %+v", third.Entry)
	}
	b.Settle(third, inbox.Settlement{To: inbox.Delivered, Status: 200})
	has(t, a, 1, 0)
}
