// Package index is what the engines of an inbox know about their deliveries, in memory:
// one entry per key, and for each queue the order in which its entries are due, counts
// and bytes. It also has the rules for settling, replaying and removing entries, so that
// they are the same in every engine.
//
// An engine adds what is its own: it embeds [Entry] in its own type of entry, and
// stores what the index says. Its lock guards the index.
package index

import (
	"container/heap"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A Holder is an engine's type of entry: a pointer to a struct that embeds [Entry].
type Holder interface {
	// Base returns the embedded entry.
	Base() *Entry
}

// An Index holds the entries of one storage. It is not safe for concurrent use.
type Index[E Holder] struct {
	// Entries are the entries by key, to be read.
	Entries map[inbox.Key]E

	// Bytes is the size of all entries, and of what is reserved.
	Bytes int64

	queues   map[inbox.Queue]*queue
	groups   map[groupKey]*Group
	handlers map[string]int64 // bytes
	kept     order            // delivered and kept entries, by the time of their removal
	keptSize int64
	clock    int64 // the latest time since the last Tick
}

type groupKey struct {
	inbox.Queue
	label string
}

// New returns an empty index.
func New[E Holder]() *Index[E] {
	return &Index[E]{
		Entries: make(map[inbox.Key]E), queues: make(map[inbox.Queue]*queue),
		groups: make(map[groupKey]*Group), handlers: make(map[string]int64),
	}
}

// Group returns the group of q and label. Groups live as long as the index: the
// configuration limits the number of handlers, tenants and labels.
func (x *Index[E]) Group(q inbox.Queue, label string) *Group {
	k := groupKey{q, label}
	g := x.groups[k]
	if g == nil {
		g = &Group{Label: label}
		x.groups[k] = g
	}
	if g.queue = x.queues[q]; g.queue == nil {
		g.queue = &queue{Queue: q, due: order{place: 0}, replays: order{place: 0}, age: order{place: 1, byAge: true}, running: order{place: 0}}
		x.queues[q] = g.queue
	}
	return g
}

// NewEntry returns the entry of a delivery that is being stored, pending and due. It is
// not in the index yet, and has no Seq.
func (x *Index[E]) NewEntry(d *inbox.Delivery, size int, now int64) Entry {
	x.clock = max(x.clock, now)
	return Entry{
		Key: d.Key, Group: x.Group(d.Queue, d.Label), State: inbox.Pending,
		Received: d.Received.UnixNano(), Since: now, Due: now, Size: uint32(size),
		client: d.Trace.Client, content: d.Trace.Content,
	}
}

// Room returns the space available to a delivery of q, of limit bytes in all.
func (x *Index[E]) Room(q inbox.Queue, limit int64) inbox.Room {
	r := inbox.Room{Limit: limit, Used: x.Bytes, Handler: x.handlers[q.Handler]}
	if queue := x.queues[q]; queue != nil {
		r.Queue = queue.bytes
	}
	return r
}

// Reserve counts the bytes of e, which is not in the index yet. Release undoes it.
func (x *Index[E]) Reserve(e E) { x.account(e.Base(), int64(e.Base().Size)) }

// Release undoes Reserve.
func (x *Index[E]) Release(e E) { x.account(e.Base(), -int64(e.Base().Size)) }

// Link adds e. Its group may be of an earlier time, or of another index.
func (x *Index[E]) Link(e E) {
	b := e.Base()
	b.Group = x.Group(b.Group.Queue(), b.Group.Label) // its queue may have been removed
	x.Entries[b.Key] = e
	x.account(b, int64(b.Size))
	x.enter(b)
}

// Unlink removes e.
func (x *Index[E]) Unlink(e E) {
	b := e.Base()
	x.leave(b)
	x.account(b, -int64(b.Size))
	delete(x.Entries, b.Key)
}

// account counts bytes of e. Empty queues are removed.
func (x *Index[E]) account(e *Entry, size int64) {
	q := e.Group.queue
	q.bytes += size
	x.Bytes += size
	if q.bytes == 0 {
		delete(x.queues, q.Queue)
	}
	if x.handlers[q.Handler] += size; x.handlers[q.Handler] == 0 {
		delete(x.handlers, q.Handler)
	}
}

// Change applies f to e and reorders it. f must not change key, group or size.
func (x *Index[E]) Change(e E, f func()) {
	b := e.Base()
	x.leave(b)
	f()
	x.enter(b)
}

func (x *Index[E]) enter(e *Entry) {
	q := e.Group.queue
	q.counts[e.State]++
	switch e.State {
	case inbox.Pending:
		heap.Push(q.line(e), e)
		heap.Push(&q.age, e)
	case inbox.InAttempt:
		heap.Push(&q.running, e)
	case inbox.Delivered:
		heap.Push(&x.kept, e)
		x.keptSize += int64(e.Size)
	}
}

func (x *Index[E]) leave(e *Entry) {
	q := e.Group.queue
	q.counts[e.State]--
	switch e.State {
	case inbox.Pending:
		heap.Remove(q.line(e), int(e.places[0]))
		heap.Remove(&q.age, int(e.places[1]))
	case inbox.InAttempt:
		heap.Remove(&q.running, int(e.places[0]))
	case inbox.Delivered:
		heap.Remove(&x.kept, int(e.places[0]))
		x.keptSize -= int64(e.Size)
	}
}

// Find returns a view of the entry of a key, if there is one.
func (x *Index[E]) Find(key inbox.Key) (view inbox.Entry, found bool) {
	e, found := x.Entries[key]
	if found {
		view = e.Base().View()
	}
	return view, found
}

// Next returns the entry of q for the next attempt, chosen by which. It is the zero
// value if there is none.
func (x *Index[E]) Next(q inbox.Queue, which inbox.Which, now int64) (next E) {
	if queue := x.queues[q]; queue != nil {
		if e := queue.next(which, now); e != nil {
			next = x.Entries[e.Key]
		}
	}
	return next
}

// Hasten ends the hold h of pending entries of q.
func (x *Index[E]) Hasten(q inbox.Queue, h inbox.Hold, now int64) {
	if queue := x.queues[q]; queue != nil {
		queue.hasten(h, now)
	}
}

// Tick tells the time, again and again. If the clock was set back, what it stored while it
// was ahead becomes due. Tick reports whether there is some.
func (x *Index[E]) Tick(now int64) (some bool) {
	back := now < x.clock-clockSlack
	if x.clock = now; !back {
		return false
	}
	for _, e := range x.Entries {
		b := e.Base()
		if (b.State == inbox.Pending || b.State == inbox.InAttempt) && b.IsAhead(now) {
			x.Change(e, func() { b.Due = now })
			some = true
		}
	}
	return some
}

// Queues counts the entries of each queue.
func (x *Index[E]) Queues() []inbox.QueueStats {
	all := make([]inbox.QueueStats, 0, len(x.queues))
	for _, q := range x.queues {
		all = append(all, q.stats())
	}
	return all
}

// Select returns the entries of s, in no particular order.
func (x *Index[E]) Select(s inbox.Selection) (chosen []E) {
	if len(s.Keys) == 0 {
		for _, e := range x.Entries {
			if s.Includes(e.Base().View()) {
				chosen = append(chosen, e)
			}
		}
		return chosen
	}
	seen := make(map[inbox.Key]bool, len(s.Keys))
	for _, key := range s.Keys {
		if e, found := x.Entries[key]; found && !seen[key] && s.Includes(e.Base().View()) {
			chosen = append(chosen, e)
		}
		seen[key] = true
	}
	return chosen
}
