package inbox

import (
	"fmt"
	"time"
)

// A tally counts what runs, by handler.
type tally map[string]int

func (t tally) total() (n int) {
	for _, running := range t {
		n += running
	}
	return n
}

func (t tally) ends(handler string) {
	if t[handler]--; t[handler] == 0 {
		delete(t, handler)
	}
}

// take starts an attempt of q, if there is one to make, and counts it among others.
func (b *Box) take(q Queue, which Which, among tally) bool {
	a, err := b.engine.Take(b.ctx, q, which)
	if a == nil {
		if err != nil {
			b.look()
		}
		return false
	}
	b.mu.Lock()
	p := b.pace(q)
	p.running++
	among[q.Handler]++
	b.running.Add(1)
	rerouted := b.rerouted
	b.mu.Unlock()
	slow := time.AfterFunc(slowAfter, func() { b.slows(p, 1) })
	b.start(func() {
		defer b.running.Done()
		r := b.deliver(a)
		if !slow.Stop() {
			b.slows(p, -1)
		}
		b.finish(a, r, among)
		if r.Unreached {
			b.astray(q, rerouted)
		}
	})
	return true
}

// start runs an attempt in a goroutine that has made others, if one is idle: growing the
// stack of a new one for a server's and a proxy's handlers takes 7 % of an attempt.
func (b *Box) start(attempt func()) {
	select {
	case b.idle <- attempt:
	default:
		go func() {
			for {
				attempt()
				attempt = nil // and its delivery
				select {
				case attempt = <-b.idle:
				case <-b.ended: // none begins from here on
					return
				}
			}
		}()
	}
}

// slows counts an attempt among the slow ones, or no longer. A probe that is one does not
// delay the next, with another delivery.
func (b *Box) slows(p *pace, n int) {
	b.mu.Lock()
	p.slow += n
	p.probing = p.probing && n < 0
	b.mu.Unlock()
	signal(b.wake)
}

// astray makes deliveries of q that did not reach their handler due, if they may reach it
// since an attempt began: see Rerouted.
func (b *Box) astray(q Queue, rerouted int) {
	b.mu.Lock()
	same := b.rerouted == rerouted
	b.mu.Unlock()
	if !same {
		_ = b.engine.Hasten(b.ctx, q, HoldRoute) // opening the engine does it too
		b.look()
	}
}

// deliver calls Deliver. A proxy aborts a broken response with a panic, which would
// otherwise end the process.
func (b *Box) deliver(a *Attempt) (r Result) {
	defer func() {
		if v := recover(); v != nil {
			b.log.Warn("an attempt panicked: it counts as no answer", "handler", a.Entry.Handler, "key", a.Entry.Key.String(), "panic", fmt.Sprint(v))
			r = Result{}
		}
	}()
	return b.o.Deliver(b.ctx, a)
}

// endOfQueue is the pause after a probe that failed. Another process, whose app may be
// up, would have to wait for it: so not where storage is shared.
const endOfQueue = time.Hour

// finish settles an attempt. If take started it, it is counted among others.
func (b *Box) finish(a *Attempt, r Result, among tally) {
	q, now := a.Entry.Queue, b.o.Now()
	b.mu.Lock()
	b.heard(q, a.Entry.Key, a.Entry.Trace, r)
	p := b.pace(q)
	s := b.policy(q.Handler).settlement(a.Entry, r, p.isDown(), p.isSuspect(a.Entry.Key, a.Entry.Trace), now, b.o.Chance())
	if r.asked() && s.Unspent && s.Hold == HoldApp && !b.engine.Status().Shared {
		s.After = endOfQueue // the next probe is another one
	}
	if b.ctx.Err() != nil && among != nil && !r.delivered() {
		s = Settlement{To: Pending, Unspent: true, Hold: a.Entry.blame()} // interrupted
	}
	if s.To != Pending {
		delete(p.failed, cause{key: a.Entry.Key})
	}
	if among != nil {
		p.running--
		p.probing = false
		among.ends(q.Handler)
	}
	b.mu.Unlock()

	b.engine.Settle(a, s)
	b.mu.Lock()
	switch {
	case p.isDown():
		b.turns.by(p.probe)
	case s.To == Pending && s.Hold != HoldRoute:
		b.turns.by(now.Add(s.After))
	}
	b.mu.Unlock()
	signal(b.wake)
	b.o.Settled(a, r, s)
}
