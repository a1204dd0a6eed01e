package caddymodule

import (
	"sync/atomic"
	"time"
)

// A stage is a part of a delivery's way whose time is measured.
type stage uint8

const (
	stageRead stage = iota
	stageVerify
	stageClaim
	stageUpstream
	stages
)

func (s stage) String() string { return [stages]string{"read", "verify", "claim", "upstream"}[s] }

// stageBounds are the upper bounds of the buckets. A webhook's time has two
// scales. What the gateway does itself, verifying and claiming, takes micro- to
// milliseconds, and a server's round trip 500 ms at most (the budget of a call to
// the store). What it waits for, the body and the app, counts against the
// sender's patience: 3 s at Slack and Discord, 5 s at Shopify, 10 s at GitHub and
// Adyen, 15 s at Svix, 30 s at the most patient; the app has upstream_timeout,
// 60 s.
var stageBounds = [...]time.Duration{
	100 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond,
	100 * time.Millisecond, 500 * time.Millisecond, time.Second, 3 * time.Second,
	5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, 60 * time.Second,
}

// histogram counts times by bucket.
type histogram struct {
	counts [len(stageBounds) + 1]atomic.Uint64 // each bucket alone; the last is beyond all bounds
	sum    atomic.Int64                        // nanoseconds
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(stageBounds) && d > stageBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// snapshot returns the counts as Prometheus wants them: each bucket with all
// below it.
func (h *histogram) snapshot() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(stageBounds))
	for i, bound := range stageBounds {
		count += h.counts[i].Load()
		buckets[bound.Seconds()] = count
	}
	count += h.counts[len(stageBounds)].Load()
	return count, seconds(h.sum.Load()), buckets
}

// begins is when a stage begins.
func (d *delivery) begins() time.Time {
	if d.h.metrics == nil { // what a benchmark compares with
		return time.Time{}
	}
	return time.Now()
}

// took notes the time of a stage: "defer d.took(stage, d.begins())".
func (d *delivery) took(s stage, began time.Time) {
	if d.h.metrics != nil {
		d.h.metrics.stages[s].observe(time.Since(began))
	}
}
