package caddymodule

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// reported sends r through the handler of g, like a server with access logs and
// tracing, and returns what they got.
func reported(t testing.TB, g *gateway, r *http.Request, next caddyhttp.Handler, server *caddyhttp.Server) (logged map[string]any, traced map[string]any) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(recorder))
	ctx, span := provider.Tracer("test").Start(t.Context(), "request")
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r.WithContext(ctx), caddy.NewReplacer(), w, server)
	_ = g.handlers[0].ServeHTTP(w, r, next)
	span.End()
	traced = make(map[string]any)
	for _, a := range recorder.Ended()[0].Attributes() {
		traced[string(a.Key)] = a.Value.AsInterface()
	}
	g.logs.TakeAll()
	g.ctx.Slogger().InfoContext(r.Context(), "access") // with the fields of the access log
	for _, line := range g.logs.TakeAll() {
		logged, _ = line.ContextMap()["webhook"].(map[string]any)
	}
	return logged, traced
}

// TestReports: the access log and the trace show how each request ended.
func TestReports(t *testing.T) {
	key := theKey.String()
	for name, tc := range map[string]struct {
		config string
		copies int
		alter  func(*http.Request)
		logged map[string]any
		traced map[string]any
	}{
		"delivered": {
			logged: map[string]any{"outcome": "delivered", "key": "1", "delivery": key},
			traced: map[string]any{"webhook.outcome": "delivered", "webhook.duplicate": false, "webhook.delivery": key},
		},
		"duplicate": {
			copies: 1,
			logged: map[string]any{"outcome": "duplicate", "key": "1", "delivery": key},
			traced: map[string]any{"webhook.outcome": "duplicate", "webhook.duplicate": true, "webhook.delivery": key},
		},
		"rejected": {
			alter:  func(r *http.Request) { r.Header.Del("X-Signature") },
			logged: map[string]any{"outcome": "rejected", "reason": "missing_signature", "rejection": "000000000000"},
			traced: map[string]any{"webhook.outcome": "rejected", "webhook.duplicate": false, "webhook.reason": "missing_signature"},
		},
		"observed": {
			config: `"observe":true`,
			alter:  func(r *http.Request) { r.Header.Set("X-Team", "red") },
			logged: map[string]any{"outcome": "observed", "reason": "header_mismatch", "rejection": "000000000000"},
			traced: map[string]any{"webhook.outcome": "observed", "webhook.duplicate": false, "webhook.reason": "header_mismatch"},
		},
		"a limit": {
			alter:  func(r *http.Request) { r.Method = http.MethodGet },
			logged: map[string]any{"outcome": "rejected", "reason": "method_not_allowed", "rejection": "000000000000"},
			traced: map[string]any{"webhook.outcome": "rejected", "webhook.duplicate": false, "webhook.reason": "method_not_allowed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() { kept.NewID = nil }()
			kept.NewID = func() string { return strings.Repeat("0", 12) }
			config := once()
			if tc.config != "" {
				config = once(tc.config)
			}
			g := running(t, "", config)
			for range tc.copies {
				serve(t, post(), accepting, g.handlers...)
			}
			r := post()
			if tc.alter != nil {
				tc.alter(r)
			}
			logged, traced := reported(t, g, r, accepting, &caddyhttp.Server{Logs: new(caddyhttp.ServerLogConfig)})
			tc.logged["name"], tc.traced["webhook.name"] = "acme", "acme"
			if !maps.Equal(logged, tc.logged) {
				t.Errorf("logged %v, want %v", logged, tc.logged)
			}
			if !maps.Equal(traced, tc.traced) {
				t.Errorf("traced %v, want %v", traced, tc.traced)
			}
		})
	}
}

// TestReportsProvider: with a provider, both name it.
func TestReportsProvider(t *testing.T) {
	g := mustProvision(t, "", `{`+acmeInlined+`,"name":"billing","secret":["n9Wd4kTq2"]}`)
	g.start(t)
	logged, traced := reported(t, g, post(), accepting, &caddyhttp.Server{Logs: new(caddyhttp.ServerLogConfig)})
	if logged["provider"] != "acme_inc" || traced["webhook.provider"] != "acme_inc" || logged["name"] != "billing" {
		t.Errorf("logged %v, traced %v", logged, traced)
	}
}

// TestNoReportWithoutReaders: without an access log or a trace, nothing is reported.
func TestNoReportWithoutReaders(t *testing.T) {
	g := mustProvision(t, "", timed())
	g.start(t)
	if logged, _ := reported(t, g, post(), accepting, new(caddyhttp.Server)); len(logged) != 0 {
		t.Errorf("logged %v", logged)
	}
	serve(t, post(), accepting, g.handlers...) // the background span of an untraced request
}

