package caddymodule

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// The collectors belong to the process: each configuration registers the same
// ones in its own registry, so that counts go on over a reload. Labels are
// bounded: names come from the configuration, reasons from a closed list.
var collectors struct {
	once      sync.Once
	requests  *prometheus.CounterVec
	keyErrors *prometheus.CounterVec
	buffered  prometheus.GaugeFunc
	degraded  prometheus.GaugeFunc
	evicted   prometheus.CounterFunc
}

func initMetrics() {
	collectors.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "verify_webhook", Name: "requests_total",
		Help: "Deliveries by outcome: accepted (verified and handed on), duplicate (of one that the app took), observed (not genuine, let through), handshake (answered by the gateway), rejected (with a reason).",
	}, []string{"name", "outcome", "reason"})
	collectors.keyErrors = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "verify_webhook", Name: "key_errors_total",
		Help: "Attempts to read a key file that failed; the last usable key stays in use.",
	}, []string{"name"})
	collectors.buffered = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "verify_webhook", Name: "buffered_bytes",
		Help: "Bytes of bodies in memory, over all handlers.",
	}, func() float64 { return float64(buffered.used.Load()) })
	collectors.degraded = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "verify_webhook", Name: "store_degraded",
		Help: "1 while a dedupe store is taken for down and this process decides alone.",
	}, func() float64 {
		degraded := 0.0
		eachGate(func(g *dedupe.Gate) {
			if g.Stats().Degraded {
				degraded = 1
			}
		})
		return degraded
	})
	collectors.evicted = prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "verify_webhook", Name: "evicted_early_total",
		Help: "Deliveries forgotten before their window ended, for want of room: raise max_entries.",
	}, func() (n float64) {
		eachGate(func(g *dedupe.Gate) { n += float64(g.Stats().EvictedEarly) })
		return n
	})
}

func registerMetrics(registry *prometheus.Registry) error {
	if registry == nil { // a handler provisioned outside a configuration
		return nil
	}
	for _, c := range []prometheus.Collector{collectors.requests, collectors.keyErrors, collectors.buffered, collectors.degraded, collectors.evicted} {
		err := registry.Register(c)
		if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !ok {
			return err
		}
	}
	return nil
}

// handlerMetrics counts for one handler.
type handlerMetrics struct {
	requests  *prometheus.CounterVec
	keyErrors prometheus.Counter
}

func metricsFor(name string) handlerMetrics {
	collectors.once.Do(initMetrics)
	return handlerMetrics{
		requests:  collectors.requests.MustCurryWith(prometheus.Labels{"name": name}),
		keyErrors: collectors.keyErrors.WithLabelValues(name),
	}
}

func (m handlerMetrics) accepted() { m.requests.WithLabelValues("accepted", "").Inc() }

func (m handlerMetrics) duplicate() { m.requests.WithLabelValues("duplicate", "").Inc() }

func (m handlerMetrics) handshake() { m.requests.WithLabelValues("handshake", "").Inc() }

func (m handlerMetrics) observed(reason verifier.Reason) {
	m.requests.WithLabelValues("observed", string(reason)).Inc()
}

func (m handlerMetrics) rejected(reason string) {
	m.requests.WithLabelValues("rejected", reason).Inc()
}

func (m handlerMetrics) keyError() { m.keyErrors.Inc() }
