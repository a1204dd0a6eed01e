// Package bolt is the dedupe store of one machine that remembers over a restart:
// the memory store, and a bbolt file of what is done.
//
// The file is never on a request's way. It is read once, when the store opens,
// and written in the background, at most 100 ms or 1000 deliveries late: that
// much is forgotten when the process is killed, and may be forwarded again. What
// is in flight is not written at all, since it should end with its process.
//
// Looking the file up where the memory knows nothing would let the file remember
// more than MaxEntries. But every new delivery is one of which the memory knows
// nothing, a lookup is 1.7 µs a day of the window, and behind it are page faults
// and the lock of a growing file. So the memory is the bound, and loading a
// million deliveries at start costs half a second.
//
// Nothing that can be wrong with a file keeps deliveries from going on: what is
// damaged is set aside, what is locked or full is tried again, and meanwhile the
// store is a memory store.
package bolt

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// Options configure a [Store]. Only Path must be set.
type Options struct {
	// Path is the file. It and its directories are created if need be, for the owner
	// alone. One process has it at a time.
	Path string

	// MaxEntries is that of the memory store, and bounds what is loaded.
	MaxEntries int

	// Now is the clock. Default: time.Now.
	Now func() time.Time

	// Logger hears of a file that is damaged, locked or cannot be written. Default:
	// silence.
	Logger *slog.Logger
}

// Store implements [dedupe.Store]. All but Done and Forget is the memory's.
type Store struct {
	*dedupe.Memory
	file *file
}

// Open returns a store that knows what the file holds, or a memory store that
// goes on trying to open the file. The error is only ever a missing path.
func Open(o Options) (*Store, error) {
	if o.Path == "" {
		return nil, errors.New("bolt: no file (path <file>)")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: o.MaxEntries, Now: o.Now})
	s := &Store{Memory: m, file: newFile(o.Path, o.Now, o.Logger.With("path", o.Path), m)}
	s.file.start()
	return s, nil
}

// Done implements [dedupe.Store]. It does not fail and does not wait.
func (s *Store) Done(ctx context.Context, key dedupe.Key, status int, ttl time.Duration) error {
	s.Memory.Done(ctx, key, status, ttl) // does not fail
	ttl = min(ttl, maxTTL)               // what the file may hold; a longer one would be damage
	s.file.add(record{
		key: key, status: uint16(status), ttl: ttl.Truncate(time.Millisecond),
		until: s.file.now().Add(ttl).UnixMilli(),
	})
	return nil
}

// Forget implements [dedupe.Forgetter].
func (s *Store) Forget(ctx context.Context, key dedupe.Key) (bool, error) {
	found, err := s.Memory.Forget(ctx, key)
	if err == nil {
		s.file.add(record{key: key, forget: true}) // also if only the file remembers
	}
	return found, err
}

// Close writes what is not yet written and closes the file.
func (s *Store) Close() error { return s.file.close() }

// FileStats are figures of the file for the operator.
type FileStats struct {
	Attached bool   // the file is open; else only the memory remembers
	Pending  int    // dones not yet written
	Lost     uint64 // dones that were too many to keep for a file that cannot be written
}

// File reads the figures.
func (s *Store) File() FileStats { return s.file.stats() }

var (
	_ dedupe.Store     = (*Store)(nil)
	_ dedupe.Forgetter = (*Store)(nil)
)
