package inboxtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A Memory is the simplest possible engine: one map, one lock, no file. It is not
// persistent; it is the reference that tests compare others with.
type Memory struct {
	Now     func() time.Time
	MaxSize int64 // 0: no limit

	id      string
	mu      sync.Mutex
	records map[inbox.Key]*record
	next    uint64
	changed chan struct{}
	ails    error
	probed  map[inbox.Queue][]inbox.Trace // the latest last
	clock   time.Time                     // when it was last used
}

type record struct {
	inbox.Entry
	astray  bool // held for HoldRoute
	d       *inbox.Delivery
	attempt *inbox.Attempt // the running attempt
}

// NewMemory returns an empty engine. maxSize limits it; 0: no limit.
func NewMemory(now func() time.Time, maxSize int64) *Memory {
	return &Memory{id: rand.Text(), Now: now, MaxSize: maxSize, records: make(map[inbox.Key]*record), changed: make(chan struct{}, 1), probed: make(map[inbox.Queue][]inbox.Trace)}
}

// Ail makes all calls fail with a reason, or succeed again with nil.
func (m *Memory) Ail(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ails = why
}

// Restart ends all attempts and forgets the probes, as a restart of the process does.
func (m *Memory) Restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.probed)
	for _, r := range m.records {
		if r.State == inbox.InAttempt {
			r.State = inbox.Pending
		}
		if r.State == inbox.Pending && (r.Hold != inbox.HoldTime || m.isAhead(r)) {
			r.Due = m.Now()
		}
		r.astray = false
	}
}

// Accept implements [inbox.Engine].
func (m *Memory) Accept(_ context.Context, d *inbox.Delivery, running bool) (inbox.Accepted, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ails != nil {
		return inbox.Accepted{}, &inbox.NotStoredError{Why: inbox.WhyUnavailable, Err: m.ails}
	}
	m.expireKept()
	r := m.records[d.Key]
	answer := inbox.Accepted{Copy: r != nil && r.State != inbox.Delivered}
	switch {
	case answer.Copy:
		if r.State == inbox.Dead {
			m.revive(r)
		}
	default:
		b, _ := d.AppendBinary(nil)
		room := inbox.Room{Limit: m.MaxSize}
		for _, o := range m.records {
			room.Used += int64(o.Size)
			if o.Handler == d.Handler {
				room.Handler += int64(o.Size)
			}
			if o.Queue == d.Queue {
				room.Queue += int64(o.Size)
			}
		}
		if why := room.Refuses(d.Queue, int64(len(b))); why != "" {
			return inbox.Accepted{}, &inbox.NotStoredError{Why: why}
		}
		m.next++
		now := m.Now()
		r = &record{d: new(inbox.Delivery), Entry: inbox.Entry{
			Key: d.Key, Queue: d.Queue, Label: d.Label, State: inbox.Pending, Position: m.next,
			Received: d.Received, Since: now, Due: now, Size: len(b), Trace: d.Trace,
		}}
		if err := r.d.UnmarshalBinary(b); err != nil {
			return inbox.Accepted{}, err
		}
		m.records[d.Key] = r
	}
	if running && r.State == inbox.Pending {
		answer.Attempt = m.begin(r)
	}
	answer.Entry = r.view()
	return answer, nil
}

func (m *Memory) begin(r *record) *inbox.Attempt {
	r.State = inbox.InAttempt
	r.attempt = &inbox.Attempt{Entry: r.view(), Delivery: r.d}
	return r.attempt
}

// view returns the entry as callers see it: without a due time if time does not make
// it due.
func (r *record) view() inbox.Entry {
	e := r.Entry
	if e.State != inbox.Delivered && e.State != inbox.Pending || r.astray {
		e.Due = time.Time{}
	}
	if r.astray {
		e.Hold = inbox.HoldRoute
	}
	return e
}

func (m *Memory) revive(r *record) {
	now := m.Now()
	r.State, r.Since, r.Due, r.Hold = inbox.Pending, now, now, inbox.HoldTime
	r.Attempts, r.Status, r.Replayed, r.astray = 0, 0, false, false
	r.Generation++
}

