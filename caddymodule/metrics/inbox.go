package metrics

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	inboxDeliveries = describe("inbox_deliveries",
		"Deliveries in the inbox by state: pending, in_attempt, dead (given up, until an operator replays or discards them), delivered (accepted by the app and kept for replay), locked (unreadable).", "name", "state")
	inboxOldest = describe("inbox_oldest_seconds",
		"How long the oldest pending delivery has waited in the inbox; 0 if none is pending.", "name")
	inboxAttempts = describe("inbox_attempts_total",
		"Attempts of stored deliveries by outcome: delivered, retry (not accepted), dead (not accepted and given up, or expired), unreached (no configured route leads to its handler), refused (by a route above its handler), postponed (the gateway could not ask the app).", "name", "outcome")
	inboxBypassed = describe("inbox_bypassed_total",
		"Deliveries that the inbox could not store, so that their senders got the app's answer.", "name", "why")
	inboxBytes    = describe("inbox_bytes", "Bytes that deliveries use in the inbox.")
	inboxLimit    = describe("inbox_limit_bytes", "Bytes that deliveries may use in the inbox: max_size.")
	inboxDegraded = describe("inbox_degraded",
		"1 while the inbox does not store deliveries: caddy webhook inbox shows why.")
)

var inboxDescriptions = []*prometheus.Desc{inboxDeliveries, inboxOldest, inboxAttempts, inboxBypassed, inboxBytes, inboxLimit, inboxDegraded}

// An Attempt is the outcome of an attempt of a stored delivery.
type Attempt string

// The outcomes of attempts.
const (
	AttemptDelivered Attempt = "delivered" // the app has it
	AttemptRetry     Attempt = "retry"     // the app did not accept it
	AttemptDead      Attempt = "dead"      // given up
	AttemptUnreached Attempt = "unreached" // it did not reach its handler
	AttemptRefused   Attempt = "refused"   // a route above its handler refused it
	AttemptPostponed Attempt = "postponed" // the app was not asked
)

var attemptOutcomes = []Attempt{AttemptDelivered, AttemptRetry, AttemptDead, AttemptUnreached, AttemptRefused, AttemptPostponed}

// whys are the reasons of Bypassed: those of package inbox.
var whys = []string{"unavailable", "timeout", "full", "share", "disk", "too_large"}

// maxNames limits the values of the label name. Names of stored deliveries come from
// past configurations; the rest count as otherName, which no handler can have.
const (
	maxNames  = 256
	otherName = "(other)"
)

// attempts counts attempts by handler since the process started. The handler may no
// longer be configured.
var attempts struct {
	sync.Mutex
	byName map[string]map[Attempt]uint64
}

// Attempted counts an attempt of a stored delivery of a handler.
func Attempted(name string, o Attempt) {
	attempts.Lock()
	defer attempts.Unlock()
	if attempts.byName == nil {
		attempts.byName = make(map[string]map[Attempt]uint64)
	}
	if attempts.byName[name] == nil {
		if len(attempts.byName) >= maxNames {
			name = otherName
		}
		if attempts.byName[name] == nil {
			attempts.byName[name] = make(map[Attempt]uint64)
		}
	}
	attempts.byName[name][o]++
}

// attempted returns the counts of attempts.
func attempted() map[string]map[Attempt]uint64 {
	attempts.Lock()
	defer attempts.Unlock()
	all := make(map[string]map[Attempt]uint64, len(attempts.byName))
	for name, counts := range attempts.byName {
		all[name] = maps.Clone(counts)
	}
	return all
}

// Inbox is the content of the inbox.
type Inbox struct {
	Names        []string // of configured handlers with an inbox
	Open         bool     // there is an inbox
	Degraded     bool     // it does not store
	Bytes, Limit int64
	Known        bool             // Queues is known
	Queues       map[string]Queue // by handler name, configured or not; without empty ones
}

// Queue is what the inbox holds for one handler name.
type Queue struct {
	Counts map[string]int // by state
	Oldest time.Duration  // age of the oldest pending one; 0: none
}

var inboxStates = []string{"pending", "in_attempt", "delivered", "dead", "locked"}

// collect sends the metrics of an inbox that is open or configured.
func (i Inbox) collect(ch chan<- prometheus.Metric) {
	if !i.Open && len(i.Names) == 0 {
		return
	}
	degraded := 0.0
	if i.Degraded || !i.Open {
		degraded = 1
	}
	ch <- gauge(inboxDegraded, degraded)
	ch <- gauge(inboxBytes, float64(i.Bytes))
	ch <- gauge(inboxLimit, float64(i.Limit))
	if i.Known {
		queues := i.bounded()
		for _, name := range slices.Sorted(maps.Keys(queues)) {
			for _, state := range inboxStates {
				ch <- gauge(inboxDeliveries, float64(queues[name].Counts[state]), name, state)
			}
			ch <- gauge(inboxOldest, queues[name].Oldest.Seconds(), name)
		}
	}
	counts := attempted()
	for _, name := range i.Names { // from zero on, so that an alert sees the first
		if counts[name] == nil {
			counts[name] = nil
		}
		bypassed := Of(name).Totals().Bypassed
		for _, why := range whys {
			bypassed[why] += 0
		}
		for _, why := range slices.Sorted(maps.Keys(bypassed)) {
			ch <- counter(inboxBypassed, float64(bypassed[why]), name, why)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		for _, o := range attemptOutcomes {
			ch <- counter(inboxAttempts, float64(counts[name][o]), name, string(o))
		}
	}
}

// bounded returns the queues of all configured names, and of at most maxNames in all.
func (i Inbox) bounded() map[string]Queue {
	shown := make(map[string]Queue)
	for _, name := range i.Names {
		shown[name] = i.Queues[name]
	}
	for _, name := range slices.Sorted(maps.Keys(i.Queues)) {
		q := i.Queues[name]
		if _, ok := shown[name]; ok {
			continue
		}
		if len(shown) < maxNames {
			shown[name] = q
			continue
		}
		other := shown[otherName]
		if other.Counts == nil {
			other.Counts = make(map[string]int)
		}
		for state, n := range q.Counts {
			other.Counts[state] += n
		}
		other.Oldest = max(other.Oldest, q.Oldest)
		shown[otherName] = other
	}
	return shown
}
