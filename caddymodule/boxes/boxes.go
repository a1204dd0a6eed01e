// Package boxes owns the open inboxes of the process: it opens them, shares them between
// configurations, keeps one open that still holds deliveries when no configuration uses
// it any more, and shows and changes what they hold for the operator.
//
// A [Pool] holds all of them. A [Configuration] has a reference to its own from its
// start to its end, and so has each delivery that may be stored. The gateway, which
// imports this package, makes the attempts and says which configuration is in force:
// see [Options].
package boxes

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/logging"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// Options connect the inboxes with the gateway. All are required.
type Options struct {
	// Deliver makes an attempt: see [inbox.Options].
	Deliver func(context.Context, *inbox.Attempt) inbox.Result
	// Forget lets the next copy of a discarded delivery through.
	Forget func(context.Context, inbox.Key) error
	// InForce returns the configuration that started last, or nil.
	InForce func() *Configuration
	// Serving returns the configuration that serves requests, or nil. InForce may be
	// ahead of it.
	Serving func() *Configuration
}

// A Pool holds the open inboxes of the process.
type Pool struct {
	o     Options
	began time.Time        // the process
	open  *caddy.UsagePool // by identity

	// Guards the fields of all boxes that say so.
	mu       sync.Mutex
	retained []*Box // that no configuration uses any more, oldest first
	last     uint64 // serial

	paused pauses

	// settlements limits the lines of settled: an app that refuses everything must not
	// fill a disk.
	settlements logging.Limiter
}

// New returns an empty pool, at the start of the process.
func New(o Options) *Pool {
	return &Pool{o: o, began: time.Now(), open: caddy.NewUsagePool(), paused: pauses{handlers: make(map[string]bool)}}
}

// pauses are the handlers that an operator has paused. They are the process's: a reload
// may name another inbox, or none for a while. No other lock is acquired under theirs but
// an [inbox.Box]'s.
type pauses struct {
	mu       sync.Mutex
	handlers map[string]bool
}

// pause stops or continues attempts of a handler, in all inboxes and those opened later.
func (p *Pool) pause(handler string, yes bool) {
	p.paused.mu.Lock()
	if yes {
		p.paused.handlers[handler] = true
	} else {
		delete(p.paused.handlers, handler)
	}
	p.paused.mu.Unlock()
	p.each(func(b *Box) { p.paused.apply(b.Box, handler) })
}

func (p *pauses) apply(b *inbox.Box, handler string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handlers[handler] {
		b.Pause(handler)
	} else {
		b.Resume(handler)
	}
}

// begin pauses them in a new box.
func (p *pauses) begin(b *inbox.Box) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for handler := range p.handlers {
		b.Pause(handler)
	}
}

// A Box is an inbox that the pool closes after its last user.
type Box struct {
	*inbox.Box
	pool     *Pool
	identity string
	module   Module // that opened it
	opened   time.Time
	visitors sync.WaitGroup
	seen     glances
	served   atomic.Bool // a configuration that serves requests, or one of them, has used it
	first    atomic.Bool // the process began with it
	farewell sync.Once
	gone     chan struct{} // closed when the box is

	// Guarded by Pool.mu.
	configurations int           // that use it
	serial         uint64        // of the latest time it was retained
	forsaken       chan struct{} // closed when it is no longer retained
}

// Destruct implements caddy.Destructor. It gives running attempts some time: those
// that end are not repeated.
func (b *Box) Destruct() error {
	defer close(b.gone)
	b.visitors.Wait()
	b.sayWhatStays()
	ctx, cancel := context.WithTimeout(context.Background(), stopBudget)
	defer cancel()
	return b.Close(ctx)
}

// sayWhatStays warns, once, of deliveries that the next start must find. Whoever loses the
// file with a container learns so at its end. Of a shared inbox another process makes the
// attempts, and what only a refused reload has named is no concern of the next start.
func (b *Box) sayWhatStays() {
	o, _ := b.owed()
	if o.total() == 0 || !b.served.Load() || b.Engine().Status().Shared {
		return
	}
	b.farewell.Do(func() {
		caddy.Log().Named("verify_webhook.inbox").Warn("the inbox is closed and holds deliveries: the next start needs the same file to deliver them",
			zap.String("inbox", describe(b.module)), zap.Int("deliveries", o.total()), zap.Int("dead", o.dead), zap.Int("locked", o.locked))
	})
}

// stopBudget limits attempts after the last configuration has released their inbox.
const stopBudget = 10 * time.Second

// Release releases one reference.
func (b *Box) Release() { _, _ = b.pool.open.Delete(b.identity) }

