// Package metrics counts the outcomes of deliveries by handler name since the start of
// the process, for Prometheus and the status API.
//
// The counters of a name outlive a reload: [Of] returns the same counters to every
// configuration. They are shown while a handler with the name is in use (Join, Leave).
// Labels are bounded: names and key labels come from the configurations in use,
// outcomes, stages and reasons from closed lists. No text of a sender becomes a label.
//
// The package imports nothing of the gateway; figures of other packages come through
// [Keys] and [Gauges].
package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// Outcome is the result of a request.
type Outcome string

// The outcomes.
const (
	Delivered Outcome = "delivered" // the app answered 2xx
	Failed    Outcome = "failed"    // the app did not: see the reason
	Stored    Outcome = "stored"    // in the inbox, answered 2xx: see the reason
	Duplicate Outcome = "duplicate" // already accepted by the app
	Observed  Outcome = "observed"  // not genuine, but forwarded
	Handshake Outcome = "handshake" // answered by the gateway
	Rejected  Outcome = "rejected"
)

const outcomeCount = 7

var outcomes = [outcomeCount]Outcome{Delivered, Failed, Stored, Duplicate, Observed, Handshake, Rejected}

// reasons are the reasons that do not concern authenticity ("" is a failure of the
// gateway itself), those of a failing app, and those of the verifier.
var reasons = func() []string {
	all := []string{
		"", "method_not_allowed", "unclean_path", "method_in_query", "field_in_query", "body_too_large", "body_incomplete", "body_timeout",
		"overloaded", "in_flight", "store_down", "key_unavailable", "handshake_failed", "no_upstream",
	}
	all = append(all, failures...)
	all = append(all, stored...)
	for _, r := range verifier.Reasons {
		all = append(all, string(r))
	}
	return all
}()

// failures are the reasons of Failed.
var failures = []string{"status_3xx", "status_4xx", "status_5xx", "timeout", "unreachable", "aborted"}

// forgeries are the reasons of a wrong key, for which a sender without any genuine
// delivery alerts.
var forgeries = []string{string(verifier.SignatureMismatch), string(verifier.MalformedSignature)}

// stored are the reasons of Stored, besides those of a failing app.
var stored = []string{"first", "held", "late", "copy"}

// otherReason replaces an unlisted reason.
const otherReason = "other"

// Stage is a measured part of a delivery's path.
type Stage string

// The stages.
const (
	Read     Stage = "read"     // the body arrives
	Verify   Stage = "verify"   // the signature
	Claim    Stage = "claim"    // the dedupe store, and the wait for a copy in flight
	Upstream Stage = "upstream" // the app
)

// Keys are the keys of one handler.
type Keys interface {
	// Labels returns the labels of the keys in use. It must not acquire a lock that is
	// held during calls to Counters.
	Labels() []string
}

// Counters are the counters of all handlers with one name.
type Counters struct {
	name   string
	stages map[Stage]prometheus.Histogram // never changed

	mu            sync.Mutex
	keys          map[Keys]bool // of the handlers in use
	counts        map[Outcome]map[string]uint64
	hour          hour
	lastDelivered time.Time
	used          map[string]time.Time // by key label
	keyErrors     uint64
	bypassed      map[string]uint64 // by why
	lookups       map[string]uint64 // of tenants, by result
	skews         skews
}

// Totals are the counts of a name since the process started.
type Totals struct {
	Delivered, Duplicates, Handshakes  uint64
	Failed, Stored, Observed, Rejected map[string]uint64 // by reason, without zeros
	Bypassed                           map[string]uint64 // by why
	KeyErrors                          uint64
	Lookups                            map[string]uint64 // of tenants, by result; empty without any
	LastDelivered                      time.Time         // the last 2xx of the app; zero: never
	Keys                               []KeyUse          // by label
	Skew                               time.Duration
	SkewKnown                          bool // enough deliveries for Skew
}

// KeyUse is the time at which a key last verified a delivery; zero: not since the
// process started. Label is valid UTF-8, even if the file's name is not.
type KeyUse struct {
	Label string
	Last  time.Time
}

// byName holds the process's counters by handler name. Entries are never removed:
// only configurations add names.
var byName struct {
	sync.Mutex
	counters map[string]*Counters
}

