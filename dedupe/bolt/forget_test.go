package bolt

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// The file knows a delivery that the memory does not, and it must not be back after a
// restart. What has the status later counts.
func TestAForgottenStatusLeavesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.db")
	first, _ := open(t, path)
	for i := range 3 {
		first.Done(t.Context(), key(i), dedupe.Mark{Status: 1000 + i%2, TTL: time.Hour})
	}
	first.Close()
	first, _ = open(t, path) // locks it
	synctest.Test(t, func(t *testing.T) {
		second, _ := open(t, path)
		if gone, err := second.ForgetStatus(t.Context(), 1000); len(gone) != 0 || err != nil {
			t.Fatalf("%v %v", gone, err)
		}
		if n := second.File().Pending; n != 1 {
			t.Errorf("%d are pending, want 1", n)
		}
		second.Done(t.Context(), key(3), dedupe.Mark{Status: 1000, TTL: time.Hour})
		first.Close()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		check := func(s *Store) {
			for i, want := range []bool{false, true, false, true} {
				expect(t, s, key(i), want)
			}
		}
		check(second)
		second.Close()
		third, _ := open(t, path)
		check(third)
		third.Close()
		if n := entriesIn(t, path); n != 2 {
			t.Errorf("%d entries in the file, want 2", n)
		}
	})
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
