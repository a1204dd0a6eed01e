package caddymodule

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/logging"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

func TestInboxMetrics(t *testing.T) {
	named := func(name string) string { return strings.Replace(once(keepingInbox), `"acme"`, `"`+name+`"`, 1) }
	g := stocked(t, named("boxed-a"), named("boxed-b"), strings.Replace(once(), `"acme"`, `"unboxed"`, 1))
	serve(t, post(), accepting, g.handlers[0])
	g.dead(t, &inbox.Delivery{Key: inbox.Key{9}, Queue: inbox.Queue{Handler: "gone"}, Received: clock})
	g.handlers[1].metrics.Bypassed("full")
	retried := inbox.Key{8}
	g.ends(t, &inbox.Delivery{Key: retried, Queue: inbox.Queue{Handler: "boxed-b"}, Received: clock}, inbox.Result{Status: 500})
	if _, err := g.box().Engine().Discard(t.Context(), inbox.Selection{Keys: []inbox.Key{retried}}); err != nil {
		t.Fatal(err)
	}
	samples := g.samples(t)
	for sample, want := range map[string]float64{
		`inbox_deliveries{name="boxed-a",state="pending"}`:       1,
		`inbox_deliveries{name="boxed-b",state="pending"}`:       0,
		`inbox_deliveries{name="gone",state="dead"}`:             1,
		`inbox_oldest_seconds{name="boxed-b"}`:                   0,
		`inbox_attempts_total{name="boxed-b",outcome="retry"}`:   1,
		`inbox_attempts_total{name="boxed-a",outcome="dead"}`:    0,
		`inbox_bypassed_total{name="boxed-b",why="full"}`:        1,
		`inbox_bypassed_total{name="boxed-a",why="unavailable"}`: 0,
		`inbox_degraded{}`:    0,
		`inbox_limit_bytes{}`: 1 << 30,
		`requests_total{name="boxed-a",outcome="stored",reason="held"}`: 1,
	} {
		if got, ok := samples[sample]; !ok || got != want {
			t.Errorf("%s: %v, shown %t, want %v", sample, got, ok, want)
		}
	}
	if samples[`inbox_bytes{}`] == 0 || samples[`inbox_oldest_seconds{name="boxed-a"}`] == 0 {
		t.Errorf("bytes %v, oldest %v", samples[`inbox_bytes{}`], samples[`inbox_oldest_seconds{name="boxed-a"}`])
	}
	for sample := range samples {
		if strings.HasPrefix(sample, "inbox_") && strings.Contains(sample, "unboxed") {
			t.Errorf("a handler without an inbox: %s", sample)
		}
	}
}

func TestWithoutAnInboxNoMetricsOfIt(t *testing.T) {
	g := running(t, "", once())
	for sample := range g.samples(t) {
		if strings.HasPrefix(sample, "inbox_") {
			t.Errorf("%s", sample)
		}
	}
}

// TestAnInboxThatDoesNotOpen: a metric and the status say so, and deliveries go on.
func TestAnInboxThatDoesNotOpen(t *testing.T) {
	g := mustProvision(t, "", once(keepingInbox))
	g.app.inbox.Module = &failingInbox{}
	g.start(t)
	if got := g.samples(t)[`inbox_degraded{}`]; got != 1 {
		t.Errorf("inbox_degraded is %v", got)
	}
	if s := get[adminapi.Status](t, adminapi.StatusPath); s.Inbox != nil || s.Handlers[0].Inbox != nil {
		t.Errorf("status %+v", s)
	}
}

type failingInbox struct{ boxes.Bolt }

func (*failingInbox) Identity() string { return "failing" }

func (*failingInbox) Engine(*slog.Logger) (inbox.Engine, error) { return nil, errors.New("no") }

func TestInboxStatus(t *testing.T) {
	named := func(name string) string { return strings.Replace(once(keepingInbox), `"acme"`, `"`+name+`"`, 1) }
	g := stocked(t, named("stat-a"), strings.Replace(once(), `"acme"`, `"stat-b"`, 1))
	serve(t, post(), accepting, g.handlers[0])
	g.dead(t, &inbox.Delivery{Key: inbox.Key{9}, Queue: inbox.Queue{Handler: "stat-a", Tenant: "t"}, Received: clock})
	g.handlers[0].metrics.Bypassed("full")
	s := get[adminapi.Status](t, adminapi.StatusPath)
	if s.Inbox == nil || s.Inbox.Kind != "bolt" || s.Inbox.Bytes == 0 || s.Inbox.Problem != "" {
		t.Errorf("the engine: %+v", s.Inbox)
	}
	a := s.Handlers[0]
	if q := a.Inbox; q == nil || q.Pending != 1 || q.Dead != 1 || q.Oldest == nil || !q.Paused || q.DownSince != nil || a.Stored["held"] != 1 || a.Bypassed["full"] != 1 {
		t.Errorf("%+v, %+v", a, a.Inbox)
	}
	if s.Handlers[1].Inbox != nil {
		t.Errorf("without an inbox: %+v", s.Handlers[1].Inbox)
	}
}

// TestWhysAreListed: a reason that is not in the list of metrics counts as other.
func TestWhysAreListed(t *testing.T) {
	c := metrics.Of("whys")
	for _, why := range []inbox.Why{inbox.WhyUnavailable, inbox.WhyTimeout, inbox.WhyFull, inbox.WhyShare, inbox.WhyDisk} {
		c.Bypassed(string(why))
		if c.Totals().Bypassed[string(why)] != 1 {
			t.Errorf("%s is not listed", why)
		}
	}
}

// TestDeadLettersAreLoggedWithinALimit: an app that refuses everything fills no disk.
func TestDeadLettersAreLoggedWithinALimit(t *testing.T) {
	g := stocked(t, once(keepingInbox))
	g.logs.TakeAll()
	for i := range 100 {
		g.ends(t, &inbox.Delivery{Key: inbox.Key{byte(i)}, Queue: inbox.Queue{Handler: "acme"}, Received: clock}, inbox.Result{Status: 410})
	}
	if n := g.logs.FilterMessageSnippet("dead letter").Len(); n < logging.MaxLines || n > 3*logging.MaxLines {
		t.Errorf("%d lines of 100 dead letters", n)
	}
}
