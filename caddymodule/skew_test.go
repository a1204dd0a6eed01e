package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestTypicalSkew(t *testing.T) {
	const s = time.Second
	for name, tc := range map[string]struct {
		skews []time.Duration
		want  time.Duration
		known bool
	}{
		"none":                     {nil, 0, false},
		"too few":                  {[]time.Duration{9 * s, 9 * s, 9 * s}, 0, false},
		"in time":                  {[]time.Duration{1 * s, 2 * s, 0, 1 * s}, 0, true},
		"our clock ahead":          {[]time.Duration{90 * s, 91 * s, 95 * s, 90 * s}, 90 * s, true},
		"our clock behind":         {[]time.Duration{-90 * s, -91 * s, -89 * s, -90 * s}, -90 * s, true},
		"retries and first ones":   {[]time.Duration{3600 * s, 600 * s, 1 * s, 1800 * s}, 1 * s, true},
		"one bad clock":            {[]time.Duration{1 * s, -200 * s, 0, 1 * s}, 0, true},
		"a majority in the future": {[]time.Duration{-60 * s, -61 * s, -62 * s, 300 * s}, -60 * s, true},
		"the newest alone": {append([]time.Duration{-500 * s}, []time.Duration{
			5 * s, 5 * s, 5 * s, 5 * s, 5 * s, 5 * s, 5 * s, 5 * s, 5 * s, 5 * s, 5 * s, 5 * s, 5 * s, 5 * s, 5 * s, 5 * s}...), 5 * s, true},
	} {
		var k skews
		for _, d := range tc.skews {
			k.note(d)
		}
		if got, known := k.typical(); got != tc.want || known != tc.known {
			t.Errorf("%s: %s, %t; want %s, %t", name, got, known, tc.want, tc.known)
		}
	}
}

// TestSkewIsVisible as a metric, and as one warning an hour once a full window of
// verified deliveries shows it. Forgeries show nothing.
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
	for range 3 * skewSamples {
		serve(t, signedAt(clock.Add(-2*time.Minute), "another"), accepting, g.handlers...)
	}
	if v, ok := gauge(); ok {
		t.Errorf("forgeries make it %v", v)
	}
	g.logs.TakeAll()
	for range 3 * skewSamples {
		serve(t, signedAt(clock.Add(-2*time.Minute), "topsecret"), accepting, g.handlers...)
	}
	if v, ok := gauge(); !ok || v != 120 {
		t.Errorf("the gauge is %v, %t; want 120", v, ok)
	}
	warned := func() int { return g.logs.FilterMessageSnippet("the sender's differ").Len() }
	if n := warned(); n != 1 {
		t.Errorf("warned %d times in an hour, want once", n)
	}
	clock = clock.Add(time.Hour)
	for range skewSamples {
		serve(t, signedAt(clock.Add(2*time.Minute), "topsecret"), accepting, g.handlers...)
	}
	if v, _ := gauge(); v != -120 || warned() != 2 {
		t.Errorf("the gauge is %v, warned %d times; want -120 and twice", v, warned())
	}
}
