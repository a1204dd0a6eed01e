package redis

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// One operation is a claim and a done, on a server that shares the machine: of the
// store and of a gate, and the limit of the machine: the bare commands, 16 deliveries a
// round trip, on two connections.
func BenchmarkRedis(b *testing.B) {
	server := redistest.Start(b)
	s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	gate := dedupe.NewGate(dedupe.Options{Store: s, Local: dedupe.NewMemory(dedupe.MemoryOptions{})})
	ctx := context.Background()
	var n atomic.Uint64
	next := func() (k dedupe.Key) {
		binary.BigEndian.PutUint64(k[:], n.Add(1))
		return k
	}
	store := func() {
		k := next()
		if _, err := s.Claim(ctx, k, dedupe.NewToken(), dedupe.DefaultLease); err != nil {
			b.Error(err)
		}
		if err := s.Done(ctx, k, dedupe.Mark{Status: 200, TTL: dedupe.DefaultTTL}); err != nil {
			b.Error(err)
		}
	}
	through := func() { gate.Claim(ctx, next(), dedupe.Terms{}).Claim.Done(200) }
	run := func(name string, at, each int, f func()) {
		b.Run(fmt.Sprintf("%s/%d", name, at), func(b *testing.B) {
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range at {
				wg.Go(func() {
					for left.Add(-int64(each)) > -int64(each) {
						f()
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
	for _, at := range []int{1, 8, 32, 128} {
		run("store", at, 1, store)
	}
	for _, at := range []int{1, 32} {
		run("gate", at, 1, through)
	}
	const each = 16
	run("limit", 2, each, func() {
		var keys [each]string
		for i := range keys {
			keys[i] = s.key(next())
		}
		if _, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, k := range keys {
				t := dedupe.NewToken()
				p.Do(ctx, "set", k, "I"+string(t[:]), "nx", "get", "px", 9000)
			}
			return nil
		}); err != redis.Nil {
			b.Error(err)
		}
		if _, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, k := range keys {
				p.Do(ctx, "set", k, "D200", "px", 600_000)
			}
			return nil
		}); err != nil {
			b.Error(err)
		}
	})
}

// A claim while nothing else is called.
func BenchmarkLoneClaim(b *testing.B) {
	server := redistest.Start(b)
	s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		k := dedupe.Key(dedupe.NewToken())
		start := time.Now()
		if _, err := s.Claim(context.Background(), k, dedupe.NewToken(), dedupe.DefaultLease); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}
