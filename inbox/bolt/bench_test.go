package bolt

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/enginetest"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
)

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
	enginetest.BenchmarkAccept(b, s, writers)
}

func TestMemory(t *testing.T) {
	enginetest.TestMemory(t, func(e index.Entry) *entry { return &entry{Entry: e} })
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
