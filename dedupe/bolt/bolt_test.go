package bolt

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe/storetest"
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestBolt(t *testing.T) {
	dir, n := t.TempDir(), 0
	storetest.Run(t, func(tb storetest.TB, maxEntries int) storetest.Subject {
		n++
		c := &clocks{clock: clock{now: time.Unix(1_800_000_000, 0)}}
		o := Options{
			Path: filepath.Join(dir, fmt.Sprint(n), "dedupe.db"), MaxEntries: maxEntries, Now: c.Now, elapsed: c.elapsed,
		}
		open := func() *Store {
			s, err := Open(o)
			if err != nil {
				tb.Fatalf("open: %v", err)
			}
			return s
		}
		s := open()
		tb.Cleanup(func() { s.Close() })
		return storetest.Subject{
			Store: s, Advance: c.pass, Bounded: true,
			Break: func(ail bool) { breakFile(tb, s, ail) },
			Reopen: func() dedupe.Store {
				if err := s.Close(); err != nil {
					tb.Fatalf("close: %v", err)
				}
				s = open()
				return s
			},
		}
	})
}

// breakFile puts a file in place of the directory of the store's file, or removes it,
// and lets the store notice.
func breakFile(tb storetest.TB, s *Store, ail bool) {
	dir := filepath.Dir(s.file.path)
	if err := os.RemoveAll(dir); err != nil {
		tb.Fatalf("%v", err)
	}
	if ail {
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			tb.Fatalf("%v", err)
		}
	}
	s.Done(context.Background(), key(1), dedupe.Mark{Status: 200, TTL: time.Minute})
	deadline := time.After(10 * time.Second)
	for (s.Health() != nil) != ail {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			tb.Fatalf("health is %v, ailing %v", s.Health(), ail)
		}
	}
}

func key(i int) dedupe.Key { return dedupe.NewKey("bolt", fmt.Sprint(i)) }

// A log collects log lines: reporting problems is part of the contract.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func open(t *testing.T, path string) (*Store, *log) {
	t.Helper()
	l := new(log)
	s, err := Open(Options{Path: path, Logger: slog.New(slog.NewTextHandler(l, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

func expect(t *testing.T, s *Store, k dedupe.Key, want bool) {
	t.Helper()
	if _, done := s.Lookup(k); done != want {
		t.Errorf("done: got %v, want %v", done, want)
	}
}

// fill leaves a closed file with n deliveries.
func fill(t *testing.T, path string, n int) {
	t.Helper()
	s, _ := open(t, path)
	for i := range n {
		s.Done(t.Context(), key(i), dedupe.Mark{Status: 200, TTL: time.Duration(1+i%5) * 24 * time.Hour})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAKillForgetsAtMost100ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "d.db")
		s, _ := open(t, path)
		defer s.Close()
		s.Done(t.Context(), key(1), dedupe.Mark{Status: 200, TTL: time.Hour})
		time.Sleep(101 * time.Millisecond)
		synctest.Wait()
		s.Done(t.Context(), key(2), dedupe.Mark{Status: 200, TTL: time.Hour})
		left, err := os.ReadFile(path) // as after a kill
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(t.TempDir(), "d.db")
		if err := os.WriteFile(copied, left, 0o600); err != nil {
			t.Fatal(err)
		}
		after, _ := open(t, copied)
		defer after.Close()
		expect(t, after, key(1), true)
		expect(t, after, key(2), false)
	})
}

func TestAThousandDoNotWaitForTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, filepath.Join(t.TempDir(), "d.db"))
		defer s.Close()
		for i := range flushSize {
			s.Done(t.Context(), key(i), dedupe.Mark{Status: 200, TTL: time.Hour})
		}
		synctest.Wait()
		if n := s.File().Pending; n != 0 {
			t.Errorf("%d pending, want none though no time went by", n)
		}
	})
}

func TestTheFileIsForItsOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "dir", "d.db")
	fill(t, path, 1)
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

func TestAnEntryOfAWrongClockEndsAfterItsWindow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.db")
	c := &clocks{clock: clock{now: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}}
	o := Options{Path: path, Now: c.Now, elapsed: c.elapsed}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Done(t.Context(), key(1), dedupe.Mark{Status: 200, TTL: time.Hour})
	s.Close()
	c.now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	expect(t, s, key(1), true)
	c.pass(time.Hour)
	expect(t, s, key(1), false)
}

func TestForgetReachesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.db")
	fill(t, path, 3)
	s, _ := open(t, path)
	if found, err := s.Forget(t.Context(), key(1)); !found || err != nil {
		t.Fatalf("forget: %v %v", found, err)
	}
	s.Close()
	s, _ = open(t, path)
	defer s.Close()
	expect(t, s, key(0), true)
	expect(t, s, key(1), false)
}

func TestALockedFileIsLeftAloneAndTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.db")
	fill(t, path, 1)
	first, _ := open(t, path)
	synctest.Test(t, func(t *testing.T) {
		second, l := open(t, path)
		if second.File().Attached || !strings.Contains(l.String(), "in use by another process") {
			t.Errorf("attached: %v, log: %s", second.File().Attached, l)
		}
		second.Done(t.Context(), key(2), dedupe.Mark{Status: 200, TTL: time.Hour})
		expect(t, second, key(2), true)
		first.Close()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if !second.File().Attached || second.File().Pending != 0 {
			t.Errorf("not attached after the lock was free: %+v", second.File())
		}
		expect(t, second, key(0), true) // done in the other process
		if err := second.Close(); err != nil {
			t.Error(err)
		}
		third, _ := open(t, path)
		defer third.Close()
		expect(t, third, key(2), true)
	})
}

func TestADamagedFileIsSetAside(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	fill(t, whole, 5000)
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"cut in a page": good[:len(good)/2+100],
		"cut to a page": good[:4096],
		"cut short":     good[:100],
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "d.db")
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			s, l := open(t, path)
			if !s.File().Attached || !strings.Contains(l.String(), "set aside") {
				t.Errorf("attached: %v, log: %s", s.File().Attached, l)
			}
			s.Done(t.Context(), key(-1), dedupe.Mark{Status: 200, TTL: time.Hour})
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			aside, _ := filepath.Glob(path + ".damaged-*")
			if len(aside) != 1 {
				t.Fatalf("set aside: %v", aside)
			}
			if kept, _ := os.ReadFile(aside[0]); !bytes.Equal(kept, bad) {
				t.Error("the damaged file was changed")
			}
			s, _ = open(t, path)
			defer s.Close()
			expect(t, s, key(-1), true)
		})
	}
}

// Whichever bit flips, the store starts and remembers deliveries.
func TestFlippedBits(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	fill(t, whole, 2000)
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 150 {
		bad := bytes.Clone(good)
		for range 1 + i%4 {
			// Most bytes are keys; the first bytes of a page are its structure.
			at := rnd.IntN(len(bad))
			if i%2 == 0 {
				at = at&^4095 + rnd.IntN(64)
			}
			bad[at] ^= 1 << rnd.IntN(8)
		}
		path := filepath.Join(t.TempDir(), "d.db")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, l := open(t, path)
		for j := range 20 {
			s.Done(t.Context(), key(-1-j), dedupe.Mark{Status: 200, TTL: time.Duration(j) * 24 * time.Hour})
		}
		if err := s.Close(); err != nil {
			t.Errorf("flip %d: %v\n%s", i, err, l)
		}
	}
}

func TestADirectoryThatIsNotOursIsTriedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the directory should be
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s, l := open(t, filepath.Join(dir, "d.db"))
		s.Done(t.Context(), key(1), dedupe.Mark{Status: 200, TTL: time.Hour})
		expect(t, s, key(1), true)
		time.Sleep(time.Minute)
		if n := strings.Count(l.String(), "cannot be opened"); n != 1 {
			t.Errorf("logged %d times in a minute, want once:\n%s", n, l)
		}
		os.Remove(dir)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if st := s.File(); !st.Attached || st.Pending != 0 {
			t.Errorf("after it was mended: %+v", st)
		}
		s.Close()
	})
}

func TestOpenWantsAPath(t *testing.T) {
	if _, err := Open(Options{}); err == nil {
		t.Error("opened without a path")
	}
}

// A window longer than the file allows must not look like damage at the next start,
// which would discard all others.
func TestLongWindow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dedupe.db")
	s, _ := open(t, path)
	s.Done(t.Context(), key(1), dedupe.Mark{Status: 200, TTL: time.Hour})
	s.Done(t.Context(), key(2), dedupe.Mark{Status: 200, TTL: 10 * maxTTL})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, l := open(t, path)
	defer s.Close()
	expect(t, s, key(1), true)
	expect(t, s, key(2), true)
	if l.String() != "" {
		t.Errorf("logged %s", l)
	}
}
