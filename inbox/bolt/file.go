package bolt

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrInUse is the health of a store whose file another process has. It is tried again.
var ErrInUse = errors.New("the inbox file is in use by another process: stop it, or give this one another path")

var (
	errIrregular = errors.New("the path of the inbox file is that of a directory, device, pipe or socket, which is left alone: name another path")
	errForeign   = errors.New("the path of the inbox file is that of another program's database, which is left alone: name another path")
	errDeleted   = errors.New("the inbox file was deleted or replaced while it was open: what it holds is delivered as long as this process runs; restart it to store again")
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

func (s *Store) dir() string { return filepath.Dir(s.o.Path) }

// attach opens the file, unless it is open, has just failed to open, or lacks its keys.
func (s *Store) attach() {
	if s.db != nil || s.o.Now().Before(s.failing) {
		return
	}
	s.mu.Lock()
	unready := s.unready
	s.mu.Unlock()
	if unready != nil {
		s.report(unready)
		return
	}
	if !s.untouched() {
		err := s.open()
		if err == nil {
			return
		}
		s.report(err)
		s.refusedAs, _ = os.Stat(s.o.Path)
		if !errors.Is(err, errDamaged) {
			s.refusedAs = nil
		}
	}
	s.failing = s.o.Now().Add(retryPause)
}

// untouched reports whether the file is the damaged one that was already read:
// reading it again is expensive and pointless.
func (s *Store) untouched() bool {
	if s.refusedAs == nil {
		return false
	}
	st, err := os.Stat(s.o.Path)
	return err == nil && os.SameFile(st, s.refusedAs) && st.Size() == s.refusedAs.Size() && st.ModTime().Equal(s.refusedAs.ModTime())
}

// report logs a problem when it starts, not on each retry.
func (s *Store) report(err error) {
	s.mu.Lock()
	known := s.health != nil && s.health.Error() == err.Error()
	s.health = err
	s.mu.Unlock()
	if !known {
		s.log.Error("the inbox does not store deliveries: they go to the app at once", "error", err)
	}
}

func (s *Store) open() error {
	if err := os.MkdirAll(s.dir(), 0o700); err != nil {
		return fmt.Errorf("the inbox file cannot be opened: %w", err)
	}
	if st, err := os.Stat(s.o.Path); err == nil && !st.Mode().IsRegular() {
		return errIrregular
	}
	lacks := 0
	if err := guard(func() (err error) { lacks, err = checkFile(s.o.Path); return err }); err != nil {
		return classify(err)
	}
	db, inode, err := openFile(s.o.Path)
	if err != nil {
		return err
	}
	if db, inode, err = s.compact(db, inode); err != nil {
		return err
	}
	s.inode = inode
	var loaded *load
	if err = guard(func() error { loaded, err = s.load(db); return err }); err == nil && !s.sameFile() {
		err = errors.New("the inbox file was replaced while it was opened")
	}
	if err != nil {
		closeFile(db)
		return err
	}
	s.mu.Lock()
	s.adopt(loaded)
	s.db, s.health, s.id, s.damaged = db, nil, loaded.id, max(loaded.damaged, lacks)
	entries := len(s.idx.Entries)
	s.mu.Unlock()
	if n := max(loaded.damaged, lacks); n > 0 {
		s.log.Error("some records of the inbox file are damaged, and are left alone", "records", n, "first", loaded.firstDamaged)
	}
	if loaded.ahead > 0 {
		s.log.Warn("stored deliveries are of the future: the clock was ahead when they were stored, or is behind now; they are due at once", "deliveries", loaded.ahead)
	}
	s.log.Info("the inbox file is open", "id", loaded.id, "deliveries", entries)
	signal(s.changed)
	return nil
}

// openFile opens or creates a file with its buckets.
func openFile(path string) (db *bbolt.DB, inode os.FileInfo, err error) {
	before, statErr := os.Stat(path)
	fresh := statErr != nil || before.Size() == 0
	var opened *os.File
	err = guard(func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: 100 * time.Millisecond, // to get the lock

			// Writing the list of free pages with every commit makes commits slow
			// once there are many. Without it, opening reads all pages.
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				if opened, err = os.OpenFile(name, flag, mode); err == nil {
					inode, err = opened.Stat()
				}
				return opened, err
			},
		})
		if err != nil {
			return err
		}
		return db.Update(func(tx *bbolt.Tx) error {
			for _, name := range [][]byte{deliveries, states} {
				if _, err := tx.CreateBucketIfNotExists(name); err != nil {
					return err
				}
			}
			b, err := tx.CreateBucketIfNotExists(about)
			if err != nil || b.Get(nameKey) != nil {
				return err
			}
			var name [8]byte
			rand.Read(name[:]) // never fails
			return errors.Join(b.Put(versionKey, []byte{formatVersion}), b.Put(nameKey, []byte(hex.EncodeToString(name[:]))))
		})
	})
	if err == nil && fresh {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		if db != nil {
			closeFile(db)
		}
		_ = opened.Close() // bbolt does not close it after a panic; nil is harmless
		if fresh && !errors.Is(err, bolterrors.ErrTimeout) {
			os.Remove(path) // incomplete, on a full disk
		}
		return nil, nil, classify(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		closeFile(db)
		return nil, nil, err
	}
	return db, inode, nil
}

