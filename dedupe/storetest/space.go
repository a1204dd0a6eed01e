package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// How a store of limited size shares its space.

func testEviction(t *testing.T, open Factory) {
	s := open(t, 3)
	if !s.Bounded {
		t.Skip("the store has no bound of its own")
	}
	p := &probe{t: t, Subject: s}
	keys := make([]dedupe.Key, 4)
	for i := range keys {
		keys[i] = dedupe.NewKey("evict", string(rune('a'+i)))
	}
	p.claim(key, mine, claimed) // in flight: never evicted
	for i, k := range keys {
		p.done(k, 200, window)
		p.claim(keys[0], his, map[bool]dedupe.State{true: claimed, false: isDone(200)}[i == 3])
	}
	for _, k := range keys[1:] {
		p.claim(k, his, isDone(200)) // the earlier lookup did not keep keys[0]
	}
	p.claim(key, his, inFlight)
	m, ok := s.Store.(interface{ Stats() dedupe.MemoryStats })
	if !ok {
		t.Fatalf("a bounded store has Stats")
	}
	if n := m.Stats().EvictedEarly; n != 1 {
		t.Fatalf("evicted early: got %d, want 1", n)
	}

	p.Advance(window + time.Second)
	for i := range 3 {
		p.done(dedupe.NewKey("later", string(rune('a'+i))), 200, window)
	}
	if n := m.Stats().EvictedEarly; n != 1 {
		t.Fatalf("evicted early: got %d, want still 1, since the windows had ended", n)
	}
}

func testExpiredFirst(t *testing.T, open Factory) {
	s := open(t, 4)
	if !s.Bounded {
		t.Skip("the store has no bound of its own")
	}
	p := &probe{t: t, Subject: s}
	p.fill("large", 3, window)
	p.fill("small", 1, time.Minute)
	p.Advance(2 * time.Minute)
	p.fill("new", 1, window)
	p.remembers("large", 3, 3)
	p.remembers("new", 1, 1)
}

// One sender sends more than the store can hold, with a restart at the end if the
// store is persistent: the space must be shared in the same way.
func testFlood(t *testing.T, open Factory) {
	s := open(t, 10)
	if !s.Bounded {
		t.Skip("the store has no bound of its own")
	}
	p := &probe{t: t, Subject: s}
	p.fill("quiet", 4, window)
	p.fill("flood", 100, window)
	check := func() {
		p.t.Helper()
		p.remembers("quiet", 4, 4)
		p.remembers("flood", 100, 6)
	}
	check()
	if p.Reopen != nil {
		p.Store = p.Reopen()
		check()
	}
}

func testShares(t *testing.T, open Factory) {
	s := open(t, 12)
	if !s.Bounded {
		t.Skip("the store has no bound of its own")
	}
	p := &probe{t: t, Subject: s}
	p.fill("a", 20, window) // alone, it may use all space
	p.remembers("a", 20, 12)
	p.fill("b", 20, window)
	p.fill("c", 2, window)
	p.remembers("c", 2, 2)
	p.remembers("a", 20, 5)
	p.remembers("b", 20, 5)
}

// One tenant of a handler sends more than the store can hold, with a restart at the end
// if the store is persistent: neither other tenants nor other handlers lose theirs.
func testTenants(t *testing.T, open Factory) {
	s := open(t, 20)
	if !s.Bounded {
		t.Skip("the store has no bound of its own")
	}
	p := &probe{t: t, Subject: s}
	p.fill("other", 6, window)
	for i := range 3 {
		p.fill("shop/quiet"+string(rune('a'+i)), 2, window)
	}
	p.fill("shop/flood", 100, window)
	p.fill("shop/late", 2, window)
	check := func() {
		p.t.Helper()
		p.remembers("other", 6, 6)
		for i := range 3 {
			p.remembers("shop/quiet"+string(rune('a'+i)), 2, 2)
		}
		p.remembers("shop/late", 2, 2)
		p.remembers("shop/flood", 100, 6)
	}
	check()
	if p.Reopen != nil {
		p.Store = p.Reopen()
		check()
	}
}

// Any number of tenants gives a handler no more space than one without any.
func testRoomBeforeTenant(t *testing.T, open Factory) {
	s := open(t, 12)
	if !s.Bounded {
		t.Skip("the store has no bound of its own")
	}
	p := &probe{t: t, Subject: s}
	p.fill("single", 6, window)
	for i := range 20 {
		p.fill("shop/"+string(rune('a'+i)), 1, window)
	}
	p.remembers("single", 6, 6)
	for i := range 20 { // the oldest of equal shares go first
		p.remembers("shop/"+string(rune('a'+i)), 1, min(1, max(0, i-13)))
	}
}

// fill marks n deliveries of a room as done, in order. A slash divides the room from the
// tenant.
func (p *probe) fill(room string, n int, ttl time.Duration) {
	p.t.Helper()
	handler, tenant, _ := strings.Cut(room, "/")
	for i := range n {
		m := dedupe.Mark{Status: 200, TTL: ttl, Room: handler, Share: dedupe.ShareOf(tenant)}
		if err := p.Store.Done(p.t.Context(), roomKey(room, i), m); err != nil {
			p.t.Fatalf("done: %v", err)
		}
		p.Advance(time.Millisecond) // so that a file preserves their order
	}
}

func roomKey(room string, i int) dedupe.Key { return dedupe.NewKey(room, string(rune('0'+i))) }

// remembers checks that of n deliveries of a room exactly the newest are known.
func (p *probe) remembers(room string, n, newest int) {
	p.t.Helper()
	for i := range n {
		tok := dedupe.NewToken()
		st, err := p.Store.Claim(p.t.Context(), roomKey(room, i), tok, lease)
		if want := i >= n-newest; err != nil || (st.Phase == dedupe.Done) != want {
			p.t.Errorf("delivery %d of %d of %s is %v %v, want done: %v", i, n, room, st.Phase, err, want)
		}
		p.release(roomKey(room, i), tok)
	}
}
