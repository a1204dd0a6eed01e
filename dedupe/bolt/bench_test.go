package bolt

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// The cost of the file for a delivery: claim and done through a gate, with the memory
// store and with this one, alternating in one run; alone, and with an app that takes
// 50 µs, less than any real one.
func BenchmarkAgainstMemory(b *testing.B) {
	file, err := Open(Options{Path: filepath.Join(b.TempDir(), "d.db")})
	if err != nil {
		b.Fatal(err)
	}
	gates := []*dedupe.Gate{
		dedupe.NewGate(dedupe.Options{Store: dedupe.NewMemory(dedupe.MemoryOptions{})}),
		dedupe.NewGate(dedupe.Options{Store: file}),
	}
	var took, whole [2][]time.Duration
	var n uint64
	for b.Loop() {
		for i, g := range gates {
			n++
			var k dedupe.Key
			binary.LittleEndian.PutUint64(k[:], n*0x9E3779B97F4A7C15)
			start := time.Now()
			d := g.Claim(context.Background(), k, dedupe.Terms{})
			claimed := time.Now()
			for time.Since(claimed) < 50*time.Microsecond { // the app
			}
			answered := time.Now()
			d.Claim.Done(200)
			end := time.Now()
			took[i] = append(took[i], claimed.Sub(start)+end.Sub(answered))
			whole[i] = append(whole[i], end.Sub(start))
		}
	}
	for i, name := range []string{"memory", "bolt"} {
		slices.Sort(took[i])
		slices.Sort(whole[i])
		b.ReportMetric(float64(took[i][len(took[i])/2]), "ns-"+name)
		b.ReportMetric(float64(whole[i][len(whole[i])/2]), "ns-with-app-"+name)
	}
	for _, g := range gates {
		if err := g.Close(context.Background()); err != nil {
			b.Error(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	path := filepath.Join(b.TempDir(), "d.db")
	s, err := Open(Options{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	for n := range uint64(dedupe.DefaultMaxEntries) {
		var k dedupe.Key
		binary.LittleEndian.PutUint64(k[:], n*0x9E3779B97F4A7C15)
		s.Done(context.Background(), k, dedupe.Mark{Status: 200, TTL: dedupe.DefaultTTL})
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if s, err = Open(Options{Path: path}); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(s.Stats().Entries), "entries")
}
