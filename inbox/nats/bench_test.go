package nats

import (
	"fmt"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/enginetest"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
)

// Accepts per second of one server, on the disk of the temporary directory, and the
// latency of one. Each delivery is also marked as delivered. They are durable only with
// sync_interval: always.
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
	enginetest.BenchmarkAccept(b, e, writers)
}

func TestMemory(t *testing.T) {
	enginetest.TestMemory(t, func(e index.Entry) *entry { return &entry{Entry: e} })
}
