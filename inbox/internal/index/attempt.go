package index

import "github.com/verify-webhook/caddy-verify-webhook/inbox"

// A Handle finds the entry of an attempt, even after its storage was read again.
type Handle struct {
	Key        inbox.Key
	Seq        uint64
	Serial     uint32
	Generation uint16
}

// Begin puts e in attempt. serial is not 0, and belongs to no other attempt.
func (x *Index[E]) Begin(e E, serial uint32) Handle {
	b := e.Base()
	x.Change(e, func() { b.State, b.Attempt = inbox.InAttempt, serial })
	return Handle{Key: b.Key, Seq: b.Seq, Serial: serial, Generation: b.Generation}
}

// Running returns the entry of an attempt. It is the zero value if the attempt ended.
func (x *Index[E]) Running(h Handle) (running E) {
	e, found := x.Entries[h.Key]
	if !found {
		return running
	}
	if b := e.Base(); b.Seq != h.Seq || b.Attempt != h.Serial || b.State != inbox.InAttempt {
		return running
	}
	return e
}

// Settle ends the attempt of e, and reports whether e remains. A delivered entry that is
// not kept is unchanged: the engine removes it.
func (x *Index[E]) Settle(e E, s inbox.Settlement, now int64) bool {
	if s.To == inbox.Delivered && s.Keep <= 0 {
		return false
	}
	x.Change(e, func() { e.Base().settle(s, now) })
	return true
}

// Lock ends the attempt of e, which cannot be read.
func (x *Index[E]) Lock(e E) {
	x.Change(e, func() { e.Base().State, e.Base().Attempt = inbox.Locked, 0 })
}

// keptShare limits kept bodies to a tenth of the space.
const keptShare = 10

// Overdue returns a delivered entry to remove: it was kept long enough, or kept entries
// exceed their share of limit bytes. It is the zero value if there is none.
func (x *Index[E]) Overdue(now, limit int64) (overdue E) {
	if len(x.kept.list) == 0 {
		return overdue
	}
	first := x.kept.list[0]
	if first.Due > now && x.keptSize <= limit/keptShare {
		return overdue
	}
	return x.Entries[first.Key]
}
