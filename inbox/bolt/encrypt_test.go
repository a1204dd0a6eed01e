package bolt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
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
