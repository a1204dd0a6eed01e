package dedupe_test

import (
	"fmt"
	"time"
)

// After a cut, the gate treats its store as down until its next probe, and writes its
// queue one by one.
const aftermath = 6 * time.Second

// violations compares what happened with the promise, word for word:
//
//   - The sender gets a 2xx only if the app gave one to this delivery.
//   - While an attempt runs, no gateway that shares the store forwards a second
//     copy; what the app took is not forwarded again within its window …
//   - … but when the gateway died between the app's 2xx and its mark, or store and
//     gateway did not understand each other, or the store forgot and the gateway
//     is another than the one that knows.
//   - Never lost: what a sender offers until it is acknowledged is taken.
func (s *sim) violations() []string {
	var found []string
	say := func(e *event, format string, args ...any) {
		found = append(found, fmt.Sprintf("delivery %d: ", e.id)+fmt.Sprintf(format, args...))
	}
	for _, e := range s.events {
		if len(e.acks) == 0 {
			say(e, "lost: never acknowledged")
		}
		for _, ack := range e.acks {
			if !e.takenBy(ack) {
				say(e, "acknowledged at %v, but the app had not taken it", ack)
			}
		}
		for n, y := range e.calls {
			for _, x := range e.calls[:n] {
				switch {
				case s.flushedBetween(x, y):
				case x.end < 0 || y.start < x.end:
					if !excusedOverlap(x, y) {
						say(e, "two at once: %v–%v and from %v", x.start, x.end, y.start)
					}
				case x.took && !excusedRepeat(x, y):
					say(e, "taken at %v, forwarded again at %v", x.end, y.start)
				}
			}
		}
	}
	return found
}

// flushedBetween: the store lost x before y began at another instance. The same
// instance knows its own deliveries.
func (s *sim) flushedBetween(x, y *call) bool {
	if x.by == y.by {
		return false
	}
	for _, at := range s.flushes {
		if x.start <= at+time.Second && at <= y.start {
			return true
		}
	}
	return false
}

func (e *event) takenBy(t time.Duration) bool {
	for _, c := range e.calls {
		if c.took && c.end <= t {
			return true
		}
	}
	return false
}

// excusedOverlap: y began while x was running. x's gateway died meanwhile or could
// not renew, or one of the two began without the store.
func excusedOverlap(x, y *call) bool {
	return x.by.crashed > 0 && x.by.crashed <= y.start ||
		x.by.cutDuring(x.start-time.Second, y.start, aftermath) ||
		y.by.cutDuring(y.start-time.Second, y.start, aftermath)
}

// excusedRepeat: y began after the app had accepted x. x's gateway died before
// recording that, or its record did not reach the store before y asked, or y could
// not ask.
func excusedRepeat(x, y *call) bool {
	if !x.settled || y.by.cutDuring(y.start-time.Second, y.start, aftermath) {
		return true
	}
	for _, c := range x.by.cuts {
		if c.from <= x.end+time.Second && (c.to < 0 || x.end <= c.to+aftermath) {
			died := x.by.crashed > 0 && (c.to < 0 || x.by.crashed <= c.to+aftermath)
			if died || c.to < 0 || y.start <= c.to+aftermath {
				return true
			}
		}
	}
	return false
}

func (i *instance) cutDuring(from, to, after time.Duration) bool {
	for _, c := range i.cuts {
		if c.from <= to && (c.to < 0 || from <= c.to+after) {
			return true
		}
	}
	return false
}

// A summary counts what happened, violations or not.
type summary struct{ events, calls, took, kills, cuts, overlaps, repeats int }

func (s *sim) summary() summary {
	n := summary{events: len(s.events), kills: len(s.all) - 3}
	for _, e := range s.events {
		for i, y := range e.calls {
			n.calls++
			if y.took {
				n.took++
			}
			for _, x := range e.calls[:i] {
				switch {
				case y.start < x.end:
					n.overlaps++
				case x.took:
					n.repeats++
				}
			}
		}
	}
	for _, i := range s.all {
		n.cuts += len(i.cuts)
	}
	return n
}

func (n summary) String() string {
	return fmt.Sprintf("%d deliveries, %d calls of the app, %d taken; %d kills, %d cuts; excused: %d at once, %d again",
		n.events, n.calls, n.took, n.kills, n.cuts, n.overlaps, n.repeats)
}
