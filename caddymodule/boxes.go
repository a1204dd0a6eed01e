package caddymodule

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/logging"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// boxes holds the open inboxes of the process by identity, like gates holds the
// stores. Every configuration that uses one holds a reference, and so does every
// delivery that may be stored in it.
var boxes = caddy.NewUsagePool()

// A box is an inbox that the pool closes after its last user.
type box struct {
	*inbox.Box
	identity string
	module   InboxModule // that opened it
	opened   time.Time
	visitors sync.WaitGroup
	seen     glances
	gone     chan struct{} // closed when the box is

	// Guarded by retained.mu.
	configurations int           // that use it
	serial         uint64        // of the latest time it was retained
	forsaken       chan struct{} // closed when it is no longer retained
}

// Destruct implements caddy.Destructor. It gives running attempts some time: those
// that end are not repeated.
func (b *box) Destruct() error {
	defer close(b.gone)
	b.visitors.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), stopBudget)
	defer cancel()
	return b.Close(ctx)
}

// stopBudget limits attempts after the last configuration has released their inbox.
const stopBudget = 10 * time.Second

func (b *box) release() { _, _ = boxes.Delete(b.identity) }

// leave releases the reference of a configuration, unless b is retained.
func (b *box) leave() {
	if !b.retain() {
		b.close()
	}
}

// close releases the last reference but those of deliveries. When the process ends, it
// waits for first attempts that outlast their senders, which have references too.
func (b *box) close() {
	b.release()
	if !caddy.Exiting() {
		return
	}
	wait := time.NewTimer(stopBudget)
	defer wait.Stop()
	select {
	case <-b.gone:
	case <-wait.C:
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = b.Close(ctx) // writes what the other attempts came to
	}
}

// acquireBox opens the engine, or takes a reference to the open one of the same
// identity. Every acquireBox is followed by one release.
func acquireBox(identity string, m InboxModule) (*box, error) {
	value, _, err := boxes.LoadOrNew(identity, func() (caddy.Destructor, error) {
		logger := logging.Current("inbox")
		engine, err := m.Engine(logger)
		if err != nil {
			return nil, err
		}
		awaitOpen(engine)
		b := &box{
			Box:      inbox.NewBox(inbox.Options{Engine: engine, Deliver: handBack, Settled: settled, Logger: logger}),
			identity: identity, module: m, opened: time.Now(),
			gone: make(chan struct{}),
		}
		if err := m.Adjust(b.Box); err != nil {
			return nil, errors.Join(err, b.Close(context.Background()))
		}
		return b, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*box), nil
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

// openInbox takes the configuration's reference to its inbox. A configuration without
// one uses the default file's while it holds deliveries: accepted deliveries are
// delivered, whatever the configuration says by then. a.mu is held.
func (a *App) openInbox() {
	if !a.needsInbox() {
		return
	}
	b, err := acquireBox(a.inbox.Identity(), a.inbox)
	if err != nil {
		a.logger.Error("the inbox cannot be opened; deliveries go to the app as without one", zap.Error(err))
		return
	}
	a.box = b
	b.use()
}

// theBox returns the open inbox with a reference for one delivery, or nil.
func (a *App) theBox() *box {
	if err := a.open(); err != nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.box == nil {
		return nil
	}
	b, err := acquireBox(a.box.identity, a.inbox)
	if err != nil {
		return nil
	}
	return b
}

// forcePause is the interval of checks whether the configuration is in force.
const forcePause = 20 * time.Millisecond

// followInbox gives the inbox its options, and the retry policies of the handlers, once
// the configuration is in force: before that, attempts go to the previous configuration.
func (a *App) followInbox(ctx context.Context) {
	a.mu.Lock()
	b := a.box
	a.mu.Unlock()
	if b == nil && !anyBox() {
		return
	}
	if b != nil && activeApp() == nil { // there is none before: the first deliveries are retried as it says
		a.adjust(b)
	}
	a.polling.Go(func() {
		tick := time.NewTicker(forcePause)
		defer tick.Stop()
		for activeApp() != a {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		eachBox(func(other *box) { // which deliver through this configuration as well
			if other != b {
				other.Configure(a.policies())
			}
		})
		if b == nil {
			return
		}
		a.adjust(b)
		a.compareBodies(ctx, b.Engine())
	})
}

// openPause is the interval of checks whether the inbox is open.
const openPause = time.Second

// compareBodies waits until the inbox is open, and warns of handlers whose max_body
// exceeds what it can store.
func (a *App) compareBodies(ctx context.Context, e inbox.Engine) {
	tick := time.NewTicker(openPause)
	defer tick.Stop()
	for e.Status().Health != nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	largest := e.Status().LargestBody
	for _, h := range a.named("") {
		if h.Inbox != nil && largest > 0 && h.maxBody > largest {
			a.logger.Warn("max_body exceeds what the inbox can store, so larger bodies go to the app as without one: lower max_body, or raise the limit of the inbox's server (max_payload of NATS)",
				zap.String("name", h.Name), zap.Int64("max_body", h.maxBody), zap.Int64("most", largest))
		}
	}
}

// adjust applies the options and retry policies of the configuration to its inbox.
func (a *App) adjust(b *box) {
	if err := a.inbox.Adjust(b.Box); err != nil {
		a.logger.Error("the options of the inbox cannot be applied: it keeps those that it has", zap.Error(err))
	}
	b.Configure(a.policies())
}

// activeApp returns the app of the configuration that serves requests, which inForce
// may be ahead of; nil if there is none.
func activeApp() *App {
	value, err := caddy.ActiveContext().AppIfConfigured("verify_webhook")
	if err != nil {
		return nil
	}
	app, _ := value.(*App)
	return app
}

// settlements limits the lines of settled: an app that refuses everything must not
// fill a disk.
var settlements logging.Limiter

// settled counts the result of an attempt, and reports it if it needs an operator.
func settled(a *inbox.Attempt, r inbox.Result, s inbox.Settlement) {
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
	case r.Later > 0:
		outcome = metrics.AttemptPostponed
	}
	metrics.Attempted(e.Handler, outcome)
	if message == "" {
		return
	}
	ok, suppressed := settlements.Allow(time.Now())
	if !ok {
		return
	}
	fields := []zap.Field{
		zap.String("name", e.Handler), zap.String("delivery", e.Key.String()), zap.Int("attempt", e.Attempts+1), zap.Int("status", r.Status),
	}
	caddy.Log().Named("verify_webhook.inbox").Log(level, message, append(fields, suppressed...)...)
}
