package bolt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
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

// clocks are the wall clock, which can be set, and one that cannot.
type clocks struct {
	clock
	mono time.Duration
}

func (c *clocks) pass(d time.Duration) {
	c.Advance(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mono += d
}

func (c *clocks) elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mono
}

// A machine may boot with any clock, and correct it a moment later.
func TestAWrongClockDeletesNothing(t *testing.T) {
	const month = 30 * 24 * time.Hour
	for name, wrong := range map[string]struct{ atStart, later, runs time.Duration }{
		"ahead at start":           {month, 0, 30 * time.Minute},
		"behind at start":          {-400 * 24 * time.Hour, 0, 30 * time.Minute},
		"ahead while it runs":      {0, month, 3 * time.Hour},
		"behind while it runs":     {0, -month, 3 * time.Hour},
		"ahead, and further ahead": {month, month, 30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			c := &clocks{clock: clock{now: time.Unix(1_800_000_000, 0)}}
			o := Options{Path: filepath.Join(t.TempDir(), "d.db"), Now: c.Now, elapsed: c.elapsed}
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			done(s, 0, 3, "a")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			c.Advance(wrong.atStart)
			if s, err = Open(o); err != nil {
				t.Fatal(err)
			}
			c.pass(wrong.runs)
			done(s, 3, 4, "a")
			c.Advance(wrong.later)
			c.pass(20 * time.Minute)
			done(s, 4, 5, "a")
			s = reopen(t, s, o)
			c.Advance(-wrong.atStart - wrong.later)
			done(s, 5, 6, "a")
			s = reopen(t, s, o)
			for i := range 6 {
				expect(t, s, key(i), true)
			}
		})
	}
}

// The clock is corrected while the gateway runs: entries that seemed expired at start
// are known again after the next write.
func TestAClockSetRightBringsBackWhatSeemedExpired(t *testing.T) {
	c := &clocks{clock: clock{now: time.Unix(1_800_000_000, 0)}}
	o := Options{Path: filepath.Join(t.TempDir(), "d.db"), Now: c.Now, elapsed: c.elapsed}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	done(s, 0, 3, "a")
	s.Close()
	c.Advance(30 * 24 * time.Hour)
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	expect(t, s, key(0), false)
	c.Advance(-30 * 24 * time.Hour)
	done(s, 3, 4, "a")
	if err := s.file.close(); err != nil {
		t.Fatal(err)
	}
	expect(t, s, key(0), true)
}

// Even without a write: the file is read again within a minute.
func TestAClockSetRightIsNoticedWithoutAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clocks{clock: clock{now: time.Unix(1_800_000_000, 0)}}
		o := Options{Path: filepath.Join(t.TempDir(), "d.db"), Now: c.Now, elapsed: c.elapsed}
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		done(s, 0, 3, "a")
		s.Close()
		c.Advance(30 * 24 * time.Hour)
		if s, err = Open(o); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		expect(t, s, key(0), false)
		c.Advance(-30 * 24 * time.Hour)
		time.Sleep(lookPause)
		synctest.Wait()
		expect(t, s, key(0), true)
	})
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
		for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
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

func TestWhatHasExpiredIsRemovedAfterAnHourOfASteadyClock(t *testing.T) {
	c := &clocks{clock: clock{now: time.Unix(1_800_000_000, 0)}}
	o := Options{Path: filepath.Join(t.TempDir(), "d.db"), Now: c.Now, elapsed: c.elapsed}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	done(s, 0, 100, "a")
	done(s, 100, 200, "b")
	c.pass(25 * time.Hour)
	done(s, 200, 201, "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := entriesIn(t, o.Path); n != 1 {
		t.Errorf("%d entries in the file, want the one that has not expired", n)
	}
}

func TestADeletedFileIsWrittenAgain(t *testing.T) {
	for name, remove := range map[string]func(path string) error{
		"the file":      os.Remove,
		"its directory": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"replaced":      func(path string) error { return os.Rename(path+".other", path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sub", "d.db")
			other, _ := open(t, path+".other")
			done(other, 100, 101, "a")
			other.Close()
			synctest.Test(t, func(t *testing.T) {
				s, l := open(t, path)
				done(s, 0, 3, "a")
				time.Sleep(time.Second)
				if err := remove(path); err != nil {
					t.Fatal(err)
				}
				done(s, 3, 4, "a")
				time.Sleep(time.Second)
				synctest.Wait()
				if err := s.Health(); err != nil || !strings.Contains(l.String(), "deleted or replaced") {
					t.Errorf("health: %v, log: %s", err, l)
				}
				if _, err := os.Stat(path); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				s, _ = open(t, path)
				defer s.Close()
				for i := range 4 {
					expect(t, s, key(i), true)
				}
				expect(t, s, key(100), name == "replaced")
			})
		})
	}
}

