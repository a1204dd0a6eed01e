package dedupe

import (
	"context"
	"slices"
	"time"
)

// A flight is a key that one delivery of this process, the leader, is deciding or
// forwarding. Other copies queue behind it. All fields are guarded by Gate.mu, except
// elsewhere, which only the leader uses.
type flight struct {
	key         Key
	from        From      // who sent the leader's copy
	claim       *Claim    // set when the leader may forward
	waiters     []*waiter // in order of arrival
	looking     bool      // the store has not yet said whether the delivery is done
	remoteUntil time.Time // until when another instance owns it, according to the store
}

// A waiter gets one message: it is the new leader, it must not wait, or the delivery
// is done.
type waiter struct {
	from    From
	patient bool      // it may wait for the app
	news    chan news // buffered, so that sending never blocks
}

type news struct {
	leads  bool
	busy   bool
	status int
}

// entry is the local result for a delivery: a decision, a flight to lead, or a flight
// to wait for.
type entry struct {
	decision Decision
	flight   *flight
	waiter   *waiter
}

// enter consults local state, before any store.
func (g *Gate) enter(key Key, t Terms) entry {
	g.mu.Lock()
	defer g.mu.Unlock()

	if d := g.unwritten[key]; d != nil && time.Now().Before(d.until) {
		return entry{decision: Decision{Outcome: Duplicate, Status: d.mark.Status}}
	}
	f := g.flights[key]
	switch {
	case f == nil && len(g.flights) >= g.maxFlight:
		return entry{decision: Decision{Outcome: Overloaded, RetryAfter: time.Second}}
	case f == nil:
		f = &flight{key: key, from: t.From, looking: true}
		g.flights[key] = f
		return entry{flight: f}
	case !f.looking && t.Wait <= 0:
		return entry{decision: busy(t)}
	}
	w := &waiter{from: t.From, patient: t.Wait > 0, news: make(chan news, 1)}
	g.waiting++
	if f.looking {
		f.waiters = append(f.waiters, w)
	} else {
		g.seat(f, w)
	}
	return entry{flight: f, waiter: w}
}

// seat lets w wait for the app, in one of a few places, or sends it or another copy away.
// Whoever captured a delivery that the app has not accepted can send it again and again
// with something unsigned that the app refuses. So that their copies do not keep the
// sender's own away, the client with the most places gives one up to a client with at
// least two fewer, and so do equal requests of one client to another of its requests.
// Gate.mu is held.
func (g *Gate) seat(f *flight, w *waiter) {
	if len(f.waiters) < maxWaiters {
		f.waiters = append(f.waiters, w)
		return
	}
	clients, equal := f.count(w.from)
	most, at := 0, -1
	for i, x := range f.waiters {
		c, e := f.count(x.from)
		fewer := c >= clients+2 || x.from.Client == w.from.Client && e >= equal+2
		if weight := c*maxWaiters + e; fewer && weight >= most {
			most, at = weight, i // of equals the newest
		}
	}
	out := w
	if at >= 0 {
		out = f.waiters[at]
		f.waiters = append(slices.Delete(f.waiters, at, at+1), w)
	}
	g.waiting--
	out.news <- news{busy: true}
}

// count returns how many copies of a client wait, and how many of those are equal.
func (f *flight) count(from From) (clients, equal int) {
	for _, x := range f.waiters {
		if x.from.Client == from.Client {
			clients++
			if x.from == from {
				equal++
			}
		}
	}
	return clients, equal
}

// next returns the place of the copy that goes to the app after the leader's, which it
// has not accepted: the first of another client, or else of another request.
func (f *flight) next() int {
	other := 0
	for i, w := range f.waiters {
		switch {
		case w.from.Client != f.from.Client:
			return i
		case w.from != f.from && f.waiters[other].from == f.from:
			other = i
		}
	}
	return other
}

// found ends looking: the delivery is in flight, here or elsewhere. Until then any
// number of copies may wait, since most often the answer is that it is done; now only
// those that may wait for the app remain. Gate.mu is held.
func (g *Gate) found(f *flight) {
	if !f.looking {
		return
	}
	f.looking = false
	all := f.waiters
	f.waiters = nil
	for _, w := range all {
		if w.patient {
			g.seat(f, w)
			continue
		}
		g.waiting--
		w.news <- news{busy: true}
	}
}

