package caddymodule

import (
	"context"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/history"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// A report describes one request in Caddy's access log and trace.
type report struct {
	name, provider string
	tenant         string // "" without tenants, or if the name cannot be one
	outcome        metrics.Outcome
	reason         string // "" for a success
	delivery       string // its key in hex, or ""
	key            string // the label of the key that verified it
	rejection      string // the id of the kept rejection
	attempt        int    // from the inbox, counted from 1; 0: on receipt
}

// end records how a request ended: in the counters, the history, the access log and
// the trace.
func (d *delivery) end(e metrics.Outcome, reason string) {
	d.note(e, reason)
	d.report(e, reason)
}

// note records how a request ended in the counters and the history.
func (d *delivery) note(e metrics.Outcome, reason string) {
	d.remember(e, reason, d.status, d.appTook)
	d.h.metrics.Count(e, reason, d.h.now())
}

// report records how a request ended in the access log and the trace, which belong to
// the handler's goroutine.
func (d *delivery) report(e metrics.Outcome, reason string) {
	r := report{
		name: d.h.Name, provider: d.h.providerID(), tenant: d.tenant, outcome: e, reason: reason,
		delivery: d.key, key: d.verifiedBy, rejection: d.rejection, attempt: d.attempts,
	}
	ctx := d.r.Context()
	r.log(ctx)
	r.trace(ctx)
}

// remember keeps a verified delivery for the operator, if configured. Unverified
// requests must not displace it.
func (d *delivery) remember(o metrics.Outcome, reason string, status int, took time.Duration) {
	most := d.h.app.deliveriesPerHandler()
	if most == 0 || d.verifiedBy == "" {
		return
	}
	id, event, hidden := d.id, d.event, d.keys
	if d.attempts > 0 && d.tenant != "" { // an attempt of the inbox needs no key of the tenant
		if hidden = d.tenantCached(); hidden == nil {
			id, event = "", "" // which may hold one
		}
	}
	recent.Add(history.Delivery{
		Name: d.h.Name, Provider: d.h.providerID(), Tenant: d.tenant, Time: d.came, Outcome: o, Reason: reason, Status: status, App: took,
		ID: id, Event: event, Key: d.verifiedBy, Delivery: d.key, Keys: hidden,
	}, most)
}

// outcomeOf returns the app's result for a delivery, by its status or by the error of
// the following handlers. reverse_proxy returns 502 or 503 if it reaches no app, and
// 504 if the app does not answer in time.
func outcomeOf(status int, err error) (metrics.Outcome, string) {
	if err != nil {
		status = errorStatus(err)
		switch status {
		case http.StatusGatewayTimeout:
			return metrics.Failed, "timeout"
		case http.StatusBadGateway, http.StatusServiceUnavailable:
			return metrics.Failed, "unreachable"
		}
	}
	switch status / 100 {
	case 2:
		return metrics.Delivered, ""
	case 3:
		return metrics.Failed, "status_3xx"
	case 4:
		return metrics.Failed, "status_4xx"
	}
	return metrics.Failed, "status_5xx" // RFC 9110 §15 says to treat an invalid status as a 5xx
}

// log adds the report to the access log line, as the object webhook, if the server
// has an access log.
func (r *report) log(ctx context.Context) {
	if server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); server != nil && server.Logs == nil {
		return
	}
	if extra, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		copied := *r // only this copy escapes
		extra.Set(zap.Object("webhook", &copied))
	}
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (r *report) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for _, f := range []struct{ name, value string }{
		{"name", r.name}, {"provider", r.provider}, {"tenant", r.tenant}, {"outcome", string(r.outcome)}, {"reason", r.reason},
		{"delivery", r.delivery}, {"key", r.key}, {"rejection", r.rejection},
	} {
		if f.value != "" {
			enc.AddString(f.name, f.value)
		}
	}
	if r.attempt > 0 {
		enc.AddInt("attempt", r.attempt)
	}
	return nil
}

// trace adds the report to the span of Caddy's tracing handler, if it is recorded.
func (r *report) trace(ctx context.Context) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{
		attribute.String("webhook.name", r.name),
		attribute.String("webhook.outcome", string(r.outcome)),
		attribute.Bool("webhook.duplicate", r.outcome == metrics.Duplicate),
	}
	for _, a := range []struct{ name, value string }{
		{"webhook.provider", r.provider}, {"webhook.tenant", r.tenant}, {"webhook.reason", r.reason}, {"webhook.delivery", r.delivery},
	} {
		if a.value != "" {
			attributes = append(attributes, attribute.String(a.name, a.value))
		}
	}
	span.SetAttributes(attributes...)
}

// took records the duration of a stage: "defer d.took(stage, time.Now())".
func (d *delivery) took(s metrics.Stage, began time.Time) {
	d.h.metrics.Observe(s, time.Since(began))
}

// noteSkew records when a verified delivery was signed, and warns before clocks
// differ so much that deliveries are refused.
func (d *delivery) noteSkew(signed time.Time) {
	now := d.h.now()
	if skew, warn := d.h.metrics.NoteSkew(now.Sub(signed), now); warn {
		d.h.logger.Warn("the clock of this machine and the sender's differ; beyond the tolerance every delivery is refused: check the time synchronisation of this machine",
			zap.String("name", d.h.Name), zap.Duration("skew", skew))
	}
}

// gauges returns the figures that metrics show besides their own counters.
func gauges() metrics.Figures {
	f := metrics.Figures{Buffered: buffered.used.Load(), Inbox: inboxes.Figures()}
	eachGate(func(g *dedupe.Gate) {
		s := g.Stats()
		f.Degraded = f.Degraded || s.Degraded
		f.EvictedEarly += s.EvictedEarly
	})
	f.Tenants = make(map[string]int)
	if app := current(); app != nil {
		for _, h := range app.named("") {
			if h.tenants != nil {
				f.Tenants[h.Name] += h.tenants.cache.Len()
			}
		}
	}
	return f
}

// Interface guard
var _ zapcore.ObjectMarshaler = (*report)(nil)
