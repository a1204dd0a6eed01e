package metrics

import (
	"slices"
	"time"
)

// Minutes is the number of minutes in an Hour.
const Minutes = 60

// An Hour holds the requests of each of the last 60 minutes by outcome, the oldest
// minute first. The last one is still in progress.
type Hour map[Outcome]*[Minutes]uint32

// hour counts by minute. A slot belongs to every minute with its remainder.
type hour [Minutes]struct {
	minute int64                // since 1970
	counts [outcomeCount]uint32 // in the order of outcomes
}

func (h *hour) count(o Outcome, now time.Time) {
	minute := now.Unix() / 60
	slot := &h[uint64(minute)%Minutes]
	if slot.minute != minute {
		slot.minute = minute
		clear(slot.counts[:])
	}
	slot.counts[slices.Index(outcomes[:], o)]++
}

// LastHour returns the counts of the hour until now. An outcome without any is absent.
func (c *Counters) LastHour(now time.Time) Hour {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := make(Hour)
	first := now.Unix()/60 - Minutes + 1
	for i := range Minutes {
		minute := first + int64(i)
		slot := &c.hour[uint64(minute)%Minutes]
		if slot.minute != minute {
			continue
		}
		for j, n := range slot.counts {
			if n == 0 {
				continue
			}
			o := outcomes[j]
			if last[o] == nil {
				last[o] = new([Minutes]uint32)
			}
			last[o][i] = n
		}
	}
	return last
}
