package dedupe_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

var (
	key   = dedupe.NewKey("a delivery")
	terms = dedupe.Terms{Wait: 10 * time.Second}
)

// A world is two instances of the gateway with separate connections to one store.
type world struct {
	t            *testing.T
	store        *server
	lineA, lineB *faulty
	a, b         *dedupe.Gate
}

// inWorld runs f in a bubble with virtual time. degrade gives the gates local memory.
func inWorld(t *testing.T, degrade bool, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: newServer()}
		open := func() (*faulty, *dedupe.Gate) {
			line := &faulty{Store: w.store}
			o := dedupe.Options{Store: line}
			if degrade {
				o.Local = dedupe.NewMemory(dedupe.MemoryOptions{})
			}
			return line, dedupe.NewGate(o)
		}
		w.lineA, w.a = open()
		w.lineB, w.b = open()
		f(w)
		w.lineA.up()
		w.lineB.up()
		if err := errors.Join(w.a.Close(t.Context()), w.b.Close(t.Context())); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func (w *world) claim(g *dedupe.Gate, t dedupe.Terms, want dedupe.Outcome) dedupe.Decision {
	w.t.Helper()
	d := g.Claim(w.t.Context(), key, t)
	if d.Outcome != want {
		w.t.Fatalf("claim: got %v, want %v", d.Outcome, want)
	}
	return d
}

// later claims in the background and returns when the claim waits or is decided.
func (w *world) later(ctx context.Context, g *dedupe.Gate, t dedupe.Terms) <-chan dedupe.Decision {
	c := make(chan dedupe.Decision, 1)
	go func() { c <- g.Claim(ctx, key, t) }()
	synctest.Wait()
	return c
}

func (w *world) decided(c <-chan dedupe.Decision, want dedupe.Outcome) dedupe.Decision {
	w.t.Helper()
	synctest.Wait()
	select {
	case d := <-c:
		if d.Outcome != want {
			w.t.Fatalf("decision: got %v, want %v", d.Outcome, want)
		}
		return d
	default:
		w.t.Fatalf("no decision, want %v", want)
		return dedupe.Decision{}
	}
}

func (w *world) undecided(c <-chan dedupe.Decision) {
	w.t.Helper()
	synctest.Wait()
	select {
	case d := <-c:
		w.t.Fatalf("decided %v, want to wait", d.Outcome)
	default:
	}
}

func TestDoneIsSeenByAllBeforeItReturns(t *testing.T) {
	inWorld(t, false, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		here := w.later(w.t.Context(), w.a, terms)
		there := w.later(w.t.Context(), w.b, terms)
		w.undecided(here)
		w.undecided(there)

		d.Claim.Done(204)
		if got := w.decided(here, dedupe.Duplicate); got.Status != 204 {
			w.t.Errorf("status: got %d, want 204", got.Status)
		}
		w.claim(w.a, terms, dedupe.Duplicate)
		time.Sleep(300 * time.Millisecond) // one poll of the copy at the other instance
		w.decided(there, dedupe.Duplicate)
		w.claim(w.b, dedupe.Terms{}, dedupe.Duplicate)
	})
}

func TestOneWaiterTakesOverAfterARelease(t *testing.T) {
	inWorld(t, false, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		first := w.later(w.t.Context(), w.a, terms)
		second := w.later(w.t.Context(), w.a, terms)
		d.Claim.Release()
		next := w.decided(first, dedupe.Held)
		w.undecided(second)
		next.Claim.Done(200)
		w.decided(second, dedupe.Duplicate)
	})
}

func TestAnotherInstanceTakesOverAfterARelease(t *testing.T) {
	inWorld(t, false, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		there := w.later(w.t.Context(), w.b, terms)
		d.Claim.Release()
		time.Sleep(300 * time.Millisecond)
		w.decided(there, dedupe.Held).Claim.Release()
	})
}

func TestWaitingEnds(t *testing.T) {
	inWorld(t, false, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		defer d.Claim.Release()

		if got := w.claim(w.a, dedupe.Terms{}, dedupe.Busy); got.RetryAfter != 3*time.Second {
			w.t.Errorf("retry after: got %v, want 3s", got.RetryAfter)
		}
		w.claim(w.b, dedupe.Terms{}, dedupe.Busy)

		for _, g := range []*dedupe.Gate{w.a, w.b} {
			start := time.Now()
			w.claim(g, terms, dedupe.Busy)
			if took := time.Since(start); took > terms.Wait || took < terms.Wait-time.Second {
				w.t.Errorf("waited %v, want about %v and not more", took, terms.Wait)
			}
			ctx, hangUp := context.WithCancel(w.t.Context())
			c := w.later(ctx, g, terms)
			w.undecided(c)
			hangUp()
			w.decided(c, dedupe.Busy)
		}
	})
}

