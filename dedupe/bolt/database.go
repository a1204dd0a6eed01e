package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// guard turns a panic of bbolt, which trusts what it reads, into errDamaged,
// including the fault of reading a mapped page of a truncated file.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return f()
}

// attach opens and loads the file, unless it is open. A damaged file is set aside and
// replaced immediately. A read-only file is loaded too.
func (f *file) attach() error {
	if f.db != nil {
		return nil
	}
	err := f.openAndLoad(false)
	if errors.Is(err, errDamaged) {
		f.setAside(err)
		err = f.openAndLoad(false)
	}
	if err != nil {
		if !f.loaded && isReadOnly(err) && f.openAndLoad(true) == nil {
			f.detach()
		}
		f.report("cannot be opened", err)
		return err
	}
	f.recovered("the dedupe file is open again")
	f.mu.Lock()
	f.open = true
	f.mu.Unlock()
	return nil
}

func isReadOnly(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}

func (f *file) openAndLoad(readOnly bool) error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil && !readOnly {
		return err
	}
	if err := checkOwn(f.path); err != nil {
		return err
	}
	st, err := os.Stat(f.path)
	fresh := err != nil || st.Size() == 0
	f.inode = nil
	err = guard(func() error {
		db, err := bbolt.Open(f.path, 0o600, &bbolt.Options{
			Timeout:      100 * time.Millisecond, // to get the lock
			FreelistType: bbolt.FreelistMapType,
			ReadOnly:     readOnly,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				opened, err := os.OpenFile(name, flag, mode)
				if err == nil {
					f.inode, err = opened.Stat()
				}
				return opened, err
			},
		})
		f.db = db
		return classify(err)
	})
	if err != nil {
		f.db = nil
		if fresh && !readOnly && !errors.Is(err, errLocked) {
			removeIncomplete(f.path, f.inode)
		}
		return err
	}
	if err := guard(f.load); err != nil {
		f.detach()
		return err
	}
	return nil
}

var errLocked = errors.New("in use by another process")

// classify distinguishes temporary errors of the system from damage found by bbolt.
func classify(err error) error {
	var path *fs.PathError
	var sys syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return errLocked
	case errors.As(err, &path), errors.As(err, &sys):
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// load adds unexpired entries to the memory as older than those it has. The clock may
// have been wrong when an entry was written, so its end is at most one window away.
func (f *file) load() error {
	sums := make(map[part]int)
	f.mu.Lock()
	gone := maps.Clone(f.gone)
	f.mu.Unlock()
	err := f.db.View(func(tx *bbolt.Tx) error {
		st, err := os.Stat(f.path)
		if err != nil {
			return err
		}
		if st.Size() < tx.Size() {
			return fmt.Errorf("%w: %d bytes, but %d are in use", errDamaged, st.Size(), tx.Size())
		}
		now := f.now().UnixMilli()
		return newestFirst(tx, func(r record) {
			sums[r.part()]++
			if gone[r.status] { // forgotten, and not yet removed
				return
			}
			left := min(time.Duration(r.until-now)*time.Millisecond, r.ttl)
			f.mem.Recall(r.key, dedupe.Mark{Status: int(r.status), TTL: left, Room: r.room, Share: r.share})
		})
	})
	if err != nil {
		return err
	}
	f.sums, f.loaded = sums, true
	f.forgetAgain()
	return nil
}

// setAside renames a damaged file, for later inspection. The new file gets the
// memory's content.
func (f *file) setAside(cause error) {
	f.detach()
	aside := fmt.Sprintf("%s.damaged-%d", f.path, f.now().Unix())
	if err := os.Rename(f.path, aside); err != nil {
		f.report("is damaged, and cannot be set aside", err)
		return
	}
	f.rewrite()
	f.log.Error("the dedupe file was damaged and is set aside: deliveries that it alone knew may be forwarded again",
		"aside", aside, "error", cause)
}

// closePatience limits the time for closing. A transaction of bbolt that panics can
// leave its lock locked, and closing would wait for it forever.
const closePatience = time.Second

var errStuck = errors.New("a transaction that failed still holds it")

func closeDB(db *bbolt.DB) error {
	closed := make(chan error, 1)
	go func() { closed <- guard(db.Close) }()
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case err := <-closed:
		return err
	case <-patience.C:
		return errStuck
	}
}

func (f *file) detach() {
	if f.db == nil {
		return
	}
	if err := closeDB(f.db); err != nil {
		f.log.Warn("closing the dedupe file failed", "error", err)
	}
	f.db = nil
	f.mu.Lock()
	f.open = false
	f.mu.Unlock()
}

// checkInode detects a file that was deleted or replaced while open: anything written
// to it would be lost with the process.
func (f *file) checkInode() {
	if f.db == nil {
		return
	}
	st, err := os.Stat(f.path)
	if err == nil && os.SameFile(st, f.inode) {
		return
	}
	f.detach()
	f.rewrite()
	f.log.Error("the dedupe file was deleted or replaced: it is written again, from memory")
}
