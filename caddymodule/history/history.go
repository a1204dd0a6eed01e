// Package history keeps the newest deliveries of each handler in memory, so that an
// operator can see what happened to one: when it arrived, how often, how the app
// responded and how long it took. It keeps identifiers and times, never a body or a
// header's value, except the sender's id and event.
//
// A [Store] gets a [Delivery] when it has ended ([Store.Add]: one short lock). The
// admin API reads a list ([Store.List]) or new deliveries ([Store.After]).
//
// Only verified deliveries are added, so that a flood of forgeries displaces nothing
// genuine; refused requests are in package rejected. Verified deliveries that did not
// go to the app, such as duplicates, have a separate ring for the same reason:
// replaying a captured delivery displaces only others like it.
package history

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
)

// PerHandler is the default number of deliveries kept for a handler.
const PerHandler = 256

// Limits over all handlers. Every ring has an equal share of both.
const (
	maxEntries = 1 << 16
	maxBytes   = 32 << 20
)

const (
	maxText = 512 // bytes of an id or an event
	// entrySize is the memory of an entry besides its text: the struct, its place in
	// a ring, and the count of its attempts.
	entrySize = int64(unsafe.Sizeof(Delivery{})) + 128
)

// A Delivery is one request with a valid signature, and its result. It does not
// change once added.
type Delivery struct {
	Name     string // the handler's
	Provider string // the provider's id, or ""
	Tenant   string // whose key verified it, or "" without tenants
	Time     time.Time
	Outcome  metrics.Outcome
	Reason   string        // of the outcome, "" for a success
	Status   int           // of the app's response; 0: none
	App      time.Duration // how long the app took; 0: not called
	ID       string        // the sender's id of the delivery, or ""
	Event    string        // the sender's event type, or ""
	Key      string        // the label of the key that verified it
	Delivery string        // the delivery's key in hex, "" if nothing identifies it
	// Keys verified the delivery: their secrets remain redacted after a change.
	Keys *keys.Snapshot

	// Seq numbers the deliveries of a store, from 1. Add sets it.
	Seq uint64
	// Attempt numbers the requests of this delivery, from 1, as long as one of them
	// is kept. Add sets it.
	Attempt int
}

// forwarded reports whether the app was called.
func (d *Delivery) forwarded() bool {
	return d.Outcome == metrics.Delivered || d.Outcome == metrics.Failed
}

func (d *Delivery) size() int64 { return entrySize + int64(len(d.Tenant)+len(d.ID)+len(d.Event)) }

// A Query selects deliveries; empty fields match all.
type Query struct {
	Name, Tenant, Event, ID string // exact; ID is the sender's
	Outcome                 metrics.Outcome
}

func (q *Query) selects(d *Delivery) bool {
	return (q.Name == "" || q.Name == d.Name) && (q.Outcome == "" || q.Outcome == d.Outcome) &&
		(q.Tenant == "" || q.Tenant == d.Tenant) && (q.Event == "" || q.Event == d.Event) && (q.ID == "" || q.ID == d.ID)
}

// A Store holds the newest deliveries: a number for each handler name, separately for
// those that went to the app and the others, and in total at most 65 536 and 32 MiB.
// The zero Store is ready to use and safe for concurrent use.
type Store struct {
	mu       sync.Mutex
	seq      uint64
	rings    map[ringID]*ring
	attempts map[string]attempts // by the delivery's key
	changed  chan struct{}       // nil without a waiter
}

type ringID struct {
	name      string
	forwarded bool
}

// attempts counts the requests of one delivery.
type attempts struct{ made, kept int }

