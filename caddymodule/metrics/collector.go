package metrics

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/verify-webhook/caddy-verify-webhook/internal/version"
)

// The descriptions of all metrics.
var (
	requestsTotal = describe("requests_total",
		"Deliveries by outcome: delivered (the app answered 2xx), failed (it did not, with a reason), stored (in the inbox, answered 2xx, with a reason), duplicate (already accepted by the app), observed (not genuine, but forwarded), handshake (answered by the gateway), rejected (with a reason).",
		"name", "outcome", "reason")
	lastDelivered = describe("last_delivered_timestamp_seconds",
		"Time at which the app last answered a delivery with 2xx; absent until the first since the process started.", "name")
	keyLastUsed = describe("key_last_used_timestamp_seconds",
		"Time at which a key last verified a delivery; absent until the first since the process started.", "name", "key")
	timestampSkew = describe("timestamp_skew_seconds",
		"This clock minus the timestamps of the latest verified deliveries: the smallest difference, or the median if most are from the future. Absent if the sender signs no timestamp, and before the fourth delivery.", "name")
	keyErrors = describe("key_errors_total",
		"Failed attempts to read a key file, to fetch a sender's key or to look up a tenant's; the last usable key stays in use. Requests for keys that do not exist, and limits, do not count: strangers cause them.", "name")
	tenantsCached = describe("tenants_cached", "Tenants whose keys are cached.", "name")
	tenantLookups = describe("tenant_lookups_total",
		"Look-ups of tenants' keys by result: found, unknown, failed (also in key_errors_total), limited (the source may not be asked yet). Deliveries whose tenant's keys are cached make none.",
		"name", "result")
	bufferedBytes = describe("buffered_bytes", "Bytes charged to max_buffered by all handlers: bodies in memory, and 64 KiB for each delivery in progress at the app.")
	storeDegraded = describe("store_degraded",
		"1 while a dedupe store is considered down, or while its file cannot be opened or written.")
	buildInfo    = describe("build_info", "1, with the version of verify_webhook in this process: (devel) is a build that records none.", "version")
	evictedEarly = describe("evicted_early_total",
		"Deliveries forgotten before their window ended, for lack of space: raise max_entries.")

	// The buckets serve two scales. The gateway's own stages, verify and claim, take
	// micro- to milliseconds, plus at most 500 ms for a round trip to the store (the
	// budget of a call). The body and the app count against the sender's timeout: 3 s
	// at Slack and Discord, 5 s at Shopify, 10 s at GitHub and Adyen, 15 s at Svix, 30 s
	// at the most patient; the app has upstream_timeout, 60 s.
	durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "caddy_verify_webhook_duration_seconds",
		Help:    "Duration of a delivery's stages: read (the body), verify (the signature), claim (the dedupe store, and the wait for a copy in flight), upstream (the app).",
		Buckets: []float64{.0001, .001, .005, .025, .1, .5, 1, 3, 5, 10, 15, 30, 60},
	}, []string{"name", "stage"})
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("caddy_verify_webhook_"+name, help, labels, nil)
}

// Figures are process figures kept by other packages.
type Figures struct {
	Buffered     int64          // bytes charged to max_buffered
	Degraded     bool           // a dedupe store is down
	EvictedEarly uint64         // deliveries forgotten too early
	Tenants      map[string]int // cached, by the name of a handler that has some
	Inbox        Inbox
}

// Gauges returns the figures. It is called for every scrape, and must not wait.
type Gauges func() Figures

// Register adds the counters to a configuration's registry. Each configuration has its
// own registry, while counts continue over a reload. A second call for a registry
// changes nothing. A nil registry, of a handler outside a configuration, is ignored.
func Register(registry *prometheus.Registry, g Gauges) error {
	if registry == nil {
		return nil
	}
	err := registry.Register(collector{g})
	if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return nil // by another handler of the configuration
	}
	return err
}

type collector struct{ gauges Gauges }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsTotal, lastDelivered, timestampSkew, keyLastUsed, keyErrors, tenantsCached, tenantLookups, bufferedBytes, storeDegraded, evictedEarly, buildInfo} {
		ch <- d
	}
	for _, d := range inboxDescriptions {
		ch <- d
	}
	durations.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, counters := range inUse() {
		counters.collect(ch)
	}
	f := c.gauges()
	ch <- gauge(bufferedBytes, float64(f.Buffered))
	down := 0.0
	if f.Degraded {
		down = 1
	}
	ch <- gauge(storeDegraded, down)
	ch <- gauge(buildInfo, 1, version.Module())
	ch <- counter(evictedEarly, float64(f.EvictedEarly))
	for _, name := range slices.Sorted(maps.Keys(f.Tenants)) {
		ch <- gauge(tenantsCached, float64(f.Tenants[name]), name)
	}
	f.Inbox.collect(ch)
}

func (c *Counters) collect(ch chan<- prometheus.Metric) {
	t := c.Totals()
	requests := func(o Outcome, counts map[string]uint64) {
		for _, reason := range slices.Sorted(maps.Keys(counts)) {
			ch <- counter(requestsTotal, float64(counts[reason]), c.name, string(o), reason)
		}
	}
	requests(Delivered, map[string]uint64{"": t.Delivered})
	for _, reason := range failures { // from zero on, so that an alert sees the first
		t.Failed[reason] += 0
	}
	requests(Failed, t.Failed)
	requests(Stored, t.Stored)
	requests(Duplicate, map[string]uint64{"": t.Duplicates})
	requests(Handshake, map[string]uint64{"": t.Handshakes})
	requests(Observed, t.Observed)
	for _, reason := range forgeries { // likewise
		t.Rejected[reason] += 0
	}
	requests(Rejected, t.Rejected)
	ch <- counter(keyErrors, float64(t.KeyErrors), c.name)
	for _, result := range slices.Sorted(maps.Keys(t.Lookups)) {
		ch <- counter(tenantLookups, float64(t.Lookups[result]), c.name, result)
	}
	for _, h := range c.stages {
		ch <- h
	}
	if !t.LastDelivered.IsZero() {
		ch <- gauge(lastDelivered, seconds(t.LastDelivered), c.name)
	}
	if t.SkewKnown {
		ch <- gauge(timestampSkew, t.Skew.Seconds(), c.name)
	}
	for _, k := range t.Keys {
		if !k.Last.IsZero() {
			ch <- gauge(keyLastUsed, seconds(k.Last), c.name, k.Label)
		}
	}
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

// seconds converts a time to Unix seconds, the unit of Prometheus.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / float64(time.Second) }
