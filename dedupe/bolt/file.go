package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"go.etcd.io/bbolt"
)

const (
	flushDelay = 100 * time.Millisecond // the most that a kill -9 loses
	flushSize  = 1000                   // this many are written without waiting for flushDelay
	txSize     = 10_000                 // per transaction, after failures
	maxPending = 131_072                // 10 MB
	retryPause = 2 * time.Second        // for a file that cannot be opened or written
	lookPause  = time.Minute            // between checks of the clock and the file when idle
	hangsAfter = 10 * time.Second       // a slower disk counts as failed
)

// A file writes done deliveries in the background. One goroutine owns the database;
// requests only append to a slice.
type file struct {
	path    string
	now     func() time.Time
	elapsed func() time.Duration // on a clock that cannot be set
	log     *slog.Logger
	mem     *dedupe.Memory
	entries atomic.Int64 // the file's MaxEntries

	mu      sync.Mutex
	pending []record
	gone    map[uint16]bool // entries with these statuses must be removed before pending is written
	spare   []record        // the array of the last batch, for reuse
	writing int             // records in the current batch
	whole   bool            // the entire memory must be written
	open    bool
	failure error         // nil: none
	busy    bool          // the goroutine is accessing the file
	since   time.Duration // when that began, by elapsed

	some, many chan struct{} // something to write; enough to write now
	stop       chan struct{}
	ended      chan struct{}
	once       sync.Once

	// Owned by the goroutine.
	db     *bbolt.DB
	inode  os.FileInfo  // of the open file
	sums   map[part]int // entries in the file
	loaded bool
	wall   time.Time     // since when the clock has been steady
	mark   time.Duration // the same by elapsed
}

func newFile(o Options, mem *dedupe.Memory) *file {
	f := &file{
		path: o.Path, now: o.Now, elapsed: o.elapsed, log: o.Logger.With("path", o.Path), mem: mem,
		some: make(chan struct{}, 1), many: make(chan struct{}, 1),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	f.resize(o.MaxEntries)
	f.steadySince(f.now())
	return f
}

func (f *file) resize(entries int) {
	if entries <= 0 {
		entries = dedupe.DefaultMaxEntries
	}
	f.entries.Store(int64(entries))
}

func (f *file) size() int { return int(f.entries.Load()) }

// start opens and loads the file before the first delivery needs its content. If that
// fails, the goroutine keeps trying.
func (f *file) start() {
	if err := f.attach(); err != nil {
		signal(f.some)
	}
	go f.run()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add queues a record for the file. If the queue is full, nothing is lost: the memory
// has it.
func (f *file) add(r record) {
	f.mu.Lock()
	if len(f.pending) >= maxPending {
		f.allBehind()
	}
	if !f.whole || r.forget {
		f.pending = append(f.pending, r)
	} else {
		f.pending = slices.DeleteFunc(f.pending, func(p record) bool { return p.key == r.key }) // done again since
	}
	n := len(f.pending)
	f.mu.Unlock()
	switch n {
	case 1:
		signal(f.some)
	case flushSize:
		signal(f.many)
	}
}

// forgetStatus removes all entries with a status.
func (f *file) forgetStatus(status uint16) {
	f.mu.Lock()
	if f.gone == nil {
		f.gone = make(map[uint16]bool)
	}
	f.gone[status] = true
	f.pending = withoutStatus(f.pending, f.gone)
	f.mu.Unlock()
	signal(f.some)
}

// withoutStatus removes records with one of the statuses.
func withoutStatus(records []record, gone map[uint16]bool) []record {
	return slices.DeleteFunc(records, func(r record) bool { return !r.forget && gone[r.status] })
}

// rewrite makes the next flush write the entire memory.
func (f *file) rewrite() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.allBehind()
}

// allBehind keeps only pending records that the memory does not have. mu is held.
func (f *file) allBehind() {
	f.whole = true
	forgotten := f.forgotten()
	f.pending = slices.DeleteFunc(f.pending, func(r record) bool { return !r.forget || !forgotten[r.key] })
}

// forgotten returns the keys whose newest pending record forgets them. mu is held.
func (f *file) forgotten() map[dedupe.Key]bool {
	last := make(map[dedupe.Key]bool)
	for _, r := range f.pending {
		last[r.key] = r.forget
	}
	return last
}

// forgetAgain repeats an operator's forget of a key that loading the file restored,
// since the file did not have it yet.
func (f *file) forgetAgain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, forget := range f.forgotten() {
		if forget {
			_, _ = f.mem.Forget(context.Background(), key)
		}
	}
}

