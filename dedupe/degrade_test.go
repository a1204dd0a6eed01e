package dedupe_test

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

func other(n int) dedupe.Key { return dedupe.NewKey("another", string(rune(n))) }

// trip makes g treat its store as down.
func (w *world) trip(g *dedupe.Gate) {
	w.t.Helper()
	for i := range 5 {
		if d := g.Claim(w.t.Context(), other(i), dedupe.Terms{}); d.Outcome == dedupe.Held {
			d.Claim.Release()
		}
	}
	if !g.Stats().Degraded {
		w.t.Fatal("five failures in a row did not open the breaker")
	}
}

func TestWhileTheStoreIsDownTheInstanceDecidesAlone(t *testing.T) {
	inWorld(t, true, func(w *world) {
		w.claim(w.a, terms, dedupe.Held).Claim.Done(200)
		w.lineA.down()
		w.claim(w.a, terms, dedupe.Duplicate) // known from before

		fresh := dedupe.NewKey("fresh")
		d := w.a.Claim(w.t.Context(), fresh, terms)
		if d.Outcome != dedupe.Held {
			w.t.Fatalf("fresh: got %v, want held", d.Outcome)
		}
		if got := w.a.Claim(w.t.Context(), fresh, dedupe.Terms{}); got.Outcome != dedupe.Busy {
			w.t.Fatalf("copy: got %v, want busy", got.Outcome)
		}
		d.Claim.Done(200)
		if got := w.a.Claim(w.t.Context(), fresh, terms); got.Outcome != dedupe.Duplicate {
			w.t.Fatalf("retry: got %v, want duplicate", got.Outcome)
		}
		if got := w.a.Stats(); got.DecidedAlone != 1 || got.Unwritten != 1 {
			w.t.Errorf("stats: %+v", got)
		}
	})
}

func TestDonesAreWrittenWhenTheStoreIsBackHoweverLate(t *testing.T) {
	inWorld(t, true, func(w *world) {
		w.lineA.down()
		w.trip(w.a)
		w.claim(w.a, dedupe.Terms{TTL: 2 * time.Hour}, dedupe.Held).Claim.Done(201)
		time.Sleep(time.Hour)
		w.lineA.up()
		time.Sleep(3 * time.Second)
		if s := w.a.Stats(); s.Degraded || s.Unwritten != 0 {
			w.t.Fatalf("stats: %+v, want to be well again", s)
		}
		if got := w.claim(w.b, terms, dedupe.Duplicate); got.Status != 201 {
			w.t.Errorf("status: got %d, want 201", got.Status)
		}
		time.Sleep(time.Hour) // the window starts with the done, not with the write
		w.claim(w.b, terms, dedupe.Held).Claim.Release()
	})
}

// After the store's return, and before a done is written, only the local layer knows
// it.
func TestAnUnwrittenDoneCountsThoughTheStoreIsBack(t *testing.T) {
	inWorld(t, false, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		w.lineA.set(func(op string) fault {
			if op == "done" {
				return fault{before: errBroken}
			}
			return fault{}
		})
		d.Claim.Done(200)
		time.Sleep(time.Minute) // the lease in the store has ended
		w.claim(w.a, terms, dedupe.Duplicate)
	})
}

func TestDoneReturnsSoonThoughTheStoreHangs(t *testing.T) {
	inWorld(t, true, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		waiter := w.later(w.t.Context(), w.a, terms)
		w.lineA.set(func(string) fault { return fault{delay: time.Hour} })
		start := time.Now()
		go func() { w.decided(waiter, dedupe.Duplicate) }() // at once, not after the time limit
		d.Claim.Done(200)
		if took := time.Since(start); took > 500*time.Millisecond {
			w.t.Errorf("done took %v, want at most 500ms", took)
		}
		w.lineA.up()
		time.Sleep(10 * time.Second)
		w.claim(w.b, terms, dedupe.Duplicate)
	})
}

