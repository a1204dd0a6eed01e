package inbox_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// An outage: no attempts are spent, each probe is of a different delivery, and
// pending ones are sent as soon as the app is back, oldest first.
func TestAnAppThatIsDown(t *testing.T) {
	inBubble(t, inbox.Options{Concurrency: 4}, func(b *bench) {
		b.app.set(says(502))
		b.accept(shop, numbers(0, 20)...)
		b.pass(10 * time.Second)
		if !b.box.Holds(shop) {
			b.Fatal("the app does not count as down")
		}
		if b.box.Holds(inbox.Queue{Handler: "other"}) {
			b.Error("another app counts as down, too")
		}
		before := b.app.total()
		b.pass(10 * time.Minute)
		b.accept(shop, 20)
		b.pass(0)
		probes := b.app.total() - before
		if probes < 115 || probes > 121 {
			b.Errorf("%d probes in ten minutes, want one each five seconds", probes)
		}
		for n := range 20 {
			if e := b.state(n, inbox.Pending); e.Attempts > 1 {
				b.Errorf("%d spent %d attempts", n, e.Attempts)
			}
			if calls := len(b.app.calls(n)); calls < 5 || calls > 8 {
				b.Errorf("%d was probed %d times of 120: they do not take turns", n, calls)
			}
		}
		if len(b.app.calls(20)) > 0 {
			b.Error("what came while the app was down was sent to it")
		}

		b.app.set(says(200))
		b.app.mu.Lock()
		b.app.lasts = 10 * time.Millisecond
		b.app.mu.Unlock()
		before = b.app.total()
		b.pass(6 * time.Second)
		if b.box.Holds(shop) {
			b.Error("the app is back, and counts as down")
		}
		for n := range 21 {
			b.state(n, 0)
		}
		sent := b.app.order[before+1:] // after the probe
		for i, k := range sent {       // concurrent attempts may overtake each other
			if early := i - int(k[0]); early < -4 || early > 4 {
				b.Errorf("not oldest first: %v", sent)
			}
		}
	})
}

func TestASynchronous2xxEndsAnOutage(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		for n := range 3 { // called by the handler itself
			if b.box.Holds(shop) {
				b.Fatalf("down after %d", n)
			}
			got, err := b.box.Accept(b.Context(), &inbox.Delivery{Key: key(n), Queue: shop, Received: time.Now()}, true)
			if err != nil {
				b.Fatal(err)
			}
			b.box.Finish(got.Attempt, inbox.Result{})
		}
		b.pass(time.Second)
		if !b.box.Holds(shop) || b.app.total() > 0 {
			b.Fatalf("not down after three, or asked: %d", b.app.total())
		}
		b.box.Heard(shop, key(9), inbox.Trace{}, inbox.Result{Status: 500})
		if !b.box.Holds(shop) {
			b.Error("a 500 ends it")
		}
		b.box.Heard(shop, key(9), inbox.Trace{}, inbox.Result{Status: 200})
		b.pass(25 * time.Millisecond)
		if b.box.Holds(shop) || b.app.total() != 3 {
			b.Errorf("still down, or only %d were sent", b.app.total())
		}
	})
}

func TestTheSameDeliveryDoesNotMakeAnAppDown(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.app.set(says(504))
		b.accept(shop, 1)
		b.pass(time.Hour)
		if b.box.Holds(shop) || len(b.app.calls(1)) < 5 {
			b.Errorf("one delivery that times out makes the app down, after %v", b.app.calls(1))
		}
	})
}

