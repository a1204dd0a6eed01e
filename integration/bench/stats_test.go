package main

import (
	"math"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{9, 1, 4}, spread{4, 1, 9}},
		{[]float64{9, 1, 4, 2}, spread{3, 1, 9}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.values, got, c.want)
		}
	}
	if s := spreadOf(nil); !math.IsNaN(s.median) {
		t.Errorf("of no rounds: %+v", s)
	}
}

// A disturbance of one round that doubles both values does not change a ratio.
func TestRatiosAreTakenWithinARound(t *testing.T) {
	base := []float64{100, 200, 110}
	values := []float64{150, 300, 132}
	if got, want := paired(values, base), (spread{1.5, 1.2, 1.5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := paired([]float64{1, 2}, []float64{0, 1}); got != (spread{2, 2, 2}) {
		t.Errorf("a round without a base: %+v", got)
	}
}

func TestPercentile(t *testing.T) {
	sorted := make([]time.Duration, 1000)
	for i := range sorted {
		sorted[i] = time.Duration(i + 1)
	}
	for p, want := range map[float64]time.Duration{50: 500, 99: 990, 99.9: 999, 100: 1000, 0: 1} {
		if got := percentile(sorted, p); got != want {
			t.Errorf("p%v: %d, want %d", p, got, want)
		}
	}
	if got := percentile(sorted[:1], 99.9); got != 1 {
		t.Errorf("of one: %d", got)
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("of none: %d", got)
	}
}
