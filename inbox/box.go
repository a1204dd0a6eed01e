package inbox

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Options configure a [Box]. Engine and Deliver are required.
type Options struct {
	// Engine stores the deliveries. The box closes it.
	Engine Engine

	// Deliver makes one attempt. It is called concurrently; a panic counts as no
	// answer. ctx ends when the box closes. The caller limits the duration of an
	// attempt.
	Deliver func(ctx context.Context, a *Attempt) Result

	// Concurrency limits concurrent attempts. Probes of apps that are down are beside
	// them: one of each handler, and up to half as many as attempts if some handler has
	// more. Default: 16.
	Concurrency int

	// Settled is called concurrently, after an attempt was settled. It must not
	// block. Default: none.
	Settled func(a *Attempt, r Result, s Settlement)

	// Now is the wall clock, the same as the engine's. Default: time.Now.
	Now func() time.Time

	// Chance returns a random number from 0 to 1, and is safe for concurrent use.
	// Default: math/rand/v2.
	Chance func() float64

	// Logger reports apps that go down and come back. Default: no logs.
	Logger *slog.Logger
}

// A Box delivers what an engine stores: it makes the attempts that are due, in turn
// for handlers and tenants, with as much concurrency as each app has shown that it
// can handle. An attempt that lasts longer than 5 s does not hold up the next.
//
// An app is down if it did not answer several deliveries of a queue, with different
// contents, or a proxy answered 502 to 504 for it, without a 2xx in between. While it is
// down, only a probe is sent every 5 s, in turn for deliveries, contents and clients, and
// no attempts are spent.
// The first 2xx to any request ends that, and all deliveries waiting for the app
// become due, oldest first.
//
// A box belongs to its engine, not to a configuration: it survives a reload.
type Box struct {
	o      Options
	engine Engine
	log    *slog.Logger

	ctx     context.Context // for attempts
	cancel  context.CancelFunc
	wake    chan struct{}
	stop    chan struct{}
	ended   chan struct{}
	idle    chan func() // to goroutines that have made an attempt
	running sync.WaitGroup

	mu         sync.Mutex
	policies   map[string]Policy
	most       int             // of attempts at once
	paused     map[string]bool // handlers
	paces      map[Queue]*pace
	attempts   tally
	probes     tally // which are no attempts
	turns      turns
	configured bool            // there is a configuration
	rerouted   int             // how often Rerouted was called
	warned     map[string]bool // handlers that this one does not have, and has warned of
	changed    []Queue         // whose app went down or came back: to be hastened
	closed     bool
}