func (m *Memory) isAhead(r *record) bool { return r.Since.After(m.Now().Add(time.Minute)) }

// tick notices a clock that was set back.
func (m *Memory) tick() {
	now := m.Now()
	back := now.Before(m.clock.Add(-time.Minute))
	m.clock = now
	for _, r := range m.records {
		if back && (r.State == inbox.Pending || r.State == inbox.InAttempt) && m.isAhead(r) {
			r.Due = now
		}
	}
}

func (m *Memory) expireKept() {
	m.tick()
	maps.DeleteFunc(m.records, func(_ inbox.Key, r *record) bool {
		return r.State == inbox.Delivered && !r.Due.After(m.Now())
	})
}

// ordered returns the records of s in order of acceptance.
func (m *Memory) ordered(s inbox.Selection) []*record {
	m.expireKept()
	var all []*record
	for k, r := range m.records {
		if (len(s.Keys) == 0 || slices.Contains(s.Keys, k)) && s.Includes(r.Entry) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *record) int { return int(a.Position) - int(b.Position) })
	return all
}

// Find implements [inbox.Engine].
func (m *Memory) Find(_ context.Context, key inbox.Key) (inbox.Entry, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ails != nil {
		return inbox.Entry{}, false, inbox.ErrUnavailable
	}
	m.expireKept()
	if r := m.records[key]; r != nil {
		return r.view(), true, nil
	}
	return inbox.Entry{}, false, nil
}

// Take implements [inbox.Engine].
func (m *Memory) Take(_ context.Context, q inbox.Queue, which inbox.Which) (*inbox.Attempt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ails != nil {
		return nil, inbox.ErrUnavailable
	}
	if which == inbox.Probe {
		return m.probe(q), nil
	}
	var first *record
	for _, r := range m.ordered(inbox.Selection{States: []inbox.State{inbox.Pending}}) {
		suits := r.Queue == q
		earlier := first == nil || first.astray && !r.astray || first.astray == r.astray && r.Due.Before(first.Due)
		switch which {
		case inbox.NextDue:
			suits = suits && !r.astray && !r.Due.After(m.Now())
			if first != nil && (r.Hold == inbox.HoldTurn) != (first.Hold == inbox.HoldTurn) {
				earlier = first.Hold == inbox.HoldTurn
			}
		case inbox.Oldest:
			earlier = first == nil || r.Since.Before(first.Since)
		}
		if suits && earlier {
			first = r
		}
	}
	if first == nil {
		return nil, nil
	}
	return m.begin(first), nil
}

// probe takes one for a probe.
func (m *Memory) probe(q inbox.Queue) *inbox.Attempt {
	all := m.ordered(inbox.Selection{States: []inbox.State{inbox.Pending}})
	all = slices.DeleteFunc(all, func(r *record) bool {
		return r.Queue != q || r.astray || r.Hold.Timed() && r.Attempts > 0 && r.Due.After(m.Now())
	})
	if len(all) == 0 {
		return nil
	}
	class := func(r *record) int {
		if r.Hold == inbox.HoldRefused || r.Hold == inbox.HoldTime && r.Attempts > 0 {
			return 3
		}
		return map[inbox.Hold]int{inbox.HoldTurn: 1, inbox.HoldApp: 2}[r.Hold]
	}
	lately := m.probed[q]
	shared := len(lately)%2 == 1
	latest := func(is func(inbox.Trace) bool) int { // -1: not among the last eight
		for i := len(lately) - 1; i >= max(0, len(lately)-8); i-- {
			if is(lately[i]) {
				return i
			}
		}
		return -1
	}
	first := slices.MinFunc(all, func(a, b *record) int {
		if shared {
			content := func(r *record) int { return latest(func(t inbox.Trace) bool { return t.Content == r.Trace.Content }) }
			client := func(r *record) int { return latest(func(t inbox.Trace) bool { return t.Client == r.Trace.Client }) }
			if c := cmp.Or(content(a)-content(b), client(a)-client(b)); c != 0 {
				return c
			}
		}
		c := class(a) - class(b)
		if c == 0 && class(a) == 0 && !shared {
			c = int(b.Position) - int(a.Position)
		}
		return cmp.Or(c, a.Due.Compare(b.Due), int(a.Position)-int(b.Position))
	})
	m.probed[q] = append(lately, first.Trace)
	return m.begin(first)
}