// await waits for a message, until t.Wait or the time for the store's answer has
// passed, or the client disconnects.
func (g *Gate) await(ctx context.Context, f *flight, w *waiter, t Terms) entry {
	timer := time.NewTimer(max(t.Wait, renewBudget))
	defer timer.Stop()
	var n news
	select {
	case n = <-w.news:
	case <-timer.C:
		if g.leave(f, w) {
			return entry{decision: busy(t)}
		}
		n = <-w.news
	case <-ctx.Done():
		if g.leave(f, w) {
			return entry{decision: busy(t)}
		}
		n = <-w.news
	}
	switch {
	case n.busy:
		return entry{decision: busy(t)}
	case !n.leads:
		return entry{decision: Decision{Outcome: Duplicate, Status: n.status}}
	case ctx.Err() != nil:
		g.pass(f) // the client is gone; the next in the queue takes over
		return entry{decision: busy(t)}
	}
	return entry{flight: f}
}

// leave removes w from the queue, or reports that it already has a message.
func (g *Gate) leave(f *flight, w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, x := range f.waiters {
		if x == w {
			f.waiters = append(f.waiters[:i], f.waiters[i+1:]...)
			g.waiting--
			return true
		}
	}
	return false
}

// pass makes another copy in the queue the leader, or ends the flight.
func (g *Gate) pass(f *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f.claim = nil
	if len(f.waiters) == 0 {
		delete(g.flights, f.key)
		return
	}
	at := f.next()
	w := f.waiters[at]
	f.waiters = slices.Delete(f.waiters, at, at+1)
	f.from = w.from
	g.waiting--
	w.news <- news{leads: true}
}

// conclude ends the flight of a done delivery and tells all waiters.
func (g *Gate) conclude(f *flight, status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.concludeLocked(f, status)
}

func (g *Gate) concludeLocked(f *flight, status int) {
	delete(g.flights, f.key)
	for _, w := range f.waiters {
		w.news <- news{status: status}
	}
	g.waiting -= len(f.waiters)
	f.waiters = nil
}

// GateStats are figures about a [Gate] for the operator. Counters only grow.
type GateStats struct {
	InFlight     int    // keys in flight in this process
	Waiting      int    // copies waiting for them
	Shared       bool   // the store is not in this process: other instances may use it
	Degraded     bool   // the store is down or unhealthy
	Problem      string // what is wrong with the store; "" if nothing
	Unwritten    int    // dones not yet written to the store
	DecidedAlone uint64 // deliveries forwarded without the store's answer
	LostLeases   uint64 // claims that the store gave away or forgot before they were settled
	Restored     uint64 // dones restored from local memory after the store forgot them
	DroppedDones uint64 // dones dropped because of MaxUnwritten
	EvictedEarly uint64 // dones forgotten before their window ended, for lack of space
	Entries      int    // dones in the memory of this process
}

// Stats returns figures about the gate.
func (g *Gate) Stats() GateStats {
	g.mu.Lock()
	st := GateStats{InFlight: len(g.flights), Waiting: g.waiting, Unwritten: len(g.unwritten)}
	g.mu.Unlock()
	if g.breaker.open() {
		st.Problem = "it does not answer: this process decides alone"
		if !g.decidesAlone() {
			st.Problem = "it does not answer: deliveries are refused"
		}
	} else if err := g.store.Health(); err != nil {
		st.Problem = err.Error()
	}
	st.Degraded = st.Problem != ""
	st.DecidedAlone = g.alone.Load()
	st.LostLeases = g.lost.Load()
	st.DroppedDones = g.dropped.Load()
	st.Restored = g.restored.Load()
	m, local := g.store.(LocalStore)
	st.Shared = !local
	if local {
		ms := m.Stats()
		st.EvictedEarly, st.Entries = ms.EvictedEarly, ms.Entries
	} else if g.local != nil {
		st.Entries = g.local.Stats().Entries
	}
	return st
}
