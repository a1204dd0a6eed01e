package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// errForeign marks what is not the store's own, because the path is a mistake. It is
// left alone, whereas a damaged file is renamed.
var errForeign = errors.New("it is left alone: name another path, or move it away")

const (
	magic       = 0xED0CDAED // of bbolt, in both meta pages
	magicAt     = 16
	maxPageSize = 64 << 10
)

// checkOwn returns an error that is errForeign if path exists and is not a file of this
// store, intact or damaged. Opening a device or writing to someone else's database
// would do harm already.
func checkOwn(path string) error {
	st, err := os.Stat(path)
	switch {
	case err != nil: // opening it creates it, or reports the error
		return nil
	case !st.Mode().IsRegular():
		return foreign("a directory, device, pipe or socket, not a file")
	case st.Size() == 0:
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if !isDatabase(f) {
		return foreign("another kind of file")
	}
	own := true
	_ = guard(func() error { // opening it for writing reports damage
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: 100 * time.Millisecond})
		if err != nil {
			return err
		}
		defer func() { _ = closeDB(db) }()
		return db.View(func(tx *bbolt.Tx) error {
			ours, others := 0, 0
			err := tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
				if name[0] == 'r' {
					ours++
				} else {
					others++
				}
				return nil
			})
			own = err != nil || ours > 0 || others == 0
			return err
		})
	})
	if !own {
		return foreign("the database of another program")
	}
	return nil
}

func foreign(what string) error { return fmt.Errorf("the path is that of %s; %w", what, errForeign) }

// isDatabase reports whether one of the two meta pages has bbolt's magic number, so
// that a damaged page does not make the file foreign.
func isDatabase(f *os.File) bool {
	var number [4]byte
	for page := int64(0); page <= maxPageSize; page = max(1<<10, 2*page) { // the second page begins at any page size
		if _, err := f.ReadAt(number[:], page+magicAt); err == nil && binary.NativeEndian.Uint32(number[:]) == magic {
			return true
		}
	}
	return false
}

// removeIncomplete removes the new file that could not be completed, on a full disk.
func removeIncomplete(path string, created fs.FileInfo) {
	if st, err := os.Lstat(path); err == nil && created != nil && st.Mode().IsRegular() && os.SameFile(st, created) {
		os.Remove(path)
	}
}
