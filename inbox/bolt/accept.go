package bolt

import (
	"context"
	"math"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// An accept is a delivery waiting to be written. The fields below done are guarded by
// the store's mu.
type accept struct {
	d       *inbox.Delivery
	seq     uint64
	record  []byte
	running bool
	done    chan struct{} // closed when answer or err is set

	answer   inbox.Accepted
	err      error
	answered bool
	left     bool   // the caller is gone: withdraw it
	fresh    *entry // to be linked if the commit succeeds
	reserved bool   // fresh is already counted in the room
	revives  *entry // a dead entry, to be replaced by next
	next     entry
	moves    bool        // it exists, and moves to another handler
	was      inbox.State // of an entry that moves
}

// Accept implements [inbox.Engine].
func (s *Store) Accept(ctx context.Context, d *inbox.Delivery, running bool) (inbox.Accepted, error) {
	a := &accept{d: d, running: running, done: make(chan struct{})}
	s.mu.Lock()
	if err := s.refuses(); err != nil {
		s.mu.Unlock()
		return inbox.Accepted{}, err
	}
	s.purge()
	if e := s.idx.Entries[d.Key]; e != nil && e.State != inbox.Dead && e.State != inbox.Delivered {
		defer s.mu.Unlock()
		return s.join(e, a), nil
	}
	s.mu.Unlock()
	return s.submit(ctx, a)
}

// submit has a committed, and returns its result.
func (s *Store) submit(ctx context.Context, a *accept) (inbox.Accepted, error) {
	s.mu.Lock()
	a.seq = s.nextSeq
	s.nextSeq++
	s.mu.Unlock()
	var err error
	if a.record, err = s.sealing.Load().seal(a.seq, a.d); err != nil || len(a.record) > math.MaxUint32 {
		return inbox.Accepted{}, &inbox.NotStoredError{Why: inbox.WhyUnavailable, Err: err}
	}
	s.mu.Lock()
	if err := s.refuses(); err != nil {
		s.mu.Unlock()
		return inbox.Accepted{}, err
	}
	s.accepts = append(s.accepts, a)
	s.mu.Unlock()
	signal(s.wake)

	select {
	case <-a.done:
		return a.answer, a.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.answered {
		return a.answer, a.err
	}
	a.left = true
	return inbox.Accepted{}, &inbox.NotStoredError{Why: inbox.WhyTimeout, Err: ctx.Err()}
}

// refuses says why nothing can be stored now. mu is held.
func (s *Store) refuses() error {
	err := s.health
	if s.closed {
		err = errClosed
	}
	if err == nil && s.db != nil {
		return nil
	}
	return &inbox.NotStoredError{Why: inbox.WhyUnavailable, Err: err}
}

// join returns the result for a copy. mu is held.
func (s *Store) join(e *entry, a *accept) inbox.Accepted {
	answer := inbox.Accepted{Copy: true}
	if a.running && e.State == inbox.Pending {
		answer.Attempt = s.begin(e, a.d)
	}
	answer.Entry = e.View()
	return answer
}

// begin begins an attempt of the pending entry e. mu is held.
func (s *Store) begin(e *entry, d *inbox.Delivery) *inbox.Attempt {
	s.serial++
	h := s.idx.Begin(e, s.serial)
	return &inbox.Attempt{Entry: e.View(), Delivery: d, Handle: h}
}

// plan prepares waiting accepts and returns those to write. It answers those that
// exceed the room. mu is held.
func (s *Store) plan(waiting []*accept) (planned []*accept) {
	disk, known := inbox.Why(""), false
	keys := make(map[inbox.Key]bool, len(waiting))
	for _, a := range waiting {
		e := s.idx.Entries[a.d.Key]
		switch {
		case a.left:
			continue
		case a.moves:
			if e == nil || !e.Replayable() || keys[e.Key] {
				a.reply(inbox.Accepted{}, inbox.ErrNotFound)
				continue
			}
			a.fresh = s.newEntry(a)
			moved := *e
			moved.Seq, moved.Group, moved.Size, moved.sealed = a.seq, a.fresh.Group, a.fresh.Size, a.fresh.sealed
			moved.dirty = false // its marks are those of the record it leaves
			*a.fresh, a.was = moved, e.State
			s.idx.Change(e, func() { e.State, e.Attempt = inbox.InAttempt, 0 }) // nothing else takes it meanwhile
		case keys[a.d.Key] || e != nil && e.State != inbox.Dead && e.State != inbox.Delivered:
			// A copy of an existing delivery, or of one in the same commit.
		case e != nil && e.State == inbox.Dead:
			a.revives, a.next = e, *e
			a.next.Revive(s.o.Now().UnixNano(), false)
		default:
			if !known {
				disk, known = s.disk(), true
			}
			why := s.idx.Room(a.d.Queue, s.o.MaxSize).Refuses(a.d.Queue, int64(len(a.record)))
			if why == "" {
				why = disk
			}
			if why != "" {
				a.reply(inbox.Accepted{}, &inbox.NotStoredError{Why: why})
				continue
			}
			a.fresh = s.newEntry(a)
			a.reserved = true
			s.idx.Reserve(a.fresh)
		}
		keys[a.d.Key] = true
		planned = append(planned, a)
	}
	return planned
}

func (s *Store) newEntry(a *accept) *entry {
	e := &entry{Entry: s.idx.NewEntry(a.d, len(a.record), s.o.Now().UnixNano()), sealed: sealedWith(a.record)}
	e.Seq = a.seq
	return e
}

func (a *accept) reply(answer inbox.Accepted, err error) {
	a.answer, a.err, a.answered = answer, err, true
	close(a.done)
}

// conclude answers accepts after a commit or its failure. mu is held.
func (s *Store) conclude(planned []*accept, failure error) {
	for _, a := range planned {
		if a.reserved {
			s.idx.Release(a.fresh)
		}
		old := s.idx.Entries[a.d.Key]
		if failure != nil {
			if a.moves && old != nil {
				s.idx.Change(old, func() { old.State = a.was })
			}
			if a.fresh != nil {
				s.remove(a.fresh.Key, a.fresh.Seq) // it may be on the disk anyway
			}
			a.reply(inbox.Accepted{}, &inbox.NotStoredError{Why: inbox.WhyUnavailable, Err: failure})
			continue
		}
		switch {
		case a.fresh != nil && a.left && !a.moves:
			s.remove(a.fresh.Key, a.fresh.Seq)
			if old != nil { // removed by the same commit
				s.idx.Unlink(old)
			}
			continue
		case a.fresh != nil:
			if old != nil { // delivered and kept, or moving: removed by the same commit
				s.idx.Unlink(old)
			} else if a.moves { // discarded meanwhile
				s.remove(a.fresh.Key, a.fresh.Seq)
				a.reply(inbox.Accepted{}, inbox.ErrNotFound)
				continue
			}
			s.idx.Link(a.fresh)
			answer := inbox.Accepted{}
			if a.running {
				answer.Attempt = s.begin(a.fresh, a.d)
			}
			answer.Entry = a.fresh.View()
			a.reply(answer, nil)
		case a.revives != nil && a.revives == old && old.State == inbox.Dead:
			a.next.dirty = old.dirty
			s.idx.Change(old, func() { *old = a.next })
			s.log.Debug("a copy of a dead delivery was received: it is pending again", "key", old.Key.String())
			a.reply(s.join(old, a), nil)
		case old != nil:
			a.reply(s.join(old, a), nil)
		default: // discarded meanwhile
			a.reply(inbox.Accepted{}, &inbox.NotStoredError{Why: inbox.WhyUnavailable})
		}
	}
}

// disk reports whether the free space of the file system is down to the reserve. mu
// is held.
func (s *Store) disk() inbox.Why {
	if s.o.Reserve > 0 && s.o.free(s.dir()) < s.o.Reserve {
		return inbox.WhyDisk
	}
	return ""
}