func TestAtMostEightWaitForAKey(t *testing.T) {
	inWorld(t, false, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		var waiting []<-chan dedupe.Decision
		for range 8 {
			waiting = append(waiting, w.later(w.t.Context(), w.a, terms))
		}
		w.claim(w.a, terms, dedupe.Busy)
		if n := w.a.Stats().Waiting; n != 8 {
			w.t.Errorf("waiting: got %d, want 8", n)
		}
		d.Claim.Done(200)
		for _, c := range waiting {
			w.decided(c, dedupe.Duplicate)
		}
		if s := w.a.Stats(); s.Waiting != 0 || s.InFlight != 0 {
			w.t.Errorf("left behind: %+v", s)
		}
	})
}

// TestCopiesShareThePlaces: neither one client nor one request of many takes all the
// places of copies that wait, nor every turn. A copy is a client and a request.
func TestCopiesShareThePlaces(t *testing.T) {
	for name, tc := range map[string]struct {
		waiting string // in order of arrival, after the first copy, A1
		last    string // of all
		out     int    // whose place it takes; -1: none is left
		turns   string // in which the rest goes to the app, all refused
	}{
		"one request":                                 {"A1A1A1A1A1A1A1A1", "A1", -1, "A1A1A1A1A1A1A1A1"},
		"another client":                              {"A1A1A1A1A1A1A1A1", "B1", 7, "B1A1A1A1A1A1A1A1"},
		"another client with the same request":        {"A1A2A3A4A5A6A7A8", "B1", 7, "B1A1A2A3A4A5A6A7"},
		"another request of the client":               {"A1A1A1A1A1A1A1A1", "A2", 7, "A2A1A1A1A1A1A1A1"},
		"of another client and another request":       {"A2A1A1A1A1A1A1A1", "B3", 7, "B3A2A1A1A1A1A1A1"},
		"the newest of the most alike goes":           {"A2A2A1A1A1A1A1A3", "B1", 6, "B1A2A1A2A1A3A1A1"},
		"clients with two more":                       {"A1A1A1B1B1B1C1C1", "D1", 5, "B1A1B1A1C1A1C1D1"},
		"clients with one more":                       {"A1B1C1D1E1F1G1H1", "J1", -1, "B1A1C1D1E1F1G1H1"},
		"a request of a client with fewer":            {"A1A1A1A1A1A1B1B2", "B3", 5, "B1A1B2A1B3A1A1A1"},
		"a client's own, if others have none to give": {"A1A1A1A1B1B1B1B2", "B3", 6, "B1A1B1A1B2A1B3A1"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, false, func(w *world) {
				from := func(copy string) dedupe.Terms {
					in := terms
					in.From = dedupe.From{Client: netip.PrefixFrom(netip.AddrFrom4([4]byte{copy[0]}), 32), Request: uint64(copy[1])}
					return in
				}
				leader := w.claim(w.a, from("A1"), dedupe.Held).Claim
				var copies []string
				var waiting []<-chan dedupe.Decision
				for all := tc.waiting + tc.last; all != ""; all = all[2:] {
					copies = append(copies, all[:2])
					waiting = append(waiting, w.later(w.t.Context(), w.a, from(all)))
				}
				out := tc.out
				if out < 0 {
					out = len(copies) - 1
				}
				w.decided(waiting[out], dedupe.Busy)
				if n := w.a.Stats().Waiting; n != 8 {
					w.t.Errorf("%d wait, want 8", n)
				}
				turns := ""
				for range 8 {
					leader.Release()
					synctest.Wait()
					leader = nil
					for i, c := range waiting {
						select {
						case d := <-c:
							turns, leader = turns+copies[i], d.Claim
						default:
						}
					}
					if leader == nil {
						w.t.Fatalf("after %s nothing has its turn", turns)
					}
				}
				leader.Release()
				if turns != tc.turns {
					w.t.Errorf("turns %s, want %s", turns, tc.turns)
				}
			})
		})
	}
}

func TestAWaiterWhoIsCalledAsItsSenderLeavesPassesTheTurnOn(t *testing.T) {
	inWorld(t, false, func(w *world) {
		for range 100 { // the scheduler decides the order of the two events
			d := w.claim(w.a, terms, dedupe.Held)
			ctx, hangUp := context.WithCancel(w.t.Context())
			first := w.later(ctx, w.a, terms)
			second := w.later(w.t.Context(), w.a, terms)
			go hangUp()
			d.Claim.Release()
			synctest.Wait()
			if got := <-first; got.Outcome == dedupe.Held {
				got.Claim.Release()
			}
			w.decided(second, dedupe.Held).Claim.Release()
		}
	})
}

