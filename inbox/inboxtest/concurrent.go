package inboxtest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"pgregory.net/rapid"
)

func testCopiesAtOnce(t *testing.T, e inbox.Engine) {
	p := &probe{t: t, Subject: Subject{Engine: e, Now: time.Now}}
	for n := range 20 {
		var stored, attempts atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				got, err := e.Accept(context.Background(), p.delivery(shop, n), i%2 == 0)
				if err != nil {
					t.Errorf("accept: %v", err)
				}
				if !got.Copy {
					stored.Add(1)
				}
				if got.Attempt != nil {
					attempts.Add(1)
				}
			})
		}
		wg.Wait()
		if stored.Load() != 1 || attempts.Load() != 1 {
			t.Fatalf("round %d: %d stored, %d attempts, want 1 and 1", n, stored.Load(), attempts.Load())
		}
	}
}

// testOneAttempt runs accept, take, settle, replay and discard concurrently. Each
// delivery has at most one attempt at a time, and each accepted one is settled once.
func testOneAttempt(t *testing.T, s Subject) {
	const deliveries, takers = 400, 8
	p := &probe{t: t, Subject: s}
	e := s.Engine
	var running [deliveries]atomic.Int32
	var delivered atomic.Int32
	done := make(chan struct{})
	var accepting, taking sync.WaitGroup
	for i := range 4 {
		accepting.Go(func() {
			for n := i; n < deliveries; n += 4 {
				if _, err := e.Accept(context.Background(), p.delivery(shop, n), false); err != nil {
					t.Errorf("accept: %v", err)
				}
			}
		})
	}
	for i := range takers {
		taking.Go(func() {
			for tries := 0; ; tries++ {
				a, err := e.Take(context.Background(), shop, inbox.NextDue)
				if err != nil {
					t.Errorf("take: %v", err)
					return
				}
				if a == nil {
					select {
					case <-done:
						return
					case <-time.After(time.Millisecond):
						continue
					}
				}
				n := int(a.Entry.Key[0]) + int(a.Entry.Key[1])<<8
				if running[n].Add(1) != 1 {
					t.Errorf("%d has two attempts", n)
				}
				if _, err := e.Replay(context.Background(), byKey(n), ""); err != nil {
					t.Errorf("replay: %v", err)
				}
				running[n].Add(-1)
				if (tries+i)%3 == 0 {
					e.Settle(a, inbox.Settlement{To: inbox.Pending, Status: 500})
				} else {
					e.Settle(a, inbox.Settlement{To: inbox.Delivered, Status: 200})
					delivered.Add(1)
				}
			}
		})
	}
	accepting.Wait()
	for end := time.Now().Add(time.Minute); delivered.Load() < deliveries && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	close(done)
	taking.Wait()
	if delivered.Load() != deliveries {
		t.Errorf("%d delivered, want %d", delivered.Load(), deliveries)
	}
	if all, err := e.Queues(t.Context()); len(all) != 0 || err != nil {
		t.Errorf("left: %+v %v", all, err)
	}
}

