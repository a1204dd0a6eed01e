package bolt

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/enginetest"
)

// What the tests of all engines share.
var (
	shop       = enginetest.Shop
	key        = enginetest.Key
	delivery   = enginetest.Delivery
	large      = enginetest.Large
	until      = enginetest.Until
	closeStore = enginetest.Close
	fastDir    = enginetest.FastDir
)

// open returns a store that has opened its file.
func open(tb inboxtest.TB, o Options) *Store {
	tb.Helper()
	s, err := Open(o)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	until(tb, "the file does not open", func() bool { return s.Status().ID != "" })
	tb.Cleanup(func() { closeStore(tb, s) })
	return s
}

// copied is the file that a kill -9 would leave at this moment. No commit is running.
func copied(tb inboxtest.TB, from, to string) {
	tb.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o700)
	}
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		tb.Fatalf("copy: %v", err)
	}
}

func run(t *testing.T, with Options) {
	dir, n := fastDir(t), 0
	inboxtest.Run(t, func(tb inboxtest.TB, maxSize int64) inboxtest.Subject {
		n++
		c := enginetest.NewClock()
		o := with
		o.Path, o.MaxSize, o.Now = filepath.Join(dir, fmt.Sprint(n), "inbox.db"), maxSize, c.Now
		s := open(tb, o)
		return inboxtest.Subject{
			Engine: s, Now: c.Now, Advance: c.Advance,
			Reopen: func() inbox.Engine {
				closeStore(tb, s)
				s = open(tb, o)
				return s
			},
			Crash: func() inbox.Engine {
				n++
				path := filepath.Join(dir, fmt.Sprint(n), "inbox.db")
				copied(tb, o.Path, path)
				o.Path = path
				s = open(tb, o)
				return s
			},
			Break: func(ail bool) { hide(tb, s, ail) },
		}
	})
}

// hide moves the file away or back, and returns when the store has noticed.
func hide(tb inboxtest.TB, s *Store, ail bool) {
	from, to := s.o.Path, s.o.Path+".hidden"
	if !ail {
		from, to = to, from
	}
	if err := os.Rename(from, to); err != nil {
		tb.Fatalf("%v", err)
	}
	until(tb, "the store does not notice", func() bool { return (s.Status().Health != nil) == ail })
}

func TestBolt(t *testing.T) { run(t, Options{}) }

func TestBoltWithEncryption(t *testing.T) {
	run(t, Options{Keys: [][]byte{make([]byte, 32)}})
}
