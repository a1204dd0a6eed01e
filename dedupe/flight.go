package dedupe

import (
	"context"
	"time"
)

// A flight is a key that one delivery of this process, the leader, is deciding or
// forwarding. Other copies queue behind it. All fields are guarded by Gate.mu, except
// elsewhere, which only the leader uses.
type flight struct {
	key         Key
	claim       *Claim    // set when the leader may forward
	waiters     []*waiter // in order of arrival
	looking     bool      // the store has not yet said whether the delivery is done
	remoteUntil time.Time // until when another instance owns it, according to the store
}

// A waiter gets one message: it is the new leader, it must not wait, or the delivery
// is done.
type waiter struct {
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
		f = &flight{key: key, looking: true}
		g.flights[key] = f
		return entry{flight: f}
	case !f.looking && (t.Wait <= 0 || len(f.waiters) >= maxWaiters):
		return entry{decision: busy(t)}
	}
	w := &waiter{patient: t.Wait > 0, news: make(chan news, 1)}
	f.waiters = append(f.waiters, w)
	g.waiting++
	return entry{flight: f, waiter: w}
}

// found ends looking: the delivery is in flight, here or elsewhere. Until then any
// number of copies may wait, since most often the answer is that it is done; now only
// those that may wait for the app remain. Gate.mu is held.
func (g *Gate) found(f *flight) {
	if !f.looking {
		return
	}
	f.looking = false
	stay := f.waiters[:0]
	for _, w := range f.waiters {
		if w.patient && len(stay) < maxWaiters {
			stay = append(stay, w)
			continue
		}
		g.waiting--
		w.news <- news{busy: true}
	}
	f.waiters = stay
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

// pass makes the next in the queue the leader, or ends the flight.
func (g *Gate) pass(f *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f.claim = nil
	if len(f.waiters) == 0 {
		delete(g.flights, f.key)
		return
	}
	w := f.waiters[0]
	f.waiters = f.waiters[1:]
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
