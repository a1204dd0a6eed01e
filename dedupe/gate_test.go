package dedupe_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

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
