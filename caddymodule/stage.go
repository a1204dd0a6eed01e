package caddymodule

import "time"

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

// stageSeconds are the upper bounds of the buckets. A webhook's time has two
// scales. What the gateway does itself, verifying and claiming, takes micro- to
// milliseconds, and a server's round trip 500 ms at most (the budget of a call to
// the store). What it waits for, the body and the app, counts against the
// sender's patience: 3 s at Slack and Discord, 5 s at Shopify, 10 s at GitHub and
// Adyen, 15 s at Svix, 30 s at the most patient; the app has upstream_timeout,
// 60 s.
var stageSeconds = []float64{.0001, .001, .005, .025, .1, .5, 1, 3, 5, 10, 15, 30, 60}

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
		d.h.metrics.stages[s].Observe(time.Since(began).Seconds())
	}
}
