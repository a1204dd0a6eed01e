package caddymodule

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A glance is what metrics and status show of an inbox.
type glance struct {
	status inbox.Status
	queues []inbox.QueueStatus
	known  bool // queues were read, now or earlier
}

// glances are the latest glance, and the look that runs.
type glances struct {
	mu     sync.Mutex
	latest glance
	look   chan struct{} // closed when the running look ends; nil: none runs

	owed    owings // the latest known
	counted bool   // it was known, now or earlier
}

const (
	// glanceBudget is how long a scrape waits for an engine. Then it gets the previous
	// glance.
	glanceBudget = 100 * time.Millisecond
	// lookBudget limits a look, which goes on without whoever asked for it.
	lookBudget = time.Minute
)

// glance returns the present state of the inbox or, if its engine does not answer in
// time, the latest known one.
func (b *box) glance() glance {
	s := &b.seen
	s.mu.Lock()
	if s.look == nil {
		s.look = make(chan struct{})
		go b.look()
	}
	ended := s.look
	s.mu.Unlock()
	timer := time.NewTimer(glanceBudget)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

func (b *box) look() {
	ctx, cancel := context.WithTimeout(context.Background(), lookBudget)
	defer cancel()
	status := b.Engine().Status()
	queues, err := b.Queues(ctx)
	s := &b.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest.status = status
	if err == nil {
		s.latest.queues, s.latest.known = queues, true
	}
	close(s.look)
	s.look = nil
}

// eachBox visits the open inboxes, as eachGate does the stores.
func eachBox(visit func(*box)) {
	var open []*box
	boxes.Range(func(_, value any) bool {
		b := value.(*box)
		b.visitors.Add(1) // still in the pool, so Destruct is yet to come
		open = append(open, b)
		return true
	})
	for _, b := range open {
		visit(b)
		b.visitors.Done()
	}
}

// anyBox reports whether an inbox is open.
func anyBox() (open bool) {
	boxes.Range(func(_, _ any) bool {
		open = true
		return false
	})
	return open
}

// inboxFigures are those of all open inboxes: during a reload there may be two.
func inboxFigures() metrics.Inbox {
	f := metrics.Inbox{Known: true, Queues: make(map[string]metrics.Queue)}
	if app := current(); app != nil {
		for _, h := range app.named("") {
			if h.Inbox != nil && !slices.Contains(f.Names, h.Name) {
				f.Names = append(f.Names, h.Name)
			}
		}
	}
	now := time.Now()
	eachBox(func(b *box) {
		g := b.glance()
		f.Open = true
		f.Degraded = f.Degraded || g.status.Health != nil && !b.isRetained() // which stores nothing new
		f.Bytes, f.Limit = f.Bytes+g.status.Bytes, f.Limit+g.status.Limit
		f.Known = f.Known && g.known
		for _, q := range g.queues {
			sum := f.Queues[q.Handler]
			if sum.Counts == nil {
				sum.Counts = make(map[string]int)
			}
			for state, n := range map[inbox.State]int{
				inbox.Pending: q.Pending, inbox.InAttempt: q.InAttempt, inbox.Delivered: q.Delivered, inbox.Dead: q.Dead, inbox.Locked: q.Locked,
			} {
				sum.Counts[state.String()] += n
			}
			if !q.Oldest.IsZero() {
				sum.Oldest = max(sum.Oldest, now.Sub(q.Oldest))
			}
			f.Queues[q.Handler] = sum
		}
	})
	f.Known = f.Known && f.Open
	return f
}

// inboxStatus describes the inbox of the configuration, and what that and the retained
// ones hold for each handler, over all tenants; nil for what is unknown.
func (a *App) inboxStatus() (*adminapi.InboxEngine, func(*Handler) *adminapi.InboxQueue) {
	none := func(*Handler) *adminapi.InboxQueue { return nil }
	var engine *adminapi.InboxEngine
	var queues []inbox.QueueStatus
	known := false
	others, done := retainedBoxes()
	defer done()
	if b := a.theBox(); b != nil {
		defer b.release()
		g := b.glance()
		engine, queues, known = new(describeEngine(b, g.status)), g.queues, g.known
	}
	for _, b := range others {
		g := b.glance()
		queues, known = slices.Concat(queues, g.queues), known || g.known
	}
	if !known {
		return engine, none
	}
	return engine, func(h *Handler) *adminapi.InboxQueue {
		sum := adminapi.InboxQueue{Name: h.Name, Configured: true}
		for _, q := range a.inboxQueues(queues, inbox.Selection{Handler: h.Name}) {
			sum.Pending, sum.InAttempt, sum.Delivered = sum.Pending+q.Pending, sum.InAttempt+q.InAttempt, sum.Delivered+q.Delivered
			sum.Dead, sum.Locked, sum.Bytes = sum.Dead+q.Dead, sum.Locked+q.Locked, sum.Bytes+q.Bytes
			sum.Oldest, sum.Due = earlier(sum.Oldest, q.Oldest), earlier(sum.Due, q.Due)
			sum.DownSince, sum.Paused = earlier(sum.DownSince, q.DownSince), sum.Paused || q.Paused
		}
		if h.Inbox == nil && sum.Pending+sum.InAttempt+sum.Delivered+sum.Dead+sum.Locked == 0 {
			return nil
		}
		return &sum
	}
}

// earlier returns the earlier of two times; nil is never.
func earlier(a, b *time.Time) *time.Time {
	if a == nil || b != nil && b.Before(*a) {
		return b
	}
	return a
}
