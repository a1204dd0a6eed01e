package dedupe

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [MemoryOptions].
const (
	DefaultMaxEntries  = 131072 // about 6 MB; see docs/dedupe.md for a table
	DefaultMaxInFlight = 16384
)

// MemoryOptions configure a [Memory]. The zero value means the defaults.
type MemoryOptions struct {
	// MaxEntries limits the deliveries remembered as done; beyond it the oldest of
	// the largest share of the largest room is forgotten early. Default: DefaultMaxEntries.
	MaxEntries int

	// MaxInFlight limits the deliveries in flight; beyond it Claim returns ErrFull.
	// Default: DefaultMaxInFlight.
	MaxInFlight int

	// Now is the clock. Default: time.Now, whose monotonic reading makes leases and
	// windows immune to changes of the wall clock.
	Now func() time.Time
}

// Memory is the store without a network or a file: its content is lost with the
// process.
//
// Deliveries in flight are in a separate map, from which nothing is evicted.
//
// All methods may be called concurrently. Only Claim can fail, with ErrFull.
type Memory struct {
	now       func() time.Time
	base      time.Time
	shards    []shard
	maxFlight int64
	inFlight  atomic.Int64
	early     atomic.Uint64
}

// One lock serves 1.4 M claims and dones a second; 16 cost nothing and serve 2 M on
// two cores. Small stores get one shard, so that the limit is exact.
const (
	shardCount      = 16
	shardingMinimum = 4096
)

type shard struct {
	mu     sync.Mutex
	flying map[Key]lease
	done   *dones
	_      [64]byte // keeps neighbouring locks in different cache lines
}

type lease struct {
	token Token
	until int64 // milliseconds since base
}

// doneMark packs the end of the window (milliseconds since base, 8900 years) and the
// status into 8 bytes.
type doneMark uint64

const statusBits = 16

func mark(until int64, status int) doneMark {
	return doneMark(uint64(max(until, 0))<<statusBits | uint64(status)&(1<<statusBits-1))
}

func (m doneMark) until() int64 { return int64(m >> statusBits) }
func (m doneMark) status() int  { return int(m & (1<<statusBits - 1)) }

func (m doneMark) unpack(now int64, room string, share Share) Mark {
	return Mark{Status: m.status(), TTL: time.Duration(m.until()-now) * time.Millisecond, Room: room, Share: share}
}

// NewMemory returns an empty store, which needs no Close.
func NewMemory(o MemoryOptions) *Memory {
	if o.MaxEntries <= 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = DefaultMaxInFlight
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n := shardCount
	if o.MaxEntries < shardingMinimum {
		n = 1
	}
	m := &Memory{now: o.Now, base: o.Now(), shards: make([]shard, n), maxFlight: int64(o.MaxInFlight)}
	for i := range m.shards {
		s := &m.shards[i]
		s.flying = make(map[Key]lease)
		s.done = newDones((o.MaxEntries + n - 1) / n)
	}
	return m
}

func (m *Memory) millis() int64 { return m.now().Sub(m.base).Milliseconds() }

func (m *Memory) shard(key Key) *shard {
	if len(m.shards) == 1 {
		return &m.shards[0]
	}
	return &m.shards[binary.LittleEndian.Uint32(key[:])%shardCount]
}

// Claim implements [Store].
func (m *Memory) Claim(_ context.Context, key Key, token Token, term time.Duration) (State, error) {
	now := m.millis()
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	if d, ok := s.done.get(key); ok && d.until() > now {
		return State{Phase: Done, Status: d.status()}, nil
	}
	l, ok := s.flying[key]
	if ok && l.until > now && l.token != token {
		return State{Phase: InFlight}, nil
	}
	if !ok && !m.admit(s, now) {
		return State{}, ErrFull
	}
	s.flying[key] = lease{token, now + term.Milliseconds()}
	return State{Phase: Claimed}, nil
}

// admit counts one more delivery in flight, unless there are too many. It looks for
// expired leases only at the limit.
func (m *Memory) admit(s *shard, now int64) bool {
	if m.inFlight.Add(1) <= m.maxFlight {
		return true
	}
	for k, l := range s.flying {
		if l.until <= now {
			delete(s.flying, k)
			m.inFlight.Add(-1)
		}
	}
	if m.inFlight.Load() <= m.maxFlight {
		return true
	}
	m.inFlight.Add(-1)
	return false
}

// Renew implements [Store].
func (m *Memory) Renew(_ context.Context, key Key, token Token, term time.Duration) (bool, error) {
	now := m.millis()
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	l, ok := s.flying[key]
	if !ok || l.token != token || l.until <= now {
		return false, nil
	}
	s.flying[key] = lease{token, now + term.Milliseconds()}
	return true, nil
}

