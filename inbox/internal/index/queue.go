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

	probed [8]inbox.Trace // the latest first
	probes int
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
		return q.probe(now)
	}
	return nil
}

// probe returns the entry for the next probe, or nil.
func (q *queue) probe(now int64) (first *Entry) {
	shared := q.probes%2 == 1
	for _, line := range q.lines() {
		for _, e := range line.list {
			waits := e.Hold.Timed() && e.Attempts > 0 && e.Due > now // it has its own time
			if !waits && !e.Astray && (first == nil || q.probedBefore(e, first, shared)) {
				first = e
			}
		}
	}
	if first != nil {
		q.probes++
		copy(q.probed[1:], q.probed[:])
		q.probed[0] = first.trace()
	}
	return first
}

// probedBefore prefers entries that the app has not failed to answer, since it may answer
// them although it does not answer the others: the newest, for what it fails on is older.
// That alone would leave the choice to whoever sends the most: with shared, the content
// and then the client come first that have not been probed for longest, and the oldest.
func (q *queue) probedBefore(e, other *Entry, shared bool) bool {
	if shared {
		content, client := q.since(e)
		otherContent, otherClient := q.since(other)
		if content != otherContent {
			return content > otherContent
		}
		if client != otherClient {
			return client > otherClient
		}
	}
	switch class, otherClass := e.class(), other.class(); {
	case class != otherClass:
		return class < otherClass
	case e.untried() && !shared:
		return e.Seq > other.Seq
	}
	return e.before(other)
}

func (e *Entry) untried() bool { return e.Hold == inbox.HoldTime && e.Attempts == 0 }

// class orders probes.
func (e *Entry) class() int {
	switch {
	case e.untried():
		return 0
	case e.Hold == inbox.HoldTurn:
		return 1
	case e.Hold == inbox.HoldApp:
		return 2
	}
	return 3
}

// since returns how many probes ago the content and the client of e had one.
func (q *queue) since(e *Entry) (content, client int) {
	content, client = len(q.probed), len(q.probed)
	for i, t := range q.probed {
		if t.Content == e.content {
			content = min(content, i)
		}
		if t.Client == e.client {
			client = min(client, i)
		}
	}
	return content, client
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
