// Package bolt keeps the deliveries of an inbox in a file of one process.
//
// One goroutine writes: it commits received deliveries immediately, and collects more
// while it commits, so that a lone sender waits for one commit and many senders share
// one. The delivery itself (its body) is written once; its state is a short value beside
// it. All states are in memory, less than 200 bytes each; bodies are read when needed.
//
// No problem with the file stops deliveries. While it is being opened, is locked by
// another process, damaged, deleted or full, received deliveries are refused, and so
// forwarded immediately. Stored deliveries are never removed or renamed, whatever the
// state of the file. Marks (that the app accepted a delivery) need space too: some of
// the disk is reserved for them, and they are retried until they are written.
//
// After a failed commit the content of the disk is unknown: the file is closed and read
// again.
package bolt

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
	"go.etcd.io/bbolt"
)

// Options configure a [Store]. Only Path is required.
type Options struct {
	// Path is the file. It and its directories are created if necessary, accessible
	// only to the owner. Only one process can open it at a time. NFS is not
	// supported.
	Path string

	// MaxSize limits the size of all stored deliveries, pending or dead; the file may
	// be larger. Default: 1 GiB.
	MaxSize int64

	// Reserve is the space of the file system kept free for marks: with less, nothing
	// is stored. A commit of marks may change as many pages as fit into 32 MiB.
	// Default: 64 MiB. Negative: none.
	Reserve int64

	// Keys encrypt bodies and headers with AES-256-GCM: the first encrypts, all
	// decrypt. Each has 32 random bytes. Default: no encryption.
	Keys [][]byte

	// KeysMissing says why some of Keys are not there yet. The file is left alone until
	// Adjust has all of them. Default: nil, all are there.
	KeysMissing error

	// Now is the wall clock. Default: time.Now.
	Now func() time.Time

	// Logger reports a file that is locked, damaged, deleted or cannot be written. It
	// gets keys, which are digests, but never ids or bodies. Default: no logs.
	Logger *slog.Logger

	// Set by tests.
	free     func(dir string) int64 // usable bytes of the file system
	mayWrite func() error           // before each commit: simulates a failing disk
}

const (
	defaultMaxSize = 1 << 30
	defaultReserve = 64 << 20
)

// Store implements [inbox.Engine].
type Store struct {
	o       Options
	log     *slog.Logger
	changed chan struct{}
	wake    chan struct{} // there is something to write
	stop    chan struct{}
	ended   chan struct{}

	sealing atomic.Pointer[sealer] // changed with mu held

	mu      sync.Mutex
	idx     *index.Index[*entry]
	id      string
	db      *bbolt.DB // nil: not open. Set only by the committer, with mu held
	health  error     // nil: deliveries are stored
	unready error     // why the file must not be opened yet
	nextSeq uint64
	serial  uint32 // of the last attempt
	accepts []*accept
	marks   []mark
	writing int // marks in the current commit
	marked  uint64
	written uint64 // marks up to this one are on disk
	waiters []waiter
	damaged int // unreadable records of the file
	closed  bool

	// Owned by the committer.
	inode     os.FileInfo // of the open file
	failing   time.Time   // the file is not reopened before this time
	refusedAs os.FileInfo // the damaged file at the last attempt to open it
}

// A waiter waits for a mark to be written.
type waiter struct {
	mark uint64
	done chan struct{}
}

