package bolt

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/enginetest"
)

// TestMemoryAtStart opens a backlog of more than a gigabyte: what remains in memory
// depends on the number of deliveries and not on their bodies. Opening reads every page of
// the file once, and remembers each for a moment.
func TestMemoryAtStart(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 1.3 GB")
	}
	const n, large = 20_000, 64 << 10
	const freePages = 500e3 // bbolt's list of them, which depends on how the commits went
	for _, size := range []int{100, large} {
		t.Run(fmt.Sprintf("bodies of %d bytes", size), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "inbox.db")
			o := Options{Path: path, MaxSize: 2 << 30}
			fillWith(t, o, n, make([]byte, size))
			before := enginetest.HeapInUse()
			peak := watchHeap()
			s := open(t, o)
			most := float64(peak() - before)
			each := (float64(enginetest.HeapInUse()-before) - freePages) / n
			t.Logf("%.1f bytes per pending delivery of %d bytes; at most %.1f MB while the file is opened", each, size, most/1e6)
			if each > enginetest.MaxPendingBytes {
				t.Errorf("a pending delivery takes %.1f bytes, want at most %d", each, enginetest.MaxPendingBytes)
			}
			if most > n*(2*enginetest.MaxPendingBytes+float64(size)/40) { // 100 bytes a page of 4 KiB
				t.Errorf("opening takes %.1f MB for %d MB of bodies", most/1e6, n*size/1e6)
			}
			if q, err := s.Queues(t.Context()); err != nil || len(q) != 1 || q[0].Pending != n {
				t.Errorf("%+v %v", q, err)
			}
		})
	}
}

// fillWith writes n deliveries with the same body.
func fillWith(t *testing.T, o Options, n int, body []byte) {
	t.Helper()
	s := open(t, o)
	acceptAll(t, s, n, body)
	closeStore(t, s)
}

// acceptAll accepts deliveries 0 to n-1 with the same body.
func acceptAll(t *testing.T, s *Store, n int, body []byte) {
	t.Helper()
	var all sync.WaitGroup
	var next atomic.Int64
	for range 64 { // share commits
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && !t.Failed(); i = next.Add(1) - 1 {
				d := enginetest.Delivery(int(i))
				d.Body = body
				if _, err := s.Accept(context.Background(), d, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// watchHeap returns what ends the watch, and returns the most bytes of objects, dead ones
// included, that the heap had.
func watchHeap() (peak func() uint64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	stop, most := make(chan struct{}), make(chan uint64)
	go func() {
		for high := uint64(0); ; {
			metrics.Read(sample)
			high = max(high, sample[0].Value.Uint64())
			select {
			case <-stop:
				most <- high
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() uint64 { close(stop); return <-most }
}
