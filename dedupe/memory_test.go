package dedupe_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe/storetest"
	"pgregory.net/rapid"
)

// A clock that only the test moves.
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
	c.Advance(2 * time.Minute) // leases of owners that never returned make room
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
		if err := m.Done(t.Context(), key(i), dedupe.Mark{Status: 200, TTL: time.Hour}); err != nil {
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

// A shard with rooms, expiry and little space behaves like one that scans all its
// entries, for any order of calls.
func TestMemoryAgainstAListOfAll(t *testing.T) {
	type done struct {
		key   dedupe.Key
		room  string
		share dedupe.Share
		until time.Time
	}
	rapid.Check(t, func(t *rapid.T) {
		const size = 6
		c := newClock()
		m := dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: size, Now: c.Now})
		var list []done // oldest first
		remove := func(i int) { list = append(list[:i:i], list[i+1:]...) }
		find := func(k dedupe.Key) int {
			return slices.IndexFunc(list, func(d done) bool { return d.key == k })
		}
		key := func() dedupe.Key { return dedupe.Key{rapid.Byte().Draw(t, "key") % 16} }
		t.Repeat(map[string]func(*rapid.T){
			"done": func(t *rapid.T) {
				k, room := key(), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "room")
				ttl := time.Hour // one window per room: within it the oldest ends first
				if room == "c" {
					ttl = time.Minute
				}
				share := dedupe.Share(rapid.IntRange(0, 2).Draw(t, "share"))
				if err := m.Done(context.Background(), k, dedupe.Mark{Status: 200, TTL: ttl, Room: room, Share: share}); err != nil {
					t.Fatal(err)
				}
				for i := len(list) - 1; i >= 0; i-- { // the memory may keep them longer
					if !list[i].until.After(c.Now()) {
						remove(i)
					}
				}
				if i := find(k); i >= 0 {
					remove(i)
				}
				list = append(list, done{k, room, share, c.Now().Add(ttl)})
			},
			"forget": func(t *rapid.T) {
				k := key()
				i := find(k)
				known := i >= 0 && list[i].until.After(c.Now())
				if found, err := m.Forget(context.Background(), k); err != nil || found && !known {
					t.Fatalf("forget: %v %v", found, err)
				}
				if i >= 0 {
					remove(i)
				}
			},
			"advance": func(t *rapid.T) {
				c.Advance(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
			},
			"": func(t *rapid.T) {
				known, sums, shares := 0, map[string]int{}, map[string]map[dedupe.Share]int{"a": {}, "b": {}, "c": {}}
				for _, d := range list {
					mark, ok := m.Lookup(d.key)
					if ok && (mark.Room != d.room || mark.Share != d.share || mark.TTL != d.until.Sub(c.Now())) {
						t.Fatalf("%+v, want %+v", mark, d)
					}
					if ok {
						known++
						sums[d.room]++
						shares[d.room][d.share]++
					}
				}
				each := 0
				m.Each(func(k dedupe.Key, mark dedupe.Mark) {
					each++
					if i := find(k); i < 0 || list[i].room != mark.Room || list[i].share != mark.Share {
						t.Fatalf("visited %v %+v", k, mark)
					}
				})
				if st := m.Stats(); known > size || st.Entries > size || each != known {
					t.Fatalf("%d known, %d visited, %+v", known, each, st)
				}
				for i := len(list) - 1; i >= 0; i-- { // evicted: the oldest of its share
					d := list[i]
					if _, ok := m.Lookup(d.key); ok || !d.until.After(c.Now()) {
						continue
					}
					for _, older := range list[:i] {
						if _, ok := m.Lookup(older.key); ok && older.room == d.room && older.share == d.share {
							t.Fatalf("of share %d of room %s a newer one went before an older", d.share, d.room)
						}
					}
					if sums[d.room]+1 < size/3 {
						t.Fatalf("room %s was pushed below its share: %v", d.room, sums)
					}
					for share, n := range shares[d.room] {
						if n > shares[d.room][d.share]+2 { // itself, and one that has arrived since
							t.Fatalf("of room %s a delivery of share %d went although share %d is larger: %v", d.room, d.share, share, shares[d.room])
						}
					}
					remove(i)
				}
			},
		})
	})
}
