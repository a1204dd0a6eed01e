package dedupe

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Defaults of [MemoryOptions].
const (
	DefaultMaxEntries  = 131072 // about 20 MB; see docs/dedupe.md for a table
	DefaultMaxInFlight = 16384
)

// MemoryOptions configure a [Memory]. The zero value means the defaults.
type MemoryOptions struct {
	// MaxEntries bounds the deliveries remembered as done; beyond it the oldest is
	// forgotten before its time. Default: DefaultMaxEntries.
	MaxEntries int

	// MaxInFlight bounds the deliveries in flight; beyond it Claim returns ErrFull.
	// Default: DefaultMaxInFlight.
	MaxInFlight int

	// Now is the clock. Default: time.Now, whose monotonic reading makes leases and
	// windows immune to changes of the wall clock.
	Now func() time.Time
}

// Memory is the store without a network or a file: it forgets with the process.
//
// Deliveries in flight are kept apart from those done, in a map from which
// nothing is ever evicted. Those done are in golang-lru's simplelru in the order
// in which they were done, and looking one up does not move it: whoever replays
// old deliveries cannot keep them at the cost of new ones. (The expirable cache
// of the same library would not do: it has one lifetime for all, no
// compare-and-set, and a goroutine that never ends.)
//
// All methods may be called at the same time. None fails but Claim, with ErrFull.
type Memory struct {
	now       func() time.Time
	base      time.Time
	shards    []shard
	maxFlight int64
	inFlight  atomic.Int64
	early     atomic.Uint64
}

// One lock serves 1.4 M claims and dones a second; 16 cost nothing and serve 2 M
// on two cores. Small stores get one shard, so that the bound is exact.
const (
	shardCount      = 16
	shardingMinimum = 4096
)

type shard struct {
	mu     sync.Mutex
	flying map[Key]lease
	done   *simplelru.LRU[Key, doneMark]
	size   int
	_      [64]byte // keeps the locks of neighbours out of one cache line
}

type lease struct {
	token Token
	until int64 // milliseconds since base
}

// doneMark packs the end of the window (milliseconds since base) and the status
// into 8 bytes. A struct of the two would take 16, and with them each entry 96
// bytes instead of 80.
type doneMark uint64

const statusBits = 10

func mark(until int64, status int) doneMark {
	return doneMark(uint64(max(until, 0))<<statusBits | uint64(status)&(1<<statusBits-1))
}

func (m doneMark) until() int64 { return int64(m >> statusBits) }
func (m doneMark) status() int  { return int(m & (1<<statusBits - 1)) }

// NewMemory returns an empty store. It has nothing to close.
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
		s.size = (o.MaxEntries + n - 1) / n
		s.flying = make(map[Key]lease)
		s.done, _ = simplelru.NewLRU[Key, doneMark](s.size, nil) // fails only for size ≤ 0
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

	if d, ok := s.done.Peek(key); ok && d.until() > now {
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

// admit counts one more in flight, unless that is too many. Leases that ended
// without a release are looked for only when the bound is reached.
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
		m.land(s, key)
	}
	return nil
}

// Done implements [Store].
func (m *Memory) Done(_ context.Context, key Key, status int, ttl time.Duration) error {
	now := m.millis()
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	m.land(s, key)
	if ttl.Milliseconds() <= 0 {
		s.done.Remove(key)
		return nil
	}
	m.makeRoom(s, key, now)
	s.done.Add(key, mark(now+ttl.Milliseconds(), status))
	return nil
}

func (m *Memory) land(s *shard, key Key) {
	if _, ok := s.flying[key]; ok {
		delete(s.flying, key)
		m.inFlight.Add(-1)
	}
}

// makeRoom drops at most two entries whose window ended, so that the work of
// expiry is spread over the dones and no burst of it ever holds the lock. One is
// added for two that may go: what is expired never piles up. If there is still
// no room, the oldest goes before its time.
//
// Entries are in the order of being done, so where windows differ a long one at
// the end may hide shorter ones before it that have ended. They cost room, not
// correctness.
func (m *Memory) makeRoom(s *shard, key Key, now int64) {
	for range 2 {
		if _, d, ok := s.done.GetOldest(); !ok || d.until() > now {
			break
		}
		s.done.RemoveOldest()
	}
	if s.done.Len() >= s.size && !s.done.Contains(key) {
		s.done.RemoveOldest()
		m.early.Add(1)
	}
}

// Resize changes MaxEntries (0: the default). What no longer fits is forgotten,
// the oldest first.
func (m *Memory) Resize(maxEntries int) {
	if maxEntries <= 0 {
		maxEntries = DefaultMaxEntries
	}
	size := (maxEntries + len(m.shards) - 1) / len(m.shards)
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		if s.size != size {
			s.size = size
			m.early.Add(uint64(s.done.Resize(size)))
		}
		s.mu.Unlock()
	}
}

// Forget implements [Forgetter]. It does not fail but with ErrInFlight.
func (m *Memory) Forget(_ context.Context, key Key) (bool, error) {
	now := m.millis()
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	d, ok := s.done.Peek(key)
	if ok {
		s.done.Remove(key)
		return d.until() > now, nil
	}
	if l, ok := s.flying[key]; ok && l.until > now {
		return false, ErrInFlight
	}
	return false, nil
}

// Lookup returns the status of a delivery that is done.
func (m *Memory) Lookup(key Key) (status int, ok bool) {
	now := m.millis()
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	d, ok := s.done.Peek(key)
	if !ok || d.until() <= now {
		return 0, false
	}
	return d.status(), true
}

// MemoryStats are figures of a [Memory] for the operator.
type MemoryStats struct {
	Entries      int    // deliveries remembered as done, ended windows included
	InFlight     int    // deliveries in flight
	EvictedEarly uint64 // forgotten before their window ended, for want of room
}

// Stats reads the figures.
func (m *Memory) Stats() MemoryStats {
	st := MemoryStats{InFlight: int(m.inFlight.Load()), EvictedEarly: m.early.Load()}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		st.Entries += s.done.Len()
		s.mu.Unlock()
	}
	return st
}

var (
	_ Store     = (*Memory)(nil)
	_ Forgetter = (*Memory)(nil)
)
