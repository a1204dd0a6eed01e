package enginetest

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
)

// BenchmarkAccept measures accepts per second by several concurrent senders, and the
// latency of one. Each delivery is also marked as delivered. It closes e.
func BenchmarkAccept(b *testing.B, e inbox.Engine, senders int) {
	var next atomic.Int64
	took := make([][]time.Duration, senders)
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range senders {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				d := Large(int(n))
				start := time.Now()
				got, err := e.Accept(context.Background(), d, true)
				took[w] = append(took[w], time.Since(start))
				if err != nil {
					b.Error(err)
					return
				}
				e.Settle(got.Attempt, inbox.Settlement{To: inbox.Delivered})
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
	if err := e.Close(context.Background()); err != nil {
		b.Error(err)
	}
}

// MaxPendingBytes is the memory that a pending delivery may take; its body is on disk.
const MaxPendingBytes = 200

// TestMemory measures the memory of a pending delivery, and fails if it is too much.
// entry makes an entry of the engine.
func TestMemory[E index.Holder](t *testing.T, entry func(index.Entry) E) {
	const n = 100_000
	before := HeapInUse()
	x := index.New[E]()
	for i := range n {
		e := x.NewEntry(Delivery(i), 2000, int64(i))
		e.Seq = uint64(i)
		x.Link(entry(e))
	}
	each := float64(HeapInUse()-before) / n
	runtime.KeepAlive(x)
	t.Logf("%.1f bytes per pending delivery", each)
	if each > MaxPendingBytes {
		t.Errorf("a pending delivery takes %.1f bytes of memory, want at most %d", each, MaxPendingBytes)
	}
}

// HeapInUse returns the bytes of the heap that are in use.
func HeapInUse() uint64 {
	var st runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&st)
	return st.HeapAlloc
}
