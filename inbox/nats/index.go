package nats

import (
	"container/heap"
	"math"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// An entry is the state of one delivery in memory. There may be a million of
// them, so it is small: times are nanoseconds, and what many share is one group.
type entry struct {
	key      inbox.Key
	seq      uint64 // of the message that holds it
	received int64
	since    int64
	due      int64
	group    *group
	size     uint32
	places   [2]int32 // in the heaps of its queue
	attempt  uint32   // the serial of the one that this process makes; 0: none
	epoch    uint32   // the last reading of the stream that found it

	version uint64    // the sequence number of the last message of its key
	session sessionID // that wrote that one
	missed  uint64    // what came in while it was being written
	mark    *mark     // a change that nobody writes yet
	flying  *mark     // the one that is being written

	attempts, status, generation uint16

	state    inbox.State
	hold     inbox.Hold
	replayed bool
	shielded bool    // its due time is later here than where it was accepted
	removed  removal // why it is not in the index any more
}

// A group is what entries have in common: queue, and label of the key.
type group struct {
	queue *queue
	label string
}

const never = math.MaxInt64

func (e *entry) view() inbox.Entry {
	v := inbox.Entry{
		Key: e.key, Queue: e.group.queue.Queue, Label: e.group.label, State: e.state, Position: e.seq,
		Received: time.Unix(0, e.received), Since: time.Unix(0, e.since), Hold: e.hold,
		Attempts: int(e.attempts), Status: int(e.status), Generation: int(e.generation),
		Replayed: e.replayed, Size: int(e.size),
	}
	if (e.state == inbox.Pending || e.state == inbox.Delivered) && e.due != never {
		v.Due = time.Unix(0, e.due)
	}
	return v
}

// An index is all that is known of the deliveries in a stream.
type index struct {
	entries  map[inbox.Key]*entry
	queues   map[inbox.Queue]*queue
	groups   map[groupKey]*group
	handlers map[string]int64 // bytes
	bytes    int64
	kept     order // what was delivered and is kept, by the time of its removal
	keptSize int64
}

type groupKey struct {
	inbox.Queue
	label string
}

func newIndex() *index {
	return &index{
		entries: make(map[inbox.Key]*entry), queues: make(map[inbox.Queue]*queue),
		groups: make(map[groupKey]*group), handlers: make(map[string]int64),
	}
}

// group returns the one of q and label. It is kept as long as the index: the
// number of handlers, tenants and labels is the configuration's.
func (x *index) group(q inbox.Queue, label string) *group {
	k := groupKey{q, label}
	g := x.groups[k]
	if g == nil {
		g = &group{label: label}
		x.groups[k] = g
	}
	if g.queue = x.queues[q]; g.queue == nil {
		g.queue = &queue{Queue: q, due: order{place: 0}, age: order{place: 1, byAge: true}}
		x.queues[q] = g.queue
	}
	return g
}

// room is what a delivery of q finds.
func (x *index) room(q inbox.Queue, limit int64) inbox.Room {
	r := inbox.Room{Limit: limit, Used: x.bytes, Handler: x.handlers[q.Handler]}
	if queue := x.queues[q]; queue != nil {
		r.Queue = queue.bytes
	}
	return r
}

// link adds e, which is in no index.
func (x *index) link(e *entry) {
	x.entries[e.key] = e
	x.account(e, int64(e.size))
	x.enter(e)
}

// unlink removes e.
func (x *index) unlink(e *entry) {
	x.leave(e)
	x.account(e, -int64(e.size))
	delete(x.entries, e.key)
}

// account counts bytes of e. A queue that has none is forgotten.
func (x *index) account(e *entry, size int64) {
	q := e.group.queue
	q.bytes += size
	x.bytes += size
	if q.bytes == 0 {
		delete(x.queues, q.Queue)
	}
	if x.handlers[q.Handler] += size; x.handlers[q.Handler] == 0 {
		delete(x.handlers, q.Handler)
	}
}

// change takes e out of its place, has f change it, and puts it where it belongs.
func (x *index) change(e *entry, f func()) {
	x.leave(e)
	f()
	x.enter(e)
}

func (x *index) enter(e *entry) {
	q := e.group.queue
	q.counts[e.state]++
	switch e.state {
	case inbox.Pending:
		heap.Push(&q.due, e)
		heap.Push(&q.age, e)
	case inbox.Delivered:
		heap.Push(&x.kept, e)
		x.keptSize += int64(e.size)
	}
}

func (x *index) leave(e *entry) {
	q := e.group.queue
	q.counts[e.state]--
	switch e.state {
	case inbox.Pending:
		heap.Remove(&q.due, int(e.places[0]))
		heap.Remove(&q.age, int(e.places[1]))
	case inbox.Delivered:
		heap.Remove(&x.kept, int(e.places[0]))
		x.keptSize -= int64(e.size)
	}
}

// A queue is what is stored for one handler and tenant.
type queue struct {
	inbox.Queue
	due    order
	age    order
	counts [inbox.Locked + 1]int
	bytes  int64
}

// next chooses what an attempt is for; nil if there is nothing.
func (q *queue) next(which inbox.Which, now int64) *entry {
	if len(q.due.list) == 0 {
		return nil
	}
	switch which {
	case inbox.NextDue:
		if e := q.due.list[0]; e.due <= now {
			return e
		}
	case inbox.Oldest:
		return q.age.list[0]
	case inbox.Probe:
		var first *entry
		for _, e := range q.due.list {
			held := e.hold != inbox.HoldApp && e.attempts > 0 || e.hold == inbox.HoldRoute
			if !held && (first == nil || e.before(first)) {
				first = e
			}
		}
		return first
	}
	return nil
}

// hasten makes what is held for h due.
func (q *queue) hasten(h inbox.Hold, now int64) {
	for _, e := range q.due.list {
		if e.hold == h {
			e.due = now
		}
	}
	heap.Init(&q.due)
}

func (q *queue) stats() inbox.QueueStats {
	st := inbox.QueueStats{
		Queue: q.Queue, Bytes: q.bytes,
		Pending: q.counts[inbox.Pending], InAttempt: q.counts[inbox.InAttempt], Delivered: q.counts[inbox.Delivered],
		Dead: q.counts[inbox.Dead], Locked: q.counts[inbox.Locked],
	}
	if len(q.age.list) > 0 {
		st.Oldest = time.Unix(0, q.age.list[0].since)
		if due := q.due.list[0].due; due != never {
			st.Due = time.Unix(0, due)
		}
	}
	return st
}

// An order is a heap of entries, by the time at which they are due or at which
// their generation began; of one time, what was accepted first is first.
type order struct {
	list  []*entry
	place int // which of an entry's places is its place here
	byAge bool
}

func (e *entry) before(f *entry) bool { return e.due < f.due || e.due == f.due && e.seq < f.seq }

func (o *order) Len() int { return len(o.list) }

func (o *order) Less(i, j int) bool {
	a, b := o.list[i], o.list[j]
	if o.byAge {
		return a.since < b.since || a.since == b.since && a.seq < b.seq
	}
	return a.before(b)
}

func (o *order) Swap(i, j int) {
	o.list[i], o.list[j] = o.list[j], o.list[i]
	o.list[i].places[o.place], o.list[j].places[o.place] = int32(i), int32(j)
}

func (o *order) Push(x any) {
	e := x.(*entry)
	e.places[o.place] = int32(len(o.list))
	o.list = append(o.list, e)
}

func (o *order) Pop() any {
	last := len(o.list) - 1
	e := o.list[last]
	o.list[last] = nil
	o.list = o.list[:last]
	return e
}