// Open returns a store that opens its file in the background. It fails only for a
// missing path or a key of the wrong length, never for a problem with the file.
func Open(o Options) (*Store, error) {
	if o.Path == "" {
		return nil, errors.New("inbox bolt: no file (path <file>)")
	}
	if o.Reserve == 0 {
		o.Reserve = defaultReserve
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.free == nil {
		o.free = freeBytes
	}
	if o.mayWrite == nil {
		o.mayWrite = func() error { return nil }
	}
	s := &Store{
		o: o, log: o.Logger.With("path", o.Path),
		changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		stop: make(chan struct{}), ended: make(chan struct{}),
		idx: index.New[*entry](), health: errOpening,
	}
	s.sealing.Store(new(sealer))
	if err := s.Adjust(o.MaxSize, o.Keys); err != nil {
		return nil, err
	}
	s.unready = o.KeysMissing
	go s.run()
	return s, nil
}

// Adjust changes Options.MaxSize and Options.Keys, of which none is missing, while the
// store is in use. What a key
// encrypted that is no longer among them is locked, and what one of them opens is not:
// both keep their place. The error is a key of the wrong length; then nothing changes.
func (s *Store) Adjust(maxSize int64, keys [][]byte) error {
	sealing, err := newSealer(keys)
	if err != nil {
		return err
	}
	if maxSize <= 0 {
		maxSize = defaultMaxSize
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.MaxSize, s.unready = maxSize, nil
	signal(s.wake)
	before := s.sealing.Swap(sealing)
	s.rekey(before)
	return nil
}

// rekey locks and unlocks what was indexed with other keys. mu is held.
func (s *Store) rekey(before *sealer) {
	now := s.sealing.Load()
	if now.opensSame(before) {
		return
	}
	locked, unlocked := 0, 0
	for _, e := range s.idx.Entries {
		switch had, has := before.has(e.sealed), now.has(e.sealed); {
		case had == has:
		case has && e.State == inbox.Locked:
			s.idx.Change(e, func() { e.State = e.was })
			unlocked++
		case had && e.State != inbox.Locked && e.State != inbox.InAttempt: // of an attempt, the body is read
			s.idx.Change(e, e.lock)
			locked++
		}
	}
	if locked > 0 {
		s.log.Warn("the encryption key of some deliveries is no longer configured: they are locked until it is", "deliveries", locked)
	}
	if unlocked > 0 {
		s.log.Info("the encryption key of some locked deliveries is configured again", "deliveries", unlocked)
		signal(s.changed)
	}
}

var (
	errOpening = errors.New("the inbox file is being opened")
	errClosed  = errors.New("the inbox is closed")
)

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Find implements [inbox.Engine].
func (s *Store) Find(_ context.Context, key inbox.Key) (inbox.Entry, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return inbox.Entry{}, false, inbox.ErrUnavailable
	}
	s.purge()
	e, found := s.idx.Find(key)
	return e, found, nil
}

// Hasten implements [inbox.Engine]. It writes nothing: opening the file makes
// everything held for a reason other than its time due.
func (s *Store) Hasten(_ context.Context, q inbox.Queue, h inbox.Hold) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return inbox.ErrUnavailable
	}
	s.idx.Hasten(q, h, s.o.Now().UnixNano())
	return nil
}

// Queues implements [inbox.Engine].
func (s *Store) Queues(context.Context) ([]inbox.QueueStats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil, inbox.ErrUnavailable
	}
	s.purge()
	return s.idx.Queues(), nil
}

// Status implements [inbox.Engine].
func (s *Store) Status() inbox.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return inbox.Status{
		ID: s.id, Health: s.health, Bytes: s.idx.Bytes, Limit: s.o.MaxSize,
		Unwritten: len(s.marks) + s.writing, Damaged: s.damaged,
	}
}

// Changed implements [inbox.Engine].
func (s *Store) Changed() <-chan struct{} { return s.changed }

// Close implements [inbox.Engine].
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	until := s.marked
	s.mu.Unlock()
	if !again {
		err := s.await(ctx, until)
		close(s.stop)
		select {
		case <-s.ended:
			return err
		case <-ctx.Done():
			return errors.Join(err, errors.New("inbox bolt: the file does not answer"))
		}
	}
	<-s.ended
	return nil
}

// await waits for a mark to be written.
func (s *Store) await(ctx context.Context, mark uint64) error {
	s.mu.Lock()
	if s.written >= mark {
		s.mu.Unlock()
		return nil
	}
	w := waiter{mark, make(chan struct{})}
	s.waiters = append(s.waiters, w)
	s.mu.Unlock()
	signal(s.wake)
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("inbox bolt: some marks are not written yet"), ctx.Err())
	}
}

var _ inbox.Engine = (*Store)(nil)
