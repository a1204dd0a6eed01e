package inbox

import "time"

const (
	downAfter  = 3               // consecutive contents without an answer: the app is down
	downAtLast = 12              // consecutive copies of these: so it is, and the sender's deliveries look alike
	probePause = 5 * time.Second // between probes of an app that is down
	slowAfter  = 5 * time.Second // an attempt that lasts longer does not stop the next

	mostFailed = 1024 // causes of no answer that a pace remembers

	// Attempts that one handler, or one of its tenants, may run for each free slot: a
	// handler that hangs leaves some for others. See Room.
	handlerTurns = 3
	tenantTurns  = 1
)

// A pace tracks how the app handles the deliveries of one queue.
type pace struct {
	running int
	slow    int       // of those, the ones that have lasted slowAfter
	limit   int       // of the others: first one, then one more with each success
	row     int       // contents without an answer since the app's last 2xx
	copies  int       // other deliveries with one of these
	down    time.Time // since when; zero: it is up
	probe   time.Time // when the next is allowed
	probing bool

	taken  uint64           // deliveries that the app has accepted
	failed map[cause]uint64 // of no answer, with what taken was
}

// A cause of no answer is a delivery, or a signed content: whoever captured a delivery
// can send it again under other ids, with something unsigned that the app never answers.
type cause struct {
	key     Key
	content uint32
}

func causes(key Key, t Trace) []cause {
	list := []cause{{key: key}}
	if t.Content != 0 {
		list = append(list, cause{content: t.Content})
	}
	return list
}

func (p *pace) isDown() bool { return !p.down.IsZero() }

// idle reports whether p knows nothing of a queue that has no deliveries.
func (p *pace) idle() bool { return p.running == 0 && p.row+p.copies == 0 && !p.isDown() }

// isSuspect reports whether the app did not answer a delivery, or one with its content,
// and has accepted another one since: then the delivery may be the cause. It says nothing
// of the app, spends its attempts, and the app's recovery does not hasten it; otherwise
// three such deliveries would hold up all others for ever.
func (p *pace) isSuspect(key Key, t Trace) bool {
	for _, c := range causes(key, t) {
		if taken, failed := p.failed[c]; failed && p.taken > taken {
			return true
		}
	}
	return false
}

// heard records the app's answer to a delivery, from an attempt or not, and reports
// whether the app went down or came back.
func (p *pace) heard(key Key, t Trace, r Result, concurrency int, now time.Time) (changed bool) {
	switch {
	case r.delivered() && r.asked():
		for _, c := range causes(key, t) {
			delete(p.failed, c)
		}
		p.taken++
		p.row, p.copies = 0, 0
		if p.isDown() {
			p.down, p.limit = time.Time{}, 1
			return true
		}
		p.limit = min(p.limit+1, concurrency)
	case r.unanswered() && !p.isSuspect(key, t):
		_, retried := p.failed[cause{key: key}]
		_, copied := p.failed[cause{content: t.Content}]
		copied = copied && t.Content != 0
		for _, c := range causes(key, t) {
			p.fails(c)
		}
		if p.isDown() {
			return false
		}
		p.limit = max(p.limit/2, 1)
		switch {
		case retried:
		case copied:
			p.copies++
		default:
			p.row++
		}
		if p.row >= downAfter || p.copies >= downAtLast {
			p.row, p.copies = 0, 0
			p.down, p.probe = now, now.Add(probePause)
			return true
		}
	}
	return false
}

// fails remembers a cause, in the place of any other if there are many.
func (p *pace) fails(c cause) {
	if p.failed == nil {
		p.failed = make(map[cause]uint64)
	}
	for other := range p.failed {
		if len(p.failed) < mostFailed {
			break
		}
		delete(p.failed, other)
	}
	p.failed[c] = p.taken
}
