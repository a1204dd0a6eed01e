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
