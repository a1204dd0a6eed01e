package bolt

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// large is a typical delivery: 1 KiB of body, 0.65 KiB of headers.
func large(n int) *inbox.Delivery {
	d := delivery(n)
	d.Method, d.Target, d.Host, d.Proto = "POST", "/hooks/shop", "hooks.example.com", "HTTP/2.0"
	d.Header = map[string][]string{
		"Content-Type": {"application/json"}, "User-Agent": {"Shop/1.0 (+https://shop.example/docs/webhooks)"},
		"Shop-Signature": {"t=1800000000,v1=" + fmt.Sprintf("%064x", n)}, "X-Padding": {string(bytes.Repeat([]byte("x"), 400))},
	}
	d.Body = bytes.Repeat([]byte("."), 1024)
	return d
}

// Durable accepts per second, on the disk of the temporary directory, and the latency
// of one. Each delivery is also marked as delivered.
func BenchmarkAccept(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		for name, keys := range map[string][][]byte{"": nil, "/encrypted": {keyA}} {
			if name != "" && writers != 64 {
				continue
			}
			b.Run(fmt.Sprintf("%d%s", writers, name), func(b *testing.B) { benchmarkAccept(b, writers, keys) })
		}
	}
}

func benchmarkAccept(b *testing.B, writers int, keys [][]byte) {
	s, err := Open(Options{Path: filepath.Join(b.TempDir(), "inbox.db"), Keys: keys})
	if err != nil {
		b.Fatal(err)
	}
	<-s.Changed()
	var next atomic.Int64
	took := make([][]time.Duration, writers)
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range writers {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				d := large(int(n))
				start := time.Now()
				got, err := s.Accept(context.Background(), d, true)
				took[w] = append(took[w], time.Since(start))
				if err != nil {
					b.Error(err)
					return
				}
				s.Settle(got.Attempt, inbox.Settlement{To: inbox.Delivered})
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "accepts/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	if err := s.Close(context.Background()); err != nil {
		b.Error(err)
	}
}

// The memory of a pending delivery; its body is on disk.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		before := heapInUse()
		x := newIndex()
		for i := range n {
			k := key(i)
			x.link(&entry{key: k, seq: uint64(i), size: 2000, state: inbox.Pending, group: x.group(shop, "current")})
		}
		b.ReportMetric(float64(heapInUse()-before)/n, "B/delivery")
		runtime.KeepAlive(x)
	}
}

func heapInUse() uint64 {
	var st runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&st)
	return st.HeapAlloc
}

// The time to open a file with 100 000 pending deliveries.
func BenchmarkOpen(b *testing.B) {
	const n = 100_000
	path := filepath.Join(b.TempDir(), "inbox.db")
	s, err := Open(Options{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	<-s.Changed()
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < n; i += 64 {
				if _, err := s.Accept(context.Background(), large(i), false); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if s, err = Open(Options{Path: path}); err != nil {
			b.Fatal(err)
		}
		<-s.Changed()
		if err := s.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
