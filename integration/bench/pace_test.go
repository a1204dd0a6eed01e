package main

import (
	"testing"
	"time"
)

func TestDueAtAFixedRate(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 0, 1: 500 * time.Microsecond, 2000: time.Second} {
		if got := dueAfter(n, 2000); got != want {
			t.Errorf("delivery %d: %s, want %s", n, got, want)
		}
	}
}

// The schedule belongs to the clock and not to the answers: what is late stays due when
// it was.
func TestAScheduleDoesNotWaitForAnswers(t *testing.T) {
	begin := time.Now().Add(-time.Hour) // all are late
	due := make(chan time.Time, 10)
	pace(begin, 5*time.Millisecond, 1000, 10, due)
	var got []time.Duration
	for at := range due {
		got = append(got, at.Sub(begin))
	}
	if len(got) != 5 || got[0] != 0 || got[4] != 4*time.Millisecond {
		t.Errorf("due after %v; want 0 to 4 ms", got)
	}
}
