package bolt

import (
	"os"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
	"go.etcd.io/bbolt"
)

// mostOwed limits what Owed counts.
const mostOwed = 1000

// Owed counts the deliveries of a file that is not open anywhere, at most 1000, by their
// handler: those that are pending or dead. There are none without a file, in one that is in
// use, and in one that cannot be read. It changes nothing.
func Owed(path string) (byHandler map[string]int) {
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	byHandler = make(map[string]int)
	_ = guard(func() error {
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
			x, c := index.New[*entry](), b.Cursor()
			n := 0
			for k, v := c.First(); k != nil && n < mostOwed; k, v = c.Next() {
				if e, err := readState(x, k, v); err == nil && e.State != inbox.Delivered {
					byHandler[e.Group.Queue().Handler]++
					n++
				}
			}
			return nil
		})
	})
	return byHandler
}
