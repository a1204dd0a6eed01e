package nats

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// large is a delivery as a sender makes it: 1 KiB of body, 0.65 KiB of headers.
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

// Accepts a second that one server keeps on the disk of the temporary directory, and
// how long one takes. The mark of each is among them: what is accepted is delivered.
// Only with sync_interval: always they are durable.
func BenchmarkAccept(b *testing.B) {
	for _, sync := range []string{"always", "2m"} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", sync, writers), func(b *testing.B) { benchmarkAccept(b, writers, sync) })
		}
	}
}

func benchmarkAccept(b *testing.B, writers int, every string) {
	s := prepare(b, freeAddr(b), fmt.Sprintf("sync_interval: %s, store_dir: %q", every, b.TempDir()))
	s.run()
	s.await()
	e := open(b, Options{Servers: []string{s.url()}})
	var next atomic.Int64
	took := make([][]time.Duration, writers)
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range writers {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				d := large(int(n))
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
	closeEngine(b, e)
}
