// Package bolt is a dedupe store for a single machine that survives a restart: the
// memory store, plus a bbolt file of the done deliveries.
//
// Requests never touch the file. It is read once, when the store opens, and written
// in the background, at most 100 ms or 1000 deliveries late: if the process is
// killed, that many are forgotten and may be forwarded again. Deliveries in flight
// are not written, since they end with their process.
//
// Consulting the file about keys that the memory does not know would let it remember
// more than MaxEntries. But every new delivery is such a key, a lookup costs 1.7 µs
// per day of the window, plus page faults and the lock of a growing file. So the
// memory sets the limit, and loading a million deliveries at start takes a second.
//
// No problem with the file stops deliveries: a damaged file is set aside, a locked or
// full one is retried, and meanwhile the store works as a memory store.
package bolt

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// Options configure a [Store]. Only Path is required.
type Options struct {
	// Path is the file. It and its directories are created if necessary, accessible
	// only to the owner. Only one process can open it at a time.
	Path string

	// MaxEntries limits the done deliveries in memory and, with 1/64 more, in the file.
	// Beyond it the oldest of the largest share of the largest room is forgotten.
	// Default: dedupe.DefaultMaxEntries.
	MaxEntries int

	// Now is the wall clock, which decides when a window in the file ends. Default:
	// time.Now.
	Now func() time.Time

	elapsed func() time.Duration // the memory's clock, which cannot be set

	// Logger reports a file that is damaged, locked or cannot be written. Default: no
	// logs.
	Logger *slog.Logger
}

// Store implements [dedupe.Store]. Only marking and forgetting differ from the memory's.
type Store struct {
	*dedupe.Memory
	file *file
}

// Open returns a store with the file's content, or a memory store that keeps trying
// to open the file. It fails only if Path is missing.
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

// Done implements [dedupe.Store]. It neither fails nor waits.
func (s *Store) Done(ctx context.Context, key dedupe.Key, m dedupe.Mark) error {
	_, again := s.Lookup(key)
	s.Memory.Done(ctx, key, m) // does not fail
	r := s.file.recordOf(key, m, s.file.now())
	r.again = again
	s.file.add(r)
	return nil
}

// Resize changes MaxEntries. The file follows with the next done delivery.
func (s *Store) Resize(maxEntries int) {
	s.Memory.Resize(maxEntries)
	s.file.resize(maxEntries)
}

// Health implements [dedupe.Store]. It reports a file that cannot be opened or
// written.
func (s *Store) Health() error { return s.file.health() }

// Forget implements [dedupe.Forgetter].
func (s *Store) Forget(ctx context.Context, key dedupe.Key) (bool, error) {
	found, err := s.Memory.Forget(ctx, key)
	if err == nil {
		s.file.add(record{key: key, forget: true}) // the file may know a key that the memory does not
	}
	return found, err
}

// ForgetStatus implements [dedupe.Forgetter]. It returns the keys that the memory had;
// the file may have had more.
func (s *Store) ForgetStatus(ctx context.Context, status int) ([]dedupe.Key, error) {
	gone, err := s.Memory.ForgetStatus(ctx, status)
	s.file.forgetStatus(uint16(status))
	return gone, err
}

// Close writes all pending records and closes the file.
func (s *Store) Close() error { return s.file.close() }

// FileStats are figures about the file for the operator.
type FileStats struct {
	Attached bool // the file is open; otherwise only the memory remembers
	Pending  int  // records not yet written
	Behind   bool // the entire memory must be written
}

// File returns figures about the file.
func (s *Store) File() FileStats { return s.file.stats() }

var (
	_ dedupe.LocalStore = (*Store)(nil)
	_ dedupe.Forgetter  = (*Store)(nil)
)
