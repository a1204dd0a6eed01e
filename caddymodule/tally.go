package caddymodule

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// ending says in one word what became of a request.
type ending string

const (
	endedAccepted  ending = "accepted"  // verified and handed on
	endedDuplicate ending = "duplicate" // of a delivery that the app took
	endedObserved  ending = "observed"  // not genuine, and let through
	endedHandshake ending = "handshake" // answered in the app's place
	endedRejected  ending = "rejected"
)

// A tally counts for the handlers of one name since the process started. It
// outlives a reload, and is shown while a configuration in use has the name.
type tally struct {
	name                                        string
	accepted, duplicates, handshakes, keyErrors atomic.Uint64
	observed, rejected                          reasonCounts
	stages                                      [stages]prometheus.Histogram
	lastAccepted                                atomic.Int64 // nanoseconds since 1970; 0: never
	skews                                       skews

	// When each key last verified, by label. The map is replaced, never changed.
	used atomic.Pointer[map[string]*atomic.Int64]

	mu       sync.Mutex
	handlers map[*Handler]bool // whose name it is
}

// tallies holds those of the process by name: as many as configurations of it
// had names.
var tallies struct {
	sync.Mutex
	byName map[string]*tally
}

func tallyOf(name string) *tally {
	tallies.Lock()
	defer tallies.Unlock()
	t := tallies.byName[name]
	if t == nil {
		if tallies.byName == nil {
			tallies.byName = make(map[string]*tally)
		}
		t = &tally{name: name, handlers: make(map[*Handler]bool)}
		for i := range t.stages {
			t.stages[i] = durations.WithLabelValues(name, stage(i).String()).(prometheus.Histogram)
		}
		t.used.Store(new(map[string]*atomic.Int64))
		tallies.byName[name] = t
	}
	return t
}

// talliesInUse returns those whose name a configuration has, by name.
func talliesInUse() (all []*tally) {
	tallies.Lock()
	defer tallies.Unlock()
	for _, name := range slices.Sorted(maps.Keys(tallies.byName)) {
		t := tallies.byName[name]
		t.mu.Lock()
		if len(t.handlers) > 0 {
			all = append(all, t)
		}
		t.mu.Unlock()
	}
	return all
}

// join shows the tally until the handler, which has its keys, leaves.
func (t *tally) join(h *Handler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handlers[h] = true
}

// leave forgets the handler, and the keys that only it had.
func (t *tally) leave(h *Handler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.handlers, h)
	t.prune()
}

// keysChanged forgets the keys that no handler has any more.
func (t *tally) keysChanged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prune()
}

func (t *tally) prune() {
	labels := t.labels()
	kept := make(map[string]*atomic.Int64)
	for label, used := range *t.used.Load() {
		if slices.Contains(labels, label) {
			kept[label] = used
		}
	}
	t.used.Store(&kept)
}

// labels lists the keys of all handlers of the name, each label once.
func (t *tally) labels() (labels []string) {
	for h := range t.handlers {
		labels = append(labels, h.keys.current.Load().keyLabels()...)
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// use notes that a key has verified a delivery.
func (t *tally) use(label string, now time.Time) {
	if t == nil {
		return
	}
	used := (*t.used.Load())[label]
	if used == nil {
		used = t.firstUse(label)
	}
	used.Store(now.UnixNano())
}

func (t *tally) firstUse(label string) *atomic.Int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if used := (*t.used.Load())[label]; used != nil {
		return used
	}
	used := new(atomic.Int64)
	if !slices.Contains(t.labels(), label) { // of a configuration or file that is gone
		return used
	}
	more := maps.Clone(*t.used.Load())
	more[label] = used
	t.used.Store(&more)
	return used
}

// keyUse is when a key last verified a delivery, in nanoseconds since 1970; 0:
// not since the process started.
type keyUse struct {
	label string
	used  int64
}

// keys lists the keys of the handlers. Labels are what metrics can show: a file's
// name need not be UTF-8.
func (t *tally) keys() (keys []keyUse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	times := *t.used.Load()
	for _, label := range t.labels() {
		k := keyUse{label: strings.ToValidUTF8(label, "\uFFFD")}
		if used := times[label]; used != nil {
			k.used = used.Load()
		}
		if n := len(keys); n > 0 && keys[n-1].label == k.label {
			keys[n-1].used = max(keys[n-1].used, k.used)
			continue
		}
		keys = append(keys, k)
	}
	return keys
}

func (t *tally) count(e ending, reason string, now time.Time) {
	switch e {
	case endedAccepted:
		t.accepted.Add(1)
		t.lastAccepted.Store(now.UnixNano())
	case endedDuplicate:
		t.duplicates.Add(1)
	case endedHandshake:
		t.handshakes.Add(1)
	case endedObserved:
		t.observed.add(reason)
	case endedRejected:
		t.rejected.add(reason)
	}
}

// refusalReasons are those of a refusal that is not about authenticity; "" is a
// failure of the gateway itself. With verifier.Reasons they are all.
var refusalReasons = []string{
	"", "method_not_allowed", "body_too_large", "body_incomplete", "body_timeout",
	"overloaded", "in_flight", "store_down", "key_unavailable", "handshake_failed", "no_upstream",
}

// reasonPlaces numbers the reasons from 1; 0 is for one that is in neither list,
// so that a label's values are bounded whatever happens.
var reasonPlaces = func() map[string]int {
	places := make(map[string]int)
	for _, r := range refusalReasons {
		places[r] = len(places) + 1
	}
	for _, r := range verifier.Reasons {
		places[string(r)] = len(places) + 1
	}
	return places
}()

// otherReason stands for reasons that are in neither list.
const otherReason = "other"

// maxReasons is room for all reasons; a test compares.
const maxReasons = 48

// reasonCounts counts by reason.
type reasonCounts [maxReasons]atomic.Uint64

func (c *reasonCounts) add(reason string) { c[reasonPlaces[reason]].Add(1) }

// counts returns what was counted at all.
func (c *reasonCounts) counts() map[string]uint64 {
	counts := make(map[string]uint64)
	for reason, place := range reasonPlaces {
		if n := c[place].Load(); n > 0 {
			counts[reason] = n
		}
	}
	if n := c[0].Load(); n > 0 {
		counts[otherReason] = n
	}
	return counts
}
