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
// million deliveries at start costs a second.
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

	// MaxEntries bounds what is done in memory and in the file alike. Beyond it the
	// oldest of the room that holds most is forgotten. Default:
	// dedupe.DefaultMaxEntries.
	MaxEntries int

	// Now is the wall clock, by which the file tells when a window ends. Default:
	// time.Now.
	Now func() time.Time

	elapsed func() time.Duration // the memory's clock, which nobody sets

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
	if o.elapsed == nil {
		began := time.Now()
		o.elapsed = func() time.Duration { return time.Since(began) }
	}
	m := dedupe.NewMemory(dedupe.MemoryOptions{
		MaxEntries: o.MaxEntries,
		Now:        func() time.Time { return time.Time{}.Add(o.elapsed()) },
	})
	s := &Store{Memory: m, file: newFile(o, m)}
	s.file.start()
	return s, nil
}

// Done implements [dedupe.Store]. It does not fail and does not wait.
func (s *Store) Done(ctx context.Context, key dedupe.Key, m dedupe.Mark) error {
	_, again := s.Lookup(key)
	s.Memory.Done(ctx, key, m) // does not fail
	r := s.file.recordOf(key, m, s.file.now())
	r.again = again
	s.file.add(r)
	return nil
}

// Resize changes MaxEntries, of the file with the next that is done.
func (s *Store) Resize(maxEntries int) {
	s.Memory.Resize(maxEntries)
	s.file.resize(maxEntries)
}

// Health implements [dedupe.Store]: a file that cannot be opened or written.
func (s *Store) Health() error { return s.file.health() }

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
	Attached bool // the file is open; else only the memory remembers
	Pending  int  // dones not yet written
	Behind   bool // all that the memory knows is to be written
}

// File reads the figures.
func (s *Store) File() FileStats { return s.file.stats() }

var (
	_ dedupe.LocalStore = (*Store)(nil)
	_ dedupe.Forgetter  = (*Store)(nil)
)
