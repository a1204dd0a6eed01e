package bolt

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"go.etcd.io/bbolt"
)

func done(s *Store, from, to int, room string) {
	for i := from; i < to; i++ {
		s.Done(context.Background(), key(i), dedupe.Mark{Status: 200, TTL: 24 * time.Hour, Room: room})
	}
}

// entriesIn counts the entries of a closed file.
func entriesIn(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bbolt.Tx) error { return newestFirst(tx, func(record) { n++ }) }); err != nil {
		t.Fatal(err)
	}
	return n
}

func reopen(t *testing.T, s *Store, o Options) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// The newest are those whose senders may still retry.
func TestAFileKeepsTheNewestAndNoMoreThanItMay(t *testing.T) {
	o := Options{Path: filepath.Join(t.TempDir(), "d.db"), MaxEntries: 1000}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	done(s, 0, 5000, "a")
	s = reopen(t, s, o)
	for _, i := range []int{0, 3999} {
		expect(t, s, key(i), false)
	}
	for _, i := range []int{4000, 4500, 4999} {
		expect(t, s, key(i), true)
	}
	o.MaxEntries = 10
	s = reopen(t, s, o)
	expect(t, s, key(4989), false)
	expect(t, s, key(4990), true)
	done(s, 5000, 5001, "a")
	s.Close()
	if n := entriesIn(t, o.Path); n != 10 {
		t.Errorf("%d entries in the file, want 10", n)
	}
}

func TestADoneOfALongTimeAgoIsReplacedInTheFile(t *testing.T) {
	o := Options{Path: filepath.Join(t.TempDir(), "d.db")}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	done(s, 0, 5, "a")
	s = reopen(t, s, o)
	s.Done(t.Context(), key(0), dedupe.Mark{Status: 202, TTL: time.Hour, Room: "b"})
	s.Done(t.Context(), key(1), dedupe.Mark{Status: 202, TTL: time.Hour, Room: "a"})
	s.Done(t.Context(), key(1), dedupe.Mark{Status: 203, TTL: time.Hour, Room: "a"})
	s = reopen(t, s, o)
	for i, want := range []int{202, 203, 200, 200, 200} {
		if m, ok := s.Lookup(key(i)); !ok || m.Status != want {
			t.Errorf("delivery %d: %+v %v, want status %d", i, m, ok, want)
		}
	}
	s.Close()
	if n := entriesIn(t, o.Path); n != 5 {
		t.Errorf("%d entries in the file, want 5", n)
	}
}

// The disk reports no failure for a write that never ends.
func TestADiskThatHangsIsNotHealthy(t *testing.T) {
	c := new(clocks)
	s, err := Open(Options{Path: filepath.Join(t.TempDir(), "d.db"), Now: c.Now, elapsed: c.elapsed})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) { // only limits the polling: the store does not signal its health
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	tx, err := s.file.db.Begin(true) // locks the database, like a write that the disk does not finish
	if err != nil {
		t.Fatal(err)
	}
	done(s, 0, 1, "a")
	until("no write began", func() bool { s.file.mu.Lock(); defer s.file.mu.Unlock(); return s.file.busy && s.file.writing > 0 })
	c.pass(hangsAfter)
	if err := s.Health(); err != nil {
		t.Errorf("a slow disk: %v", err)
	}
	c.pass(time.Second)
	if err := s.Health(); err == nil || !strings.Contains(err.Error(), "has not answered for 11s") {
		t.Errorf("a disk that hangs: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	until("not healthy again", func() bool { return s.Health() == nil && s.File().Pending == 0 })
}