func TestAnOpenBreakerCostsNoTime(t *testing.T) {
	inWorld(t, true, func(w *world) {
		w.lineA.set(func(string) fault { return fault{delay: time.Hour} })
		w.trip(w.a)
		start := time.Now()
		d := w.claim(w.a, terms, dedupe.Held)
		d.Claim.Done(200)
		w.claim(w.a, terms, dedupe.Duplicate)
		if took := time.Since(start); took != 0 {
			w.t.Errorf("took %v, want not to ask the store", took)
		}
	})
}

func TestAStoreThatIsSlowIsTakenForDown(t *testing.T) {
	inWorld(t, true, func(w *world) {
		w.lineA.set(func(string) fault { return fault{delay: 310 * time.Millisecond} })
		w.trip(w.a)
		time.Sleep(time.Minute)
		if !w.a.Stats().Degraded {
			w.t.Error("a slow probe closed the breaker")
		}
		w.lineA.up()
		time.Sleep(3 * time.Second)
		if w.a.Stats().Degraded {
			w.t.Error("a quick probe did not close the breaker")
		}
	})
}

func TestAStoreThatIsDownRefusesUnlessTheInstanceMayDecide(t *testing.T) {
	inWorld(t, false, func(w *world) {
		w.lineA.down()
		if got := w.claim(w.a, terms, dedupe.StoreDown); got.RetryAfter == 0 {
			w.t.Error("no time to retry after")
		}
		w.trip(w.a)
		w.claim(w.a, terms, dedupe.StoreDown)
		w.lineA.up()
		time.Sleep(3 * time.Second)
		w.claim(w.a, terms, dedupe.Held).Claim.Done(200)
	})
}

// A claim with a lost reply may be in the store.
func TestAClaimInDoubtIsGivenBackIfWeRefuse(t *testing.T) {
	inWorld(t, false, func(w *world) {
		w.lineA.set(func(op string) fault {
			if op == "claim" {
				return fault{after: errBroken}
			}
			return fault{}
		})
		w.claim(w.a, terms, dedupe.StoreDown)
		time.Sleep(time.Second)
		w.claim(w.b, terms, dedupe.Held).Claim.Release()
	})
}

func TestAClaimInDoubtIsRenewedIfWeForward(t *testing.T) {
	inWorld(t, true, func(w *world) {
		w.lineA.set(func(string) fault { return fault{after: errBroken} })
		d := w.claim(w.a, terms, dedupe.Held)
		w.lineA.up()
		time.Sleep(45 * time.Second)
		w.claim(w.b, dedupe.Terms{}, dedupe.Busy)
		d.Claim.Release()
		w.claim(w.b, dedupe.Terms{}, dedupe.Held).Claim.Release()
	})
}

func TestAStoreThatGoesDownWhileACopyWaitsDoesNotSetItFree(t *testing.T) {
	inWorld(t, true, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		first := w.later(w.t.Context(), w.b, terms)
		second := w.later(w.t.Context(), w.b, terms)
		time.Sleep(time.Second)
		w.lineB.down()
		time.Sleep(time.Second)
		w.decided(first, dedupe.Busy)
		w.decided(second, dedupe.Busy)
		d.Claim.Done(200)
	})
}

// Deliveries begun while the store was down are claimed as soon as it is back, long
// before their first renewal.
func TestAStoreThatIsBackLearnsWhatIsInFlight(t *testing.T) {
	inWorld(t, true, func(w *world) {
		w.lineA.down()
		w.trip(w.a)
		d := w.claim(w.a, terms, dedupe.Held)
		w.lineA.up()
		time.Sleep(2200 * time.Millisecond)
		synctest.Wait()
		w.claim(w.b, dedupe.Terms{}, dedupe.Busy)
		d.Claim.Done(200)
		w.claim(w.b, dedupe.Terms{}, dedupe.Duplicate)
	})
}

