package bolt

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
	"go.etcd.io/bbolt"
)

// Take implements [inbox.Engine].
func (s *Store) Take(_ context.Context, q inbox.Queue, which inbox.Which) (*inbox.Attempt, error) {
	for {
		s.mu.Lock()
		db := s.db
		if db == nil {
			s.mu.Unlock()
			return nil, inbox.ErrUnavailable
		}
		e := s.idx.Next(q, which, s.o.Now().UnixNano())
		if e == nil {
			s.mu.Unlock()
			return nil, nil
		}
		a := s.begin(e, nil)
		seq, outline := e.Seq, e.outline()
		s.mu.Unlock()

		d, err := s.read(db, seq, outline)
		if err == nil {
			a.Delivery = d
			return a, nil
		}
		if errors.Is(err, inbox.ErrUnavailable) {
			s.Settle(a, inbox.Settlement{})
			return nil, err
		}
		s.lock(a, err)
	}
}

// read reads a delivery. The error is ErrLocked, errDamaged or ErrUnavailable.
func (s *Store) read(db *bbolt.DB, seq uint64, outline *inbox.Delivery) (d *inbox.Delivery, err error) {
	err = guard(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			d, err = s.sealing.Load().unseal(seq, outline, tx.Bucket(deliveries).Get(seqKey(seq)))
			return err
		})
	})
	switch {
	case err == nil && !sameDelivery(d, outline):
		return nil, errDamaged
	case err == nil, errors.Is(err, inbox.ErrLocked), errors.Is(err, errDamaged):
		return d, err
	}
	return nil, inbox.ErrUnavailable // closed meanwhile
}

// lock sets aside an unreadable delivery until the file is reopened.
func (s *Store) lock(a *inbox.Attempt, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.running(a); e != nil {
		e.was = inbox.Pending
		s.idx.Lock(e)
		s.log.Error("a delivery in the inbox cannot be read, and is left alone",
			"key", e.Key.String(), "handler", e.Group.Queue().Handler, "received", time.Unix(0, e.Received), "error", why)
	}
}

// running returns the entry of a running attempt; nil if it ended. mu is held.
func (s *Store) running(a *inbox.Attempt) *entry {
	h, _ := a.Handle.(index.Handle)
	return s.idx.Running(h)
}

// Settle implements [inbox.Engine].
func (s *Store) Settle(a *inbox.Attempt, st inbox.Settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.running(a)
	if e == nil {
		return
	}
	if !s.idx.Settle(e, st, s.o.Now().UnixNano()) {
		s.drop(e)
		return
	}
	if !s.sealing.Load().has(e.sealed) { // since the attempt began
		s.idx.Change(e, e.lock)
	}
	if !st.Undoes() && (st.To != inbox.Pending || !st.Unspent) {
		s.touch(e)
	}
	s.purge()
}

// purge removes delivered entries that were kept long enough or exceed their share.
// mu is held.
func (s *Store) purge() {
	now := s.o.Now().UnixNano()
	for e := s.idx.Overdue(now, s.o.MaxSize); e != nil; e = s.idx.Overdue(now, s.o.MaxSize) {
		s.drop(e)
	}
}

// A mark is a change to write for the entry at seq, if its key is key: the state of e
// or, without e, the removal.
type mark struct {
	e   *entry
	key inbox.Key
	seq uint64
}

// touch queues the state of e for writing. mu is held.
func (s *Store) touch(e *entry) {
	if !e.dirty {
		e.dirty = true
		s.push(mark{e, e.Key, e.Seq})
	}
}

// drop removes e from the index and the file. mu is held.
func (s *Store) drop(e *entry) {
	s.idx.Unlink(e)
	s.remove(e.Key, e.Seq)
}

func (s *Store) remove(key inbox.Key, seq uint64) { s.push(mark{key: key, seq: seq}) }

func (s *Store) push(m mark) {
	s.marks = append(s.marks, m)
	s.marked++
	signal(s.wake)
}

// Get implements [inbox.Engine].
func (s *Store) Get(_ context.Context, key inbox.Key) (*inbox.Delivery, inbox.Entry, error) {
	s.mu.Lock()
	s.purge()
	db, e := s.db, s.idx.Entries[key]
	if db == nil {
		s.mu.Unlock()
		return nil, inbox.Entry{}, inbox.ErrUnavailable
	}
	if e == nil {
		s.mu.Unlock()
		return nil, inbox.Entry{}, inbox.ErrNotFound
	}
	view, outline := e.View(), e.outline()
	s.mu.Unlock()
	d, err := s.read(db, view.Position, outline)
	if errors.Is(err, errDamaged) {
		err = inbox.ErrLocked
		s.mu.Lock()
		if s.idx.Entries[key] != e {
			err = inbox.ErrNotFound // removed meanwhile
		}
		s.mu.Unlock()
	}
	return d, view, err
}

