package metrics

import (
	"slices"
	"time"
)

const (
	skewSamples = 16 // of the newest deliveries
	skewEnough  = 4  // of them, before anything is said
	skewWarning = time.Minute
	skewQuiet   = time.Hour // between two warnings of a name
)

// skews are our time less the timestamp, of the newest verified deliveries.
type skews struct {
	n      uint64
	newest [skewSamples]time.Duration
	warned time.Time
}

// NoteSkew notes how far our clock is ahead of the timestamp of a verified
// delivery; what is not verified could say anything. It reports whether to warn:
// where the clocks differ so much that deliveries are about to be refused, once an
// hour at most.
func (c *Counters) NoteSkew(skew time.Duration, now time.Time) (typical time.Duration, warn bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.skews
	if !s.note(skew) {
		return 0, false
	}
	typical, _ = s.typical()
	if typical.Abs() < skewWarning || now.Sub(s.warned) < skewQuiet {
		return typical, false
	}
	s.warned = now
	return typical, true
}

// note adds one and reports whether it fills the window.
func (s *skews) note(skew time.Duration) bool {
	s.newest[s.n%skewSamples] = skew
	s.n++
	return s.n%skewSamples == 0
}

// typical is the skew of the clocks, and whether enough is known to tell. A retry
// may bear the time of the first attempt, and a queue delays a delivery: both only
// make it older, so what counts is the youngest. No honest delivery is from the
// future, but a sender may have one bad clock among many: there the median counts.
func (s *skews) typical() (skew time.Duration, known bool) {
	n := min(s.n, skewSamples)
	if n < skewEnough {
		return 0, false
	}
	window := s.newest
	all := window[:n]
	slices.Sort(all)
	if median := all[n/2]; median < 0 {
		return median, true
	}
	return max(all[0], 0), true
}
