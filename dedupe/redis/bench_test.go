package redis

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// One operation is a claim and a done, on a server that shares the machine.
func BenchmarkRedis(b *testing.B) {
	server := redistest.Start(b)
	s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	gate := dedupe.NewGate(dedupe.Options{Store: s, Local: dedupe.NewMemory(dedupe.MemoryOptions{})})
	var n atomic.Uint64
	next := func() (k dedupe.Key) {
		binary.BigEndian.PutUint64(k[:], n.Add(1))
		return k
	}
	store := func() {
		k := next()
		if _, err := s.Claim(context.Background(), k, dedupe.NewToken(), dedupe.DefaultLease); err != nil {
			b.Error(err)
		}
		if err := s.Done(context.Background(), k, dedupe.Mark{Status: 200, TTL: dedupe.DefaultTTL}); err != nil {
			b.Error(err)
		}
	}
	through := func() { gate.Claim(context.Background(), next(), dedupe.Terms{}).Claim.Done(200) }
	for _, c := range []struct {
		name string
		conc int
		f    func()
	}{{"store/1", 1, store}, {"store/32", 32, store}, {"gate/1", 1, through}, {"gate/32", 32, through}} {
		b.Run(c.name, func(b *testing.B) {
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range c.conc {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						c.f()
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}