// TestAFileCutShortWhileOpenIsSetAside: bbolt reads missing pages, and the panic
// leaves its lock locked. Neither dones nor Close may wait for it.
func TestAFileCutShortWhileOpenIsSetAside(t *testing.T) {
	for _, size := range []int64{0, 1, 4096, 8192, 12288} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "d.db")
			fill(t, path, 3)
			s, _ := open(t, path)
			if err := os.Truncate(path, size); err != nil {
				t.Fatal(err)
			}
			done(s, 3, 4, "a")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s, _ = open(t, path)
			defer s.Close()
			for i := range 4 {
				expect(t, s, key(i), true)
			}
		})
	}
}

func TestAFileDeletedBeforeTheEndIsWrittenAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.db")
	fill(t, path, 3)
	s, _ := open(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := entriesIn(t, path); n != 3 {
		t.Errorf("%d entries in the file, want 3", n)
	}
}

// However many dones arrive while the file cannot be written, it gets the entire
// memory in the end.
func TestNothingIsTooMuchForAFileThatIsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.db")
	first, _ := open(t, path)
	synctest.Test(t, func(t *testing.T) {
		second, err := Open(Options{Path: path, MaxEntries: 2 * maxPending})
		if err != nil {
			t.Fatal(err)
		}
		done(second, 0, maxPending+10, "a")
		if st := second.File(); !st.Behind || st.Pending > maxPending || second.Health() == nil {
			t.Errorf("%+v, %v", st, second.Health())
		}
		first.Close()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if st := second.File(); st.Behind || !st.Attached || second.Health() != nil {
			t.Errorf("%+v, %v", st, second.Health())
		}
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	})
	if n := entriesIn(t, path); n != maxPending+10 {
		t.Errorf("%d entries in the file, want %d", n, maxPending+10)
	}
}

func TestForgettingHoldsThoughTheFileComesLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.db")
	fill(t, path, 3)
	first, _ := open(t, path)
	synctest.Test(t, func(t *testing.T) {
		second, _ := open(t, path)
		if _, err := second.Forget(t.Context(), key(1)); err != nil {
			t.Fatal(err)
		}
		first.Close()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		expect(t, second, key(0), true)
		expect(t, second, key(1), false)
		second.Close()
		third, _ := open(t, path)
		defer third.Close()
		expect(t, third, key(1), false)
	})
}

// A delivery that an operator made the gateway forget, and that the app then accepted
// again, is done, whatever happened to the file in between.
func TestADoneAfterAForgetHoldsThoughTheFileComesLater(t *testing.T) {
	for name, behindAfter := range map[string]string{"before the done": "forget", "after the done": "done"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "d.db")
			fill(t, path, 3)
			first, _ := open(t, path)
			synctest.Test(t, func(t *testing.T) {
				second, _ := open(t, path)
				if _, err := second.Forget(t.Context(), key(1)); err != nil {
					t.Fatal(err)
				}
				if behindAfter == "forget" {
					second.file.rewrite()
				}
				if err := second.Done(t.Context(), key(1), dedupe.Mark{Status: 200, TTL: time.Hour}); err != nil {
					t.Fatal(err)
				}
				if behindAfter == "done" {
					second.file.rewrite()
				}
				first.Close()
				time.Sleep(3 * time.Second)
				synctest.Wait()
				expect(t, second, key(1), true)
				second.Close()
				third, _ := open(t, path)
				defer third.Close()
				expect(t, third, key(1), true)
			})
		})
	}
}

// A clock step makes the store read the file again, which must not restore deliveries
// about to be removed from it.
func TestForgettingHoldsThoughTheClockWasSet(t *testing.T) {
	c := &clocks{clock: clock{now: time.Unix(1_800_000_000, 0)}}
	o := Options{Path: filepath.Join(t.TempDir(), "d.db"), Now: c.Now, elapsed: c.elapsed}
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		done(s, 0, 3, "a")
		time.Sleep(time.Second) // written
		c.Advance(time.Hour)
		if _, err := s.Forget(t.Context(), key(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, s, key(0), true)
		expect(t, s, key(1), false)
	})
}

// A clock correction may be the last event before a restart: nothing is pending then,
// but the windows in the file follow the wrong clock.
func TestAClockThatIsSetRightBeforeARestartForgetsNothing(t *testing.T) {
	c := &clocks{clock: clock{now: time.Unix(1_800_000_000, 0)}}
	o := Options{Path: filepath.Join(t.TempDir(), "dedupe.db"), Now: c.Now, elapsed: c.elapsed}
	reopen := func(s *Store) *Store {
		if s != nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := reopen(nil)
	s.Done(t.Context(), key(1), dedupe.Mark{Status: 200, TTL: 15 * time.Minute})
	s = reopen(s) // written
	c.Advance(time.Hour)
	s = reopen(s)
	defer s.Close()
	expect(t, s, key(1), true)
}
