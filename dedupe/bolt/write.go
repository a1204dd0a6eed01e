package bolt

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"go.etcd.io/bbolt"
)

// Expired entries are removed once an hour, and only if the wall clock kept pace with
// the monotonic clock for an hour. A machine that boots with a wrong clock, or whose
// clock jumps, would otherwise remove unexpired entries.
const (
	steadyFor    = time.Hour
	steadyWithin = time.Minute
)

// write writes to the file in one transaction, and removes what exceeds the limit. The
// entire memory is written after a clock step too, which invalidates the windows in the
// file.
func (f *file) write(w work) error {
	now := f.now()
	sweep, stepped := f.clockIsSteady(now)
	batch := w.batch
	if w.whole || stepped {
		batch = append(batch[:len(batch):len(batch)], f.snapshot(now)...)
	}
	s := update{sums: maps.Clone(f.sums)}
	all := true
	err := guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) (err error) {
			s.tx = tx
			if err := s.add(batch, w.gone); err != nil {
				return err
			}
			if sweep {
				if all, err = s.sweep(now.UnixMilli()); err != nil {
					return err
				}
			}
			return s.trim(f.size())
		})
	})
	if err != nil {
		return err
	}
	f.sums = s.sums
	if sweep && all {
		f.steadySince(now)
	}
	return nil
}

// snapshot returns the memory's content, oldest first as far as the ends of windows
// tell.
func (f *file) snapshot(now time.Time) (all []record) {
	f.mem.Each(func(key dedupe.Key, m dedupe.Mark) {
		r := f.recordOf(key, m, now)
		r.again = true
		all = append(all, r)
	})
	slices.SortStableFunc(all, func(a, b record) int { return cmp.Compare(a.until, b.until) })
	return all
}

func (f *file) recordOf(key dedupe.Key, m dedupe.Mark, now time.Time) record {
	ttl := min(m.TTL, maxTTL).Truncate(time.Millisecond) // a longer one would count as damage
	return record{key: key, status: uint16(m.Status), ttl: ttl, until: now.Add(ttl).UnixMilli(), room: m.Room, share: m.Share}
}

// clockIsSteady reports whether expired entries may be removed, and whether the clock
// was stepped. After a step the file is read again: entries may have looked expired
// at start.
func (f *file) clockIsSteady(now time.Time) (steady, stepped bool) {
	elapsed := f.elapsed() - f.mark
	if drift := now.Round(0).Sub(f.wall) - elapsed; drift.Abs() <= steadyWithin {
		return elapsed >= steadyFor, false
	}
	f.steadySince(now)
	if f.db == nil { // it is loaded when it opens
		return false, true
	}
	if err := guard(f.load); err != nil {
		f.log.Warn("the dedupe file could not be read again after a step of the clock", "error", err)
	}
	return false, true
}

func (f *file) steadySince(now time.Time) { f.wall, f.mark = now.Round(0), f.elapsed() }
