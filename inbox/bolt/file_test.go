package bolt

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/enginetest"
)

// begin opens a store whose file may not be accessible.
func begin(t *testing.T, o Options) (*Store, *enginetest.Log) {
	t.Helper()
	l := new(enginetest.Log)
	o.Logger = slog.New(slog.NewTextHandler(l, nil))
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s, l
}

// refuses checks that a received delivery goes to the app immediately, and why.
func refuses(t *testing.T, s *Store, why inbox.Why, health string) {
	t.Helper()
	_, err := s.Accept(t.Context(), delivery(-1), false)
	var refused *inbox.NotStoredError
	if !errors.As(err, &refused) || refused.Why != why {
		t.Errorf("accept: %v, want a refusal: %s", err, why)
	}
	if h := s.Status().Health; health != "" && (h == nil || !strings.Contains(h.Error(), health)) {
		t.Errorf("health: %v, want %q", h, health)
	}
}

func fill(t *testing.T, path string, n int) {
	t.Helper()
	s := open(t, Options{Path: path})
	for i := range n {
		put(t, s, i)
	}
	closeStore(t, s)
}

func TestWithoutAPath(t *testing.T) {
	if _, err := Open(Options{}); err == nil {
		t.Error("no error")
	}
	if _, err := Open(Options{Path: "x", Keys: [][]byte{{1}}}); err == nil {
		t.Error("no error of a short key")
	}
}

func TestTheFileIsForItsOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "dir", "inbox.db")
	fill(t, path, 1)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	fill(t, path, 0)
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): os.ModeDir | 0o700} {
		st, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode() != want {
			t.Errorf("%s: mode %v, want %v", p, st.Mode(), want)
		}
	}
}

func TestALockedFileIsLeftAloneAndTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inbox.db")
	first := open(t, Options{Path: path})
	put(t, first, 1)
	second, l := begin(t, Options{Path: path})
	until(t, "nobody notices", func() bool { return errors.Is(second.Status().Health, ErrInUse) })
	refuses(t, second, inbox.WhyUnavailable, "in use by another process")
	if _, _, err := second.Find(t.Context(), key(1)); !errors.Is(err, inbox.ErrUnavailable) {
		t.Errorf("find: %v", err)
	}
	closeStore(t, first)
	until(t, "it does not open", func() bool { return second.Status().Health == nil })
	found(t, second, 1, true)
	put(t, second, 2)
	if n := strings.Count(l.String(), "in use by another process"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestADirectoryThatCannotBeMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := begin(t, Options{Path: filepath.Join(dir, "inbox.db")})
	until(t, "nobody notices", func() bool { return s.Status().Health != nil && !errors.Is(s.Status().Health, errOpening) })
	refuses(t, s, inbox.WhyUnavailable, "cannot be opened")
	os.Remove(dir)
	until(t, "it does not open", func() bool { return s.Status().Health == nil })
	put(t, s, 1)
}

// Deliveries in a deleted file exist only as long as the process: nothing more is
// stored in it, and they are delivered.
func TestADeletedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inbox.db")
	s, l := begin(t, Options{Path: path})
	until(t, "it does not open", func() bool { return s.Status().Health == nil })
	put(t, s, 1)
	id := s.Status().ID
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refuses(t, s, inbox.WhyUnavailable, "deleted") // immediately, before the next check
	if !strings.Contains(l.String(), "deleted or replaced") || !strings.Contains(l.String(), "id="+id) {
		t.Errorf("log: %s", l)
	}
	a, err := s.Take(t.Context(), shop, inbox.NextDue)
	if err != nil || a == nil || string(a.Delivery.Body) != string(delivery(1).Body) {
		t.Fatalf("what it holds: %+v %v", a, err)
	}
	s.Settle(a, inbox.Settlement{To: inbox.Delivered})
	until(t, "no new file is made once it holds nothing", func() bool { return s.Status().Health == nil })
	put(t, s, 2)
	if s.Status().ID == id {
		t.Error("another file has the same name")
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// After a failed commit the content of the disk is unknown.
func TestACommitThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inbox.db")
	var fails atomic.Bool
	o := Options{Path: path, mayWrite: func() error {
		if fails.Load() {
			return errors.New("input/output error")
		}
		return nil
	}}
	s, l := begin(t, o)
	until(t, "it does not open", func() bool { return s.Status().Health == nil })
	put(t, s, 1, 2, 3)
	if _, err := s.Discard(t.Context(), inbox.Selection{Keys: []inbox.Key{key(3)}}); err != nil {
		t.Fatal(err)
	}
	running, err := s.Take(t.Context(), shop, inbox.NextDue)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Take(t.Context(), shop, inbox.NextDue)
	if err != nil {
		t.Fatal(err)
	}
	fails.Store(true)
	s.Settle(second, inbox.Settlement{To: inbox.Dead, Status: 410})
	refuses(t, s, inbox.WhyUnavailable, "")
	until(t, "nobody notices", func() bool { return s.Status().Health != nil })
	if _, err := s.Take(t.Context(), shop, inbox.NextDue); !errors.Is(err, inbox.ErrUnavailable) {
		t.Errorf("take: %v", err)
	}
	fails.Store(false)
	until(t, "it does not recover", func() bool { return s.Status().Health == nil && s.Status().Unwritten == 0 })
	if n := strings.Count(l.String(), "input/output error"); n != 1 {
		t.Errorf("said %d times:\n%s", n, l)
	}
	found(t, s, -1, false) // it was refused
	for n, want := range map[int]inbox.State{1: inbox.InAttempt, 2: inbox.Dead} {
		if e, _, _ := s.Find(t.Context(), key(n)); e.State != want {
			t.Errorf("%d is %v, want %v", n, e.State, want)
		}
	}
	if a, _ := s.Take(t.Context(), shop, inbox.NextDue); a != nil {
		t.Errorf("a second attempt: %+v", a.Entry)
	}
	s.Settle(running, inbox.Settlement{To: inbox.Delivered})
	closeStore(t, s)
	s = open(t, Options{Path: path})
	found(t, s, 1, false)
	found(t, s, 2, true)
}