func TestASlowAttemptKeepsItsClaim(t *testing.T) {
	inWorld(t, false, func(w *world) {
		d := w.claim(w.a, dedupe.Terms{Limit: 5 * time.Minute}, dedupe.Held)
		for range 10 {
			time.Sleep(29 * time.Second)
			w.claim(w.b, dedupe.Terms{}, dedupe.Busy)
		}
		if n := w.lineA.count("renew"); n < 95 || n > 97 {
			w.t.Errorf("renewed %d times in 290 s, want one in 3 s", n)
		}
		d.Claim.Done(200)
		n := w.lineA.count("renew")
		time.Sleep(time.Minute)
		if w.lineA.count("renew") != n {
			w.t.Error("renewed after it was settled")
		}
	})
}

func TestAnAttemptWithoutEndLosesItsClaim(t *testing.T) {
	inWorld(t, false, func(w *world) {
		d := w.claim(w.a, dedupe.Terms{}, dedupe.Held)
		time.Sleep(65 * time.Second)
		w.claim(w.a, dedupe.Terms{}, dedupe.Busy)
		waiter := w.later(w.t.Context(), w.a, dedupe.Terms{Wait: time.Minute})
		time.Sleep(15 * time.Second) // limit 60 s + lease 9 s, then the lease itself
		next := w.decided(waiter, dedupe.Held)
		if n := w.lineA.count("renew"); n > 23 {
			w.t.Errorf("renewed %d times, want at most 23", n)
		}

		d.Claim.Release() // affects no other
		w.claim(w.a, dedupe.Terms{}, dedupe.Busy)
		w.claim(w.b, dedupe.Terms{}, dedupe.Busy)
		next.Claim.Release()
	})
}

func TestALateDoneStillCounts(t *testing.T) {
	inWorld(t, false, func(w *world) {
		late := w.claim(w.a, dedupe.Terms{}, dedupe.Held)
		time.Sleep(3 * time.Minute)
		next := w.claim(w.b, dedupe.Terms{}, dedupe.Held)
		late.Claim.Done(200)
		next.Claim.Release()
		w.claim(w.b, dedupe.Terms{}, dedupe.Duplicate)
		w.claim(w.a, dedupe.Terms{}, dedupe.Duplicate)
	})
}

func TestTheFirstToSettleCounts(t *testing.T) {
	inWorld(t, false, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		d.Claim.Done(200)
		d.Claim.Release()
		d.Claim.Done(500)
		if got := w.claim(w.b, terms, dedupe.Duplicate); got.Status != 200 {
			w.t.Errorf("status: got %d, want 200", got.Status)
		}
	})
	inWorld(t, false, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		d.Claim.Release()
		d.Claim.Done(200)
		w.claim(w.b, terms, dedupe.Held).Claim.Release()
	})
}

func TestAWindowEnds(t *testing.T) {
	inWorld(t, true, func(w *world) {
		w.claim(w.a, dedupe.Terms{TTL: time.Hour}, dedupe.Held).Claim.Done(200)
		time.Sleep(59 * time.Minute)
		w.claim(w.a, terms, dedupe.Duplicate)
		time.Sleep(2 * time.Minute)
		w.claim(w.a, terms, dedupe.Held).Claim.Release()
	})
}

func TestALostLeaseIsTakenBackIfNobodyHasIt(t *testing.T) {
	inWorld(t, false, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		w.store.Done(w.t.Context(), key, dedupe.Mark{Status: 200, TTL: 0}) // the store forgets, as Redis does on FLUSHALL
		time.Sleep(11 * time.Second)
		w.claim(w.b, dedupe.Terms{}, dedupe.Busy)
		if n := w.a.Stats().LostLeases; n != 1 {
			w.t.Errorf("lost leases: got %d, want 1", n)
		}
		d.Claim.Release()
		w.claim(w.b, dedupe.Terms{}, dedupe.Held).Claim.Release()
	})
}

// A killed process neither renews nor releases. Some senders make three attempts in
// 15 s.
func TestWhatAKilledInstanceHadInFlightIsFreeWithin10s(t *testing.T) {
	inWorld(t, false, func(w *world) {
		w.claim(w.a, dedupe.Terms{}, dedupe.Held)
		time.Sleep(time.Minute - time.Second) // just renewed
		w.lineA.down()
		start := time.Now()
		w.claim(w.b, terms, dedupe.Held).Claim.Release()
		if took := time.Since(start); took > 10*time.Second {
			w.t.Errorf("free after %v", took)
		}
	})
}

