package metrics

import (
	"fmt"
	"testing"
	"time"
)

// TestInboxNamesAreBounded: names of handlers that are long gone share one label, and
// nothing of them is lost. Those of the configuration are always shown.
func TestInboxNamesAreBounded(t *testing.T) {
	queues := map[string]Queue{"zz-configured": {Counts: map[string]int{"dead": 1}}}
	for n := range maxNames + 10 {
		queues[fmt.Sprintf("old-%03d", n)] = Queue{Counts: map[string]int{"pending": 1}, Oldest: time.Duration(n) * time.Second}
	}
	shown := Inbox{Names: []string{"zz-configured", "zz-empty"}, Queues: queues}.bounded()
	pending := 0
	for _, q := range shown {
		pending += q.Counts["pending"]
	}
	_, empty := shown["zz-empty"]
	if len(shown) != maxNames+1 || pending != maxNames+10 || shown["zz-configured"].Counts["dead"] != 1 || !empty {
		t.Errorf("%d names, %d pending, %+v", len(shown), pending, shown["zz-configured"])
	}
	if other := shown[otherName]; other.Counts["pending"] != 12 || other.Oldest != (maxNames+9)*time.Second {
		t.Errorf("the others: %+v", other)
	}
}

func TestAttemptedNamesAreBounded(t *testing.T) {
	t.Cleanup(func() { attempts.byName = nil })
	for n := range maxNames + 10 {
		Attempted(fmt.Sprint("handler-", n), AttemptDead)
		Attempted(fmt.Sprint("handler-", n), AttemptDead)
	}
	counts, total := attempted(), uint64(0)
	for _, of := range counts {
		total += of[AttemptDead]
	}
	if len(counts) != maxNames+1 || total != 2*(maxNames+10) || counts[otherName][AttemptDead] != 20 || counts["handler-0"][AttemptDead] != 2 {
		t.Errorf("%d names, %d attempts, %v of others", len(counts), total, counts[otherName])
	}
}

func TestBypassedReasonsAreListed(t *testing.T) {
	c := Of("bypassed")
	c.Bypassed("of-a-version-to-come")
	c.Bypassed("full")
	if got := c.Totals().Bypassed; len(got) != 2 || got[otherReason] != 1 || got["full"] != 1 {
		t.Errorf("counted as %v", got)
	}
}
