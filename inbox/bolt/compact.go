package bolt

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
)

// A smaller file is not worth it.
const compactFrom = 4 << 20

// compact writes what a file holds into a new one, in the place of the old, if
// more than half of it is free: a file of bbolt never shrinks. It returns the file
// that is to be used; if there is no room for the new one, the old.
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
	path := s.o.Path + ".compact" // of no use to anybody who finds it
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
		err = os.Rename(path, s.o.Path) // who waits for the lock of the old one finds another at the path
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
