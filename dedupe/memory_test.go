package dedupe_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe/storetest"
)

// A clock goes when told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_800_000_000, 0)} }

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

func TestMemory(t *testing.T) {
	storetest.Run(t, func(_ storetest.TB, maxEntries int) storetest.Subject {
		c := newClock()
		return storetest.Subject{
			Store:   dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: maxEntries, Now: c.Now}),
			Advance: c.Advance,
			Bounded: true,
		}
	})
}

func TestMemoryRefusesMoreInFlightThanAllowed(t *testing.T) {
	c := newClock()
	m := dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: 10, MaxInFlight: 2, Now: c.Now})
	claim := func(name string) error {
		_, err := m.Claim(t.Context(), dedupe.NewKey(name), dedupe.Token{1}, time.Minute)
		return err
	}
	for _, name := range []string{"a", "b", "a"} {
		if err := claim(name); err != nil {
			t.Fatalf("claim %s: %v", name, err)
		}
	}
	if err := claim("c"); !errors.Is(err, dedupe.ErrFull) {
		t.Fatalf("claim c: got %v, want ErrFull", err)
	}
	m.Release(t.Context(), dedupe.NewKey("a"), dedupe.Token{1})
	if err := claim("c"); err != nil {
		t.Fatalf("claim c after a release: %v", err)
	}
	c.Advance(2 * time.Minute) // leases of owners who never came back make room
	if err := claim("d"); err != nil {
		t.Fatalf("claim d after the leases ended: %v", err)
	}
	if n := m.Stats().InFlight; n != 1 {
		t.Fatalf("in flight: got %d, want 1", n)
	}
}
