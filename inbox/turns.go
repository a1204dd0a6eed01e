package inbox

import (
	"slices"
	"time"
)

// turns are the queues that may have something due, in order, and what is known about
// the others.
type turns struct {
	list    []Queue
	has     map[Queue]bool
	fresh   bool      // the engine was queried and has not signalled a change since
	asked   time.Time // when
	nothing time.Time // until then nothing else is due
}

func (t *turns) add(q Queue) {
	if !t.has[q] {
		t.has[q] = true
		t.list = append(t.list, q)
	}
}

func (t *turns) next() Queue {
	q := t.list[0]
	t.list = t.list[1:]
	delete(t.has, q)
	return q
}

// by records that something is due at a time.
func (t *turns) by(at time.Time) {
	if at.Before(t.nothing) {
		t.nothing = at
	}
}

const (
	// Querying the engine takes time for each queue. Whoever makes one due in between
	// also adds it, so this only limits how soon turns are fair to it.
	askPause = 20 * time.Millisecond

	lookPause = time.Minute // the clock may have been set

	unavailablePause = time.Second // an engine that opens signals it; one that recovers may not

	expireStep = 64 // entries that expire before other queues get a turn

	sharedPatience = time.Minute // with other processes
	mostWarned     = 10          // handlers that a configuration warns of
)

// look makes the box query the engine again.
func (b *Box) look() {
	b.mu.Lock()
	b.turns.fresh = false
	b.mu.Unlock()
	signal(b.wake)
}

// run starts attempts until Close.
func (b *Box) run() {
	defer close(b.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-b.engine.Changed():
			b.mu.Lock()
			b.turns.fresh = false
			b.mu.Unlock()
		case <-b.wake:
		case <-timer.C:
		}
		if !b.isConfigured() {
			continue // Configure wakes it
		}
		if b.ask() {
			b.begin()
		}
		timer.Reset(max(b.nextTime().Sub(b.o.Now()), 0))
	}
}

func (b *Box) isConfigured() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.configured
}

// nextTime is when to look again if nothing happens before.
func (b *Box) nextTime() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := &b.turns
	if !t.fresh || !t.nothing.After(t.asked.Add(askPause)) {
		return t.asked.Add(askPause)
	}
	return t.nothing
}

// ask queries the engine for queues with something due, if that may have changed. It
// reports whether the last query succeeded.
func (b *Box) ask() bool {
	now := b.o.Now()
	b.mu.Lock()
	t := &b.turns
	soon := now.Before(t.asked.Add(askPause)) && !now.Before(t.asked)
	known := t.fresh && now.Before(t.nothing) && !now.Before(t.asked) // the clock may have been set back
	changed := b.changed
	b.changed = nil
	if !known && !soon {
		// Before the query: deliveries settled meanwhile add to it.
		t.asked, t.fresh, t.nothing = now, true, now.Add(lookPause)
	}
	b.mu.Unlock()
	for _, q := range changed {
		_ = b.engine.Hasten(b.ctx, q, HoldApp) // opening the engine does it too
	}
	if known || soon {
		return true
	}
	all, err := b.engine.Queues(b.ctx)
	shared := b.engine.Status().Shared
	b.mu.Lock()
	if err != nil || b.closed {
		t.by(now.Add(unavailablePause))
		b.mu.Unlock()
		return false
	}
	expired, probes := b.sort(all, shared, now)
	b.mu.Unlock()
	for _, q := range expired {
		b.expire(q)
	}
	for _, q := range probes {
		b.probe(q)
	}
	return true
}

// sort gives turns to the queues with something due, and returns those with something
// to expire and those whose app is to be probed, the longest due first. mu is held.
func (b *Box) sort(all []QueueStats, shared bool, now time.Time) (expired, probes []Queue) {
	t := &b.turns
	holds := make(map[Queue]bool, len(all))
	for _, q := range all {
		holds[q.Queue] = true
		if q.Pending == 0 {
			continue
		}
		foreign := !b.has(q.Handler)
		if foreign {
			b.warn(q, shared, now)
		}
		if end := q.Oldest.Add(b.policy(q.Handler).Expire); end.After(now) {
			t.by(end)
		} else if !foreign || !shared {
			expired = append(expired, q.Queue)
		}
		p := b.paces[q.Queue]
		switch {
		case foreign:
		case b.paused[q.Handler] || p != nil && p.isDown() && p.probing:
		case p != nil && p.isDown() && p.probe.After(now):
			t.by(p.probe)
		case p != nil && p.isDown():
			probes = append(probes, q.Queue)
		case q.Due.IsZero():
		case q.Due.After(now):
			t.by(q.Due)
		default:
			t.add(q.Queue)
		}
	}
	for q, p := range b.paces {
		if !holds[q] && p.idle() {
			delete(b.paces, q)
		}
	}
	slices.SortStableFunc(probes, func(x, y Queue) int { return b.paces[x].probe.Compare(b.paces[y].probe) })
	return expired, probes
}

// has reports whether the configuration has a handler. mu is held.
func (b *Box) has(handler string) bool {
	_, yes := b.policies[handler]
	return yes
}

