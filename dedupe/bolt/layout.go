package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"go.etcd.io/bbolt"
)

// The file holds one bucket for each room, named "r" and the room. In it a
// sequence number, 8 bytes, big endian, leads to a done: its key, the end of its
// window, its length, the status. So the oldest of a room is the first of its
// bucket, what is added goes behind the last, and pages are filled one after the
// other, never one here and one there.

// A record is a done, or the forgetting of one.
type record struct {
	key    dedupe.Key
	until  int64 // Unix time in milliseconds
	ttl    time.Duration
	status uint16
	room   string
	forget bool
	again  bool // an earlier done of the key may be in the file
}

const (
	valueSize = len(dedupe.Key{}) + 8 + 8 + 2
	maxTTL    = 366 * 24 * time.Hour // more is damage
	sweepSize = 10_000               // expired ones that one transaction removes
)

func (r record) value() []byte {
	b := make([]byte, 0, valueSize)
	b = append(b, r.key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.until))
	b = binary.BigEndian.AppendUint64(b, uint64(r.ttl.Milliseconds()))
	return binary.BigEndian.AppendUint16(b, r.status)
}

// errDamaged marks what no trying again will mend.
var errDamaged = errors.New("damaged")

func decode(k, v []byte) (r record, err error) {
	if len(k) != 8 || len(v) != valueSize {
		return record{}, fmt.Errorf("%w: an entry is not ours", errDamaged)
	}
	r.key = dedupe.Key(v[:16])
	r.until = int64(binary.BigEndian.Uint64(v[16:]))
	millis := binary.BigEndian.Uint64(v[24:])
	r.status = binary.BigEndian.Uint16(v[32:])
	if millis > uint64(maxTTL.Milliseconds()) {
		return record{}, fmt.Errorf("%w: an entry is not ours", errDamaged)
	}
	r.ttl = time.Duration(millis) * time.Millisecond
	return r, nil
}

// newestFirst visits all entries, one room after the other.
func newestFirst(tx *bbolt.Tx, visit func(record)) error {
	return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		if name[0] != 'r' {
			return fmt.Errorf("%w: a bucket is not ours", errDamaged)
		}
		room := string(name[1:])
		c := b.Cursor()
		for k, v := c.Last(); k != nil; k, v = c.Prev() {
			r, err := decode(k, v)
			if err != nil {
				return err
			}
			r.room = room
			visit(r)
		}
		return nil
	})
}

// A sheaf is one transaction's view of the file: it adds, removes, and keeps
// count of each room.
type sheaf struct {
	tx   *bbolt.Tx
	sums map[string]int
}

func bucketOf(room string) []byte { return []byte("r" + room) }

// add puts a batch at the end of its rooms.
func (s *sheaf) add(batch []record) error {
	batch, gone := lastWords(batch)
	if err := s.removeAll(gone); err != nil {
		return err
	}
	for _, r := range batch {
		if r.forget {
			continue
		}
		b, err := s.tx.CreateBucketIfNotExists(bucketOf(r.room))
		if err != nil {
			return err
		}
		b.FillPercent = 1 // entries are added at the end alone
		n, err := b.NextSequence()
		if err != nil {
			return err
		}
		if err := b.Put(binary.BigEndian.AppendUint64(nil, n), r.value()); err != nil {
			return err
		}
		s.sums[r.room]++
	}
	return nil
}

// lastWords leaves the last record of each key, and names the keys whose earlier
// entries in the file have to go.
func lastWords(batch []record) (left []record, gone map[dedupe.Key]bool) {
	for _, r := range batch {
		if r.forget || r.again {
			if gone == nil {
				gone = make(map[dedupe.Key]bool)
			}
			gone[r.key] = true
		}
	}
	if gone == nil {
		return batch, nil
	}
	last := make(map[dedupe.Key]int)
	for i, r := range batch {
		last[r.key] = i
	}
	for i, r := range batch {
		if last[r.key] == i {
			left = append(left, r)
		}
	}
	return left, gone
}

// removeAll looks for keys in the whole file: it is not ordered by key, and a
// second done of one, or a person who forgets one, is rare.
func (s *sheaf) removeAll(keys map[dedupe.Key]bool) error {
	if len(keys) == 0 {
		return nil
	}
	for room := range maps.Clone(s.sums) {
		_, err := s.remove(room, s.sums[room], func(r record) (take, stop bool) { return keys[r.key], false })
		if err != nil {
			return err
		}
	}
	return nil
}

// trim removes the oldest of the room that holds most until no more than size are
// left, as the memory does.
func (s *sheaf) trim(size int) error {
	total := 0
	for _, n := range s.sums {
		total += n
	}
	excess := make(map[string]int)
	left := maps.Clone(s.sums)
	for ; total > size; total-- {
		most := ""
		for room, n := range left {
			if n > left[most] || n == left[most] && room < most {
				most = room
			}
		}
		left[most]--
		excess[most]++
	}
	for room, n := range excess {
		if _, err := s.remove(room, n, func(record) (take, stop bool) { return true, false }); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes entries whose window has ended, and reports whether that was all.
func (s *sheaf) sweep(now int64) (all bool, err error) {
	left := sweepSize
	for room := range maps.Clone(s.sums) {
		n, err := s.remove(room, left, func(r record) (take, stop bool) { return r.until <= now, r.until > now })
		if err != nil {
			return false, err
		}
		left -= n
	}
	return left > 0, nil
}

// remove takes up to n entries of a room that match, the oldest first. (They are
// collected first: deleting under a cursor makes it skip.)
func (s *sheaf) remove(room string, n int, match func(record) (take, stop bool)) (removed int, err error) {
	b := s.tx.Bucket(bucketOf(room))
	if b == nil || n <= 0 {
		return 0, nil
	}
	var gone [][]byte
	c := b.Cursor()
	for k, v := c.First(); k != nil && len(gone) < n; k, v = c.Next() {
		r, err := decode(k, v)
		if err != nil {
			return 0, err
		}
		take, stop := match(r)
		if stop {
			break
		}
		if take {
			gone = append(gone, append([]byte(nil), k...))
		}
	}
	for _, k := range gone {
		if err := b.Delete(k); err != nil {
			return 0, err
		}
	}
	if s.sums[room] -= len(gone); s.sums[room] <= 0 {
		delete(s.sums, room)
		err = s.tx.DeleteBucket(bucketOf(room))
	}
	return len(gone), err
}