// TestSkewIsVisible as a metric, and as one warning an hour after a full window of
// verified deliveries shows it. Forgeries do not count.
func TestSkewIsVisible(t *testing.T) {
	signedAt := func(at time.Time, key string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-Time", strconv.FormatInt(at.Unix(), 10))
		r.Header.Set("X-Signature", sign(key, strconv.FormatInt(at.Unix(), 10)+"."+body))
		return r
	}
	g := mustProvision(t, "", strings.Replace(acme(topsecret, signedTime), "acme", "skewed", 1))
	at := clock
	defer func() { clock = at }()
	gauge := func() (float64, bool) {
		families, err := g.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "caddy_verify_webhook_timestamp_skew_seconds" {
				for _, m := range f.GetMetric() {
					if m.GetLabel()[0].GetValue() == "skewed" {
						return m.GetGauge().GetValue(), true
					}
				}
			}
		}
		return 0, false
	}
	for range 3 * 16 {
		serve(t, signedAt(clock.Add(-2*time.Minute), "another"), accepting, g.handlers...)
	}
	if v, ok := gauge(); ok {
		t.Errorf("forgeries make it %v", v)
	}
	g.logs.TakeAll()
	for range 3 * 16 {
		serve(t, signedAt(clock.Add(-2*time.Minute), "n9Wd4kTq2"), accepting, g.handlers...)
	}
	if v, ok := gauge(); !ok || v != 120 {
		t.Errorf("the gauge is %v, %t; want 120", v, ok)
	}
	warned := func() int { return g.logs.FilterMessageSnippet("the sender's differ").Len() }
	if n := warned(); n != 1 {
		t.Errorf("warned %d times in an hour, want once", n)
	}
	clock = clock.Add(time.Hour)
	for range 16 {
		serve(t, signedAt(clock.Add(2*time.Minute), "n9Wd4kTq2"), accepting, g.handlers...)
	}
	if v, _ := gauge(); v != -120 || warned() != 2 {
		t.Errorf("the gauge is %v, warned %d times; want -120 and twice", v, warned())
	}
}

// TestOutcomesOfTheApp: only a 2xx of the app makes a delivery delivered.
func TestOutcomesOfTheApp(t *testing.T) {
	answer := func(status int) caddyhttp.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(status); return nil }
	}
	fail := func(err error) caddyhttp.HandlerFunc {
		return func(http.ResponseWriter, *http.Request) error { return err }
	}
	for name, tc := range map[string]struct {
		app             caddyhttp.HandlerFunc
		outcome, reason string
	}{
		"200":                      {answer(200), "delivered", ""},
		"204":                      {answer(204), "delivered", ""},
		"a redirect":               {answer(302), "failed", "status_3xx"},
		"404":                      {answer(404), "failed", "status_4xx"},
		"500":                      {answer(500), "failed", "status_5xx"},
		"600":                      {answer(600), "failed", "status_5xx"},
		"999":                      {answer(999), "failed", "status_5xx"},
		"an error that says 999":   {fail(caddyhttp.Error(999, errors.New("broken"))), "failed", "status_5xx"},
		"no connection":            {fail(caddyhttp.Error(502, errors.New("dial tcp: connection refused"))), "failed", "unreachable"},
		"no healthy upstream":      {fail(caddyhttp.Error(503, errors.New("no upstreams available"))), "failed", "unreachable"},
		"no answer in time":        {fail(caddyhttp.Error(504, errors.New("net/http: timeout awaiting response headers"))), "failed", "timeout"},
		"upstream_timeout":         {fail(context.DeadlineExceeded), "failed", "timeout"},
		"a handler's own error":    {fail(caddyhttp.Error(429, errors.New("rate limit"))), "failed", "status_4xx"},
		"an error without status":  {fail(errors.New("broken")), "failed", "status_5xx"},
		"an error that says 200":   {fail(caddyhttp.Error(200, errors.New("broken"))), "failed", "status_5xx"},
		"a 200 broken off":         {func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(200); panic(http.ErrAbortHandler) }, "failed", "aborted"},
		"a panic before an answer": {func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }, "failed", "aborted"},
		"broken off once settled": {func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = w.Write(make([]byte, maxHeld+1))
			panic(http.ErrAbortHandler)
		}, "delivered", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := mustProvision(t, "", once())
			g.start(t)
			before, last := g.count(t, tc.outcome, tc.reason), g.handlers[0].metrics.Totals().LastDelivered
			at := clock
			defer func() { clock = at }()
			if !last.IsZero() {
				clock = last.Add(time.Minute)
			}
			func() {
				defer func() { _ = recover() }()
				serve(t, post(), tc.app, g.handlers...)
			}()
			if n := g.count(t, tc.outcome, tc.reason) - before; n != 1 {
				t.Errorf("%s %s was counted %v times", tc.outcome, tc.reason, n)
			}
			if moved := g.handlers[0].metrics.Totals().LastDelivered.After(last); moved != (tc.outcome == "delivered") {
				t.Errorf("last delivered moved: %t", moved)
			}
		})
	}
}
