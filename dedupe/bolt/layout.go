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

// The file has a bucket for each room, named "r" and the room. In it a sequence
// number (8 bytes, big endian) maps to a done delivery: its key, the end and the
// length of its window, the status. So the oldest of a room is first in its bucket,
// new entries are appended, and pages fill one after the other.

// A record marks a delivery as done or forgotten.
type record struct {
	key    dedupe.Key
	until  int64 // Unix time in milliseconds
	ttl    time.Duration
	status uint16
	room   string
	forget bool
	again  bool // the file may have an earlier record of the key
}

const (
	valueSize = len(dedupe.Key{}) + 8 + 8 + 2
	maxTTL    = 366 * 24 * time.Hour // a longer one is damage
	sweepSize = 10_000               // expired entries removed per transaction
)

func (r record) value() []byte {
	b := make([]byte, 0, valueSize)
	b = append(b, r.key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.until))
	b = binary.BigEndian.AppendUint64(b, uint64(r.ttl.Milliseconds()))
	return binary.BigEndian.AppendUint16(b, r.status)
}

// errDamaged marks errors that a retry cannot fix.
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

// newestFirst visits all entries, room by room.
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

// An update is a transaction that adds and removes entries and counts those of each
// room.
type update struct {
	tx   *bbolt.Tx
	sums map[string]int
}

func bucketOf(room string) []byte { return []byte("r" + room) }

// add removes the entries with some statuses, and appends a batch to its rooms.
func (s *update) add(batch []record, statuses map[uint16]bool) error {
	batch, keys := lastRecords(batch)
	if err := s.removeAll(keys, statuses); err != nil {
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
		b.FillPercent = 1 // entries are only appended
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

// lastRecords keeps the last record of each key, and returns the keys whose earlier
// entries must be removed from the file.
func lastRecords(batch []record) (left []record, gone map[dedupe.Key]bool) {
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

// removeAll scans the file for keys and statuses: it is ordered by neither, but repeated
// and forgotten deliveries are rare.
func (s *update) removeAll(keys map[dedupe.Key]bool, statuses map[uint16]bool) error {
	if len(keys)+len(statuses) == 0 {
		return nil
	}
	for room := range maps.Clone(s.sums) {
		_, err := s.remove(room, s.sums[room], func(r record) (take, stop bool) { return keys[r.key] || statuses[r.status], false })
		if err != nil {
			return err
		}
	}
	return nil
}

// trim removes the oldest entries of the largest room until at most size are left,
// like the memory.
func (s *update) trim(size int) error {
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

// sweep removes expired entries, and reports whether it removed all.
func (s *update) sweep(now int64) (all bool, err error) {
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

// remove removes up to n matching entries of a room, oldest first. They are collected
// first, because deleting under a cursor makes it skip.
func (s *update) remove(room string, n int, match func(record) (take, stop bool)) (removed int, err error) {
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
