package inbox

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Options configure a [Box]. Engine and Deliver must be set.
type Options struct {
	// Engine keeps the deliveries. The box closes it.
	Engine Engine

	// Deliver makes one attempt. It is called by many goroutines at once; a panic
	// counts as no answer. When ctx ends, the box is being closed. How long an attempt
	// may take is the caller's to decide.
	Deliver func(ctx context.Context, a *Attempt) Result

	// Concurrency bounds the attempts that run at once. Default: 16.
	Concurrency int

	// Settled is called after an attempt was settled, by many goroutines at once. It
	// must not wait. Default: nothing is called.
	Settled func(a *Attempt, r Result, s Settlement)

	// Now is the wall clock, the same as the engine's. Default: time.Now.
	Now func() time.Time

	// Chance is from 0 to 1, and safe for concurrent use. Default: math/rand/v2.
	Chance func() float64

	// Logger hears of apps that go down and come back. Default: silence.
	Logger *slog.Logger
}

// A Box sees to it that what an engine keeps is delivered: it makes the attempts
// that are due, in turns between handlers and tenants, as many at once as an app
// has shown that it can take.
//
// An app is down when it did not answer several deliveries of a queue, or a proxy
// answered 502 to 504 for it, and no 2xx came between. While it is down, nothing
// but a probe every 5 s is sent, each time another delivery, and no attempt is
// spent. The first 2xx ends that, whoever asked for it, and what waited for the
// app is due at once, oldest first.
//
// A box belongs to its engine, not to a configuration: it outlives a reload.
type Box struct {
	o      Options
	engine Engine
	log    *slog.Logger

	ctx     context.Context // of the attempts
	cancel  context.CancelFunc
	wake    chan struct{}
	stop    chan struct{}
	ended   chan struct{}
	running sync.WaitGroup

	mu       sync.Mutex
	policies map[string]Policy
	paused   map[string]bool // handlers
	paces    map[Queue]*pace
	handlers map[string]int // attempts that run
	attempts int            // of all of them
	turns    turns
	changed  []Queue // whose app went down or came back: what waits for it is to be hastened
	closed   bool
}

// NewBox returns a box that makes attempts from now on.
func NewBox(o Options) *Box {
	if o.Concurrency <= 0 {
		o.Concurrency = 16
	}
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
		policies: make(map[string]Policy), paused: make(map[string]bool),
		paces: make(map[Queue]*pace), handlers: make(map[string]int),
	}
	b.turns.has = make(map[Queue]bool)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	go b.run()
	return b
}

// Engine returns the engine, for whoever looks things up, replays or discards.
func (b *Box) Engine() Engine { return b.engine }

// Configure says how each handler tries, by its name, and makes due what did not
// reach its handler: to be called when a configuration has come into force. What
// belongs to other handlers is tried by the defaults.
func (b *Box) Configure(policies map[string]Policy) {
	b.mu.Lock()
	b.policies = policies
	b.mu.Unlock()
	b.hasten(HoldRoute)
	b.look()
}

// Accept is [Engine.Accept], and begins the attempts. With running, the caller
// makes the first one itself, and then calls Finish.
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
func (b *Box) Finish(a *Attempt, r Result) { b.finish(a, r, false) }

// Heard tells how the app answered a delivery that is not in the inbox: a 2xx ends
// that an app is down.
func (b *Box) Heard(q Queue, key Key, r Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paces[q] != nil || r.unanswered() {
		b.heard(q, key, r)
	}
}

// Holds reports whether deliveries of q are to be stored without asking the app:
// it is known to be down, or its handler is paused.
func (b *Box) Holds(q Queue) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.paces[q]
	return b.paused[q.Handler] || p != nil && p.isDown()
}

// Pause stops the attempts of a handler, until Resume or the end of the process.
// Those that run are not interrupted.
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

// QueueStatus is what a queue holds, and how the app takes it.
type QueueStatus struct {
	QueueStats
	Down   time.Time // since when the app is down; zero: it is not
	Paused bool
}

// Queues is [Engine.Queues] with what the box knows.
func (b *Box) Queues(ctx context.Context) ([]QueueStatus, error) {
	all, err := b.engine.Queues(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]QueueStatus, 0, len(all))
	for _, q := range all {
		s := QueueStatus{QueueStats: q, Paused: b.paused[q.Handler]}
		if p := b.paces[q.Queue]; p != nil {
			s.Down = p.down
		}
		list = append(list, s)
	}
	return list, err
}

// Close begins no more attempts, waits for those that run until ctx ends, and
// closes the engine. What did not end by then stays pending, and is tried again
// when the engine is opened the next time.
func (b *Box) Close(ctx context.Context) error {
	b.mu.Lock()
	again := b.closed
	b.closed = true
	b.mu.Unlock()
	if again {
		return nil
	}
	close(b.stop)
	<-b.ended
	done := make(chan struct{})
	go func() { b.running.Wait(); close(done) }()
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
	return b.engine.Close(ctx) // the marks of the last attempts
}

// closePatience is for what must end once an attempt is interrupted, and for the
// last marks.
const closePatience = 2 * time.Second

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
