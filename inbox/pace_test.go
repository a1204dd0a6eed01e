package inbox

import (
	"testing"
	"time"
)

// TestAnAppIsDownForDeliveriesThatLookAlike: a sender whose deliveries have few contents
// makes its app down as well, only later: copies alone do not tell it from a stranger's.
func TestAnAppIsDownForDeliveriesThatLookAlike(t *testing.T) {
	for contents := range uint32(3) {
		var p pace
		asked := 0
		for n := byte(1); !p.isDown() && asked < 100; n++ {
			asked++
			p.heard(Key{n}, Trace{Content: 1 + uint32(n)%(contents+1)}, Result{}, 4, time.Now())
			p.heard(Key{n}, Trace{Content: 1 + uint32(n)%(contents+1)}, Result{}, 4, time.Now()) // its retry
		}
		if want := []int{1 + downAtLast, 2 + downAtLast, downAfter}[contents]; asked != want {
			t.Errorf("%d contents: down after %d deliveries, want %d", contents+1, asked, want)
		}
	}
}
