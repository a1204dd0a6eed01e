package dedupe_test

import (
	"context"
	"encoding/binary"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// nthKey spreads n over a key, as a hash would.
func nthKey(n uint64) (k dedupe.Key) {
	binary.LittleEndian.PutUint64(k[:], n*0x9E3779B97F4A7C15)
	binary.LittleEndian.PutUint64(k[8:], n)
	return k
}

// One operation is a claim and a done, on a store that is full: each done evicts.
func BenchmarkMemory(b *testing.B) {
	m := dedupe.NewMemory(dedupe.MemoryOptions{})
	var n atomic.Uint64
	ctx := context.Background()
	for range dedupe.DefaultMaxEntries * 2 {
		m.Done(ctx, nthKey(n.Add(1)), dedupe.Mark{Status: 200, TTL: time.Hour})
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		tok := dedupe.NewToken()
		for pb.Next() {
			k := nthKey(n.Add(1))
			if st, _ := m.Claim(ctx, k, tok, time.Minute); st.Phase != dedupe.Claimed {
				b.Error(st)
			}
			m.Done(ctx, k, dedupe.Mark{Status: 200, TTL: time.Hour})
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}

// The same, with ten thousand tenants of one handler.
func BenchmarkMemoryTenants(b *testing.B) {
	m := dedupe.NewMemory(dedupe.MemoryOptions{})
	ctx, n := context.Background(), uint64(0)
	done := func() {
		n++
		m.Done(ctx, nthKey(n), dedupe.Mark{Status: 200, TTL: time.Hour, Room: "shop", Share: dedupe.Share(n*0x9E3779B97F4A7C15>>32) % 10_000})
	}
	for range dedupe.DefaultMaxEntries * 2 {
		done()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		done()
	}
}

// The same through a gate, with its flight, token, timers and time limits.
func BenchmarkGate(b *testing.B) {
	g := dedupe.NewGate(dedupe.Options{Store: dedupe.NewMemory(dedupe.MemoryOptions{})})
	var n atomic.Uint64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			d := g.Claim(context.Background(), nthKey(n.Add(1)), dedupe.Terms{})
			d.Claim.Done(200)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}

func BenchmarkGateDuplicate(b *testing.B) {
	g := dedupe.NewGate(dedupe.Options{Store: dedupe.NewMemory(dedupe.MemoryOptions{})})
	g.Claim(context.Background(), key, dedupe.Terms{}).Claim.Done(200)
	b.ReportAllocs()
	for b.Loop() {
		g.Claim(context.Background(), key, dedupe.Terms{})
	}
}

func BenchmarkIdentity(b *testing.B) {
	body := make([]byte, 2048)
	b.ReportAllocs()
	for b.Loop() {
		dedupe.Identity{ID: dedupe.IDWithBody}.Key("scope", "github", dedupe.Delivery{ID: "72d3162e-cc78-11e3-81ab-4c9367dc0958", Content: body})
	}
}

// The memory of a number of dones, as seen by the operating system.
func BenchmarkResident(b *testing.B) {
	for _, entries := range []int{131_072, 1_000_000} {
		b.Run(strconv.Itoa(entries), func(b *testing.B) {
			for range b.N {
				debug.FreeOSMemory()
				before := resident(b)
				m := dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: entries * 11 / 10})
				for n := range uint64(entries) {
					m.Done(context.Background(), nthKey(n), dedupe.Mark{Status: 200, TTL: 7 * 24 * time.Hour})
				}
				debug.FreeOSMemory()
				mb := float64(resident(b)-before) / 1e6
				b.ReportMetric(mb, "MB")
				b.ReportMetric(mb*1e6/float64(m.Stats().Entries), "B/entry")
				runtime.KeepAlive(m)
			}
		})
	}
}

// The same if each done is of another tenant, the worst case.
func BenchmarkResidentTenants(b *testing.B) {
	for range b.N {
		debug.FreeOSMemory()
		before := resident(b)
		m := dedupe.NewMemory(dedupe.MemoryOptions{})
		for n := range uint64(dedupe.DefaultMaxEntries) {
			m.Done(context.Background(), nthKey(n), dedupe.Mark{Status: 200, TTL: 7 * 24 * time.Hour, Room: "shop", Share: dedupe.Share(n)})
		}
		debug.FreeOSMemory()
		b.ReportMetric(float64(resident(b)-before)/1e6, "MB")
		runtime.KeepAlive(m)
	}
}

func resident(b *testing.B) int {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc here")
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return kb * 1024
}

// A million dones expire at once; the longest call afterwards is the pause.
func BenchmarkExpiryPause(b *testing.B) {
	c := newClock()
	for range b.N {
		m := dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: 1_100_000, Now: c.Now})
		for n := range uint64(1_000_000) {
			m.Done(context.Background(), nthKey(n), dedupe.Mark{Status: 200, TTL: time.Hour})
		}
		c.Advance(2 * time.Hour)
		runtime.GC()
		var longest time.Duration
		for n := range uint64(1_000_000) {
			start := time.Now()
			m.Claim(context.Background(), nthKey(n+5_000_000), dedupe.Token{}, time.Minute)
			m.Done(context.Background(), nthKey(n+5_000_000), dedupe.Mark{Status: 200, TTL: time.Hour})
			longest = max(longest, time.Since(start))
		}
		b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest")
		b.ReportMetric(float64(m.Stats().Entries), "entries-left")
	}
}

// The duration of a full garbage collection with a number of dones in memory: marking
// grows with them unless entries have no pointers.
func BenchmarkCollection(b *testing.B) {
	for _, entries := range []int{0, 131_072, 1_000_000} {
		b.Run(strconv.Itoa(entries), func(b *testing.B) {
			m := dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: max(entries, 1) * 11 / 10})
			for n := range uint64(entries) {
				m.Done(context.Background(), nthKey(n), dedupe.Mark{Status: 200, TTL: 7 * 24 * time.Hour})
			}
			runtime.GC()
			for b.Loop() {
				runtime.GC()
			}
			runtime.KeepAlive(m)
		})
	}
}