// Release implements [Store].
func (m *Memory) Release(_ context.Context, key Key, token Token) error {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	if l, ok := s.flying[key]; ok && l.token == token {
		m.endFlight(s, key)
	}
	return nil
}

// Done implements [Store].
func (m *Memory) Done(_ context.Context, key Key, d Mark) error {
	now := m.millis()
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	m.endFlight(s, key)
	if d.TTL.Milliseconds() <= 0 {
		if i := s.done.find(key); i != none {
			s.done.remove(i)
		}
		return nil
	}
	if s.done.put(key, mark(now+d.TTL.Milliseconds(), d.Status), d.Room, d.Share, now) {
		m.early.Add(1)
	}
	return nil
}

func (m *Memory) endFlight(s *shard, key Key) {
	if _, ok := s.flying[key]; ok {
		delete(s.flying, key)
		m.inFlight.Add(-1)
	}
}

// Resize changes MaxEntries (0: the default). Excess deliveries are forgotten, the
// oldest of the largest share of the largest room first.
func (m *Memory) Resize(maxEntries int) {
	if maxEntries <= 0 {
		maxEntries = DefaultMaxEntries
	}
	size := (maxEntries + len(m.shards) - 1) / len(m.shards)
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		if s.done.size != size {
			var evicted int
			s.done, evicted = s.done.resized(size)
			m.early.Add(uint64(evicted))
		}
		s.mu.Unlock()
	}
}

// Forget implements [Forgetter]. Its only error is ErrInFlight.
func (m *Memory) Forget(_ context.Context, key Key) (bool, error) {
	now := m.millis()
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	if i := s.done.find(key); i != none {
		live := s.done.slab[i].mark.until() > now
		s.done.remove(i)
		return live, nil
	}
	if l, ok := s.flying[key]; ok && l.until > now {
		return false, ErrInFlight
	}
	return false, nil
}

// ForgetStatus implements [Forgetter]. It does not fail.
func (m *Memory) ForgetStatus(_ context.Context, status int) ([]Key, error) {
	var gone []Key
	for i := range m.shards {
		gone = append(gone, m.shards[i].forgetStatus(status, m.millis())...)
	}
	return gone, nil
}

func (s *shard) forgetStatus(status int, now int64) (gone []Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done.each(func(e slot, _ string, _ Share) {
		if e.mark.status() == status && e.mark.until() > now {
			gone = append(gone, e.key)
		}
	})
	for _, key := range gone {
		s.done.remove(s.done.find(key))
	}
	return gone
}

// Lookup returns the mark of a done delivery with the remainder of its window.
func (m *Memory) Lookup(key Key) (Mark, bool) {
	now := m.millis()
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	i := s.done.find(key)
	if i == none || s.done.slab[i].mark.until() <= now {
		return Mark{}, false
	}
	e := s.done.slab[i]
	q := s.done.queues[e.queue]
	return e.mark.unpack(now, s.done.rooms[q.room].name, q.share), true
}

// Recall adds a done delivery as older than all others, for a store that reads a file
// from its newest entry to its oldest. It ignores deliveries that are known or would
// be evicted next.
func (m *Memory) Recall(key Key, d Mark) {
	if d.TTL.Milliseconds() <= 0 {
		return
	}
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done.recall(key, mark(m.millis()+d.TTL.Milliseconds(), d.Status), d.Room, d.Share) {
		m.early.Add(1)
	}
}

// Each visits all done deliveries, within a shard and a room's share the oldest first.
func (m *Memory) Each(visit func(Key, Mark)) {
	now := m.millis()
	type item struct {
		key Key
		m   Mark
	}
	var items []item
	for i := range m.shards {
		s := &m.shards[i]
		items = items[:0]
		s.mu.Lock()
		s.done.each(func(e slot, room string, share Share) {
			if e.mark.until() > now {
				items = append(items, item{e.key, e.mark.unpack(now, room, share)})
			}
		})
		s.mu.Unlock()
		for _, x := range items {
			visit(x.key, x.m)
		}
	}
}

// Health implements [Store]. It always returns nil.
func (m *Memory) Health() error { return nil }

// MemoryStats are figures about a [Memory] for the operator.
type MemoryStats struct {
	Entries      int    // deliveries remembered as done, including expired ones
	InFlight     int    // deliveries in flight
	EvictedEarly uint64 // forgotten before their window ended, for lack of space
}

// Stats returns figures about the memory.
func (m *Memory) Stats() MemoryStats {
	st := MemoryStats{InFlight: int(m.inFlight.Load()), EvictedEarly: m.early.Load()}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		st.Entries += s.done.n
		s.mu.Unlock()
	}
	return st
}

var (
	_ LocalStore = (*Memory)(nil)
	_ Forgetter  = (*Memory)(nil)
)