// NewBox returns a running box.
func NewBox(o Options) *Box {
	if o.Settled == nil {
		o.Settled = func(*Attempt, Result, Settlement) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Chance == nil {
		o.Chance = rand.Float64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Box{
		o: o, engine: o.Engine, log: o.Logger,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
		idle:     make(chan func()),
		policies: make(map[string]Policy), paused: make(map[string]bool),
		paces: make(map[Queue]*pace), attempts: make(tally), probes: make(tally),
	}
	b.turns.has = make(map[Queue]bool)
	b.Limit(o.Concurrency)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	go b.run()
	return b
}

// Engine returns the engine, for lookups, replays and discards.
func (b *Box) Engine() Engine { return b.engine }

// Configure sets the policy of each handler by its name, and makes deliveries due
// that did not reach their handler, or that a route refused. Call it when a configuration takes effect: before
// the first one there are no attempts.
//
// Deliveries of other handlers are not attempted. They wait for a configuration or,
// in a shared engine, for another process. There they do not expire: only a process
// with their handler knows when. Otherwise they do after [DefaultExpire].
func (b *Box) Configure(policies map[string]Policy) {
	b.mu.Lock()
	b.policies, b.warned = policies, make(map[string]bool)
	b.configured = true
	b.mu.Unlock()
	b.hasten(HoldRefused)
	b.Rerouted()
}

// Rerouted makes deliveries due that did not reach their handler. Call it when they
// may reach it now.
func (b *Box) Rerouted() {
	b.mu.Lock()
	b.rerouted++
	b.mu.Unlock()
	b.hasten(HoldRoute)
	b.look()
}

// Limit changes Options.Concurrency; 0: the default. Running attempts continue.
func (b *Box) Limit(concurrency int) {
	if concurrency <= 0 {
		concurrency = defaultConcurrency
	}
	b.mu.Lock()
	b.most = concurrency
	b.mu.Unlock()
	signal(b.wake)
}

const defaultConcurrency = 16

// Accept is [Engine.Accept], and starts attempts. With running, the caller makes the
// first attempt itself and then calls Finish.
func (b *Box) Accept(ctx context.Context, d *Delivery, running bool) (Accepted, error) {
	got, err := b.engine.Accept(ctx, d, running)
	if err == nil && got.Attempt == nil && got.Entry.State == Pending {
		b.mu.Lock()
		b.turns.add(d.Queue)
		b.mu.Unlock()
		signal(b.wake)
	}
	return got, err
}

// Finish settles an attempt that the caller made itself.
func (b *Box) Finish(a *Attempt, r Result) { b.finish(a, r, nil) }

// Return ends an attempt that the caller began with Accept and that must not count: the
// delivery waits as it did before.
func (b *Box) Return(a *Attempt) {
	b.engine.Settle(a, Settlement{})
	b.look()
}

// Heard reports the app's answer to a delivery that is not in the inbox: a 2xx means
// that the app is up.
func (b *Box) Heard(q Queue, key Key, t Trace, r Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paces[q] != nil || r.unanswered() {
		b.heard(q, key, t, r)
	}
}

// Holds reports whether deliveries of q must be stored without calling the app: the
// app is down, or its handler is paused.
func (b *Box) Holds(q Queue) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.paces[q]
	return b.paused[q.Handler] || p != nil && p.isDown()
}

// Pause stops attempts of a handler until Resume or the end of the box. Running
// attempts continue.
func (b *Box) Pause(handler string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.paused[handler] = true
}

// Resume undoes Pause.
func (b *Box) Resume(handler string) {
	b.mu.Lock()
	delete(b.paused, handler)
	b.mu.Unlock()
	b.look()
}

// QueueStatus is a queue's content and the state of its app.
type QueueStatus struct {
	QueueStats
	Down   time.Time // since when the app is down; zero if it is up
	Paused bool
}

// Queues is [Engine.Queues] with the box's information. It includes queues without
// deliveries whose handler is paused or whose app is down, even with an error.
func (b *Box) Queues(ctx context.Context) ([]QueueStatus, error) {
	all, err := b.engine.Queues(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]QueueStatus, 0, len(all))
	held := make(map[Queue]bool)
	for q, p := range b.paces {
		held[q] = p.isDown()
	}
	for handler := range b.paused {
		held[Queue{Handler: handler}] = true
	}
	for _, q := range all {
		list = append(list, b.status(q))
		delete(held, q.Queue)
	}
	for q, yes := range held {
		if yes {
			list = append(list, b.status(QueueStats{Queue: q}))
		}
	}
	return list, err
}

// status adds the box's information. mu is held.
func (b *Box) status(q QueueStats) QueueStatus {
	s := QueueStatus{QueueStats: q, Paused: b.paused[q.Handler]}
	if p := b.paces[q.Queue]; p != nil {
		s.Down = p.down
	}
	return s
}

// Close stops making attempts, waits for running ones and for calls of the engine until
// ctx ends, and closes the engine. Unfinished attempts remain pending for the next start.
func (b *Box) Close(ctx context.Context) error {
	b.mu.Lock()
	again := b.closed
	b.closed = true
	b.mu.Unlock()
	if again {
		return nil
	}
	close(b.stop)
	done := make(chan struct{})
	go func() {
		<-b.ended // no attempt begins from here on
		b.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		b.cancel()
		patience := time.NewTimer(closePatience)
		defer patience.Stop()
		select {
		case <-done:
		case <-patience.C:
		}
	}
	b.cancel()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
	defer cancel()
	return b.engine.Close(ctx) // writes the marks of the last attempts
}

// closePatience is the time for interrupted attempts and calls to end, and for the last
// marks.
const closePatience = 2 * time.Second

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
