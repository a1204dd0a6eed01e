//go:build !race

package caddymodule

import "testing"

// TestAllocationsOfADelivery: no stage allocates more than is written beside it.
func TestAllocationsOfADelivery(t *testing.T) {
	const runs = 200
	for i, s := range steps {
		next := arrivals(t)
		all := make([]*arrival, runs+1) // AllocsPerRun begins with one more
		for n := range all {
			all[n] = next()
			all[n].through(t, steps[:i])
		}
		n := 0
		got := testing.AllocsPerRun(runs, func() { all[n].through(t, steps[i:i+1]); n++ })
		if got > s.allocs {
			t.Errorf("%s: %v allocations, at most %v", s.name, got, s.allocs)
		}
		for _, a := range all {
			a.through(t, steps[i+1:])
		}
	}
}

// TestAllocationsOfRefusals: no answer that is the gateway's own allocates more than is
// written beside it.
func TestAllocationsOfRefusals(t *testing.T) {
	const runs = 200
	for _, u := range allUnforwarded {
		next := u.source(t)
		first := next() // of a copy, which is forwarded
		_ = first.h.ServeHTTP(first.w, first.r, taker)
		all := make([]*arrival, runs+1)
		for n := range all {
			all[n] = next()
		}
		n := 0
		got := testing.AllocsPerRun(runs, func() { all[n].err = all[n].h.ServeHTTP(all[n].w, all[n].r, taker); n++ })
		if got > u.allocs {
			t.Errorf("%s: %v allocations, at most %v", u.name, got, u.allocs)
		}
	}
}
