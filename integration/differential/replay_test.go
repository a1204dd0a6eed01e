package differential

import (
	"strings"
	"testing"
)

// What the fixtures hold at least; fewer means that some were lost.
const (
	leastSDKs       = 95
	leastProviders  = 93
	leastDeliveries = 3900
)

// TestReplay judges every delivery as the SDK did, at the same clock: what it
// accepted is genuine, what it refused is not. Where a fixture notes a
// difference, ours must be the other verdict, and it must say why.
func TestReplay(t *testing.T) {
	all, err := Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	providers, deliveries := make(map[string]bool), 0
	for _, f := range all {
		t.Run(strings.ReplaceAll(f.SDK, "/", "_"), func(t *testing.T) {
			if f.SDK == "" || f.Version == "" || len(f.Runs) == 0 {
				t.Fatalf("sdk %q, version %q, %d runs: a fixture names its SDK and what it said", f.SDK, f.Version, len(f.Runs))
			}
			for _, r := range f.Runs {
				replay(t, &r)
				providers[r.Provider] = true
				deliveries += len(r.Deliveries)
			}
		})
	}
	if len(all) < leastSDKs || len(providers) < leastProviders || deliveries < leastDeliveries {
		t.Errorf("%d SDKs, %d providers, %d deliveries; want at least %d, %d and %d",
			len(all), len(providers), deliveries, leastSDKs, leastProviders, leastDeliveries)
	}
}

// replay judges a run. One in which the SDK accepted all, or nothing, shows
// only that somebody answered.
func replay(t *testing.T, r *Run) {
	verdicts := make(map[string]int)
	for i := range r.Deliveries {
		d := &r.Deliveries[i]
		verdicts[d.Expect]++
		if err := d.Check(r.Provider); err != nil {
			t.Errorf("%s, %s (signed by %s): %v", r.Provider, d.Name, d.SignedBy, err)
		}
	}
	if verdicts[Genuine] < 8 || verdicts[Refused] < 8 {
		t.Errorf("%s: the SDK accepted %d deliveries and refused %d; want 8 of each at least", r.Provider, verdicts[Genuine], verdicts[Refused])
	}
}

// TestCheck shows what a replay notices.
func TestCheck(t *testing.T) {
	all, err := Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	const provider = "stripe"
	genuine, refused := find(t, all, provider, Genuine), find(t, all, provider, Refused)
	for _, c := range []struct {
		name     string
		provider string
		from     *Delivery
		edit     func(*Delivery)
		want     string // part of the error; "": none
	}{
		{"as it was drawn", provider, genuine, func(*Delivery) {}, ""},
		{"the SDK accepts, we refuse", provider, genuine, func(d *Delivery) { d.SetBytes(append(d.Bytes(), ' ')) }, "the SDK says genuine, we say signature_mismatch"},
		{"the SDK refuses, we accept", provider, genuine, func(d *Delivery) { d.Expect = Refused }, "the SDK says refused, we say genuine"},
		{"a difference that is none", provider, refused, func(d *Delivery) { d.Differs = "why" }, "both say refused"},
		{"no verdict", provider, genuine, func(d *Delivery) { d.Expect = "" }, "is not a verdict"},
		{"another clock", provider, genuine, func(d *Delivery) { d.Now += 301 }, "stale_timestamp"},
		{"an unknown provider", "strip", genuine, func(*Delivery) {}, `unknown provider "strip"`},
		{"no key", provider, genuine, func(d *Delivery) { d.Secret = "" }, "cannot be judged"},
		{"another provider's delivery", "github", genuine, func(*Delivery) {}, "missing_signature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := *c.from
			c.edit(&d)
			err := d.Check(c.provider)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// find returns a delivery on which the SDK and we agree.
func find(t *testing.T, all []*Fixture, provider, expect string) *Delivery {
	t.Helper()
	for _, f := range all {
		for _, r := range f.Runs {
			for i := range r.Deliveries {
				if d := &r.Deliveries[i]; r.Provider == provider && d.Expect == expect && d.Differs == "" && len(d.Bytes()) > 0 {
					return d
				}
			}
		}
	}
	t.Fatalf("no delivery of %s that is %s", provider, expect)
	return nil
}
