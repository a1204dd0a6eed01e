package bolt

import (
	"errors"
	"os"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Owed counts the deliveries of a file that is not open anywhere, by their handler: those
// that are pending or dead. There are none without a file, in one that is in use, and in one
// that cannot be read. It changes nothing, and takes about half a second a million.
func Owed(path string) (byHandler map[string]int, inUse bool) {
	byHandler = make(map[string]int)
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return byHandler, false
	}
	err := guard(func() error {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Millisecond})
		if err != nil {
			return err
		}
		defer closeFile(db)
		return db.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(states)
			if b == nil {
				return nil
			}
			x := index.New[*entry]()
			return b.ForEach(func(k, v []byte) error {
				if e, err := readState(x, k, v); err == nil && e.State != inbox.Delivered {
					byHandler[e.Group.Queue().Handler]++
				}
				return nil
			})
		})
	})
	return byHandler, errors.Is(err, bolterrors.ErrTimeout)
}
