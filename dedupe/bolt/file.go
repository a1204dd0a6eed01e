package bolt

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"go.etcd.io/bbolt"
)

const (
	flushDelay = 100 * time.Millisecond // the most that a kill -9 forgets
	flushSize  = 1000                   // as many do not wait for the delay to end
	txSize     = 10_000                 // in one transaction, after a time of failures
	maxPending = 131_072                // 6 MB
	retryPause = 2 * time.Second        // for a file that cannot be opened or written
)

// A file writes what is done behind the requests' back. One goroutine owns the
// database; the requests only append to a slice.
type file struct {
	path string
	now  func() time.Time
	log  *slog.Logger
	mem  *dedupe.Memory

	mu      sync.Mutex
	pending []record
	spare   []record // the array of the last batch, to be used again
	writing int      // records of the batch that is being written
	lost    uint64
	open    bool

	some, many chan struct{} // there is something to write; enough not to wait
	stop       chan struct{}
	ended      chan struct{}
	once       sync.Once

	// Owned by the goroutine.
	db      *bbolt.DB
	failure string // what was logged last
	swept   time.Time
}

func newFile(path string, now func() time.Time, log *slog.Logger, mem *dedupe.Memory) *file {
	return &file{
		path: path, now: now, log: log, mem: mem,
		some: make(chan struct{}, 1), many: make(chan struct{}, 1),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
}

// start opens and loads the file before the first delivery, since what it holds
// must be known by then. If that fails, the goroutine goes on trying.
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

// add is all that a request does for the file.
func (f *file) add(r record) {
	f.mu.Lock()
	if len(f.pending) >= maxPending {
		f.pending = f.pending[1:]
		f.lost++
	}
	f.pending = append(f.pending, r)
	n := len(f.pending)
	f.mu.Unlock()
	switch n {
	case 1:
		signal(f.some)
	case flushSize:
		signal(f.many)
	}
}

func (f *file) run() {
	defer close(f.ended)
	for {
		select {
		case <-f.some:
		case <-f.stop:
			return
		}
		pause := flushDelay
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

// flush writes all that is pending, opening the file if need be.
func (f *file) flush() error {
	for mended := false; ; {
		if err := f.attach(); err != nil {
			return err
		}
		batch := f.take()
		if len(batch) == 0 && f.now().Sub(f.swept) < time.Hour {
			return nil
		}
		if err := f.write(batch); err != nil {
			f.putBack(batch)
			if errors.Is(err, errDamaged) && !mended {
				mended = true
				f.setAside(err)
				continue
			}
			f.report("cannot be written", err)
			return err
		}
		f.failure = ""
		f.mu.Lock()
		f.spare, f.writing = batch[:0], 0
		f.mu.Unlock()
	}
}

func (f *file) take() (batch []record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending) > txSize {
		batch, f.pending = f.pending[:txSize:txSize], f.pending[txSize:]
	} else {
		batch, f.pending, f.spare = f.pending, f.spare, nil
	}
	f.writing = len(batch)
	return batch
}

func (f *file) putBack(batch []record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending = append(batch[:len(batch):len(batch)], f.pending...)
	f.writing = 0
	if n := len(f.pending) - maxPending; n > 0 {
		f.pending = f.pending[n:]
		f.lost += uint64(n)
	}
}

// report logs a failure when it is new, not each time it is tried again.
func (f *file) report(what string, err error) {
	if s := what + err.Error(); s != f.failure {
		f.failure = s
		f.log.Error("the dedupe file "+what+": deliveries go on, but a restart would forget", "error", err)
	}
}

func (f *file) close() error {
	var err error
	f.once.Do(func() {
		close(f.stop)
		<-f.ended
		err = f.flush()
		if n := f.stats().Pending; err != nil && n > 0 {
			err = fmt.Errorf("bolt: %d deliveries could not be written: %w", n, err)
		} else {
			err = nil
		}
		f.detach()
	})
	return err
}

func (f *file) stats() FileStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return FileStats{Attached: f.open, Pending: len(f.pending) + f.writing, Lost: f.lost}
}
