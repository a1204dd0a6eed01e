package inbox_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

// An app in a bubble of virtual time: its answers and the requests to it.
type app struct {
	mu      sync.Mutex
	start   time.Time
	answer  func(a *inbox.Attempt) inbox.Result
	lasts   time.Duration
	hangs   func(inbox.Key) bool          // for five minutes
	asked   map[inbox.Key][]time.Duration // when each attempt began
	order   []inbox.Key
	running int
	most    int // at once
}

func (p *app) deliver(ctx context.Context, a *inbox.Attempt) inbox.Result {
	p.mu.Lock()
	p.asked[a.Entry.Key] = append(p.asked[a.Entry.Key], time.Since(p.start))
	p.order = append(p.order, a.Entry.Key)
	p.running++
	p.most = max(p.most, p.running)
	answer, lasts := p.answer, p.lasts
	if p.hangs != nil && p.hangs(a.Entry.Key) {
		lasts = 5 * time.Minute
	}
	p.mu.Unlock()
	select {
	case <-time.After(lasts):
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	if ctx.Err() != nil {
		return inbox.Result{}
	}
	return answer(a)
}

func (p *app) set(answer func(a *inbox.Attempt) inbox.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// calls returns when the attempts of a delivery began.
func (p *app) calls(n int) []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked[key(n)])
}

func (p *app) total() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.order)
}

func says(status int) func(*inbox.Attempt) inbox.Result {
	return func(*inbox.Attempt) inbox.Result { return inbox.Result{Status: status} }
}

var shop = inbox.Queue{Handler: "shop"}

// anyPolicy has the defaults for all handlers of these tests.
var anyPolicy = map[string]inbox.Policy{"shop": {}, "other": {}, "hangs": {}}

func key(n int) inbox.Key { return inbox.Key{byte(n), byte(n >> 8)} }

type bench struct {
	*testing.T
	box *inbox.Box
	mem *inboxtest.Memory
	app *app
}

// inBubble tests a box in virtual time. Chance is always in the middle, so that
// pauses follow the policy exactly.
func inBubble(t *testing.T, o inbox.Options, run func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, mem: inboxtest.NewMemory(time.Now, 0)}
		b.app = &app{start: time.Now(), answer: says(200), asked: make(map[inbox.Key][]time.Duration)}
		o.Engine, o.Deliver, o.Chance = b.mem, b.app.deliver, func() float64 { return 0.5 }
		b.box = inbox.NewBox(o)
		b.box.Configure(anyPolicy)
		defer b.box.Close(context.Background())
		run(b)
	})
}

func (b *bench) accept(q inbox.Queue, numbers ...int) {
	b.Helper()
	for _, n := range numbers {
		d := &inbox.Delivery{Key: key(n), Queue: q, Received: time.Now(), Body: []byte("{}")}
		if _, err := b.box.Accept(b.Context(), d, false); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *bench) state(n int, want inbox.State) inbox.Entry {
	b.Helper()
	e, _, _ := b.mem.Find(b.Context(), key(n))
	if e.State != want {
		b.Errorf("%d is %v, want %v", n, e.State, want)
	}
	return e
}

// pass lets time pass until all is quiet.
func (b *bench) pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

func numbers(from, to int) (list []int) {
	for n := from; n < to; n++ {
		list = append(list, n)
	}
	return list
}

func TestWhatIsAcceptedIsDeliveredAtOnce(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.accept(shop, 1, 2, 3)
		b.pass(0)
		for n := 1; n <= 3; n++ {
			b.state(n, 0)
			if got := b.app.calls(n); len(got) != 1 || got[0] > 0 {
				b.Errorf("%d was tried at %v", n, got)
			}
		}
	})
}

func TestTheScheduleOfRetries(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.app.set(says(500))
		b.accept(shop, 1)
		b.pass(4 * 24 * time.Hour)
		want := []time.Duration{0}
		for i := 0; want[len(want)-1]+inbox.DefaultRetry[min(i, 9)] < inbox.DefaultExpire; i++ {
			want = append(want, want[i]+inbox.DefaultRetry[min(i, 9)])
		}
		got := b.app.calls(1)
		if len(got) != len(want) {
			b.Fatalf("attempts at %v, want %v", got, want)
		}
		for i, at := range got {
			if late := at - want[i]; late < 0 || late > time.Duration(i)*25*time.Millisecond {
				b.Errorf("attempt %d at %v, want %v", i, at, want[i])
			}
		}
		if e := b.state(1, inbox.Dead); e.Attempts != len(want) || e.Status != 500 {
			b.Errorf("%+v", e)
		}
	})
}

