package dedupe_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// TestADoneUsesAtMost64Bytes: a million of them fit into 64 MB. In 131 072 the tables
// have just doubled, which is the worst case.
func TestADoneUsesAtMost64Bytes(t *testing.T) {
	const n = dedupe.DefaultMaxEntries
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	m := dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: n + n/32})
	for i := range uint64(n + n/32) {
		m.Done(t.Context(), nthKey(i), dedupe.Mark{Status: 200, TTL: time.Hour})
	}
	bytes, entries := heap()-before, m.Stats().Entries
	if entries < n || bytes > 64*uint64(entries) {
		t.Errorf("%d bytes for %d entries", bytes, entries)
	}
	runtime.KeepAlive(m)
}
