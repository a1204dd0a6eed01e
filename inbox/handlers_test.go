package inbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

// A sharedEngine says that other processes use it, and counts queries.
type sharedEngine struct {
	*inboxtest.Memory
	queries *atomic.Int64
}

func (e sharedEngine) Queues(ctx context.Context) ([]inbox.QueueStats, error) {
	e.queries.Add(1)
	return e.Memory.Queues(ctx)
}

func (e sharedEngine) Status() inbox.Status {
	s := e.Memory.Status()
	s.Shared = true
	return s
}

// A logbook keeps warnings.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logbook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

func (l *logbook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func (l *logbook) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

var engines = map[string]func(*inboxtest.Memory) inbox.Engine{
	"an engine of this process": func(m *inboxtest.Memory) inbox.Engine { return m },
	"a shared engine":           func(m *inboxtest.Memory) inbox.Engine { return sharedEngine{m, new(atomic.Int64)} },
}

// A restart must neither attempt nor give up what the configuration has not spoken about.
func TestNothingHappensBeforeAConfiguration(t *testing.T) {
	for name, of := range engines {
		synctest.Test(t, func(t *testing.T) {
			mem := inboxtest.NewMemory(time.Now, 0)
			p := &app{start: time.Now(), answer: says(200), asked: make(map[inbox.Key][]time.Duration)}
			mem.Accept(t.Context(), &inbox.Delivery{Key: key(1), Queue: shop, Received: time.Now()}, false)
			time.Sleep(inbox.DefaultExpire + time.Hour)
			box := inbox.NewBox(inbox.Options{Engine: of(mem), Deliver: p.deliver})
			defer box.Close(t.Context())
			box.Accept(t.Context(), &inbox.Delivery{Key: key(2), Queue: shop, Received: time.Now()}, false)
			time.Sleep(time.Hour)
			synctest.Wait()
			if e, _, _ := mem.Find(t.Context(), key(1)); e.State != inbox.Pending || p.total() > 0 {
				t.Errorf("%s: %d attempts, %v", name, p.total(), e.State)
			}
			box.Configure(map[string]inbox.Policy{"shop": {Expire: 2 * inbox.DefaultExpire}})
			time.Sleep(time.Second)
			synctest.Wait()
			if len(p.calls(1)) != 1 || len(p.calls(2)) != 1 {
				t.Errorf("%s: attempts at %v and %v", name, p.calls(1), p.calls(2))
			}
		})
	}
}

func TestWithoutItsHandlerNothingIsAttempted(t *testing.T) {
	for name, of := range engines {
		synctest.Test(t, func(t *testing.T) {
			mem, log, dead := inboxtest.NewMemory(time.Now, 0), new(logbook), 0
			p := &app{start: time.Now(), answer: says(200), asked: make(map[inbox.Key][]time.Duration)}
			box := inbox.NewBox(inbox.Options{
				Engine: of(mem), Deliver: p.deliver, Logger: log.logger(),
				Settled: func(*inbox.Attempt, inbox.Result, inbox.Settlement) { dead++ },
			})
			defer box.Close(t.Context())
			box.Configure(map[string]inbox.Policy{"other": {}})
			box.Accept(t.Context(), &inbox.Delivery{Key: key(1), Queue: shop, Received: time.Now()}, false)
			stored, _, _ := mem.Find(t.Context(), key(1))
			time.Sleep(inbox.DefaultExpire - time.Hour)
			synctest.Wait()
			if e, _, _ := mem.Find(t.Context(), key(1)); e != stored {
				t.Errorf("%s: the record is %+v, was %+v", name, e, stored)
			}
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			shared := box.Engine().Status().Shared
			if e, _, _ := mem.Find(t.Context(), key(1)); shared && (e != stored || dead > 0) || !shared && (e.State != inbox.Dead || dead != 1) {
				t.Errorf("%s: the lifetime is over: %+v, settled %d times", name, e, dead)
			}
			if e, ok := box.Engine().(sharedEngine); ok && e.queries.Load() > 2*int64((inbox.DefaultExpire+time.Hour)/time.Minute) {
				t.Errorf("%d queries in %v", e.queries.Load(), inbox.DefaultExpire+time.Hour)
			}
			if n := log.count("handler=shop"); n != 1 || p.total() > 0 {
				t.Errorf("%s: %d warnings, want 1; %d attempts", name, n, p.total())
			}
			box.Configure(map[string]inbox.Policy{"shop": {Expire: 2 * inbox.DefaultExpire}})
			time.Sleep(time.Second)
			synctest.Wait()
			if want := map[bool]int{true: 1}[shared]; p.total() != want {
				t.Errorf("%s: %d attempts when the handler is back, want %d", name, p.total(), want)
			}
		})
	}
}

// Two instances of a rolling deploy: one has the handler already.
func TestAnInstanceWithoutTheHandlerChangesNothingForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, log := inboxtest.NewMemory(time.Now, 0), new(logbook)
		var boxes []*inbox.Box
		var apps []*app
		for _, policies := range []map[string]inbox.Policy{{"shop": {Expire: 10 * 24 * time.Hour}}, {"other": {Retry: []time.Duration{time.Second}}}} {
			p := &app{start: time.Now(), answer: says(500), asked: make(map[inbox.Key][]time.Duration)}
			box := inbox.NewBox(inbox.Options{Engine: sharedEngine{mem, new(atomic.Int64)}, Deliver: p.deliver, Logger: log.logger(), Chance: func() float64 { return 0.5 }})
			defer box.Close(t.Context())
			box.Configure(policies)
			boxes, apps = append(boxes, box), append(apps, p)
		}
		const deliveries = 20
		for n := range deliveries {
			boxes[0].Accept(t.Context(), &inbox.Delivery{Key: key(n), Queue: shop, Received: time.Now()}, false)
		}
		time.Sleep(4 * time.Second)
		apps[0].set(says(200))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for n := range deliveries {
			if got := apps[0].calls(n); len(got) != 2 || got[1] < 5*time.Second || got[1] > 5*time.Second+200*time.Millisecond {
				t.Errorf("%d: attempts at %v, want 0s and 5s", n, got)
			}
		}
		if apps[1].total() > 0 || log.count("") > 0 {
			t.Errorf("the other one made %d attempts, and says %q", apps[1].total(), log.lines)
		}
	})
}

