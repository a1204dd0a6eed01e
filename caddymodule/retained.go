package caddymodule

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/bolt"
)

// retained holds the inboxes that no configuration uses any more but that still hold
// deliveries, oldest first. Each has a reference of its own, and delivers through the
// configuration in force until it is empty. A restart would leave it closed.
var retained struct {
	mu    sync.Mutex // guards the fields of all boxes that say so
	boxes []*box
	last  uint64 // serial
}

// retainPause is the interval of checks whether a retained inbox is empty.
var retainPause = time.Second

// openBudget is how long an inbox may take to open before it counts as empty, once no
// configuration uses it.
const openBudget = 5 * time.Minute

// use counts a configuration that uses b. If b is retained, it is no longer.
func (b *box) use() {
	retained.mu.Lock()
	b.configurations++
	was := b.forsake()
	retained.mu.Unlock()
	if was {
		b.release()
	}
}

// retain takes the reference of a configuration that goes away, if it was the last one
// and b is still needed. It reports whether it did.
func (b *box) retain() bool {
	retained.mu.Lock()
	defer retained.mu.Unlock()
	b.configurations--
	if b.configurations > 0 || current() == nil || caddy.Exiting() || !b.needed() {
		return false
	}
	retained.last++
	b.serial, b.forsaken = retained.last, make(chan struct{})
	retained.boxes = append(retained.boxes, b)
	go b.watch(b.forsaken)
	return true
}

// forsake removes b from the retained ones, and reports whether it was one: then its
// reference is the caller's. retained.mu is held.
func (b *box) forsake() bool {
	i := slices.Index(retained.boxes, b)
	if i < 0 {
		return false
	}
	retained.boxes = slices.Delete(retained.boxes, i, i+1)
	close(b.forsaken)
	return true
}

// watch closes b when it is no longer needed.
func (b *box) watch(forsaken <-chan struct{}) {
	tick := time.NewTicker(retainPause)
	defer tick.Stop()
	for {
		select {
		case <-forsaken:
			return
		case <-tick.C:
		}
		retained.mu.Lock()
		gone := !b.needed() && b.forsake()
		retained.mu.Unlock()
		if gone {
			caddy.Log().Named("verify_webhook.inbox").Info("an inbox that is no longer configured is closed: nothing is left in it", zap.String("inbox", describeInbox(b.module)))
			b.release()
			return
		}
	}
}

// needed reports whether b holds deliveries, or may get some from requests of earlier
// configurations. It is not needed if the inbox in force has the same storage.
func (b *box) needed() bool {
	if id := b.Engine().Status().ID; id != "" {
		if app := current(); app != nil && app.storageOf(b) == id {
			return false
		}
	}
	if n, _ := boxes.References(b.identity); n > 1 {
		return true
	}
	if owed, known := b.owed(); known {
		return owed.total() > 0
	}
	return time.Since(b.opened) < openBudget
}

// storageOf returns the ID of the storage of the app's inbox, unless that is b.
func (a *App) storageOf(b *box) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.box == nil || a.box == b {
		return ""
	}
	return a.box.Engine().Status().ID
}

// owings are the numbers of deliveries that the app has not accepted.
type owings struct{ pending, dead, locked int }

func (o owings) total() int { return o.pending + o.dead + o.locked }

// owed counts the deliveries of b, or returns the latest known numbers while it is not
// open.
func (b *box) owed() (o owings, known bool) {
	ctx, cancel := context.WithTimeout(context.Background(), glanceBudget)
	defer cancel()
	queues, err := b.Engine().Queues(ctx)
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	if err != nil {
		return b.seen.owed, b.seen.counted
	}
	for _, q := range queues {
		o.pending, o.dead, o.locked = o.pending+q.Pending+q.InAttempt, o.dead+q.Dead, o.locked+q.Locked
	}
	b.seen.owed, b.seen.counted = o, true
	return o, true
}

// isRetained reports whether no configuration uses b.
func (b *box) isRetained() bool {
	retained.mu.Lock()
	defer retained.mu.Unlock()
	return slices.Contains(retained.boxes, b)
}

// retainedBoxes returns the retained inboxes, oldest first, and a function to call when
// they are no longer used.
func retainedBoxes() (all []*box, done func()) {
	retained.mu.Lock()
	defer retained.mu.Unlock()
	if len(retained.boxes) == 0 {
		return nil, func() {}
	}
	all = slices.Clone(retained.boxes)
	for _, b := range all {
		b.visitors.Add(1) // it is still in the pool
	}
	return all, func() {
		for _, b := range all {
			b.visitors.Done()
		}
	}
}

// closeRetained closes all of them, without a configuration to deliver through. Only
// the end of the process waits.
func closeRetained() {
	retained.mu.Lock()
	all := slices.Clone(retained.boxes)
	for _, b := range all {
		b.forsake()
	}
	retained.mu.Unlock()
	var closing sync.WaitGroup
	for _, b := range all {
		closing.Go(b.close)
	}
	if caddy.Exiting() {
		closing.Wait()
	}
}

// abandons warns of deliveries in inboxes that this configuration does not use: open
// ones, and the default file.
func (a *App) abandons() (findings []placement.Finding) {
	identity := ""
	a.mu.Lock()
	if a.needsInbox() {
		identity = a.inbox.Identity()
	}
	a.mu.Unlock()
	eachBox(func(b *box) {
		o, _ := b.owed()
		if b.identity == identity || o.total() == 0 {
			return
		}
		findings = append(findings, placement.Finding{
			Message: "an inbox that this configuration does not use holds deliveries: they are delivered as long as this process runs, and a restart leaves them: configure it again until it is empty",
			Fields: []zap.Field{
				zap.String("inbox", describeInbox(b.module)), zap.Int("deliveries", o.total()), zap.Int("dead", o.dead), zap.Int("locked", o.locked),
			},
		})
	})
	file := new(BoltInbox)
	if err := file.Provision(caddy.Context{}); err != nil || file.Identity() == identity {
		return findings
	}
	if _, open := boxes.References(file.Identity()); open {
		return findings
	}
	if n := bolt.Owed(file.Path); n > 0 {
		findings = append(findings, placement.Finding{
			Message: "the default inbox file holds deliveries, and this configuration uses another inbox: they are not delivered: remove the global option inbox, or name this file in it, until it is empty",
			Fields:  []zap.Field{zap.String("inbox", describeInbox(file)), zap.Int("deliveries", n)},
		})
	}
	return findings
}

// describeInbox names an inbox for the operator. An Identity may contain a password.
func describeInbox(m InboxModule) string {
	kind := ""
	if m, ok := m.(caddy.Module); ok {
		kind = m.CaddyModule().ID.Name()
	}
	switch m := m.(type) {
	case *BoltInbox:
		return kind + " " + m.Path
	case movable:
		return kind + " " + m.Keeps()
	}
	return kind
}

// finds reports whether b holds a delivery, and its entry.
func (b *box) finds(ctx context.Context, key inbox.Key) (inbox.Entry, bool) {
	e, found, err := b.Engine().Find(ctx, key)
	return e, found && err == nil
}
