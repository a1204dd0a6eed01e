package caddymodule

import "sync/atomic"

// budget bounds bytes held at once.
type budget struct {
	limit, used atomic.Int64
}

// buffered is the budget of all handlers. It belongs to the process, not to a
// configuration: bodies of the old one are still in memory after a reload.
var buffered budget

func init() { buffered.limit.Store(defaultMaxBuffered) }

// take charges n bytes, or nothing and returns false if they do not fit.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit.Load() {
		b.used.Add(-n)
		return false
	}
	return true
}

// give returns n bytes.
func (b *budget) give(n int64) { b.used.Add(-n) }