// Copies that arrive while the store is being called are not in flight: if the
// delivery is done, each of them learns it.
func TestCopiesOfWhatIsDoneDoNotCountAsInFlight(t *testing.T) {
	inWorld(t, true, func(w *world) {
		w.claim(w.b, terms, dedupe.Held).Claim.Done(202)
		w.lineA.set(func(string) fault { return fault{delay: 200 * time.Millisecond} })
		var copies []<-chan dedupe.Decision
		for i := range 30 {
			copies = append(copies, w.later(w.t.Context(), w.a, dedupe.Terms{Wait: time.Duration(i%2) * time.Minute}))
		}
		time.Sleep(200 * time.Millisecond)
		for _, c := range copies {
			if d := w.decided(c, dedupe.Duplicate); d.Status != 202 {
				w.t.Errorf("status %d", d.Status)
			}
		}
	})
}

// If the store says that it is not done, as many wait as usual, and none that must
// not.
func TestCopiesOfWhatIsNotDoneWaitAsEver(t *testing.T) {
	for name, held := range map[string]bool{"here": true, "elsewhere": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, true, func(w *world) {
				if !held {
					w.claim(w.b, terms, dedupe.Held)
				}
				w.lineA.set(func(string) fault { return fault{delay: 200 * time.Millisecond} })
				first := w.later(w.t.Context(), w.a, terms)
				var copies []<-chan dedupe.Decision
				for i := range 30 {
					copies = append(copies, w.later(w.t.Context(), w.a, dedupe.Terms{Wait: time.Duration(i%2) * time.Minute}))
				}
				time.Sleep(200 * time.Millisecond)
				for i, c := range copies {
					if i%2 == 1 && i < 16 {
						w.undecided(c)
					} else {
						w.decided(c, dedupe.Busy)
					}
				}
				if n := w.a.Stats().Waiting; n != 8 {
					w.t.Errorf("%d wait, want 8", n)
				}
				if held {
					w.decided(first, dedupe.Held).Claim.Done(200)
				} else if err := w.store.Done(w.t.Context(), key, dedupe.Mark{Status: 200, TTL: time.Hour}); err != nil {
					w.t.Error(err)
				}
				time.Sleep(time.Second)
				for i := 1; i < 16; i += 2 {
					w.decided(copies[i], dedupe.Duplicate)
				}
			})
		})
	}
}

func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := dedupe.NewGate(dedupe.Options{Store: dedupe.NewMemory(dedupe.MemoryOptions{}), MaxInFlight: 1})
		d := g.Claim(t.Context(), key, terms)
		if got := g.Claim(t.Context(), dedupe.NewKey("other"), terms); got.Outcome != dedupe.Overloaded || got.RetryAfter == 0 {
			t.Errorf("second key: got %+v, want overloaded", got)
		}
		d.Claim.Release()

		g = dedupe.NewGate(dedupe.Options{Store: dedupe.NewMemory(dedupe.MemoryOptions{MaxInFlight: 1})})
		d = g.Claim(t.Context(), key, terms)
		if got := g.Claim(t.Context(), dedupe.NewKey("other"), terms); got.Outcome != dedupe.Overloaded {
			t.Errorf("second key: got %v, want overloaded, since the store is full but well", got.Outcome)
		}
		d.Claim.Release()
	})
}

func TestForget(t *testing.T) {
	inWorld(t, true, func(w *world) {
		forget := func(g *dedupe.Gate, want bool, wantErr error) {
			w.t.Helper()
			if found, err := g.Forget(w.t.Context(), key); found != want || !errors.Is(err, wantErr) {
				w.t.Fatalf("forget: got %v %v, want %v %v", found, err, want, wantErr)
			}
		}
		forget(w.a, false, nil)
		d := w.claim(w.a, terms, dedupe.Held)
		forget(w.a, false, dedupe.ErrInFlight) // here
		forget(w.b, false, dedupe.ErrInFlight) // at another instance
		d.Claim.Done(200)
		forget(w.b, true, nil)
		// Although done at this very instance before. A refusal by the app does not
		// restore the memory of it.
		w.claim(w.a, terms, dedupe.Held).Claim.Release()
		w.claim(w.a, terms, dedupe.Held).Claim.Done(200)
		w.claim(w.b, terms, dedupe.Duplicate)
	})
}
