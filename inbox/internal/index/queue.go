package index

import (
	"container/heap"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A queue holds the entries of one handler and tenant.
type queue struct {
	inbox.Queue
	due     order // but for those with HoldTurn
	replays order // those with HoldTurn
	age     order // all of both
	running order // those in attempt, to be hastened
	counts  [inbox.Locked + 1]int
	bytes   int64
}

// line is where a pending entry waits.
func (q *queue) line(e *Entry) *order {
	if e.Hold == inbox.HoldTurn {
		return &q.replays
	}
	return &q.due
}

func (q *queue) lines() [2]*order { return [2]*order{&q.due, &q.replays} }

// next returns the entry for the next attempt, or nil.
func (q *queue) next(which inbox.Which, now int64) *Entry {
	if len(q.age.list) == 0 {
		return nil
	}
	switch which {
	case inbox.NextDue:
		for _, line := range q.lines() {
			if len(line.list) > 0 && line.list[0].due() <= now {
				return line.list[0]
			}
		}
	case inbox.Oldest:
		return q.age.list[0]
	case inbox.Probe:
		var first *Entry
		for _, line := range q.lines() {
			for _, e := range line.list {
				held := e.Hold == inbox.HoldTime && e.Attempts > 0 || e.Astray
				if !held && (first == nil || e.probedBefore(first)) {
					first = e
				}
			}
		}
		return first
	}
	return nil
}

// probedBefore prefers entries that the app has not failed to answer, since it may answer
// them although it does not answer the others: the newest, for what it fails on is older.
func (e *Entry) probedBefore(other *Entry) bool {
	switch {
	case e.Hold != other.Hold:
		return e.Hold == inbox.HoldTime || other.Hold == inbox.HoldApp
	case e.Hold == inbox.HoldTime:
		return e.Seq > other.Seq
	}
	return e.before(other)
}

// hasten makes entries held for the app due, or those held for a route when they were.
func (q *queue) hasten(h inbox.Hold, now int64) {
	for _, line := range []*order{&q.due, &q.replays, &q.running} {
		for _, e := range line.list {
			switch {
			case h == inbox.HoldRoute:
				e.Astray = false
			case e.Hold == h:
				e.Due = now
			}
		}
		heap.Init(line)
	}
}

func (q *queue) stats() inbox.QueueStats {
	st := inbox.QueueStats{
		Queue: q.Queue, Bytes: q.bytes,
		Pending: q.counts[inbox.Pending], InAttempt: q.counts[inbox.InAttempt], Delivered: q.counts[inbox.Delivered],
		Dead: q.counts[inbox.Dead], Locked: q.counts[inbox.Locked],
	}
	if len(q.age.list) > 0 {
		st.Oldest = time.Unix(0, q.age.list[0].Since)
		due := int64(never)
		for _, line := range q.lines() {
			if len(line.list) > 0 {
				due = min(due, line.list[0].due())
			}
		}
		if due != never {
			st.Due = time.Unix(0, due)
		}
	}
	return st
}

// An order is a heap of entries, by the time they are due or their generation began,
// then by order of acceptance.
type order struct {
	list  []*Entry
	place int // index of the entry's place here
	byAge bool
}

func (o *order) Len() int { return len(o.list) }

func (o *order) Less(i, j int) bool {
	a, b := o.list[i], o.list[j]
	if o.byAge {
		return a.Since < b.Since || a.Since == b.Since && a.Seq < b.Seq
	}
	return a.before(b)
}

func (o *order) Swap(i, j int) {
	o.list[i], o.list[j] = o.list[j], o.list[i]
	o.list[i].places[o.place], o.list[j].places[o.place] = int32(i), int32(j)
}

func (o *order) Push(x any) {
	e := x.(*Entry)
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
