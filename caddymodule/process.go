package caddymodule

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/history"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/logging"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/stores"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// State of the process that outlives a configuration: after a reload, deliveries of
// the old configuration are still in flight, and counters and stores continue.
// Packages keys and metrics have their own: fetched keys, and counters.

// began is when the process started, and counting with it.
var began = time.Now()

// buffered is the budget of all handlers. After a reload, bodies of the old
// configuration are still in memory.
var buffered budget

func init() { buffered.limit.Store(defaultMaxBuffered) }

// awaiting counts the bytes of bodies waiting for keys, over all handlers. They may
// use a quarter of max_buffered, or be a single body: anyone can name a key that is
// not fetched yet.
var awaiting atomic.Int64

// kept holds the newest refused requests of all handlers.
var kept rejected.Store

// recent holds the newest genuine deliveries of all handlers.
var recent history.Store

// inForce lists the apps that have started and not stopped, oldest first. During a
// reload there are two; if Caddy rolls one back, the other remains.
var inForce runningApps

type runningApps struct {
	mu    sync.Mutex
	apps  []*App
	until chan struct{} // closed when the newest changes
}

// change runs f, which changes apps.
func (r *runningApps) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.newest()
	f()
	if r.until != nil && r.newest() != before {
		close(r.until)
		r.until = nil
	}
}

// now returns the app of the configuration in force, or nil, and a channel that is
// closed when that changes. Requests that Caddy's admin server waits for when it
// stops, such as event streams, must end then.
func (r *runningApps) now() (*App, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = make(chan struct{})
	}
	return r.newest(), r.until
}

func (r *runningApps) newest() *App {
	if n := len(r.apps); n > 0 {
		return r.apps[n-1]
	}
	return nil
}

// begins makes the app the one that the admin API shows.
func (a *App) begins() {
	inForce.change(func() { inForce.apps = append(inForce.apps, a) })
}

// takeOver applies the app's limits to what it shares with the app before it, once its
// configuration serves requests. Until then another app of it, such as http, may fail to
// start, and Caddy goes on with the configuration before it.
func (a *App) takeOver(ctx context.Context) {
	if serving() == nil {
		a.applyLimits()
		return
	}
	a.polling.Go(func() {
		tick := time.NewTicker(servingPause)
		defer tick.Stop()
		for serving() != a {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		a.applyLimits()
	})
}

// applyLimits applies the options of the state that outlives a configuration.
func (a *App) applyLimits() {
	buffered.limit.Store(*a.MaxBuffered)
	names := make(map[string]bool)
	for _, h := range a.named("") {
		names[h.Name] = true
	}
	kept.Restrict(names, a.keptPerHandler())
	recent.Restrict(names, a.deliveriesPerHandler())
	if r, ok := a.store.(stores.Resizer); ok {
		if gate, err := a.gate(); err == nil {
			r.Resize(gate)
			_ = release(a.store)
		}
	}
}

func (a *App) ends() {
	inForce.change(func() {
		inForce.apps = slices.DeleteFunc(inForce.apps, func(other *App) bool { return other == a })
	})
}

// inboxes holds the open inboxes of the process, as gates holds the stores.
var inboxes *boxes.Pool

func init() {
	inboxes = boxes.New(boxes.Options{
		Deliver: handBack, Forget: forgetDiscarded,
		InForce: func() *boxes.Configuration { return current().inboxOf() },
		Serving: func() *boxes.Configuration { return serving().inboxOf() },
	})
}

// current returns the app of the configuration in force, or nil.
func current() *App {
	inForce.mu.Lock()
	defer inForce.mu.Unlock()
	return inForce.newest()
}

// serving returns the app of the configuration that serves requests, which inForce may
// be ahead of; nil if there is none.
func serving() *App {
	value, err := caddy.ActiveContext().AppIfConfigured("verify_webhook")
	if err != nil {
		return nil
	}
	app, _ := value.(*App)
	return app
}

// inboxOf returns the inbox of a configuration; nil for a nil App.
func (a *App) inboxOf() *boxes.Configuration {
	if a == nil {
		return nil
	}
	return a.inbox
}

// gates holds the open stores of the process by identity. Every configuration that
// uses one holds a reference, and so does every delivery in flight: a reload cleans
// up the old configuration while its last requests are running.
var gates = caddy.NewUsagePool()

// pooledGate is a gate that the pool closes after its last user and visitor.
type pooledGate struct {
	*dedupe.Gate
	visitors sync.WaitGroup
}

// closeBudget limits the final writes after the last user of a store is gone.
const closeBudget = 5 * time.Second

// Destruct implements caddy.Destructor.
func (p *pooledGate) Destruct() error {
	p.visitors.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeBudget)
	defer cancel()
	return p.Close(ctx)
}

// acquire opens the store, or takes a reference to the open one of the same identity.
// Every acquire is followed by one release.
func acquire(s stores.Module) (*dedupe.Gate, error) {
	value, _, err := gates.LoadOrNew(s.Identity(), func() (caddy.Destructor, error) {
		gate, err := s.Gate(logging.Current("store"))
		if err != nil {
			return nil, err
		}
		return &pooledGate{Gate: gate}, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*pooledGate).Gate, nil
}

func release(s stores.Module) error {
	_, err := gates.Delete(s.Identity())
	return err
}

// eachGate visits the open stores. A visit may wait for a server, so it does not hold
// the pool's lock, which every delivery takes; the gate stays open until it has
// ended.
func eachGate(visit func(*dedupe.Gate)) {
	var open []*pooledGate
	gates.Range(func(_, value any) bool {
		p := value.(*pooledGate)
		p.visitors.Add(1) // still in the pool, so Destruct has not run
		open = append(open, p)
		return true
	})
	for _, p := range open {
		visit(p.Gate)
		p.visitors.Done()
	}
}

// Interface guard
var _ caddy.Destructor = (*pooledGate)(nil)