// listPage is the number of states read per transaction: a long one would keep the
// file from reusing its free pages.
const listPage = 256

// List implements [inbox.Engine].
func (s *Store) List(ctx context.Context, sel inbox.Selection, after uint64, limit int) ([]inbox.Entry, error) {
	s.mu.Lock()
	s.purge()
	db := s.db
	s.mu.Unlock()
	if db == nil {
		return nil, inbox.ErrUnavailable
	}
	keys := keySet(sel)
	var found []inbox.Entry
	for len(found) < limit && after < math.MaxUint64 {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var page []uint64
		keyOf := make(map[uint64]inbox.Key)
		err := guard(func() error {
			return db.View(func(tx *bbolt.Tx) error {
				c := tx.Bucket(states).Cursor()
				for k, v := c.Seek(seqKey(after + 1)); k != nil && len(page) < listPage; k, v = c.Next() {
					page = append(page, seqOf(k))
					keyOf[seqOf(k)] = stateKey(v)
				}
				return nil
			})
		})
		if err != nil {
			return nil, inbox.ErrUnavailable
		}
		if len(page) == 0 {
			break
		}
		s.mu.Lock()
		for _, seq := range page {
			e := s.idx.Entries[keyOf[seq]]
			if e == nil || e.Seq != seq || keys != nil && !keys[e.Key] {
				continue
			}
			if v := e.View(); sel.Includes(v) && len(found) < limit {
				found = append(found, v)
			}
		}
		s.mu.Unlock()
		after = page[len(page)-1]
	}
	return found, nil
}

func keySet(sel inbox.Selection) map[inbox.Key]bool {
	if len(sel.Keys) == 0 {
		return nil
	}
	keys := make(map[inbox.Key]bool, len(sel.Keys))
	for _, k := range sel.Keys {
		keys[k] = true
	}
	return keys
}

// selected returns the entries of sel. mu is held.
func (s *Store) selected(sel inbox.Selection) []*entry {
	s.purge()
	return s.idx.Select(sel)
}

// Discard implements [inbox.Engine].
func (s *Store) Discard(ctx context.Context, sel inbox.Selection) ([]inbox.Key, error) {
	if sel.Empty() {
		return nil, inbox.ErrEmptySelection
	}
	s.mu.Lock()
	if s.db == nil {
		s.mu.Unlock()
		return nil, inbox.ErrUnavailable
	}
	var keys []inbox.Key
	for _, e := range s.selected(sel) {
		keys = append(keys, e.Key)
		s.drop(e)
	}
	until := s.marked
	s.mu.Unlock()
	return keys, s.await(ctx, until)
}

// Replay implements [inbox.Engine].
func (s *Store) Replay(ctx context.Context, sel inbox.Selection, handler string) (int, error) {
	if sel.Empty() {
		return 0, inbox.ErrEmptySelection
	}
	if handler != "" {
		keys, err := s.move(ctx, sel, handler)
		if err != nil || len(keys) == 0 {
			return 0, err
		}
		sel = inbox.Selection{Keys: keys, States: sel.States} // the app may have accepted some meanwhile
	}
	s.mu.Lock()
	if s.db == nil {
		s.mu.Unlock()
		return 0, inbox.ErrUnavailable
	}
	n := 0
	for _, e := range s.selected(sel) {
		if !e.Replayable() {
			continue
		}
		s.idx.Change(e, func() { e.Replay(s.o.Now().UnixNano()) })
		s.touch(e)
		n++
	}
	until := s.marked
	s.mu.Unlock()
	signal(s.changed)
	return n, s.await(ctx, until)
}

// move gives the selected entries to another handler, and returns the keys of all
// that may be replayed. A delivery is bound to its handler, so it is rewritten.
func (s *Store) move(ctx context.Context, sel inbox.Selection, handler string) (keys []inbox.Key, err error) {
	s.mu.Lock()
	chosen := s.selected(sel)
	s.mu.Unlock()
	for _, e := range chosen {
		d, view, err := s.Get(ctx, e.Key)
		switch {
		case errors.Is(err, inbox.ErrNotFound), errors.Is(err, inbox.ErrLocked), view.State == inbox.InAttempt:
			continue
		case err != nil:
			return nil, err
		}
		keys = append(keys, e.Key)
		if d.Handler == handler {
			continue
		}
		d.Handler = handler
		if _, err := s.submit(ctx, &accept{d: d, moves: true, done: make(chan struct{})}); err != nil {
			return nil, err
		}
	}
	return keys, nil
}