// TestDeliveriesThatTheAppNeverAnswersHoldUpNoOther: an app that answers everything but a
// few deliveries is not down. What it never answers costs the others a probe's pause, once,
// and is retried at its own pace until it expires.
func TestDeliveriesThatTheAppNeverAnswersHoldUpNoOther(t *testing.T) {
	for name, hangs := range map[string]bool{"502": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, inbox.Options{}, func(b *bench) {
				const poisoned = 9
				isPoisoned := func(k inbox.Key) bool { return int(k[0]) < poisoned && k[1] == 0 }
				b.app.set(func(a *inbox.Attempt) inbox.Result {
					if isPoisoned(a.Entry.Key) {
						return inbox.Result{Status: 502}
					}
					return inbox.Result{Status: 200}
				})
				if hangs {
					b.app.hangs = isPoisoned
				}
				b.accept(shop, numbers(0, poisoned)...)
				b.pass(time.Minute)
				downs := 0
				for n := range 300 {
					was := b.box.Holds(shop)
					b.accept(shop, 1000+n)
					b.pass(2 * time.Second)
					if b.box.Holds(shop) && !was {
						downs++
					}
				}
				b.pass(30 * time.Second)
				late := 0
				for n := range 300 {
					b.state(1000+n, 0)
					calls := b.app.calls(1000 + n)
					if came := time.Minute + time.Duration(n)*2*time.Second; len(calls) != 1 || calls[0] > came+11*time.Second {
						late++
					}
				}
				if late > 5 || downs > 1 {
					b.Errorf("%d of 300 deliveries were late, and the app down %d times", late, downs)
				}
				for n := range poisoned {
					if calls := len(b.app.calls(n)); calls < 1 || calls > 20 {
						b.Errorf("poisoned delivery %d had %d attempts", n, calls)
					}
				}
			})
		})
	}
}

func TestAHandlerThatHangsLeavesPlacesForOthers(t *testing.T) {
	inBubble(t, inbox.Options{Concurrency: 16}, func(b *bench) {
		hangs := inbox.Queue{Handler: "hangs"}
		b.app.lasts = time.Second
		b.accept(hangs, numbers(0, 300)...)
		b.pass(20 * time.Second) // it has earned all its places
		b.app.mu.Lock()
		b.app.lasts = 60 * time.Second
		b.app.mu.Unlock()
		b.pass(2 * time.Second)
		b.app.mu.Lock()
		b.app.lasts = 10 * time.Millisecond // of the others
		b.app.mu.Unlock()
		for tenant := range 3 {
			q := inbox.Queue{Handler: "shop", Tenant: fmt.Sprint(tenant)}
			b.accept(q, numbers(1000+100*tenant, 1020+100*tenant)...)
		}
		b.pass(2 * time.Second)
		for tenant := range 3 {
			for n := range 20 {
				b.state(1000+100*tenant+n, 0)
			}
		}
		b.app.mu.Lock()
		defer b.app.mu.Unlock()
		if b.app.running == 0 || b.app.running > 12 {
			b.Errorf("%d hang", b.app.running)
		}
	})
}

func TestPauseAndResume(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.box.Pause("shop")
		if all, err := b.box.Queues(b.Context()); err != nil || len(all) != 1 || all[0].Queue != shop || !all[0].Paused {
			b.Errorf("paused, with nothing stored: %+v %v", all, err)
		}
		b.accept(shop, 1)
		b.pass(time.Hour)
		if b.app.total() != 0 || !b.box.Holds(shop) {
			b.Error("the app is asked though its handler is paused")
		}
		all, err := b.box.Queues(b.Context())
		if err != nil || len(all) != 1 || !all[0].Paused || all[0].Pending != 1 {
			b.Errorf("%+v %v", all, err)
		}
		b.box.Resume("shop")
		b.pass(25 * time.Millisecond)
		b.state(1, 0)
		if all, err := b.box.Queues(b.Context()); err != nil || len(all) != 0 {
			b.Errorf("at rest: %+v %v", all, err)
		}
	})
}

// TestRoutesThatChangeDuringAnAttempt: it is made again, since it may not have seen them.
func TestRoutesThatChangeDuringAnAttempt(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		during := sync.OnceFunc(b.box.Rerouted)
		b.app.set(func(*inbox.Attempt) inbox.Result {
			during()
			return inbox.Result{Unreached: true}
		})
		b.accept(shop, 1)
		b.pass(time.Hour)
		if got := b.app.calls(1); len(got) != 2 {
			b.Errorf("tried at %v", got)
		}
	})
}

