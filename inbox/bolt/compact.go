package bolt

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
)

// Smaller files are not compacted.
const compactFrom = 4 << 20

// compact replaces a file by a compacted copy if more than half of it is free: a
// bbolt file never shrinks. It returns the file to use, which is the old one if there
// is no room for the copy.
func (s *Store) compact(db *bbolt.DB, inode os.FileInfo) (*bbolt.DB, os.FileInfo, error) {
	st, err := os.Stat(s.o.Path)
	if err != nil {
		closeFile(db)
		return nil, nil, fmt.Errorf("the inbox file cannot be opened: %w", err)
	}
	stats := db.Stats()
	free := int64(stats.FreePageN+stats.PendingPageN) * int64(db.Info().PageSize)
	if st.Size() < compactFrom || free <= st.Size()/2 || s.o.free(s.dir()) < st.Size()-free+max(s.o.Reserve, 0) {
		return db, inode, nil
	}
	path := s.o.Path + ".compact" // useless if left behind
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return db, inode, nil
	}
	small, smallInode, err := openFile(path)
	if err != nil {
		return db, inode, nil
	}
	err = guard(func() error {
		if err := small.Update(func(tx *bbolt.Tx) error {
			return errors.Join(tx.DeleteBucket(deliveries), tx.DeleteBucket(states), tx.DeleteBucket(about))
		}); err != nil {
			return err
		}
		return bbolt.Compact(small, db, 4<<20)
	})
	if err == nil {
		err = os.Rename(path, s.o.Path) // a process waiting for the old file's lock detects that the path changed
	}
	if err != nil {
		closeFile(small)
		os.Remove(path)
		s.log.Warn("the inbox file could not be made smaller", "error", err)
		return db, inode, nil
	}
	closeFile(db)
	if err := syncDir(s.dir()); err != nil {
		closeFile(small)
		return nil, nil, err
	}
	return small, smallInode, nil
}
