package caddymodule

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// The descriptions of all metrics. Labels are bounded: names and key labels come
// from the configuration in force, reasons and stages from closed lists.
var (
	requestsTotal = describe("requests_total",
		"Deliveries by outcome: accepted (verified and handed on), duplicate (of one that the app took), observed (not genuine, let through), handshake (answered by the gateway), rejected (with a reason).",
		"name", "outcome", "reason")
	lastAccepted = describe("last_accepted_timestamp_seconds",
		"When a delivery was last accepted; absent until the first since the process started.", "name")
	keyLastUsed = describe("key_last_used_timestamp_seconds",
		"When a key last verified a delivery; absent until the first since the process started.", "name", "key")
	timestampSkew = describe("timestamp_skew_seconds",
		"Our clock less the timestamps of the newest verified deliveries: the youngest of them, or the median where most are from the future. Absent where a sender signs no time, and before the fourth.", "name")
	keyErrors = describe("key_errors_total",
		"Attempts to read a key file or to fetch a sender's key that failed; the last usable key stays in use.", "name")
	bufferedBytes = describe("buffered_bytes", "Bytes charged to max_buffered, over all handlers: bodies in memory, and 64 KiB for each delivery that the app is working on.")
	storeDegraded = describe("store_degraded",
		"1 while a dedupe store is taken for down and this process decides alone, or while its file cannot be opened or written.")
	evictedEarly = describe("evicted_early_total",
		"Deliveries forgotten before their window ended, for want of room: raise max_entries.")
)

var durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
	Name:    "caddy_verify_webhook_duration_seconds",
	Help:    "Time of a delivery's stages: read (its body arrives), verify (the signature), claim (the dedupe store, and the wait for a copy in flight), upstream (the app).",
	Buckets: stageSeconds,
}, []string{"name", "stage"})

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("caddy_verify_webhook_"+name, help, labels, nil)
}

// collector gives what the process has counted. Each configuration registers
// it in its own registry, so that counts go on over a reload; what it shows
// are the names and keys of configurations that are in use.
type collector struct{}

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsTotal, lastAccepted, timestampSkew, keyLastUsed, keyErrors, bufferedBytes, storeDegraded, evictedEarly} {
		ch <- d
	}
	durations.Describe(ch)
}

// Collect implements prometheus.Collector.
func (collector) Collect(ch chan<- prometheus.Metric) {
	for _, t := range talliesInUse() {
		t.collect(ch)
	}
	degraded, evicted := 0.0, 0.0
	eachGate(func(g *dedupe.Gate) {
		s := g.Stats()
		if s.Degraded {
			degraded = 1
		}
		evicted += float64(s.EvictedEarly)
	})
	ch <- gauge(bufferedBytes, float64(buffered.used.Load()))
	ch <- gauge(storeDegraded, degraded)
	ch <- counter(evictedEarly, evicted)
}

func (t *tally) collect(ch chan<- prometheus.Metric) {
	requests := func(n uint64, outcome ending, reason string) {
		ch <- counter(requestsTotal, float64(n), t.name, string(outcome), reason)
	}
	requests(t.accepted.Load(), endedAccepted, "")
	requests(t.duplicates.Load(), endedDuplicate, "")
	requests(t.handshakes.Load(), endedHandshake, "")
	for _, of := range []struct {
		outcome ending
		counts  map[string]uint64
	}{{endedObserved, t.observed.counts()}, {endedRejected, t.rejected.counts()}} {
		for _, reason := range slices.Sorted(maps.Keys(of.counts)) {
			requests(of.counts[reason], of.outcome, reason)
		}
	}
	ch <- counter(keyErrors, float64(t.keyErrors.Load()), t.name)
	for _, h := range t.stages {
		ch <- h
	}
	if at := t.lastAccepted.Load(); at != 0 {
		ch <- gauge(lastAccepted, seconds(at), t.name)
	}
	if skew, ok := t.skews.typical(); ok {
		ch <- gauge(timestampSkew, skew.Seconds(), t.name)
	}
	for _, k := range t.keys() {
		if k.used != 0 {
			ch <- gauge(keyLastUsed, seconds(k.used), t.name, k.label)
		}
	}
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

// seconds makes of nanoseconds since 1970 what Prometheus takes for a time.
func seconds(nanoseconds int64) float64 { return float64(nanoseconds) / float64(time.Second) }

func registerMetrics(registry *prometheus.Registry) error {
	if registry == nil { // a handler provisioned outside a configuration
		return nil
	}
	err := registry.Register(collector{})
	if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return nil // by another handler of the configuration
	}
	return err
}

// Interface guard
var _ prometheus.Collector = collector{}
