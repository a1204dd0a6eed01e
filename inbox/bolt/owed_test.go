package bolt

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// TestWhatAFileOwes: deliveries that the app has not accepted are counted, without a
// change to the file, and whatever the file is.
func TestWhatAFileOwes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "inbox.db")
	if n, inUse := Owed(path); len(n) != 0 || inUse {
		t.Errorf("%v without a file, in use: %t", n, inUse)
	}
	s := open(t, Options{Path: path, Keys: [][]byte{keyA}})
	put(t, s, 1, 2, 3)
	for _, to := range []inbox.State{inbox.Dead, inbox.Delivered} {
		a, err := s.Take(t.Context(), shop, inbox.NextDue)
		if err != nil || a == nil {
			t.Fatal(a, err)
		}
		s.Settle(a, inbox.Settlement{To: to, Status: 200, Keep: 1 << 40})
	}
	if n, inUse := Owed(path); len(n) != 0 || !inUse {
		t.Errorf("%v in a file in use: %t", n, inUse)
	}
	closeStore(t, s)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, inUse := Owed(path); len(n) != 1 || n[shop.Handler] != 2 || inUse {
		t.Errorf("%v owed, want a pending and a dead one; in use: %t", n, inUse)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file is changed: %v", err)
	}
	for n := 0; n < len(before); n += 4096 { // damaged anywhere
		damaged := append([]byte(nil), before...)
		copy(damaged[n:], make([]byte, 2048))
		other := filepath.Join(dir, "damaged.db")
		if err := os.WriteFile(other, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		Owed(other)
	}
	for name, content := range map[string]string{"empty": "", "foreign": "hello", "short": string(before[:5000])} {
		other := filepath.Join(dir, name)
		if err := os.WriteFile(other, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, inUse := Owed(other); len(n) != 0 || inUse {
			t.Errorf("%s: %v, in use: %t", name, n, inUse)
		}
	}
	if n, inUse := Owed(dir); len(n) != 0 || inUse {
		t.Errorf("a directory: %v, in use: %t", n, inUse)
	}
}

// TestWhatAFileOwesBehindMany: the deliveries of a handler count however many of others are
// older.
func TestWhatAFileOwesBehindMany(t *testing.T) {
	const many = 1200
	path := filepath.Join(t.TempDir(), "inbox.db")
	s := open(t, Options{Path: path})
	var accepting sync.WaitGroup
	for n := range many {
		accepting.Go(func() {
			if _, err := s.Accept(t.Context(), delivery(n), false); err != nil {
				t.Error(err)
			}
		})
	}
	accepting.Wait()
	late := delivery(many)
	late.Queue = inbox.Queue{Handler: "late"}
	if _, err := s.Accept(t.Context(), late, false); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	if n, _ := Owed(path); len(n) != 2 || n[shop.Handler] != many || n["late"] != 1 {
		t.Errorf("%v owed, want %d and 1", n, many)
	}
}
