package metrics

import (
	"fmt"
	"os"
	"regexp"
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

// TestEachReasonOfTheInboxIsALabel: a reason that inbox declares and this package does
// not list would count as "other".
func TestEachReasonOfTheInboxIsALabel(t *testing.T) {
	source, err := os.ReadFile("../../inbox/engine.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^\tWhy\w+ +Why = "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(declared) != len(whys) {
		t.Errorf("inbox declares %d reasons, and %d are listed", len(declared), len(whys))
	}
	c := Of("reasons of the inbox")
	for _, d := range declared {
		if c.Bypassed(d[1]); c.Totals().Bypassed[d[1]] != 1 {
			t.Errorf("%s is counted as %v", d[1], c.Totals().Bypassed)
		}
	}
}