func TestAReleaseThatFailedIsRepeated(t *testing.T) {
	inWorld(t, true, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		w.lineA.down()
		d.Claim.Release()
		w.claim(w.b, dedupe.Terms{}, dedupe.Busy)
		w.lineA.up()
		time.Sleep(3 * time.Second)
		w.claim(w.b, dedupe.Terms{}, dedupe.Held).Claim.Release()
	})
}

func TestForgetCancelsWhatIsUnwritten(t *testing.T) {
	inWorld(t, true, func(w *world) {
		w.lineA.down()
		w.trip(w.a)
		w.claim(w.a, terms, dedupe.Held).Claim.Done(200)
		if found, err := w.a.Forget(w.t.Context(), key); !found || !errors.Is(err, errBroken) {
			w.t.Fatalf("forget: got %v %v, want found, and the store's error", found, err)
		}
		w.claim(w.a, terms, dedupe.Held).Claim.Release()
		w.lineA.up()
		time.Sleep(time.Minute)
		w.claim(w.b, terms, dedupe.Held).Claim.Release()
	})
}

func TestTooManyUnwrittenDropTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &faulty{Store: dedupe.NewMemory(dedupe.MemoryOptions{})}
		line.down()
		g := dedupe.NewGate(dedupe.Options{
			Store: line, Local: dedupe.NewMemory(dedupe.MemoryOptions{}), MaxUnwritten: 2,
		})
		for i := range 3 {
			g.Claim(t.Context(), other(i), terms).Claim.Done(200)
		}
		if s := g.Stats(); s.Unwritten != 2 || s.DroppedDones != 1 {
			t.Errorf("stats: %+v, want 2 unwritten and 1 dropped", s)
		}
		line.up()
		if err := g.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, want := range []dedupe.Phase{dedupe.Claimed, dedupe.Done, dedupe.Done} {
			if st, _ := line.Claim(t.Context(), other(i), dedupe.Token{9}, time.Minute); st.Phase != want {
				t.Errorf("delivery %d: got %v, want %v", i, st.Phase, want)
			}
		}
	})
}

// A flood by one sender while the store is down does not displace other senders'
// deliveries.
func TestDonesOfTheLargestRoomAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &faulty{Store: dedupe.NewMemory(dedupe.MemoryOptions{})}
		line.down()
		g := dedupe.NewGate(dedupe.Options{
			Store: line, Local: dedupe.NewMemory(dedupe.MemoryOptions{}), MaxUnwritten: 4,
		})
		rooms := []string{"quiet", "flood", "other", "flood", "flood", "flood", "flood", "other"}
		for i, room := range rooms {
			in := terms
			in.Room = room
			g.Claim(t.Context(), other(i), in).Claim.Done(200)
		}
		line.up()
		if err := g.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var written []int
		for i := range rooms {
			if st, _ := line.Claim(t.Context(), other(i), dedupe.Token{9}, time.Minute); st.Phase == dedupe.Done {
				written = append(written, i)
			}
		}
		if want := []int{0, 2, 6, 7}; !slices.Equal(written, want) {
			t.Errorf("written: %v, want %v: the oldest of the flood is given up", written, want)
		}
	})
}

// Nor does a flood by one of a sender's tenants displace those of the others.
func TestDonesOfTheLargestShareAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &faulty{Store: dedupe.NewMemory(dedupe.MemoryOptions{})}
		line.down()
		g := dedupe.NewGate(dedupe.Options{
			Store: line, Local: dedupe.NewMemory(dedupe.MemoryOptions{}), MaxUnwritten: 5,
		})
		tenants := []string{"quiet", "flood", "other", "flood", "flood", "flood", "flood", "other"}
		for i, tenant := range tenants {
			in := terms
			in.Room, in.Share = "shop", dedupe.ShareOf(tenant)
			g.Claim(t.Context(), other(i), in).Claim.Done(200)
		}
		line.up()
		if err := g.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var written []int
		for i := range tenants {
			if st, _ := line.Claim(t.Context(), other(i), dedupe.Token{9}, time.Minute); st.Phase == dedupe.Done {
				written = append(written, i)
			}
		}
		if want := []int{0, 2, 5, 6, 7}; !slices.Equal(written, want) {
			t.Errorf("written: %v, want %v: the oldest of the flood is given up", written, want)
		}
	})
}

func TestCloseSaysWhatCouldNotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &faulty{Store: dedupe.NewMemory(dedupe.MemoryOptions{})}
		line.down()
		g := dedupe.NewGate(dedupe.Options{Store: line, Local: dedupe.NewMemory(dedupe.MemoryOptions{})})
		g.Claim(t.Context(), key, terms).Claim.Done(200)
		if err := g.Close(t.Context()); !errors.Is(err, errBroken) {
			t.Errorf("close: got %v, want the store's error", err)
		}
	})
}

// FLUSHALL, a restart without persistence, a failover to a replica that lags.
func TestAStoreThatForgotIsToldAgain(t *testing.T) {
	inWorld(t, true, func(w *world) {
		w.claim(w.a, terms, dedupe.Held).Claim.Done(201)
		w.store.Memory.Forget(w.t.Context(), key) // without a note
		if d := w.claim(w.a, terms, dedupe.Duplicate); d.Status != 201 {
			w.t.Errorf("status %d", d.Status)
		}
		w.claim(w.b, terms, dedupe.Duplicate) // it never knew the delivery
		if n := w.a.Stats().Restored; n != 1 {
			w.t.Errorf("restored %d, want 1", n)
		}
		time.Sleep(dedupe.DefaultTTL) // not longer than its window
		w.claim(w.a, terms, dedupe.Held).Claim.Release()
	})
}

// The store returns after losing its data, over a connection too slow to say whether
// an operator made it forget: the app did accept the delivery.
func TestASecondOpinionNeedsNoStore(t *testing.T) {
	inWorld(t, true, func(w *world) {
		w.claim(w.a, terms, dedupe.Held).Claim.Done(201)
		w.store.Memory.Forget(w.t.Context(), key)
		w.lineA.set(func(op string) fault {
			if op == "claim" {
				return fault{}
			}
			return fault{before: errBroken}
		})
		w.claim(w.a, terms, dedupe.Duplicate)
		w.lineA.up()
		time.Sleep(3 * time.Second)
		w.claim(w.b, terms, dedupe.Duplicate) // written later
	})
}

// down reject refuses unknown deliveries, but not copies of this instance's own.
func TestRejectAnswersWhatThisInstanceKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &faulty{Store: newServer()}
		g := dedupe.NewGate(dedupe.Options{
			Store: line, Local: dedupe.NewMemory(dedupe.MemoryOptions{}), Reject: true,
		})
		g.Claim(t.Context(), key, terms).Claim.Done(200)
		line.down()
		if d := g.Claim(t.Context(), key, terms); d.Outcome != dedupe.Duplicate {
			t.Errorf("known: got %v, want duplicate", d.Outcome)
		}
		if d := g.Claim(t.Context(), other(1), terms); d.Outcome != dedupe.StoreDown {
			t.Errorf("unknown: got %v, want store_down", d.Outcome)
		}
		line.up()
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The log of an outage says what happens to deliveries until its end.
func TestTheLogOfAnOutageSaysWhatHappensToDeliveries(t *testing.T) {
	for reject, want := range map[bool]string{true: "deliveries are answered 503 with Retry-After", false: "deliveries are forwarded"} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			line := &faulty{Store: newServer()}
			g := dedupe.NewGate(dedupe.Options{
				Store: line, Local: dedupe.NewMemory(dedupe.MemoryOptions{}), Reject: reject, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			line.down()
			g.Check()
			if n := strings.Count(log.String(), "the dedupe store is down"); n != 1 || !strings.Contains(log.String(), want) {
				t.Errorf("reject %t: the log has %d lines of the outage, want one with %q:\n%s", reject, n, want, &log)
			}
			if err := g.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
