package dedupe_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

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