// leave releases the reference of a configuration, unless b is retained.
func (b *Box) leave() {
	if !b.retain() {
		b.close()
	}
}

// close releases the last reference but those of deliveries. When the process ends, it
// waits for first attempts that outlast their senders, which have references too.
func (b *Box) close() {
	b.Release()
	if !caddy.Exiting() {
		return
	}
	wait := time.NewTimer(stopBudget)
	defer wait.Stop()
	select {
	case <-b.gone:
	case <-wait.C:
		b.sayWhatStays()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = b.Close(ctx) // writes the results of the other attempts
	}
}

// acquire opens the engine, or takes a reference to the open one of the same identity.
// Every acquire is followed by one Release.
func (p *Pool) acquire(identity string, m Module) (*Box, error) {
	value, _, err := p.open.LoadOrNew(identity, func() (caddy.Destructor, error) {
		logger := logging.Current("inbox")
		engine, err := m.Engine(logger)
		if err != nil {
			return nil, err
		}
		awaitOpen(engine)
		b := &Box{
			Box:  inbox.NewBox(inbox.Options{Engine: engine, Deliver: p.o.Deliver, Settled: p.settled, Logger: logger}),
			pool: p, identity: identity, module: m, opened: time.Now(),
			gone: make(chan struct{}),
		}
		p.paused.begin(b.Box)
		_ = m.Adjust(b.Box) // the configuration does it again, until it succeeds
		return b, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*Box), nil
}

// openPatience is how long the start waits for the inbox.
const openPatience = 500 * time.Millisecond

// awaitOpen gives an engine time to open, so that what arrives right after a start is
// stored too. One that takes longer, or cannot be opened, delays nothing further.
func awaitOpen(e inbox.Engine) {
	opening, until := e.Status().Health, time.Now().Add(openPatience)
	for opening != nil && e.Status().Health == opening && time.Now().Before(until) {
		time.Sleep(2 * time.Millisecond)
	}
}

// each visits the open inboxes. A visit may wait for an engine, so it does not hold the
// pool's lock, which every delivery takes; a box stays open until it has ended.
func (p *Pool) each(visit func(*Box)) {
	var open []*Box
	p.open.Range(func(_, value any) bool {
		b := value.(*Box)
		b.visitors.Add(1) // still in the pool, so Destruct is yet to come
		open = append(open, b)
		return true
	})
	for _, b := range open {
		visit(b)
		b.visitors.Done()
	}
}

// Rerouted is [inbox.Box.Rerouted] of all open inboxes.
func (p *Pool) Rerouted() { p.each(func(b *Box) { b.Rerouted() }) }

// any reports whether an inbox is open.
func (p *Pool) any() (open bool) {
	p.open.Range(func(_, _ any) bool {
		open = true
		return false
	})
	return open
}

// Find returns the entry of a delivery, if b holds it.
func (b *Box) Find(ctx context.Context, key inbox.Key) (inbox.Entry, bool) {
	e, found, err := b.Engine().Find(ctx, key)
	return e, found && err == nil
}

// settled counts the result of an attempt, and reports it if it needs an operator.
func (p *Pool) settled(a *inbox.Attempt, r inbox.Result, s inbox.Settlement) {
	e := a.Entry
	message, level := "", zap.ErrorLevel
	outcome := metrics.AttemptRetry
	switch {
	case s.To == inbox.Delivered:
		outcome = metrics.AttemptDelivered
	case s.To == inbox.Dead:
		outcome = metrics.AttemptDead
		message = "a delivery is a dead letter: it is kept until it is replayed or discarded"
	case r.Unreached:
		outcome = metrics.AttemptUnreached
		message, level = "a stored delivery did not reach its handler: it waits for a configuration that routes it there", zap.WarnLevel
	case r.Refused:
		outcome = metrics.AttemptRefused
		message, level = "a route above the handler refused a stored delivery, with this status: it is tried again", zap.WarnLevel
	case r.Later > 0:
		outcome = metrics.AttemptPostponed
	}
	metrics.Attempted(e.Handler, outcome)
	if message == "" {
		return
	}
	ok, suppressed := p.settlements.Allow(time.Now())
	if !ok {
		return
	}
	fields := []zap.Field{
		zap.String("name", e.Handler), zap.String("delivery", e.Key.String()), zap.Int("attempt", e.Attempts+1), zap.Int("status", r.Status),
	}
	if r.Refused {
		fields = append(fields, zap.Bool("refused", true)) // by a route, not by the app
	}
	caddy.Log().Named("verify_webhook.inbox").Log(level, message, append(fields, suppressed...)...)
}

// Interface guard
var _ caddy.Destructor = (*Box)(nil)
