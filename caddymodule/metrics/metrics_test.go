package metrics

import (
	"slices"
	"testing"
	"time"
)

type labels []string

func (l *labels) Labels() []string { return *l }

// TestUnknownReason: the values of the label are limited, whatever a reason says.
func TestUnknownReason(t *testing.T) {
	c := Of("unknown-reason")
	c.Count(Rejected, "of-a-version-to-come", time.Now())
	c.Count(Rejected, "in_flight", time.Now())
	if got := c.Totals().Rejected; len(got) != 2 || got[otherReason] != 1 || got["in_flight"] != 1 {
		t.Errorf("counted as %v", got)
	}
	listed := slices.Clone(reasons)
	slices.Sort(listed)
	if len(slices.Compact(listed)) != len(reasons) {
		t.Error("a reason is listed twice")
	}
}

// TestLabelsAreUTF8: two file names that are the same in UTF-8 are one key.
func TestLabelsAreUTF8(t *testing.T) {
	c := Of("labels")
	c.Join(&labels{"k\xff", "k\xfe", "a"})
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	c.KeyUsed("k\xfe", late)
	c.KeyUsed("k\xff", early)
	if got, want := c.Totals().Keys, []KeyUse{{"a", time.Time{}}, {"k\uFFFD", late}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

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

// BenchmarkDelivery is the bookkeeping of one delivery, by as many
// processors as there are at once.
func BenchmarkDelivery(b *testing.B) {
	c := Of("benchmark")
	c.Join(&labels{"1"})
	now := time.Unix(1_700_000_000, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			for _, s := range []Stage{Read, Verify, Claim, Upstream} {
				c.Observe(s, time.Millisecond)
			}
			c.KeyUsed("1", now)
			c.NoteSkew(time.Second, now)
			c.Count(Delivered, "", now)
		}
	})
}
