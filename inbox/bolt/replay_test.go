package bolt

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A delivery that moves to another handler while its last mark waits for the same commit
// is written again when it changes.
func TestAReplayUnderAnotherHandlerIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inbox.db")
	gate := make(chan struct{})
	var closed atomic.Bool
	s, _ := begin(t, Options{Path: path, mayWrite: func() error {
		if closed.Load() {
			<-gate
		}
		return nil
	}})
	until(t, "it does not open", func() bool { return s.Status().Health == nil })
	put(t, s, 1)
	a, err := s.Take(t.Context(), shop, inbox.NextDue)
	if err != nil {
		t.Fatal(err)
	}
	waiting := func(next uint64, n int) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.nextSeq == next && len(s.accepts) == n
	}
	closed.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() { s.Accept(t.Context(), delivery(2), false) })
	until(t, "the commit does not begin", func() bool { return waiting(3, 0) })
	s.Settle(a, inbox.Settlement{To: inbox.Dead, Status: 410})
	wg.Go(func() {
		if n, err := s.Replay(t.Context(), inbox.Selection{Keys: []inbox.Key{key(1)}}, "other"); n != 1 || err != nil {
			t.Errorf("replay: %d %v", n, err)
		}
	})
	until(t, "the replay does not begin", func() bool { return waiting(4, 1) })
	closed.Store(false)
	close(gate)
	wg.Wait()
	closeStore(t, s)
	s = open(t, Options{Path: path})
	if e, _, _ := s.Find(t.Context(), key(1)); e.State != inbox.Pending || e.Handler != "other" || !e.Replayed {
		t.Errorf("after a restart: %+v", e)
	}
}

// The replay of pending deliveries under another name takes a commit for each. What the
// app accepts in between stays delivered.
func TestAReplayUnderAnotherHandlerTakesTime(t *testing.T) {
	var s *Store
	var moves atomic.Bool
	s, _ = begin(t, Options{Path: filepath.Join(t.TempDir(), "inbox.db"), mayWrite: func() error {
		if moves.CompareAndSwap(true, false) {
			a, err := s.Take(t.Context(), shop, inbox.NextDue)
			if err != nil {
				t.Error(err)
				return nil
			}
			s.Settle(a, inbox.Settlement{To: inbox.Delivered, Keep: time.Hour})
		}
		return nil
	}})
	until(t, "it does not open", func() bool { return s.Status().Health == nil })
	put(t, s, 1)
	put(t, s, 2)
	moves.Store(true)
	if n, err := s.Replay(t.Context(), inbox.Selection{Handler: "shop", States: []inbox.State{inbox.Pending}}, "other"); n != 1 || err != nil {
		t.Errorf("%d are replayed, want the one that is pending: %v", n, err)
	}
	if q, err := s.Queues(t.Context()); err != nil || len(q) == 0 || q[0].Delivered+q[len(q)-1].Delivered == 0 {
		t.Errorf("%+v %v", q, err)
	}
}
