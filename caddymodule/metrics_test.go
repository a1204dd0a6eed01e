package caddymodule

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
)

// samples collects all our samples as name{label="value",…} with their values; for a
// histogram its count.
func (g *gateway) samples(t testing.TB) map[string]float64 {
	t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	samples := make(map[string]float64)
	for _, f := range families {
		name, ours := strings.CutPrefix(f.GetName(), "caddy_verify_webhook_")
		if !ours {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if h := m.GetHistogram(); h != nil {
				value = float64(h.GetSampleCount())
			}
			samples[name+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return samples
}

// TestMetricLabels: whatever senders send, label values come from the configuration
// and closed lists.
func TestMetricLabels(t *testing.T) {
	g := mustProvision(t, "", timed(`"observe":true`), strings.Replace(timed(), `"acme"`, `"bravo"`, 1))
	g.start(t)
	for reason, tc := range outcomes {
		for _, h := range g.handlers {
			r := post()
			r.Header.Set("X-Stranger", reason)
			r.URL.Path, r.RemoteAddr = "/"+reason, reason
			if tc.alter != nil {
				tc.alter(r)
			}
			next := tc.next
			if next == nil {
				next = accepting
			}
			serve(t, r, next, h)
		}
	}
	serve(t, post(), accepting, g.handlers[1])
	allowed := map[string][]string{
		"name":    {"acme", "bravo"},
		"outcome": {"delivered", "failed", "stored", "duplicate", "handshake", "observed", "rejected"},
		"reason":  append(slices.Collect(maps.Keys(outcomes)), "", "status_3xx", "status_4xx", "status_5xx", "timeout", "unreachable", "aborted", "handshake_mismatch", "in_flight", "store_down", "first", "held", "late", "other"),
		"stage":   {"read", "verify", "claim", "upstream"},
		"key":     {"1"},
		"result":  {"found", "unknown", "failed", "limited"},
		"version": {"(devel)"},
	}
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "caddy_verify_webhook_") {
			continue
		}
		seen[strings.TrimPrefix(f.GetName(), "caddy_verify_webhook_")] = true
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if slices.Contains(allowed[l.GetName()], l.GetValue()) {
					continue
				}
				t.Errorf("%s: label %s has the value %q", f.GetName(), l.GetName(), l.GetValue())
			}
		}
	}
	for _, name := range []string{
		"requests_total", "duration_seconds", "last_delivered_timestamp_seconds", "key_last_used_timestamp_seconds",
		"key_errors_total", "buffered_bytes", "store_degraded", "evicted_early_total", "build_info",
	} {
		if !seen[name] {
			t.Errorf("no metric %s", name)
		}
	}
}

// TestReasonsAreListed: an unlisted reason is counted as other. TestOutcomes shows
// the rest.
func TestReasonsAreListed(t *testing.T) {
	c := metrics.Of("reasons")
	for o := range notNow {
		c.Count(metrics.Rejected, o.String(), clock)
		if c.Totals().Rejected[o.String()] != 1 {
			t.Errorf("%s is not listed", o)
		}
	}
}

// TestTimestamps: the times of the last delivery and key use are absent before the
// first.
func TestTimestamps(t *testing.T) {
	name := `"name":"timestamps"`
	g := mustProvision(t, "", strings.Replace(timed(`"delivery_id":{"json":"id"}`), `"name":"acme"`, name, 1))
	g.start(t)
	const last, key = `last_delivered_timestamp_seconds{name="timestamps"}`, `key_last_used_timestamp_seconds{key="1",name="timestamps"}`
	if s := g.samples(t); s[last] != 0 || s[key] != 0 {
		t.Errorf("before the first: %v, %v", s[last], s[key])
	}
	at := clock
	defer func() { clock = at }()
	serve(t, post(), accepting, g.handlers...)
	clock = at.Add(time.Minute)
	serve(t, post(), accepting, g.handlers...) // a duplicate: the key is used, nothing was accepted
	bad := post()
	bad.Header.Set("X-Signature", sign("other", body))
	clock = at.Add(2 * time.Minute)
	serve(t, bad, accepting, g.handlers...)
	s := g.samples(t)
	if got := s[last]; got != float64(at.Unix()) {
		t.Errorf("last delivered %v, want %d", got, at.Unix())
	}
	if got := s[key]; got != float64(at.Add(time.Minute).Unix()) {
		t.Errorf("key last used %v, want %d", got, at.Add(time.Minute).Unix())
	}
	for stage, want := range map[string]float64{"read": 3, "verify": 3, "claim": 2, "upstream": 1} {
		if got := s[fmt.Sprintf(`duration_seconds{name="timestamps",stage=%q}`, stage)]; got != want {
			t.Errorf("%s was measured %v times, want %v", stage, got, want)
		}
	}
}

// TestKeysGone: a removed key leaves the metrics, and the others keep their times.
func TestKeysGone(t *testing.T) {
	dir := t.TempDir()
	write(t, "n9Wd4kTq2", dir, "old")
	config := strings.Replace(timed(), `"name":"acme"`, `"name":"rotating"`, 1)
	g := mustProvision(t, "", strings.Replace(config, topsecret, `"secret":["{file.`+filepath.ToSlash(dir)+`}"]`, 1))
	g.start(t)
	h := g.handlers[0]
	const old, next = `key_last_used_timestamp_seconds{key="old",name="rotating"}`, `key_last_used_timestamp_seconds{key="next",name="rotating"}`
	deliver := func(key string) {
		t.Helper()
		r := post()
		r.Header.Set("X-Signature", sign(key, "1700000000."+body))
		if a := serve(t, r, accepting, h); a.err != nil {
			t.Fatal(a.err)
		}
	}
	deliver("n9Wd4kTq2")
	write(t, "successor", dir, "next")
	look(t, h.keys)
	deliver("successor")
	if s := g.samples(t); s[old] == 0 || s[next] == 0 {
		t.Fatalf("both keys are in use: %v, %v", s[old], s[next])
	}
	if err := os.Remove(filepath.Join(dir, "old")); err != nil {
		t.Fatal(err)
	}
	look(t, h.keys)
	s := g.samples(t)
	if _, there := s[old]; there {
		t.Error("a key that is gone is still shown")
	}
	if s[next] == 0 {
		t.Error("the key that stays has lost its time")
	}
	h.metrics.KeyUsed("old", clock) // a request that began before the rotation
	if _, there := g.samples(t)[old]; there {
		t.Error("a late request brings the key back")
	}
}

// TestNamesGone: a name that is no longer configured is not shown, and its counters
// continue when it returns.
func TestNamesGone(t *testing.T) {
	config := strings.Replace(timed(), `"name":"acme"`, `"name":"leaving"`, 1)
	const requests = `requests_total{name="leaving",outcome="delivered",reason=""}`
	g := mustProvision(t, "", config)
	h := g.handlers[0]
	serve(t, post(), accepting, h)
	again := mustProvision(t, "", config) // a reload provisions before it cleans up
	if err := h.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if n := again.samples(t)[requests]; n != 1 {
		t.Errorf("over a reload: %v, want 1", n)
	}
	if err := again.handlers[0].Cleanup(); err != nil {
		t.Fatal(err)
	}
	if _, there := again.samples(t)[requests]; there {
		t.Error("a name that is gone is still shown")
	}
	if err := again.handlers[0].Cleanup(); err != nil { // Caddy calls it for failed configurations too
		t.Fatal(err)
	}
	back := mustProvision(t, "", config)
	if n := back.samples(t)[requests]; n != 1 {
		t.Errorf("when it is back: %v, want 1", n)
	}
}
