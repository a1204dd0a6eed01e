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

func TestResize(t *testing.T) {
	m := dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: 4})
	key := func(i byte) dedupe.Key { return dedupe.Key{i} }
	done := func(i byte) {
		if err := m.Done(t.Context(), key(i), 200, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for i := range byte(4) {
		done(i)
	}
	m.Resize(2)
	for i, want := range []bool{false, false, true, true} {
		if _, ok := m.Lookup(key(byte(i))); ok != want {
			t.Errorf("after Resize(2): delivery %d remembered: %v, want %v", i, ok, want)
		}
	}
	if st := m.Stats(); st.Entries != 2 || st.EvictedEarly != 2 {
		t.Errorf("after Resize(2): %+v", st)
	}
	m.Resize(3)
	done(4)
	if _, ok := m.Lookup(key(2)); !ok {
		t.Error("after Resize(3) the third delivery has no room")
	}
}
