package bolt

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

const (
	lookPause  = time.Second     // between checks of the file when idle
	retryPause = 2 * time.Second // for a file that cannot be opened or written

	markPause = 5 * time.Millisecond // marks wait this long for an accept

	// Limits of one commit, so that the next does not wait long.
	maxAccepts = 1024
	maxBytes   = 16 << 20
	maxMarks   = 4096
)

// run is the committer: only it opens, writes and closes the file.
func (s *Store) run() {
	defer close(s.ended)
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		s.attach()
		s.tick()
		for s.commit() {
			if s.db == nil {
				s.attach()
			}
		}
		look.Reset(lookPause)
		select {
		case <-s.wake:
			s.ride()
		case <-look.C:
			s.checkInode()
			s.mu.Lock()
			s.purge()
			s.mu.Unlock()
		case <-s.stop:
			s.detach(errClosed)
			s.mu.Lock()
			s.refuseAll(errClosed)
			s.mu.Unlock()
			return
		}
	}
}

// tick notices a clock that was set back.
func (s *Store) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idx.Tick(s.o.Now().UnixNano()) {
		signal(s.changed)
	}
}

// ride waits briefly for an accept to commit marks with: on their own, marks cost as
// many syncs. Marks lost by a kill in the meantime lead to another delivery.
func (s *Store) ride() {
	pause := time.NewTimer(markPause)
	defer pause.Stop()
	for {
		s.mu.Lock()
		alone := !s.hurry()
		s.mu.Unlock()
		if !alone {
			return
		}
		select {
		case <-s.wake:
		case <-pause.C:
			return
		case <-s.stop:
			return
		}
	}
}

// hurry reports whether something is waiting for a commit. mu is held.
func (s *Store) hurry() bool {
	return len(s.accepts)+len(s.waiters) > 0 || len(s.marks) >= maxMarks
}

// refuseAll answers all waiting accepts. mu is held.
func (s *Store) refuseAll(err error) {
	for _, a := range s.accepts {
		a.reply(inbox.Accepted{}, &inbox.NotStoredError{Why: inbox.WhyUnavailable, Err: err})
	}
	s.accepts = nil
}

// A change is one record of the states bucket to write.
type change struct {
	mark
	state []byte
}

// commit writes what is waiting, and reports whether there may be more. It answers
// accepts only after the sync.
func (s *Store) commit() bool {
	s.mu.Lock()
	if s.db == nil {
		s.refuseAll(s.health)
		s.mu.Unlock()
		return false
	}
	planned := s.plan(s.next())
	n := min(len(s.marks), maxMarks)
	marks := s.marks[:n:n]
	s.marks, s.writing = s.marks[n:], n
	changes := make([]change, 0, n)
	for _, m := range marks {
		c := change{mark: m}
		if m.e != nil {
			m.e.dirty = false
			c.state = m.e.appendState(nil)
		}
		changes = append(changes, c)
	}
	olds := s.replaced(planned)
	s.mu.Unlock()
	if len(planned)+n == 0 {
		return false
	}

	err := guard(func() error { return s.write(planned, olds, changes) })
	deleted := err == nil && !s.sameFile()
	if err != nil {
		s.detach(fmt.Errorf("the inbox file cannot be written: %w", err))
	} else if deleted {
		s.bypass()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = 0
	if err != nil {
		s.marks = append(marks, s.marks...)
		for _, m := range marks {
			if m.e != nil {
				m.e.dirty = true
			}
		}
		s.failing = s.o.Now().Add(retryPause)
	} else {
		s.advance(uint64(n))
	}
	if deleted {
		err = s.health
	}
	s.conclude(planned, err)
	if len(s.marks) > 0 {
		signal(s.wake)
	}
	return s.hurry() && err == nil || deleted
}

// next returns the accepts for one commit. mu is held.
func (s *Store) next() []*accept {
	n, size := 0, 0
	for n < len(s.accepts) && n < maxAccepts && size < maxBytes {
		size += len(s.accepts[n].record)
		n++
	}
	waiting := s.accepts[:n:n]
	s.accepts = s.accepts[n:]
	return waiting
}

// replaced returns the sequence numbers that planned accepts replace. mu is held.
func (s *Store) replaced(planned []*accept) map[*accept]uint64 {
	olds := make(map[*accept]uint64)
	for _, a := range planned {
		if old := s.idx.Entries[a.d.Key]; a.fresh != nil && old != nil {
			olds[a] = old.Seq
		}
	}
	return olds
}

// advance counts written marks and wakes those waiting for them. mu is held.
func (s *Store) advance(n uint64) {
	s.written += n
	left := s.waiters[:0]
	for _, w := range s.waiters {
		if w.mark <= s.written {
			close(w.done)
		} else {
			left = append(left, w)
		}
	}
	s.waiters = left
}

// write makes one transaction. Later ones reuse the pages that it frees.
func (s *Store) write(planned []*accept, olds map[*accept]uint64, changes []change) error {
	if err := s.o.mayWrite(); err != nil {
		return err
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	bodies, entries := tx.Bucket(deliveries), tx.Bucket(states)
	bodies.FillPercent, entries.FillPercent = 0.9, 0.9 // both grow only at the end
	erase := func(seq uint64) error {
		return errors.Join(bodies.Delete(seqKey(seq)), entries.Delete(seqKey(seq)))
	}
	for _, c := range changes {
		switch {
		case stateKey(entries.Get(seqKey(c.seq))) != c.key: // removed or moved
		case c.e == nil:
			err = erase(c.seq)
		default:
			err = entries.Put(seqKey(c.seq), c.state)
		}
		if err != nil {
			return err
		}
	}
	for _, a := range planned {
		switch {
		case a.fresh != nil:
			err = errors.Join(
				bodies.Put(seqKey(a.seq), a.record),
				entries.Put(seqKey(a.seq), a.fresh.appendState(nil)))
			if old, ok := olds[a]; ok {
				err = errors.Join(err, erase(old))
			}
		case a.revives != nil && stateKey(entries.Get(seqKey(a.next.Seq))) == a.next.Key:
			err = entries.Put(seqKey(a.next.Seq), a.next.appendState(nil))
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

// sameFile reports whether the file at the path is still the open one. Anything
// written to a deleted file would be lost with the process.
func (s *Store) sameFile() bool {
	st, err := os.Stat(s.o.Path)
	return err == nil && os.SameFile(st, s.inode)
}
