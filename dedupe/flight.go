package dedupe

import (
	"context"
	"time"
)

// A flight is a key that one delivery of this process is in charge of: it asks
// the store, or holds the claim. Other copies of the delivery queue behind it.
// All fields but elsewhere, which is for the one in charge, are guarded by Gate.mu.
type flight struct {
	key       Key
	claim     *Claim    // once the one in charge may forward
	waiters   []*waiter // first come, first served
	looking   bool      // the store has not yet said whether the delivery is done
	elsewhere time.Time // until when another instance has it, as the store last said
}

// A waiter is told once: that it is in charge now, that it must not wait, or that
// the delivery is done.
type waiter struct {
	patient bool      // it may wait for a delivery in flight
	news    chan news // holds one, so that telling never blocks
}

type news struct {
	yourTurn bool
	busy     bool
	status   int
}

// entry is what a delivery gets at the door: a decision, or a flight that it is
// in charge of, or a flight and its place in the queue.
type entry struct {
	decision Decision
	flight   *flight
	waiter   *waiter
}

// enter asks the local layer, which comes before any store.
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

// found ends the looking: the delivery is in flight, here or elsewhere. Until then
// any number of copies may wait, however impatient, since most often the answer is
// that it is done; now those stay that may wait for the app. Gate.mu is held.
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

// await waits for news, for t.Wait or for the store's answer, and as long as the
// sender is there.
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
	case !n.yourTurn:
		return entry{decision: Decision{Outcome: Duplicate, Status: n.status}}
	case ctx.Err() != nil:
		g.pass(f) // nobody would read the answer; the next in the queue has a sender
		return entry{decision: busy(t)}
	}
	return entry{flight: f}
}

// leave takes w out of the queue, or reports that it was told news meanwhile.
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

// pass puts the next in the queue in charge, or ends the flight.
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
	w.news <- news{yourTurn: true}
}

// conclude ends the flight of a delivery that is done, and tells all who wait.
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

// GateStats are figures of a [Gate] for the operator. The counters only grow.
type GateStats struct {
	InFlight     int    // keys in flight in this process
	Waiting      int    // copies that wait for them
	Degraded     bool   // the store is down or unhealthy
	Problem      string // what is wrong with it; "" if nothing
	Unwritten    int    // dones not yet written to the store
	DecidedAlone uint64 // deliveries forwarded without the store's consent
	LostLeases   uint64 // claims that the store gave away or forgot before they were settled
	Restored     uint64 // dones that the store had forgotten, and this process had not
	DroppedDones uint64 // dones dropped because too many were unwritten
	EvictedEarly uint64 // dones forgotten before their window ended, for lack of space
	Entries      int    // dones in the memory of this process
}

// Stats returns the figures.
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
	if m, ok := g.store.(LocalStore); ok {
		ms := m.Stats()
		st.EvictedEarly, st.Entries = ms.EvictedEarly, ms.Entries
	} else if g.local != nil {
		st.Entries = g.local.Stats().Entries
	}
	return st
}
