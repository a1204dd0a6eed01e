package main

import (
	"math"
	"slices"
	"time"
)

// A spread is what several rounds gave.
type spread struct{ median, least, most float64 }

// spreadOf needs no order, and changes nothing.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return spread{median: (sorted[(n-1)/2] + sorted[n/2]) / 2, least: sorted[0], most: sorted[n-1]}
}

// paired are the quotients of two candidates' values, round by round: what disturbs the
// machine for a while disturbs both.
func paired(values, base []float64) spread {
	n := min(len(values), len(base))
	ratios := make([]float64, 0, n)
	for i := range n {
		if base[i] > 0 {
			ratios = append(ratios, values[i]/base[i])
		}
	}
	return spreadOf(ratios)
}

// percentile is the least value that p percent of the sorted ones do not exceed.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	n := int(math.Ceil(float64(len(sorted)) * p / 100))
	return sorted[min(max(n, 1), len(sorted))-1]
}
