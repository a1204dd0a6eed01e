package main

import (
	"runtime"
	"time"
)

// pace says when each delivery of an open loop is due, at a fixed rate, whether or not
// the answers to earlier ones have come: who is slow has a queue, and its deliveries
// count from the time when they were due.
func pace(begin time.Time, duration time.Duration, rate float64, most int, due chan<- time.Time) {
	runtime.LockOSThread() // sleep blocks the thread
	defer runtime.UnlockOSThread()
	defer close(due)
	for i := range most {
		after := dueAfter(i, rate)
		if after >= duration {
			return
		}
		at := begin.Add(after)
		sleep(time.Until(at))
		due <- at
	}
}

// dueAfter is when the delivery with a number is due, from the begin.
func dueAfter(n int, rate float64) time.Duration {
	return time.Duration(float64(n) / rate * float64(time.Second))
}
