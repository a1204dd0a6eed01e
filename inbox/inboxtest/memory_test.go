package inboxtest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

func TestMemory(t *testing.T) {
	Run(t, func(_ TB, maxSize int64) Subject {
		var mu sync.Mutex
		now := time.Unix(1_800_000_000, 0)
		clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		m := NewMemory(clock, maxSize)
		restart := func() inbox.Engine { m.Restart(); return m }
		return Subject{
			Engine: m, Now: clock, Advance: func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) },
			Reopen: restart,
			Break: func(ail bool) {
				if m.Ail(nil); ail {
					m.Ail(errors.New("the test says so"))
				}
			},
		}
	})
}