func (f *file) run() {
	defer close(f.ended)
	for {
		pause := flushDelay
		select {
		case <-f.some:
		case <-time.After(lookPause):
			pause = 0
		case <-f.stop:
			return
		}
		for {
			select {
			case <-time.After(pause):
			case <-f.many:
			case <-f.stop:
				return
			}
			if f.flush() == nil {
				break
			}
			pause = retryPause
		}
	}
}

// flush writes all pending records, opening the file if necessary.
func (f *file) flush() error {
	f.setBusy(true)
	defer f.setBusy(false)
	f.checkInode()
	for mended := false; ; {
		if err := f.attach(); err != nil {
			return err
		}
		if _, stepped := f.clockIsSteady(f.now()); stepped { // before take: loading reads the pending records
			f.rewrite()
		}
		w := f.take()
		if len(w.batch) == 0 && len(w.gone) == 0 && !w.whole {
			return nil
		}
		if err := f.write(w); err != nil {
			f.putBack(w)
			if errors.Is(err, errDamaged) && !mended {
				mended = true
				f.setAside(err)
				continue
			}
			f.report("cannot be written", err)
			return err
		}
		f.recovered("the dedupe file is written again")
		f.mu.Lock()
		f.spare, f.writing = w.batch[:0], 0
		f.mu.Unlock()
	}
}

// work is what one transaction writes.
type work struct {
	gone  map[uint16]bool // first, entries with these statuses are removed
	batch []record
	whole bool // the entire memory as well
}

func (f *file) take() (w work) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.whole, f.whole = f.whole, false
	w.gone, f.gone = f.gone, nil
	if len(f.pending) > txSize {
		w.batch, f.pending = f.pending[:txSize:txSize], f.pending[txSize:]
	} else {
		w.batch, f.pending, f.spare = f.pending, f.spare, nil
	}
	f.writing = len(w.batch)
	return w
}

func (f *file) putBack(w work) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writing = 0
	batch := withoutStatus(w.batch, f.gone) // forgotten while it was being written
	f.pending = append(batch[:len(batch):len(batch)], f.pending...)
	if f.gone == nil {
		f.gone = w.gone
	}
	for status := range w.gone {
		f.gone[status] = true
	}
	if f.whole || w.whole || len(f.pending) > maxPending {
		f.allBehind()
	}
}

// report logs a failure when it starts, not on each retry.
func (f *file) report(what string, err error) {
	failure := fmt.Errorf("the dedupe file %s: %w", what, err)
	f.mu.Lock()
	known := f.failure != nil && f.failure.Error() == failure.Error()
	f.failure = failure
	f.mu.Unlock()
	if !known {
		f.log.Error("the dedupe file "+what+": deliveries go on, but a restart would forget", "error", err)
	}
}

func (f *file) recovered(message string) {
	f.mu.Lock()
	failed := f.failure != nil
	f.failure = nil
	f.mu.Unlock()
	if failed {
		f.log.Info(message)
	}
}

func (f *file) setBusy(busy bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy, f.since = busy, f.elapsed()
}

func (f *file) health() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if took := f.elapsed() - f.since; f.busy && took > hangsAfter {
		return fmt.Errorf("the dedupe file has not answered for %s: look at its disk", took.Truncate(time.Second))
	}
	return f.failure
}

func (f *file) close() error {
	var err error
	f.once.Do(func() {
		close(f.stop)
		<-f.ended
		if _, stepped := f.clockIsSteady(f.now()); stepped {
			f.rewrite() // even if nothing is pending: the windows in the file follow another clock
		}
		err = f.flush()
		switch st := f.stats(); {
		case err != nil && st.Behind:
			err = fmt.Errorf("bolt: the file lacks deliveries that were done: %w", err)
		case err != nil && st.Pending > 0:
			err = fmt.Errorf("bolt: %d deliveries could not be written: %w", st.Pending, err)
		default:
			err = nil
		}
		f.detach()
	})
	return err
}

func (f *file) stats() FileStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return FileStats{Attached: f.open, Pending: len(f.pending) + len(f.gone) + f.writing, Behind: f.whole}
}
