package boxes

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
func (b *Box) glance() glance {
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

func (b *Box) look() {
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

// Figures are those of all open inboxes: during a reload there may be two.
func (p *Pool) Figures() metrics.Inbox {
	f := metrics.Inbox{Known: true, Queues: make(map[string]metrics.Queue)}
	if c := p.o.InForce(); c != nil {
		for _, h := range c.named("") {
			if h.Policy != nil && !slices.Contains(f.Names, h.Name) {
				f.Names = append(f.Names, h.Name)
			}
		}
	}
	now := time.Now()
	p.each(func(b *Box) {
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

// Status describes the inbox, and what it and the retained ones hold for each handler
// by its name, over all tenants; nil for what is unknown.
func (c *Configuration) Status() (*adminapi.InboxEngine, func(name string) *adminapi.InboxQueue) {
	none := func(string) *adminapi.InboxQueue { return nil }
	var engine *adminapi.InboxEngine
	var queues []inbox.QueueStatus
	known := false
	others, done := c.pool.allRetained()
	defer done()
	if b := c.Box(); b != nil {
		defer b.Release()
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
	return engine, func(name string) *adminapi.InboxQueue {
		sum := adminapi.InboxQueue{Name: name, Configured: true}
		for _, q := range c.queues(queues, inbox.Selection{Handler: name}) {
			sum.Pending, sum.InAttempt, sum.Delivered = sum.Pending+q.Pending, sum.InAttempt+q.InAttempt, sum.Delivered+q.Delivered
			sum.Dead, sum.Locked, sum.Bytes = sum.Dead+q.Dead, sum.Locked+q.Locked, sum.Bytes+q.Bytes
			sum.Oldest, sum.Due = earlier(sum.Oldest, q.Oldest), earlier(sum.Due, q.Due)
			sum.DownSince, sum.Paused = earlier(sum.DownSince, q.DownSince), sum.Paused || q.Paused
		}
		has := slices.ContainsFunc(c.named(name), func(h Handler) bool { return h.Policy != nil })
		if !has && sum.Pending+sum.InAttempt+sum.Delivered+sum.Dead+sum.Locked == 0 {
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
