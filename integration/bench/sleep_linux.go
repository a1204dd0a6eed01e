package main

import (
	"syscall"
	"time"
)

// sleep is time.Sleep, to tens of microseconds: on Linux, Go's own timers wait in
// epoll_wait, which counts milliseconds.
func sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	t := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&t, nil) // who is woken early is early
}