// classify distinguishes errors of the system from damage found by bbolt.
func classify(err error) error {
	var path *fs.PathError
	var sys syscall.Errno
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return ErrInUse
	case errors.Is(err, errForeign):
		return errForeign
	case errors.As(err, &path), errors.As(err, &sys):
		return fmt.Errorf("the inbox file cannot be opened: %w", err)
	}
	return fmt.Errorf("the inbox file is not one, or %w, and is left alone: repair or move it: %w", errDamaged, err)
}

// syncDir makes a new file's name survive a power failure. Windows has no such call
// and does this itself.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// A load is the content of a file.
type load struct {
	idx          *index.Index[*entry]
	sealing      *sealer // with which it was read
	id           string
	last         uint64 // the highest sequence number
	damaged      int
	firstDamaged uint64
	ahead        int // pending since a time in the future
}

func (s *Store) load(db *bbolt.DB) (*load, error) {
	l := &load{idx: index.New[*entry](), sealing: s.sealing.Load()}
	now := s.o.Now().UnixNano()
	return l, db.View(func(tx *bbolt.Tx) error {
		if st, err := os.Stat(s.o.Path); err != nil || st.Size() < tx.Size() {
			return fmt.Errorf("%w: it was cut short", errDamaged)
		}
		if b := tx.Bucket(about); b.Get(versionKey) == nil || b.Get(versionKey)[0] != formatVersion {
			return fmt.Errorf("%w: its format is that of another version", errDamaged)
		}
		l.id = string(tx.Bucket(about).Get(nameKey))
		return tx.Bucket(states).ForEach(func(k, v []byte) error {
			l.last = max(l.last, seqOf(k))
			e, err := readState(l.idx, k, v)
			if err == nil && l.idx.Entries[e.Key] != nil {
				err = errDamaged // a key may have only one record
			}
			if err != nil {
				if l.damaged++; l.damaged == 1 {
					l.firstDamaged = seqOf(k)
				}
				return nil
			}
			e.Wake(now)
			if e.State == inbox.Pending && e.IsAhead(now) {
				l.ahead++
			}
			if !l.sealing.has(e.sealed) {
				e.lock()
			}
			l.idx.Link(e)
			return nil
		})
	})
}

// adopt makes the loaded content the index, and adds what only this process knows:
// running attempts and unwritten marks. mu is held.
func (s *Store) adopt(l *load) {
	old := s.idx
	s.idx, s.nextSeq = l.idx, max(s.nextSeq, l.last+1)
	marks := s.marks
	s.marks = nil
	dropped := 0
	for _, m := range marks {
		if m.e == nil {
			s.marks = append(s.marks, m)
			if e := s.idx.Entries[m.key]; e != nil && e.Seq == m.seq {
				s.idx.Unlink(e)
			}
		} else if e := s.idx.Entries[m.e.Key]; e != nil && e.Seq == m.e.Seq && old.Entries[m.e.Key] == m.e {
			s.idx.Unlink(e)
			s.idx.Link(m.e)
			s.marks = append(s.marks, m)
		} else {
			dropped++
		}
	}
	s.advance(uint64(dropped))
	for key, o := range old.Entries {
		if e := s.idx.Entries[key]; o.State == inbox.InAttempt && e != nil && e.Seq == o.Seq && e.State == inbox.Pending {
			s.idx.Change(e, func() { e.State, e.Attempt = inbox.InAttempt, o.Attempt })
		}
	}
	s.rekey(l.sealing)
}

// detach closes the file. Opening it reads its content again.
func (s *Store) detach(why error) {
	s.mu.Lock()
	db := s.db
	s.db = nil
	s.mu.Unlock()
	if db == nil {
		return
	}
	closeFile(db)
	if why != errClosed {
		s.report(why)
	}
}

// closeFile closes db. A transaction that ended in a panic can leave its lock locked,
// and closing would wait for it forever.
func closeFile(db *bbolt.DB) {
	closed := make(chan error, 1)
	go func() { closed <- guard(db.Close) }()
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-closed:
	case <-patience.C:
	}
}

// checkInode detects a file that was deleted or replaced. Its deliveries are still
// delivered; then a new file is created.
func (s *Store) checkInode() {
	if s.db == nil {
		return
	}
	if s.sameFile() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.health == errDeleted {
			s.health = nil
			s.log.Info("the inbox file is back")
		}
		return
	}
	s.bypass()
	s.mu.Lock()
	empty := len(s.idx.Entries)+len(s.marks) == 0
	s.mu.Unlock()
	if empty {
		s.detach(errDeleted)
	}
}

func (s *Store) bypass() { s.report(errDeleted) }
