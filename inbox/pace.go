package inbox

import "time"

const (
	downAfter  = 3               // consecutive deliveries without an answer: the app is down
	probePause = 5 * time.Second // between probes of an app that is down
	slowAfter  = 5 * time.Second // an attempt that lasts longer does not stop the next

	// Attempts that one handler, or one of its tenants, may run for each free slot: a
	// handler that hangs leaves some for others. See Room.
	handlerTurns = 3
	tenantTurns  = 1
)

// A pace tracks how the app handles the deliveries of one queue.
type pace struct {
	running int
	slow    int // of those, the ones that have lasted slowAfter
	limit   int // of the others: first one, then one more with each success
	failing map[Key]struct{}
	down    time.Time // since when; zero: it is up
	probe   time.Time // when the next is allowed
	probing bool
}

func (p *pace) isDown() bool { return !p.down.IsZero() }

// idle reports whether p is the same as a new one.
func (p *pace) idle() bool { return p.running == 0 && len(p.failing) == 0 && !p.isDown() }

// heard records the app's answer to a delivery, from an attempt or not, and reports
// whether the app went down or came back.
func (p *pace) heard(key Key, r Result, concurrency int, now time.Time) (changed bool) {
	switch {
	case !r.asked():
		return false
	case r.delivered():
		clear(p.failing)
		if p.isDown() {
			p.down, p.limit = time.Time{}, 1
			return true
		}
		p.limit = min(p.limit+1, concurrency)
	case r.unanswered() && !p.isDown():
		p.limit = max(p.limit/2, 1)
		if p.failing == nil {
			p.failing = make(map[Key]struct{})
		}
		p.failing[key] = struct{}{}
		if len(p.failing) >= downAfter {
			clear(p.failing)
			p.down, p.probe = now, now.Add(probePause)
			return true
		}
	}
	return false
}