func TestAHandlerIsRemovedWhileItsDeliveriesWaitForTheirTurn(t *testing.T) {
	inBubble(t, inbox.Options{Concurrency: 1}, func(b *bench) {
		b.app.lasts = time.Second
		b.accept(shop, numbers(0, 20)...)
		b.pass(time.Millisecond)
		b.box.Configure(map[string]inbox.Policy{"other": {}})
		b.pass(time.Hour)
		if b.app.total() != 1 {
			b.Errorf("%d attempts, want the one that ran", b.app.total())
		}
		b.state(0, 0)
		b.box.Configure(anyPolicy)
		b.pass(time.Minute)
		for n := range 20 {
			b.state(n, 0)
		}
	})
}

func TestWarningsOfHandlersThatAreMissingAreLimited(t *testing.T) {
	log := new(logbook)
	inBubble(t, inbox.Options{Logger: log.logger()}, func(b *bench) {
		b.box.Configure(nil)
		for n := range 30 {
			b.accept(inbox.Queue{Handler: fmt.Sprint("gone-", n)}, n)
		}
		b.pass(time.Hour)
		if n := log.count("no handler of their name"); n != 10 {
			b.Errorf("%d warnings of 30 handlers, want 10", n)
		}
		b.box.Configure(nil)
		b.pass(time.Hour)
		if n := log.count("no handler of their name"); n != 20 {
			b.Errorf("%d warnings of two configurations, want 20", n)
		}
	})
}

func TestWhatNeverReachesItsHandlerExpiresOnce(t *testing.T) {
	var mu sync.Mutex
	told := make(map[inbox.State]int)
	o := inbox.Options{Settled: func(_ *inbox.Attempt, _ inbox.Result, s inbox.Settlement) {
		mu.Lock()
		defer mu.Unlock()
		told[s.To]++
	}}
	inBubble(t, o, func(b *bench) {
		b.box.Configure(map[string]inbox.Policy{"shop": {Expire: time.Hour}})
		b.app.set(func(*inbox.Attempt) inbox.Result { return inbox.Result{Unreached: true} })
		b.accept(shop, numbers(0, 200)...)
		b.pass(59 * time.Minute)
		b.state(0, inbox.Pending)
		b.pass(2 * time.Minute)
		for n := range 200 {
			b.state(n, inbox.Dead)
		}
		b.pass(24 * time.Hour)
		if told[inbox.Pending] != 200 || told[inbox.Dead] != 200 || b.app.total() != 200 {
			b.Errorf("settled %v in %d attempts", told, b.app.total())
		}
		if _, err := b.mem.Replay(context.Background(), inbox.Selection{Handler: "shop"}, ""); err != nil {
			b.Fatal(err)
		}
		b.pass(time.Minute)
		if b.app.total() != 400 {
			b.Errorf("%d attempts: a replay tries each again once", b.app.total())
		}
	})
}

// TestAProbeDelaysNoOtherProcess: an app that is down for this process may be up for
// another one with the same storage, which must not wait for a delivery that was probed
// here in vain.
func TestAProbeDelaysNoOtherProcess(t *testing.T) {
	for shared, want := range map[bool]struct{ least, most time.Duration }{false: {time.Minute, time.Hour}, true: {0, time.Minute}} {
		t.Run(fmt.Sprintf("shared %t", shared), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var engine inbox.Engine = inboxtest.NewMemory(time.Now, 0)
				if shared {
					engine = sharedEngine{Memory: engine.(*inboxtest.Memory), queries: new(atomic.Int64)}
				}
				box := inbox.NewBox(inbox.Options{Engine: engine, Deliver: func(context.Context, *inbox.Attempt) inbox.Result { return inbox.Result{} }})
				defer box.Close(t.Context())
				box.Configure(map[string]inbox.Policy{"shop": {}})
				for n := range 5 {
					if _, err := box.Accept(t.Context(), &inbox.Delivery{Key: inbox.Key{byte(n + 1)}, Queue: shop, Received: time.Now()}, false); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(30 * time.Second) // several probes
				synctest.Wait()
				list, err := engine.List(t.Context(), inbox.Selection{}, 0, 10)
				if err != nil {
					t.Fatal(err)
				}
				latest := time.Duration(0)
				for _, e := range list {
					latest = max(latest, time.Until(e.Due))
				}
				if latest < want.least || latest > want.most {
					t.Errorf("a delivery is due in %v, want %v to %v", latest, want.least, want.most)
				}
			})
		})
	}
}
