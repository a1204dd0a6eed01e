package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The file holds one bucket for each day on which windows end, named by the
// number of days since 1970, big endian. Dropping what has expired is dropping
// the buckets of days gone by, whatever their number of entries. In a bucket,
// 16 bytes of key lead to the end of the window, its length and the status.

// A record is a done, or the forgetting of one.
type record struct {
	key    dedupe.Key
	until  int64 // Unix time in milliseconds
	ttl    time.Duration
	status uint16
	forget bool
}

const (
	valueSize = 8 + 8 + 2
	dayMillis = 24 * 60 * 60 * 1000
	maxTTL    = 366 * 24 * time.Hour // more is damage
)

func dayName(millis int64) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(max(millis, 0)/dayMillis))
}

func (r record) value() []byte {
	b := make([]byte, 0, valueSize)
	b = binary.BigEndian.AppendUint64(b, uint64(r.until))
	b = binary.BigEndian.AppendUint64(b, uint64(r.ttl.Milliseconds()))
	return binary.BigEndian.AppendUint16(b, r.status)
}

func decode(k, v []byte) (r record, ok bool) {
	if len(k) != len(r.key) || len(v) != valueSize {
		return record{}, false
	}
	r.key = dedupe.Key(k)
	r.until = int64(binary.BigEndian.Uint64(v))
	millis := binary.BigEndian.Uint64(v[8:])
	r.status = binary.BigEndian.Uint16(v[16:])
	if millis > uint64(maxTTL.Milliseconds()) {
		return record{}, false
	}
	r.ttl = time.Duration(millis) * time.Millisecond
	return r, true
}

// errDamaged marks what no trying again will mend.
var errDamaged = errors.New("damaged")

// guard turns a panic of bbolt, which trusts what it reads, into errDamaged; also
// the fault of reading a mapped page that a truncated file no longer has.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return f()
}

// attach opens and loads the file, unless it is open. A damaged one is set aside
// and replaced at once.
func (f *file) attach() error {
	if f.db != nil {
		return nil
	}
	err := f.openAndLoad()
	if errors.Is(err, errDamaged) {
		f.setAside(err)
		err = f.openAndLoad()
	}
	if err != nil {
		f.report("cannot be opened", err)
		return err
	}
	if f.failure != "" {
		f.log.Info("the dedupe file is open again")
		f.failure = ""
	}
	f.mu.Lock()
	f.open = true
	f.mu.Unlock()
	return nil
}

func (f *file) openAndLoad() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	st, err := os.Stat(f.path)
	fresh := err != nil || st.Size() == 0
	err = guard(func() error {
		db, err := bbolt.Open(f.path, 0o600, &bbolt.Options{
			Timeout:      100 * time.Millisecond, // for the lock
			FreelistType: bbolt.FreelistMapType,
		})
		f.db = db
		return classify(err)
	})
	if err != nil {
		f.db = nil
		if fresh && !errors.Is(err, errLocked) {
			os.Remove(f.path) // half made, on a full disk
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

// classify tells what the system refuses, and may grant later, from what bbolt
// finds in the file.
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

// load hands to the memory what has not expired, by the day on which it will, so
// that what does not fit any more is what would have expired first. The clock
// may have been wrong when an entry was written, so its end is at most one
// window away.
func (f *file) load() error {
	return f.db.View(func(tx *bbolt.Tx) error {
		st, err := os.Stat(f.path)
		if err != nil {
			return err
		}
		if st.Size() < tx.Size() {
			return fmt.Errorf("%w: %d bytes, but %d are in use", errDamaged, st.Size(), tx.Size())
		}
		now := f.now().UnixMilli()
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				r, ok := decode(k, v)
				if !ok {
					return fmt.Errorf("%w: an entry is not ours", errDamaged)
				}
				left := min(time.Duration(r.until-now)*time.Millisecond, r.ttl)
				if _, known := f.mem.Lookup(r.key); left > 0 && !known {
					f.mem.Done(context.Background(), r.key, int(r.status), left) // does not fail
				}
				return nil
			})
		})
	})
}

// write puts a batch into the file, in one transaction, and drops the days gone
// by. An expired entry of today's bucket stays until tomorrow.
func (f *file) write(batch []record) error {
	now := f.now()
	sweep := now.Sub(f.swept) >= time.Hour
	err := guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error {
			if sweep {
				if err := dropBefore(tx, string(dayName(now.UnixMilli()))); err != nil {
					return err
				}
			}
			for _, r := range batch {
				if err := put(tx, r); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err == nil && sweep {
		f.swept = now
	}
	return err
}

func put(tx *bbolt.Tx, r record) error {
	if r.forget {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return b.Delete(r.key[:]) })
	}
	b, err := tx.CreateBucketIfNotExists(dayName(r.until))
	if err != nil {
		return err
	}
	return b.Put(r.key[:], r.value())
}

func dropBefore(tx *bbolt.Tx, today string) error {
	var old [][]byte
	err := tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		if string(name) < today {
			old = append(old, append([]byte(nil), name...))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := tx.DeleteBucket(name); err != nil {
			return err
		}
	}
	return nil
}

// setAside renames a damaged file, for whoever wants to look at it. What the
// memory knows goes on counting, but is not in the new file.
func (f *file) setAside(cause error) {
	f.detach()
	aside := fmt.Sprintf("%s.damaged-%d", f.path, f.now().Unix())
	if err := os.Rename(f.path, aside); err != nil {
		f.report("is damaged, and cannot be set aside", err)
		return
	}
	f.log.Error("the dedupe file was damaged and is set aside: deliveries of before may be forwarded again",
		"aside", aside, "error", cause)
}

func (f *file) detach() {
	if f.db == nil {
		return
	}
	if err := guard(f.db.Close); err != nil {
		f.log.Warn("the dedupe file was not closed well", "error", err)
	}
	f.db = nil
	f.mu.Lock()
	f.open = false
	f.mu.Unlock()
}