// Of returns the counters of a name.
func Of(name string) *Counters {
	byName.Lock()
	defer byName.Unlock()
	c := byName.counters[name]
	if c == nil {
		c = &Counters{
			name: name, stages: make(map[Stage]prometheus.Histogram), keys: make(map[Keys]bool),
			counts: make(map[Outcome]map[string]uint64), used: make(map[string]time.Time), bypassed: make(map[string]uint64),
			lookups: make(map[string]uint64),
		}
		for _, s := range []Stage{Read, Verify, Claim, Upstream} {
			c.stages[s] = durations.WithLabelValues(name, string(s)).(prometheus.Histogram)
		}
		for _, o := range outcomes {
			c.counts[o] = make(map[string]uint64)
		}
		if byName.counters == nil {
			byName.counters = make(map[string]*Counters)
		}
		byName.counters[name] = c
	}
	return c
}

// inUse returns the counters with a handler, sorted by name.
func inUse() (all []*Counters) {
	byName.Lock()
	defer byName.Unlock()
	for _, name := range slices.Sorted(maps.Keys(byName.counters)) {
		c := byName.counters[name]
		c.mu.Lock()
		if len(c.keys) > 0 {
			all = append(all, c)
		}
		c.mu.Unlock()
	}
	return all
}

// Join shows the counters until Leave for the handler with these keys.
func (c *Counters) Join(k Keys) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[k] = true
}

// Leave removes the handler, and the keys that no other handler has.
func (c *Counters) Leave(k Keys) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keys, k)
	c.prune()
}

// KeysChanged removes the keys that no handler has any longer.
func (c *Counters) KeysChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prune()
}

func (c *Counters) prune() {
	labels := c.labels()
	maps.DeleteFunc(c.used, func(label string, _ time.Time) bool { return !slices.Contains(labels, label) })
}

// labels returns the key labels of all handlers, each once.
func (c *Counters) labels() (labels []string) {
	for k := range c.keys {
		labels = append(labels, k.Labels()...)
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// KeyUsed records that a key verified a delivery. It ignores a key that has been
// removed meanwhile.
func (c *Counters) KeyUsed(label string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.used[label]; known || slices.Contains(c.labels(), label) {
		c.used[label] = now
	}
}

// KeyFailed counts a failure to read or fetch a key.
func (c *Counters) KeyFailed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keyErrors++
}

// TenantLookup counts a look-up of a tenant's keys. results are a closed list.
func (c *Counters) TenantLookup(result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lookups[result]++
}

// Count counts a finished request. An unlisted reason counts as "other".
func (c *Counters) Count(o Outcome, reason string, now time.Time) {
	if !slices.Contains(reasons, reason) {
		reason = otherReason
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[o][reason]++
	c.hour.count(o, now)
	if o == Delivered {
		c.lastDelivered = now
	}
}

// Bypassed counts a delivery that the inbox did not store. An unlisted reason counts
// as "other".
func (c *Counters) Bypassed(why string) {
	if !slices.Contains(whys, why) {
		why = otherReason
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bypassed[why]++
}

// Observe records the duration of a stage.
func (c *Counters) Observe(s Stage, took time.Duration) { c.stages[s].Observe(took.Seconds()) }

// Totals returns the counts.
func (c *Counters) Totals() Totals {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := Totals{
		Delivered: c.counts[Delivered][""], Duplicates: c.counts[Duplicate][""], Handshakes: c.counts[Handshake][""],
		Failed: maps.Clone(c.counts[Failed]), Observed: maps.Clone(c.counts[Observed]), Rejected: maps.Clone(c.counts[Rejected]),
		Stored: maps.Clone(c.counts[Stored]), Bypassed: maps.Clone(c.bypassed), KeyErrors: c.keyErrors, Lookups: maps.Clone(c.lookups), LastDelivered: c.lastDelivered,
	}
	t.Skew, t.SkewKnown = c.skews.typical()
	for _, label := range c.labels() {
		k := KeyUse{Label: strings.ToValidUTF8(label, "\uFFFD"), Last: c.used[label]}
		if n := len(t.Keys); n > 0 && t.Keys[n-1].Label == k.Label {
			if k.Last.After(t.Keys[n-1].Last) {
				t.Keys[n-1].Last = k.Last
			}
			continue
		}
		t.Keys = append(t.Keys, k)
	}
	return t
}