// Settlements are retried until they are written, and Close waits for them as long as
// it may.
func TestMarksAreRepeated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inbox.db")
	var fails atomic.Bool
	s, _ := begin(t, Options{Path: path, mayWrite: func() error {
		if fails.Load() {
			return errors.New("no space left")
		}
		return nil
	}})
	until(t, "it does not open", func() bool { return s.Status().Health == nil })
	const n = 50
	for i := range n {
		put(t, s, i)
	}
	fails.Store(true)
	for range n {
		a, err := s.Take(t.Context(), shop, inbox.NextDue)
		if a == nil || err != nil {
			break // the store has noticed: leave out the rest
		}
		s.Settle(a, inbox.Settlement{To: inbox.Delivered})
	}
	until(t, "nobody notices", func() bool { return s.Status().Health != nil })
	unwritten := s.Status().Unwritten
	if unwritten == 0 {
		t.Fatal("nothing waits to be written")
	}
	time.AfterFunc(100*time.Millisecond, func() { fails.Store(false) })
	closeStore(t, s)
	s = open(t, Options{Path: path})
	all, err := s.List(t.Context(), inbox.Selection{}, 0, n)
	if err != nil || len(all) != n-unwritten {
		t.Errorf("%d pending, %v, want %d", len(all), err, n-unwritten)
	}
}

func TestAFileShrinksWhenItIsOpened(t *testing.T) {
	path := filepath.Join(fastDir(t), "inbox.db")
	s := open(t, Options{Path: path})
	for n := range 1500 {
		d := delivery(n)
		d.Body = bytes.Repeat([]byte{byte(n)}, 8<<10)
		if _, err := s.Accept(t.Context(), d, false); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 1400 {
		a, err := s.Take(t.Context(), shop, inbox.NextDue)
		if err != nil || a == nil {
			t.Fatalf("take %d: %v", n, err)
		}
		s.Settle(a, inbox.Settlement{To: inbox.Delivered})
	}
	id := s.Status().ID
	closeStore(t, s)
	before, _ := os.Stat(path)
	s = open(t, Options{Path: path})
	after, err := os.Stat(path)
	if err != nil || after.Size() > before.Size()/3 {
		t.Errorf("%d bytes, before %d: %v", after.Size(), before.Size(), err)
	}
	if after.Mode() != 0o600 || s.Status().ID != id {
		t.Errorf("mode %v, id %q, was %q", after.Mode(), s.Status().ID, id)
	}
	for n := 1400; n < 1500; n++ {
		d, _, err := s.Get(t.Context(), key(n))
		if err != nil || !bytes.Equal(d.Body, bytes.Repeat([]byte{byte(n)}, 8<<10)) {
			t.Fatalf("%d: %v", n, err)
		}
	}
	second, _ := begin(t, Options{Path: path})
	until(t, "the lock was lost", func() bool { return errors.Is(second.Status().Health, ErrInUse) })
}

// Deliveries kept for replay use at most a tenth of the space.
func TestKeptBodiesGiveWay(t *testing.T) {
	s := open(t, Options{Path: filepath.Join(t.TempDir(), "inbox.db"), MaxSize: 100 << 10})
	for n := range 20 {
		d := delivery(n)
		d.Body = make([]byte, 2<<10)
		got, err := s.Accept(t.Context(), d, true)
		if err != nil {
			t.Fatal(err)
		}
		s.Settle(got.Attempt, inbox.Settlement{To: inbox.Delivered, Keep: time.Hour + time.Duration(n)})
	}
	if st := s.Status(); st.Bytes > 10<<10 || st.Bytes < 6<<10 {
		t.Errorf("%d bytes are kept", st.Bytes)
	}
	found(t, s, 19, true)
	found(t, s, 0, false)
}