func TestPausesAreSpread(t *testing.T) {
	for chance, want := range map[float64]time.Duration{0: 4 * time.Second, 1: 6 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			mem := inboxtest.NewMemory(time.Now, 0)
			box := inbox.NewBox(inbox.Options{
				Engine: mem, Chance: func() float64 { return chance },
				Deliver: func(context.Context, *inbox.Attempt) inbox.Result { return inbox.Result{Status: 500} },
			})
			defer box.Close(t.Context())
			box.Configure(anyPolicy)
			start := time.Now()
			box.Accept(t.Context(), &inbox.Delivery{Key: key(1), Queue: shop, Received: start}, false)
			synctest.Wait()
			if e, _, _ := mem.Find(t.Context(), key(1)); e.Due.Sub(start) != want {
				t.Errorf("chance %v: due after %v, want %v", chance, e.Due.Sub(start), want)
			}
		})
	}
}

func TestRetryAfterIsALowerBound(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{
		time.Second: 5 * time.Second, time.Minute: time.Minute, 5 * time.Hour: time.Hour,
	} {
		inBubble(t, inbox.Options{}, func(b *bench) {
			b.app.set(func(*inbox.Attempt) inbox.Result { return inbox.Result{Status: 503, RetryAfter: after} })
			b.accept(shop, 1)
			b.pass(0)
			if e := b.state(1, inbox.Pending); e.Due.Sub(e.Since) != want || e.Hold != inbox.HoldTime {
				b.Errorf("Retry-After %v: due after %v, want %v", after, e.Due.Sub(e.Since), want)
			}
		})
	}
}

func TestSomeStatusesEndIt(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.box.Configure(map[string]inbox.Policy{"shop": {DeadOn: []int{410}, Keep: time.Hour}, "other": {}})
		b.app.set(says(410))
		b.accept(shop, 1)
		b.pass(0)
		b.state(1, inbox.Dead)
		b.app.set(says(204))
		b.accept(shop, 2)
		b.pass(0)
		b.state(2, inbox.Delivered)
		b.pass(time.Hour)
		b.state(2, 0)
		b.app.set(func(*inbox.Attempt) inbox.Result { return inbox.Result{Taken: true} })
		b.accept(inbox.Queue{Handler: "other"}, 3)
		b.pass(0)
		b.state(3, 0)
	})
}

func TestAPanicIsNoAnswer(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		b.app.set(func(*inbox.Attempt) inbox.Result { panic("the app closed its connection") })
		b.accept(shop, 1)
		b.pass(0)
		if e := b.state(1, inbox.Pending); e.Attempts != 1 || e.Hold != inbox.HoldApp {
			b.Errorf("%+v", e)
		}
	})
}

func TestConcurrencyGrowsWithSuccess(t *testing.T) {
	inBubble(t, inbox.Options{Concurrency: 8}, func(b *bench) {
		b.app.lasts = time.Second
		b.accept(shop, numbers(0, 200)...)
		for i, want := range []int{1, 2, 4, 6, 6} { // three quarters of the slots, for one handler
			b.pass(time.Millisecond)
			b.app.mu.Lock()
			if b.app.running != want {
				t.Errorf("round %d: %d run at once, want %d", i, b.app.running, want)
			}
			b.app.mu.Unlock()
			b.pass(time.Second - time.Millisecond)
		}
		b.pass(time.Minute)
		if b.app.total() != 200 || b.app.most != 6 {
			t.Errorf("%d attempts, %d at once", b.app.total(), b.app.most)
		}
	})
}