// Add adds a delivery, replacing the oldest beyond most of its handler's name. It
// copies id and event, cut to 512 bytes. With a most of 0 it keeps nothing.
func (s *Store) Add(d Delivery, most int) {
	if most == 0 {
		return
	}
	d.ownText()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	d.Seq, d.Attempt = s.seq, 1
	if d.Delivery != "" {
		if s.attempts == nil {
			s.attempts = make(map[string]attempts)
		}
		a := s.attempts[d.Delivery]
		a.made++
		a.kept++
		s.attempts[d.Delivery] = a
		d.Attempt = a.made
	}
	r := s.ring(ringID{d.Name, d.forwarded()})
	r.push(&d)
	s.trim(r, most)
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// ownText copies the texts of a request, which could otherwise keep its entire body
// in memory.
func (d *Delivery) ownText() {
	tenant, id, event := d.Tenant, clip(d.ID), clip(d.Event)
	all := strings.Join([]string{tenant, id, event}, "")
	d.Tenant, all = all[:len(tenant)], all[len(tenant):]
	d.ID, d.Event = all[:len(id)], all[len(id):]
}

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// ring returns the ring of an id, creating it if necessary, which shrinks the shares
// of others.
func (s *Store) ring(id ringID) *ring {
	r := s.rings[id]
	if r != nil {
		return r
	}
	if s.rings == nil {
		s.rings = make(map[ringID]*ring)
	}
	r = new(ring)
	s.rings[id] = r
	for _, other := range s.rings {
		s.trim(other, other.n)
	}
	return r
}

// trim drops the oldest entries of a ring beyond most and its share.
func (s *Store) trim(r *ring, most int) {
	n := len(s.rings)
	most = min(most, maxEntries/n)
	for r.n > most || r.bytes > maxBytes/int64(n) && r.n > 0 {
		d := r.pop()
		a := s.attempts[d.Delivery]
		if a.kept--; a.kept > 0 {
			s.attempts[d.Delivery] = a
		} else {
			delete(s.attempts, d.Delivery)
		}
	}
}

// Restrict applies a new configuration: it drops deliveries of unknown handler names,
// and all but the newest most of each ring.
func (s *Store) Restrict(names map[string]bool, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.rings {
		if names[id.name] {
			s.trim(r, most)
		} else {
			s.trim(r, 0)
			delete(s.rings, id)
		}
	}
}

// List returns the newest deliveries that match a query, newest first: at most limit,
// or all if limit is negative.
func (s *Store) List(q Query, limit int) []*Delivery {
	news := s.After(0, q)
	slices.Reverse(news.Deliveries)
	if limit >= 0 && len(news.Deliveries) > limit {
		return news.Deliveries[:limit]
	}
	return news.Deliveries
}

// News are the deliveries after a given one.
type News struct {
	Deliveries []*Delivery // in the order they ended
	Last       uint64      // the Seq of the newest delivery, matching or not
	// Missed reports that some after the given one were already dropped.
	Missed bool
	// More is closed when there is a new delivery.
	More <-chan struct{}
}

// After returns the deliveries with a Seq above seq that match a query.
func (s *Store) After(seq uint64, q Query) News {
	s.mu.Lock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	n := News{Last: s.seq, More: s.changed}
	for id, r := range s.rings {
		if q.Name == "" || q.Name == id.name {
			n.Deliveries = r.after(seq, n.Deliveries)
			n.Missed = n.Missed || r.dropped > seq
		}
	}
	s.mu.Unlock()
	n.Deliveries = slices.DeleteFunc(n.Deliveries, func(d *Delivery) bool { return !q.selects(d) })
	slices.SortFunc(n.Deliveries, func(a, b *Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	return n
}

// Totals returns the number of deliveries and their approximate size in bytes.
func (s *Store) Totals() (n int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rings {
		n += r.n
		bytes += r.bytes
	}
	return n, bytes
}

// A ring holds deliveries in order of their Seq.
type ring struct {
	all     []*Delivery
	oldest  int // its index
	n       int
	bytes   int64
	dropped uint64 // the Seq of the newest one dropped
}

func (r *ring) push(d *Delivery) {
	if r.n == len(r.all) {
		grown := r.after(0, make([]*Delivery, 0, max(8, 2*r.n)))
		r.all, r.oldest = grown[:cap(grown)], 0
	}
	r.all[(r.oldest+r.n)%len(r.all)] = d
	r.n++
	r.bytes += d.size()
}

func (r *ring) pop() *Delivery {
	d := r.all[r.oldest]
	r.all[r.oldest] = nil
	r.oldest = (r.oldest + 1) % len(r.all)
	r.n--
	r.bytes -= d.size()
	r.dropped = d.Seq
	return d
}

// after appends those with a Seq above seq to list.
func (r *ring) after(seq uint64, list []*Delivery) []*Delivery {
	first := r.n
	for first > 0 && r.all[(r.oldest+first-1)%len(r.all)].Seq > seq {
		first--
	}
	for i := first; i < r.n; i++ {
		list = append(list, r.all[(r.oldest+i)%len(r.all)])
	}
	return list
}
