package bolt

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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
