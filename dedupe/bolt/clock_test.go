package bolt

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

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

// withAClockSetRight opens a store while the clock is a month ahead, so that its entries seem
// expired, and then corrects the clock.
func withAClockSetRight(t *testing.T) *Store {
	t.Helper()
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
	return s
}

// The clock is corrected while the gateway runs: entries that seemed expired at start
// are known again after the next write.
func TestAClockSetRightBringsBackWhatSeemedExpired(t *testing.T) {
	s := withAClockSetRight(t)
	done(s, 3, 4, "a")
	if err := s.file.close(); err != nil {
		t.Fatal(err)
	}
	expect(t, s, key(0), true)
}

// Even without a write: the file is read again within a minute.
func TestAClockSetRightIsNoticedWithoutAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withAClockSetRight(t)
		defer s.Close()
		time.Sleep(lookPause)
		synctest.Wait()
		expect(t, s, key(0), true)
	})
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
