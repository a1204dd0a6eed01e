package bolt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
	"go.etcd.io/bbolt"
)

var keyA, keyB = bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)

func TestEncryption(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inbox.db")
	reopen := func(s *Store, keys ...[]byte) *Store {
		if s != nil {
			closeStore(t, s)
		}
		return open(t, Options{Path: path, Keys: keys})
	}
	state := func(s *Store, n int, want inbox.State) {
		t.Helper()
		if e, _, err := s.Find(t.Context(), key(n)); e.State != want || err != nil {
			t.Errorf("%d is %v %v, want %v", n, e.State, err, want)
		}
	}
	s := reopen(nil, keyA)
	put(t, s, 1)
	s = reopen(s, keyB, keyA) // the first encrypts, all decrypt
	put(t, s, 2)
	if d, _, err := s.Get(t.Context(), key(1)); err != nil || !bytes.Equal(d.Body, delivery(1).Body) {
		t.Errorf("with the old key: %v", err)
	}
	s = reopen(s, keyB)
	state(s, 1, inbox.Locked)
	state(s, 2, inbox.Pending)
	a, err := s.Take(t.Context(), shop, inbox.NextDue)
	if err != nil || a == nil || a.Entry.Key != key(2) {
		t.Fatalf("got %+v %v", a, err)
	}
	if a, _ := s.Take(t.Context(), shop, inbox.Oldest); a != nil {
		t.Errorf("got what is locked: %+v", a.Entry)
	}
	if _, _, err := s.Get(t.Context(), key(1)); !errors.Is(err, inbox.ErrLocked) {
		t.Errorf("get: %v", err)
	}
	if all, _ := s.Queues(t.Context()); len(all) != 1 || all[0].Locked != 1 || all[0].Dead != 0 {
		t.Errorf("%+v", all)
	}
	if got, err := s.Accept(t.Context(), delivery(1), false); err != nil || !got.Copy || got.Entry.State != inbox.Locked {
		t.Errorf("a copy of what is locked: %+v %v", got, err)
	}

	s = reopen(s) // no keys at all
	state(s, 1, inbox.Locked)
	state(s, 2, inbox.Locked)
	put(t, s, 3)
	s = reopen(s, keyA, keyB)
	for n := 1; n <= 3; n++ {
		state(s, n, inbox.Pending)
		if d, _, err := s.Get(t.Context(), key(n)); err != nil || !bytes.Equal(d.Body, delivery(n).Body) {
			t.Errorf("%d: %v", n, err)
		}
	}
	s = reopen(s, keyB)
	if keys, err := s.Discard(t.Context(), inbox.Selection{Label: "current", States: []inbox.State{inbox.Locked}}); err != nil || len(keys) != 1 {
		t.Errorf("what is locked can be discarded: %v %v", keys, err)
	}
}

// TestKeysChangeWhileTheFileIsOpen: what is stored keeps its place and its state, with
// an attempt running and after the file is read again.
func TestKeysChangeWhileTheFileIsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inbox.db")
	s := open(t, Options{Path: path, Keys: [][]byte{keyA}})
	states := func(what string, want ...inbox.State) {
		t.Helper()
		for i, state := range want {
			e, _, err := s.Find(t.Context(), key(i+1))
			if e.State != state || err != nil {
				t.Errorf("%s: %d is %v %v, want %v", what, i+1, e.State, err, state)
			}
			_, _, err = s.Get(t.Context(), key(i+1))
			if readable := state != inbox.Locked; readable != (err == nil) && state != inbox.InAttempt {
				t.Errorf("%s: %d is %v, and reading it: %v", what, i+1, state, err)
			}
		}
	}
	adjust := func(keys ...[]byte) {
		t.Helper()
		if err := s.Adjust(0, keys); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, 1, 2, 3)
	take := func() *inbox.Attempt {
		t.Helper()
		a, err := s.Take(t.Context(), shop, inbox.NextDue)
		if err != nil || a == nil {
			t.Fatalf("%+v %v", a, err)
		}
		return a
	}
	first, second := take(), take()
	s.Settle(second, inbox.Settlement{To: inbox.Dead, Status: 410})
	states("with the first key", inbox.InAttempt, inbox.Dead, inbox.Pending)
	adjust(keyB, keyA)
	put(t, s, 4)
	states("with both", inbox.InAttempt, inbox.Dead, inbox.Pending, inbox.Pending)
	if err := s.Adjust(0, [][]byte{{1}}); err == nil {
		t.Error("a key of one byte is accepted")
	}
	adjust(keyB)
	states("with the second", inbox.InAttempt, inbox.Locked, inbox.Locked, inbox.Pending)
	s.Settle(first, inbox.Settlement{To: inbox.Pending, Status: 503})
	states("after the attempt", inbox.Locked, inbox.Locked, inbox.Locked, inbox.Pending)
	third := take()
	if third.Entry.Key != key(4) {
		t.Errorf("taken: %+v", third.Entry)
	}
	s.Settle(third, inbox.Settlement{To: inbox.Pending, Status: 503})
	adjust(keyA)
	states("with the first again", inbox.Pending, inbox.Dead, inbox.Pending, inbox.Locked)
	if e, _, _ := s.Find(t.Context(), key(1)); e.Attempts != 1 || e.Status != 503 {
		t.Errorf("the attempt is forgotten: %+v", e)
	}
	adjust()
	put(t, s, 5)
	states("without keys", inbox.Locked, inbox.Locked, inbox.Locked, inbox.Locked, inbox.Pending)
	closeStore(t, s)
	s = open(t, Options{Path: path, Keys: [][]byte{keyA, keyB}})
	states("read again", inbox.Pending, inbox.Dead, inbox.Pending, inbox.Pending, inbox.Pending)
	if e, _, _ := s.Find(t.Context(), key(1)); e.Attempts != 1 || s.Status().Damaged != 0 {
		t.Errorf("%+v, %d damaged", e, s.Status().Damaged)
	}
}

