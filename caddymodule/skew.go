package caddymodule

import (
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	skewSamples = 16 // of the newest deliveries
	skewEnough  = 4  // of them, before anything is said
	skewWarning = time.Minute
	skewQuiet   = time.Hour // between two warnings of a handler
)

// skews compares the clock with those of a name's senders: our time less the
// timestamp, of the newest verified deliveries. What is not verified could say
// anything.
type skews struct {
	n      atomic.Uint64
	newest [skewSamples]atomic.Int64 // nanoseconds
	warned atomic.Int64              // nanoseconds since 1970
}

// note adds one and reports whether as many have come as are compared.
func (s *skews) note(skew time.Duration) bool {
	i := s.n.Add(1) - 1
	s.newest[i%skewSamples].Store(int64(skew))
	return i%skewSamples == skewSamples-1
}

// typical is the skew of the clocks, and whether enough is known to tell. A retry
// may bear the time of the first attempt, and a queue delays a delivery: both only
// make it older, so what counts is the youngest. From the future comes no honest
// delivery, but a sender may have one bad clock among many: there it is the median.
func (s *skews) typical() (time.Duration, bool) {
	n := min(s.n.Load(), skewSamples)
	if n < skewEnough {
		return 0, false
	}
	var window [skewSamples]int64
	all := window[:n]
	for i := range all {
		all[i] = s.newest[i].Load()
	}
	slices.Sort(all)
	if median := all[n/2]; median < 0 {
		return time.Duration(median), true
	}
	return time.Duration(max(all[0], 0)), true
}

// noteSkew notes when a verified delivery was signed, and warns, once an hour at
// most, where the clocks differ so much that deliveries are about to be refused.
func (d *delivery) noteSkew(signed time.Time) {
	if d.h.metrics == nil { // what a benchmark compares with
		return
	}
	s, now := &d.h.metrics.skews, d.h.now()
	if !s.note(now.Sub(signed)) {
		return
	}
	skew, _ := s.typical()
	last := s.warned.Load()
	if skew.Abs() < skewWarning || now.Sub(time.Unix(0, last)) < skewQuiet || !s.warned.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	d.h.logger.Warn("the clock of this machine and the sender's differ; beyond the tolerance every delivery is refused: check the time synchronisation of this machine",
		zap.String("name", d.h.Name), zap.Duration("skew", skew))
}