func testMany(p *probe, n int) {
	var wg sync.WaitGroup
	const writers = 64
	for i := range writers {
		wg.Go(func() {
			for k := i; k < n; k += writers {
				d := p.delivery(shop, k)
				if _, err := p.Engine.Accept(context.Background(), d, false); err != nil {
					p.t.Errorf("accept: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	began := time.Now()
	p.Engine = p.Reopen()
	p.t.Logf("opened again in %v", time.Since(began))
	if st := p.stats(shop); st.Pending != n {
		p.t.Errorf("%d are pending, want %d", st.Pending, n)
	}
	for i := range 100 {
		a, err := p.Engine.Take(p.t.Context(), shop, inbox.NextDue)
		if err != nil || a == nil {
			p.t.Fatalf("take: %v %v", a, err)
		}
		k := int(a.Entry.Key[0]) + int(a.Entry.Key[1])<<8 + int(a.Entry.Key[2])<<16
		if string(a.Delivery.Body) != string(p.delivery(shop, k).Body) {
			p.t.Errorf("attempt %d: %d has the body of another", i, k)
		}
		p.end(a, inbox.Delivered)
	}
	if st := p.stats(shop); st.Pending != n-100 {
		p.t.Errorf("%d are pending, want %d", st.Pending, n-100)
	}
}

// testReplayRace replays pending deliveries, under the same and another name, while the app
// accepts them: it gets none of them again.
func testReplayRace(t *testing.T, s Subject) {
	p := &probe{t: t, Subject: s}
	const n = 60
	for i := range n {
		p.accept(shop, i)
	}
	var replays sync.WaitGroup
	for _, as := range []string{"shop", "", "shop"} {
		replays.Go(func() {
			if _, err := p.Engine.Replay(t.Context(), inbox.Selection{Handler: "shop", States: []inbox.State{inbox.Pending}}, as); err != nil {
				t.Errorf("replay: %v", err)
			}
		})
	}
	for delivered := 0; delivered < n; {
		a, err := p.Engine.Take(t.Context(), shop, inbox.NextDue)
		if err != nil {
			t.Fatalf("take: %v", err)
		}
		if a == nil { // moving
			time.Sleep(time.Millisecond)
			continue
		}
		delivered++
		p.Engine.Settle(a, inbox.Settlement{To: inbox.Delivered, Keep: time.Hour})
	}
	replays.Wait()
	for i := range n {
		if e := p.find(i, inbox.Delivered); e.Generation != 0 {
			t.Errorf("%d is replayed after it was delivered: %+v", i, e)
		}
	}
}

// testModel makes the same random calls to the engine and a Memory.
func testModel(t *testing.T, open Factory) {
	queues := rapid.SampledFrom([]inbox.Queue{shop, acme, other})
	numbers := rapid.IntRange(0, 5)
	reasons := rapid.SampledFrom([]inbox.Hold{inbox.HoldApp, inbox.HoldRoute, inbox.HoldRefused})
	holds := rapid.SampledFrom([]inbox.Hold{inbox.HoldTime, inbox.HoldApp, inbox.HoldRoute, inbox.HoldTurn, inbox.HoldRefused})
	times := rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, time.Hour})
	rapid.Check(t, func(rt *rapid.T) {
		s := open(rt, 0)
		p := &probe{t: t, Subject: s}
		m := NewMemory(s.Now, 0)
		queueOf := func(n int) inbox.Queue { return []inbox.Queue{shop, acme, other}[n%3] } // a key belongs to one queue
		type pair struct{ got, want *inbox.Attempt }
		var running []pair
		same := func(what string, got, want inbox.Entry) {
			rt.Helper()
			got.Position, want.Position, got.Size, want.Size = 0, 0, 0, 0
			if !got.Received.Equal(want.Received) || !got.Since.Equal(want.Since) || !got.Due.Equal(want.Due) {
				rt.Fatalf("%s: got %+v, want %+v", what, got, want)
			}
			got.Received, got.Since, got.Due = want.Received, want.Since, want.Due
			if got.State == inbox.Dead || got.State == inbox.Delivered {
				got.Hold, want.Hold = 0, 0
			}
			if got != want {
				rt.Fatalf("%s: got %+v, want %+v", what, got, want)
			}
		}
		begun := func(what string, got, want *inbox.Attempt) {
			rt.Helper()
			if (got == nil) != (want == nil) {
				rt.Fatalf("%s: got %+v, want %+v", what, got, want)
			}
			if got != nil {
				same(what, got.Entry, want.Entry)
				running = append(running, pair{got, want})
			}
		}
		restart := func(open func() inbox.Engine) {
			p.written()
			p.Engine = open()
			m.Restart()
			running = nil
		}
		actions := map[string]func(*rapid.T){
			"accept": func(rt *rapid.T) {
				n, run := numbers.Draw(rt, "number"), rapid.Bool().Draw(rt, "running")
				d := p.delivery(queueOf(n), n)
				got, err := p.Engine.Accept(context.Background(), d, run)
				want, _ := m.Accept(context.Background(), d, run)
				if err != nil || got.Copy != want.Copy {
					rt.Fatalf("accept: got %+v %v, want %+v", got, err, want)
				}
				same("accept", got.Entry, want.Entry)
				begun("accept", got.Attempt, want.Attempt)
			},
			"take": func(rt *rapid.T) {
				q, w := queues.Draw(rt, "queue"), inbox.Which(rapid.IntRange(1, 3).Draw(rt, "which"))
				got, err := p.Engine.Take(context.Background(), q, w)
				want, _ := m.Take(context.Background(), q, w)
				if err != nil {
					rt.Fatalf("take: %v", err)
				}
				begun("take", got, want)
			},
			"settle": func(rt *rapid.T) {
				if len(running) == 0 {
					rt.Skip()
				}
				i := rapid.IntRange(0, len(running)-1).Draw(rt, "attempt")
				st := inbox.Settlement{
					To:     rapid.SampledFrom([]inbox.State{inbox.Pending, inbox.Delivered, inbox.Dead, 0, inbox.InAttempt}).Draw(rt, "to"),
					Status: rapid.SampledFrom([]int{0, 200, 503}).Draw(rt, "status"),
					After:  times.Draw(rt, "after"), Hold: holds.Draw(rt, "hold"), Keep: times.Draw(rt, "keep"),
				}
				p.Engine.Settle(running[i].got, st)
				m.Settle(running[i].want, st)
				if rapid.Bool().Draw(rt, "forget") {
					running = append(running[:i], running[i+1:]...)
				}
			},
			"hasten": func(rt *rapid.T) {
				q, h := queues.Draw(rt, "queue"), reasons.Draw(rt, "hold")
				if err := p.Engine.Hasten(context.Background(), q, h); err != nil {
					rt.Fatalf("hasten: %v", err)
				}
				_ = m.Hasten(context.Background(), q, h)
			},
			"replay": func(rt *rapid.T) {
				sel := byKey(numbers.Draw(rt, "number"))
				got, err := p.Engine.Replay(context.Background(), sel, "")
				if want, _ := m.Replay(context.Background(), sel, ""); got != want || err != nil {
					rt.Fatalf("replay: got %d %v, want %d", got, err, want)
				}
			},
			"discard": func(rt *rapid.T) {
				sel := byKey(numbers.Draw(rt, "number"))
				got, err := p.Engine.Discard(context.Background(), sel)
				if want, _ := m.Discard(context.Background(), sel); len(got) != len(want) || err != nil {
					rt.Fatalf("discard: got %d %v, want %d", len(got), err, len(want))
				}
			},
			"advance": func(rt *rapid.T) { s.Advance(times.Draw(rt, "by") + time.Millisecond) },
			"reopen":  func(*rapid.T) { restart(s.Reopen) },
			"": func(rt *rapid.T) {
				for n := range 6 {
					got, found, err := p.Engine.Find(context.Background(), key(n))
					want, wantFound, _ := m.Find(context.Background(), key(n))
					if err != nil || found != wantFound {
						rt.Fatalf("find %d: got %v %v, want %v", n, found, err, wantFound)
					}
					same("find", got, want)
				}
			},
		}
		if s.Crash != nil {
			actions["crash"] = func(*rapid.T) { restart(s.Crash) }
		}
		rt.Repeat(actions)
	})
}
