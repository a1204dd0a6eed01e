package inbox_test

import (
	"context"
	"fmt"
)

// violations compares what happened with the promise, word for word:
//
//   - The sender gets a 2xx only if the app gave one or the delivery lies in the
//     inbox; from then on it is tried until the app answers 2xx.
//   - What lies in the inbox has one attempt at a time, and comes again after the
//     app took it only if the gateway died before its mark, or another copy was
//     accepted since. (Copies are kept off by dedupe, which is not here.)
func (s *sim) violations() (found []string) {
	say := func(e *event, format string, args ...any) {
		found = append(found, fmt.Sprintf("delivery %d: ", e.id)+fmt.Sprintf(format, args...))
	}
	for _, e := range s.events {
		taken := false
		for n, y := range e.calls {
			for _, x := range e.calls[:n] {
				switch {
				case !x.stored || !y.stored || x.by != y.by && x.by.killed && !x.settled:
				case y.start < x.end:
					say(e, "two attempts at once: %v–%v and from %v", x.start, x.end, y.start)
				case x.took && x.settled && e.stored < x.end:
					say(e, "taken at %v, sent again at %v", x.end, y.start)
				}
			}
			taken = taken || y.took
		}
		if e.acks > 0 && !taken {
			say(e, "acknowledged, and never taken in %d attempts", len(e.calls))
		}
	}
	if all, err := s.disk.Queues(context.Background()); len(all) > 0 || err != nil {
		found = append(found, fmt.Sprintf("left in the inbox: %+v %v", all, err))
	}
	return found
}

func (s *sim) String() string {
	acks, calls, twice := 0, 0, 0
	for _, e := range s.events {
		took := 0
		for _, c := range e.calls {
			calls++
			if c.took {
				took++
			}
		}
		acks += min(e.acks, 1)
		twice += max(took-1, 0)
	}
	return fmt.Sprintf("%d of %d deliveries acknowledged, %d calls of the app, %d of them taken again; %d kills",
		acks, len(s.events), calls, twice, s.kills)
}