// One that hangs delays the others by seconds, also if it is the first one, and not by
// the time that an attempt may take. If all hang, one more is tried each five seconds.
func TestWhatHangsStopsNoOther(t *testing.T) {
	for name, hangs := range map[string]func(k inbox.Key) bool{
		"one":  func(k inbox.Key) bool { return k == key(0) },
		"many": func(k inbox.Key) bool { return k[0] < 5 },
		"all":  func(inbox.Key) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			o := inbox.Options{Concurrency: 16}
			inBubble(t, o, func(b *bench) {
				b.app.hangs = hangs
				b.accept(shop, numbers(0, 100)...)
				b.pass(4 * time.Second)
				if b.app.total() != 1 {
					b.Errorf("%d attempts in four seconds", b.app.total())
				}
				b.pass(26*time.Second + 500*time.Millisecond)
				b.app.mu.Lock()
				running := b.app.running
				b.app.mu.Unlock()
				switch left := 100 - b.app.total(); {
				case name == "all" && running != 7:
					b.Errorf("%d run at once after half a minute, want one more each 5 s", running)
				case name != "all" && left != 0:
					b.Errorf("%d of 100 are not tried while some hang", left)
				}
			})
		})
	}
}

// The limit changes while attempts run: they continue, and none is added beyond it.
func TestConcurrencyChanges(t *testing.T) {
	inBubble(t, inbox.Options{Concurrency: 8}, func(b *bench) {
		b.app.lasts = time.Second
		b.accept(shop, numbers(0, 200)...)
		round := func(limit, want int) {
			t.Helper()
			b.box.Limit(limit)
			b.pass(5 * time.Second)
			b.app.mu.Lock()
			defer b.app.mu.Unlock()
			if b.app.running != want {
				t.Errorf("with the limit %d, %d run at once, want %d", limit, b.app.running, want)
			}
		}
		round(8, 6)
		round(1, 1)
		round(4, 3)
		round(0, 12) // of 16
		b.pass(time.Minute)
		if b.app.total() != 200 {
			t.Errorf("%d attempts", b.app.total())
		}
	})
}

func TestSettledIsTold(t *testing.T) {
	var mu sync.Mutex
	told := make(map[inbox.State]int)
	o := inbox.Options{Settled: func(_ *inbox.Attempt, _ inbox.Result, s inbox.Settlement) {
		mu.Lock()
		defer mu.Unlock()
		told[s.To]++
	}}
	inBubble(t, o, func(b *bench) {
		b.box.Configure(map[string]inbox.Policy{"shop": {Retry: []time.Duration{time.Second}, Expire: 10 * time.Second}})
		b.app.set(says(404))
		b.accept(shop, 1)
		b.pass(4500 * time.Millisecond)
		b.app.set(says(200))
		b.accept(shop, 2)
		b.pass(time.Second)
		b.app.set(says(404))
		b.accept(shop, 3)
		b.pass(time.Minute)
		if want := map[inbox.State]int{inbox.Pending: 5 + 10, inbox.Delivered: 2, inbox.Dead: 1}; !maps.Equal(told, want) {
			b.Errorf("told %v, want %v", told, want)
		}
	})
}

// TestAReturnedAttemptChangesNothing: the schedule goes on, and that of a dead letter
// begins again, as with any copy of it.
func TestAReturnedAttemptChangesNothing(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		borrow := func() {
			got, err := b.box.Accept(b.Context(), &inbox.Delivery{Key: key(1), Queue: shop}, true)
			if err != nil || got.Attempt == nil || !got.Copy {
				b.Fatal(got, err)
			}
			b.pass(time.Second)
			b.box.Return(got.Attempt)
		}
		b.app.set(says(415))
		b.accept(shop, 1)
		b.pass(time.Second)
		borrow()
		b.pass(10 * time.Second)
		if got := b.app.calls(1); len(got) != 2 || got[1] < 5*time.Second || got[1] > 5100*time.Millisecond {
			b.Errorf("attempts at %v, want the second after 5s", got)
		}
		if e := b.state(1, inbox.Pending); e.Attempts != 2 || e.Status != 415 {
			b.Errorf("%+v", e)
		}
		b.pass(4 * 24 * time.Hour)
		b.state(1, inbox.Dead)
		n := b.app.total()
		borrow()
		b.pass(time.Second)
		if e := b.state(1, inbox.Pending); e.Attempts != 1 || b.app.total() != n+1 {
			b.Errorf("%+v, %d attempts", e, b.app.total()-n)
		}
	})
}
