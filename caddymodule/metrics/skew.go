package metrics

import (
	"slices"
	"time"
)

const (
	skewSamples = 16 // latest deliveries considered
	skewEnough  = 4  // minimum before a result
	skewWarning = time.Minute
	skewQuiet   = time.Hour // between two warnings of a name
)

// skews are our time minus the timestamp of the latest verified deliveries.
type skews struct {
	n      uint64
	newest [skewSamples]time.Duration
	warned time.Time
}

// NoteSkew records how far our clock is ahead of the timestamp of a verified delivery.
// It reports whether to warn, at most once an hour: when the clocks differ so much
// that deliveries may soon be refused.
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

// note adds a skew and reports whether it fills the window.
func (s *skews) note(skew time.Duration) bool {
	s.newest[s.n%skewSamples] = skew
	s.n++
	return s.n%skewSamples == 0
}

// typical returns the skew of the clocks, and whether it is known. A retry may keep
// the timestamp of the first attempt, and a queue delays a delivery: both only make it
// older, so the youngest counts. No honest delivery is from the future, but one of a
// sender's clocks may be wrong: then the median counts.
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