func TestWhatDoesNotReachItsHandlerIsTriedOnceAConfiguration(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.app.set(func(a *inbox.Attempt) inbox.Result {
			return inbox.Result{Unreached: a.Entry.Key == key(1), Status: 200}
		})
		b.accept(shop, 1, 2)
		b.pass(time.Hour)
		b.state(2, 0)
		b.accept(shop, 3)
		b.pass(time.Hour)
		b.state(3, 0)
		if got := b.app.calls(1); len(got) != 1 {
			b.Fatalf("tried at %v", got)
		}
		b.box.Configure(anyPolicy)
		b.pass(time.Hour)
		if got := b.app.calls(1); len(got) != 2 {
			b.Fatalf("tried at %v", got)
		}
		if e := b.state(1, inbox.Pending); e.Attempts != 0 {
			b.Errorf("%+v", e)
		}
		b.app.set(says(200))
		b.box.Configure(anyPolicy)
		b.pass(time.Second)
		b.state(1, 0)
	})
}

func TestWhatIsHeldBackExpiresToo(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.box.Configure(map[string]inbox.Policy{"shop": {Expire: time.Hour}})
		b.box.Pause("shop")
		b.accept(shop, numbers(0, 200)...)
		b.pass(59 * time.Minute)
		b.state(0, inbox.Pending)
		b.pass(2 * time.Minute)
		for n := range 200 {
			b.state(n, inbox.Dead)
		}
		b.box.Resume("shop")
		if _, err := b.mem.Replay(b.Context(), inbox.Selection{Handler: "shop"}, ""); err != nil {
			b.Fatal(err)
		}
		b.pass(time.Second)
		b.state(0, 0) // a replay is a new generation
	})
}

// TestAnAppIsProbedWhileOthersHang: neither the attempts of another handler, nor probes of
// its tenants, keep an app that is back from being noticed.
func TestAnAppIsProbedWhileOthersHang(t *testing.T) {
	tenant := func(n int) inbox.Queue { return inbox.Queue{Handler: "hangs", Tenant: fmt.Sprint(n)} }
	for name, others := range map[string]func(b *bench){
		"attempts": func(b *bench) {
			// The first ones are answered, so that many run at once.
			b.accept(inbox.Queue{Handler: "hangs"}, append(numbers(100, 120), numbers(1000, 1060)...)...)
			b.pass(time.Second)
		},
		"probes": func(b *bench) {
			for n := range 20 {
				b.accept(tenant(n), 100+10*n, 101+10*n, 102+10*n)
			}
			b.pass(30 * time.Second)
			b.app.mu.Lock()
			b.app.hangs = func(k inbox.Key) bool { return k[1] > 0 || k[0] >= 100 }
			b.app.mu.Unlock()
			b.pass(30 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, inbox.Options{}, func(b *bench) {
				isBack := false
				b.app.set(func(a *inbox.Attempt) inbox.Result {
					if !isBack && (a.Entry.Handler == "shop" || a.Entry.Tenant != "") {
						return inbox.Result{Status: 502}
					}
					return inbox.Result{Status: 200}
				})
				b.app.hangs = func(k inbox.Key) bool { return k[1] >= 3 } // from 768
				b.accept(shop, numbers(0, 5)...)
				b.pass(10 * time.Second)
				if !b.box.Holds(shop) {
					t.Fatal("the app is not down")
				}
				others(b)
				b.app.mu.Lock()
				isBack = true
				if b.app.running < 8 {
					t.Errorf("only %d hang", b.app.running)
				}
				b.app.mu.Unlock()
				b.pass(6 * time.Second)
				if b.box.Holds(shop) {
					t.Error("the app is back, and was not asked")
				}
			})
		})
	}
}

// TestProbesTakeTurns: where probes hang, each tenant's app has its turn.
func TestProbesTakeTurns(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.app.set(says(502))
		for n := range 20 {
			b.accept(inbox.Queue{Handler: "hangs", Tenant: fmt.Sprint(n)}, 10*n, 10*n+1, 10*n+2)
		}
		b.pass(time.Minute)
		b.app.mu.Lock()
		b.app.hangs = func(inbox.Key) bool { return true } // for five minutes
		before := len(b.app.order)
		b.app.mu.Unlock()
		b.pass(16 * time.Minute)
		probed := make(map[int]bool)
		for _, k := range b.app.order[before:] {
			probed[(int(k[0])+int(k[1])<<8)/10] = true
		}
		if len(probed) < 20 || b.app.most > 16 {
			t.Errorf("%d of 20 tenants' apps were probed, %d at once", len(probed), b.app.most)
		}
	})
}
