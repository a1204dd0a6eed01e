package metrics

import (
	"slices"
	"testing"
	"time"
)

// TestLastHour: each request counts in its minute, for an hour.
func TestLastHour(t *testing.T) {
	c := Of("last-hour")
	start := time.Unix(1_790_000_040, 0) // the beginning of a minute
	c.Count(Delivered, "", start)
	c.Count(Delivered, "", start.Add(59*time.Second))
	c.Count(Failed, "timeout", start.Add(time.Minute))
	c.Count(Rejected, "stale_timestamp", start.Add(30*time.Minute))

	for name, tc := range map[string]struct {
		after time.Duration
		want  map[Outcome]map[int]uint32 // by minute
	}{
		"the same minute":        {0, map[Outcome]map[int]uint32{Delivered: {59: 2}}},
		"the next minute":        {time.Minute, map[Outcome]map[int]uint32{Delivered: {58: 2}, Failed: {59: 1}}},
		"at the end of the hour": {59*time.Minute + 59*time.Second, map[Outcome]map[int]uint32{Delivered: {0: 2}, Failed: {1: 1}, Rejected: {30: 1}}},
		"after an hour":          {time.Hour, map[Outcome]map[int]uint32{Failed: {0: 1}, Rejected: {29: 1}}},
		"after two":              {2 * time.Hour, nil},
	} {
		got := c.LastHour(start.Add(tc.after))
		if len(got) != len(tc.want) {
			t.Errorf("%s: %d outcomes, want %d", name, len(got), len(tc.want))
		}
		for outcome, minutes := range tc.want {
			var want [Minutes]uint32
			for i, n := range minutes {
				want[i] = n
			}
			if got[outcome] == nil || !slices.Equal(got[outcome][:], want[:]) {
				t.Errorf("%s: %s %v, want %v", name, outcome, got[outcome], want)
			}
		}
	}

	c.Count(Delivered, "", time.Time{}) // a clock that was never set
	c.Count(Delivered, "", start.Add(time.Hour))
	if got := c.LastHour(start.Add(time.Hour))[Delivered]; got[59] != 1 || got[0] != 0 {
		t.Errorf("a new hour begins with the counts of the old one: %v", got)
	}
}

// TestCountAllocatesNothing holds for a minute that has a count already.
func TestCountAllocatesNothing(t *testing.T) {
	c, now := Of("minute"), time.Unix(1_790_000_040, 0)
	if n := testing.AllocsPerRun(100, func() { c.Count(Delivered, "", now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