// Settle implements [inbox.Engine].
func (m *Memory) Settle(a *inbox.Attempt, s inbox.Settlement) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[a.Entry.Key]
	if r == nil || r.State != inbox.InAttempt || r.attempt != a {
		return
	}
	if s.To == inbox.Delivered && s.Keep <= 0 {
		delete(m.records, r.Key)
		return
	}
	if s.Undoes() {
		r.State = inbox.Pending
		return
	}
	r.State, r.astray = s.To, s.To == inbox.Pending && s.Hold == inbox.HoldRoute
	switch {
	case s.To == inbox.Delivered:
		r.Due = m.Now().Add(s.Keep)
	case !r.astray:
		r.Hold, r.Due = s.Hold, m.Now().Add(s.After)
	}
	if !s.Unspent {
		r.Attempts, r.Status = r.Attempts+1, s.Status
	}
}

// Hasten implements [inbox.Engine].
func (m *Memory) Hasten(_ context.Context, q inbox.Queue, h inbox.Hold) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ails != nil {
		return inbox.ErrUnavailable
	}
	for _, r := range m.records {
		switch {
		case r.Queue != q || r.State != inbox.Pending && r.State != inbox.InAttempt:
		case h == inbox.HoldRoute:
			r.astray = false
		case r.Hold == h:
			r.Due = m.Now()
		}
	}
	return nil
}

// Get implements [inbox.Engine].
func (m *Memory) Get(_ context.Context, key inbox.Key) (*inbox.Delivery, inbox.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ails != nil {
		return nil, inbox.Entry{}, inbox.ErrUnavailable
	}
	m.expireKept()
	if r := m.records[key]; r != nil {
		return r.d, r.view(), nil
	}
	return nil, inbox.Entry{}, inbox.ErrNotFound
}

// List implements [inbox.Engine].
func (m *Memory) List(_ context.Context, s inbox.Selection, after uint64, limit int) ([]inbox.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ails != nil {
		return nil, inbox.ErrUnavailable
	}
	var found []inbox.Entry
	for _, r := range m.ordered(s) {
		if r.Position > after && len(found) < limit {
			found = append(found, r.view())
		}
	}
	return found, nil
}

// Queues implements [inbox.Engine].
func (m *Memory) Queues(context.Context) ([]inbox.QueueStats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ails != nil {
		return nil, inbox.ErrUnavailable
	}
	queues := make(map[inbox.Queue]*inbox.QueueStats)
	for _, r := range m.ordered(inbox.Selection{}) {
		q := queues[r.Queue]
		if q == nil {
			q = &inbox.QueueStats{Queue: r.Queue}
			queues[r.Queue] = q
		}
		q.Bytes += int64(r.Size)
		switch r.State {
		case inbox.Pending:
			q.Pending++
			if q.Oldest.IsZero() || r.Since.Before(q.Oldest) {
				q.Oldest = r.Since
			}
			if due := r.view().Due; !due.IsZero() && (q.Due.IsZero() || due.Before(q.Due)) {
				q.Due = due
			}
		case inbox.InAttempt:
			q.InAttempt++
		case inbox.Delivered:
			q.Delivered++
		case inbox.Dead:
			q.Dead++
		}
	}
	var all []inbox.QueueStats
	for _, q := range queues {
		all = append(all, *q)
	}
	return all, nil
}

// Status implements [inbox.Engine].
func (m *Memory) Status() inbox.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := inbox.Status{ID: m.id, Health: m.ails, Limit: m.MaxSize}
	for _, r := range m.records {
		s.Bytes += int64(r.Size)
	}
	return s
}

// Changed implements [inbox.Engine].
func (m *Memory) Changed() <-chan struct{} { return m.changed }

// Close implements [inbox.Engine].
func (m *Memory) Close(context.Context) error { return nil }

var _ inbox.Engine = (*Memory)(nil)