// TestKeysChangeUnderLoad: whatever was accepted meanwhile is readable with all keys.
func TestKeysChangeUnderLoad(t *testing.T) {
	s := open(t, Options{Path: filepath.Join(t.TempDir(), "inbox.db"), Keys: [][]byte{keyA}})
	var senders sync.WaitGroup
	for i := range 4 {
		senders.Go(func() {
			for n := range 50 {
				if _, err := s.Accept(t.Context(), delivery(1+i*50+n), false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.Adjust(0, [][][]byte{{keyA}, {keyB, keyA}, {keyB}}[n%3]); err != nil {
				t.Error(err)
			}
			if a, _ := s.Take(t.Context(), shop, inbox.NextDue); a != nil {
				s.Settle(a, inbox.Settlement{To: inbox.Pending, Status: 503})
			}
		}
	}()
	senders.Wait()
	close(stop)
	<-stopped
	if err := s.Adjust(0, [][]byte{keyB, keyA}); err != nil {
		t.Fatal(err)
	}
	for n := range 200 {
		d, e, err := s.Get(t.Context(), key(n+1))
		if err != nil || !bytes.Equal(d.Body, delivery(n+1).Body) || e.State != inbox.Pending {
			t.Errorf("%d: %v %v", n+1, e.State, err)
		}
	}
}

func TestTheSizeChangesWhileTheFileIsOpen(t *testing.T) {
	s := open(t, Options{Path: filepath.Join(t.TempDir(), "inbox.db")})
	put(t, s, 1)
	if err := s.Adjust(1, nil); err != nil {
		t.Fatal(err)
	}
	_, err := s.Accept(t.Context(), delivery(2), false)
	if e, ok := errors.AsType[*inbox.NotStoredError](err); !ok || e.Why != inbox.WhyFull || s.Status().Limit != 1 {
		t.Errorf("%v of %d", err, s.Status().Limit)
	}
	if err := s.Adjust(0, nil); err != nil {
		t.Fatal(err)
	}
	put(t, s, 2)
	if n := s.Status().Limit; n != defaultMaxSize {
		t.Errorf("the limit is %d", n)
	}
}

func TestNothingReadableIsInAnEncryptedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inbox.db")
	s := open(t, Options{Path: path, Keys: [][]byte{keyA}})
	put(t, s, 1)
	closeStore(t, s)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"secret body", "application/json", string(keyA)} {
		if bytes.Contains(b, []byte(text)) {
			t.Errorf("the file holds %q", text)
		}
	}
}

// A delivery with the state or place of another is not delivered.
func TestDeliveriesCannotBeSwapped(t *testing.T) {
	for name, keys := range map[string][][]byte{"sealed": {keyA}, "plain": nil} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "inbox.db")
			s := open(t, Options{Path: path, Keys: keys})
			put(t, s, 1, 2)
			d := delivery(3)
			d.Tenant = "acme"
			if _, err := s.Accept(t.Context(), d, false); err != nil {
				t.Fatal(err)
			}
			closeStore(t, s)
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(tx *bbolt.Tx) error {
				b := tx.Bucket(deliveries)
				one, two := bytes.Clone(b.Get(seqKey(1))), bytes.Clone(b.Get(seqKey(2)))
				if err := errors.Join(b.Put(seqKey(1), two), b.Put(seqKey(2), one)); err != nil {
					return err
				}
				st := tx.Bucket(states)
				e, err := readState(index.New[*entry](), seqKey(3), st.Get(seqKey(3)))
				if err != nil {
					return err
				}
				e.Group = index.New[*entry]().Group(inbox.Queue{Handler: "shop", Tenant: "other"}, "current")
				return st.Put(seqKey(3), e.appendState(nil))
			})
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			s = open(t, Options{Path: path, Keys: keys})
			for n := 1; n <= 3; n++ {
				if _, _, err := s.Get(t.Context(), key(n)); !errors.Is(err, inbox.ErrLocked) {
					t.Errorf("%d: %v", n, err)
				}
			}
			for _, tenant := range []string{"", "other"} {
				if a, err := s.Take(t.Context(), inbox.Queue{Handler: "shop", Tenant: tenant}, inbox.NextDue); a != nil || err != nil {
					t.Errorf("taken: %+v %v", a, err)
				}
			}
		})
	}
}