// warn says once a configuration that deliveries wait for a handler that it does not
// have. Other processes that share the engine get time to deliver them. mu is held.
func (b *Box) warn(q QueueStats, shared bool, now time.Time) {
	if b.warned[q.Handler] || len(b.warned) >= mostWarned || shared && now.Sub(q.Oldest) < sharedPatience {
		return
	}
	b.warned[q.Handler] = true
	text := "stored deliveries wait: the configuration has no handler of their name"
	if shared {
		text += ", and no other instance has delivered them"
	}
	b.log.Warn(text, "handler", q.Handler, "tenant", q.Tenant, "deliveries", q.Pending, "oldest", q.Oldest)
}

// probe probes an app that is down. Attempts do not keep it from that: nothing else ends
// an outage for deliveries that wait. Nor do probes of other handlers, one of each may
// always run; beyond that, all probes together are half as many as attempts may be.
func (b *Box) probe(q Queue) {
	b.mu.Lock()
	p, now := b.pace(q), b.o.Now()
	if b.probes[q.Handler] > 0 && b.probes.total() >= b.most/2 {
		b.turns.by(now.Add(time.Second))
		b.mu.Unlock()
		return
	}
	p.probing, p.probe = true, now.Add(probePause)
	b.mu.Unlock()
	if !b.take(q, Probe, b.probes) && !b.take(q, NextDue, b.probes) {
		b.mu.Lock()
		p.probing = false
		b.turns.by(p.probe)
		b.mu.Unlock()
	}
}

// begin starts as many attempts as may run now, one per turn. Where they end as fast as
// they begin it pauses, for the engine to be queried: what has become due in other queues,
// or is due now that an app answers again, gets its turns.
func (b *Box) begin() {
	for begun, held := 0, 0; ; {
		b.mu.Lock()
		t := &b.turns
		if b.closed || b.attempts.total() >= b.most || held >= len(t.list) {
			b.mu.Unlock()
			return
		}
		if begun >= b.most {
			b.mu.Unlock()
			signal(b.wake)
			return
		}
		q := t.next()
		p := b.paces[q]
		if !b.has(q.Handler) || b.paused[q.Handler] || p != nil && p.isDown() {
			t.fresh = false // it may expire or be probed
			b.mu.Unlock()
			continue
		}
		if !b.mayRun(q) {
			t.add(q)
			held++
			b.mu.Unlock()
			continue
		}
		b.mu.Unlock()
		took := b.take(q, NextDue, b.attempts)
		b.mu.Lock()
		if took {
			t.add(q)
			begun, held = begun+1, 0
		} else {
			t.fresh = false // its next due time is unknown
		}
		b.mu.Unlock()
	}
}

// mayRun reports whether q may run another attempt. mu is held.
func (b *Box) mayRun(q Queue) bool {
	free := b.most - b.attempts.total()
	running, slow, limit := 0, 0, 1
	if p := b.paces[q]; p != nil {
		running, slow, limit = p.running, p.slow, p.limit
	}
	return running-slow < limit && b.attempts[q.Handler] < handlerTurns*free &&
		(q.Tenant == "" || running < tenantTurns*free)
}

// expire makes deliveries dead that are past their lifetime and not in attempt.
func (b *Box) expire(q Queue) {
	b.mu.Lock()
	life := b.policy(q.Handler).Expire
	b.mu.Unlock()
	for range expireStep {
		a, err := b.engine.Take(b.ctx, q, Oldest)
		if err != nil || a == nil {
			return
		}
		s := Settlement{To: Dead, Unspent: true, Hold: a.Entry.blame()}
		if expired := !a.Entry.Since.Add(life).After(b.o.Now()); !expired {
			b.engine.Settle(a, Settlement{To: Pending, Unspent: true, Hold: a.Entry.Hold, After: time.Second})
			b.look()
			return
		}
		b.engine.Settle(a, s)
		b.o.Settled(a, Result{Status: a.Entry.Status, Refused: s.Hold == HoldRefused}, s)
	}
	b.look()
}

// pace returns the pace of q, creating it if necessary. mu is held.
func (b *Box) pace(q Queue) *pace {
	p := b.paces[q]
	if p == nil {
		p = &pace{limit: 1}
		b.paces[q] = p
	}
	return p
}

func (b *Box) policy(handler string) Policy { return b.policies[handler].withDefaults() }

// heard records the app's answer. mu is held.
func (b *Box) heard(q Queue, key Key, t Trace, r Result) {
	p := b.pace(q)
	if !p.heard(key, t, r, b.most, b.o.Now()) {
		return
	}
	if p.isDown() {
		b.log.Warn("the app does not answer: deliveries wait in the inbox", "handler", q.Handler, "tenant", q.Tenant)
	} else {
		b.log.Info("the app answers again: deliveries are sent", "handler", q.Handler, "tenant", q.Tenant)
	}
	b.turns.fresh = false
	b.changed = append(b.changed, q)
	signal(b.wake)
}

// hasten makes everything held for a reason due, in all queues.
func (b *Box) hasten(h Hold) {
	all, _ := b.engine.Queues(b.ctx) // opening the engine does it too
	for _, q := range all {
		_ = b.engine.Hasten(b.ctx, q.Queue, h)
	}
}
