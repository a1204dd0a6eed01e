package inbox

import "time"

const (
	downAfter  = 3               // deliveries without an answer, one after the other: the app is down
	probePause = 5 * time.Second // between two probes of an app that is down

	// How many attempts one handler, or one tenant of it, may run for each place that
	// is free: whoever hangs leaves something for the next. See Room.
	handlerTurns = 3
	tenantTurns  = 1
)

// A pace is how the app takes what one queue holds.
type pace struct {
	running int
	limit   int // of attempts at once: one at first, one more with each success
	failing map[Key]struct{}
	down    time.Time // since when; zero: it is not
	probe   time.Time // when the next may be made
	probing bool
}

func (p *pace) isDown() bool { return !p.down.IsZero() }

// idle reports whether p says nothing that a new one would not.
func (p *pace) idle() bool { return p.running == 0 && len(p.failing) == 0 && !p.isDown() }

// heard notes how the app answered a delivery, of an attempt of ours or not, and
// reports whether it went down or came back with that.
func (p *pace) heard(key Key, r Result, concurrency int, now time.Time) (changed bool) {
	switch {
	case r.Taken || r.Unreached:
		return false // the app was not asked
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
