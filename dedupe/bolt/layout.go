package bolt

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"go.etcd.io/bbolt"
)

// The file has a bucket for each room, named "r" and the room. In it a sequence
// number (8 bytes, big endian) maps to a done delivery: its key, the end and the
// length of its window, the status, and its share of the room unless that is 0. So the
// oldest of a room is first in its bucket, new entries are appended, and pages fill one
// after the other, however many shares there are.

// A record marks a delivery as done or forgotten.
type record struct {
	key    dedupe.Key
	until  int64 // Unix time in milliseconds
	ttl    time.Duration
	status uint16
	room   string
	share  dedupe.Share
	forget bool
	again  bool // the file may have an earlier record of the key
}

const (
	valueSize = len(dedupe.Key{}) + 8 + 8 + 2 // without a share
	shareSize = 8
	maxTTL    = 366 * 24 * time.Hour // a longer one is damage
	sweepSize = 10_000               // expired entries removed per transaction
)

func (r record) value() []byte {
	b := make([]byte, 0, valueSize+shareSize)
	b = append(b, r.key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.until))
	b = binary.BigEndian.AppendUint64(b, uint64(r.ttl.Milliseconds()))
	b = binary.BigEndian.AppendUint16(b, r.status)
	if r.share != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(r.share))
	}
	return b
}

// A part is a share of a room.
type part struct {
	room  string
	share dedupe.Share
}

func (r record) part() part { return part{r.room, r.share} }

// errDamaged marks errors that a retry cannot fix.
var errDamaged = errors.New("damaged")

func decode(k, v []byte) (r record, err error) {
	if len(k) != 8 || len(v) != valueSize && len(v) != valueSize+shareSize {
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
	if len(v) > valueSize {
		r.share = dedupe.Share(binary.BigEndian.Uint64(v[valueSize:]))
	}
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
// part.
type update struct {
	tx   *bbolt.Tx
	sums map[part]int
}

// rooms counts the entries of each room.
func (s *update) rooms() map[string]int {
	sums := make(map[string]int)
	for p, n := range s.sums {
		sums[p.room] += n
	}
	return sums
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
		s.sums[r.part()]++
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
	for room, n := range s.rooms() {
		_, err := s.remove(room, n, func(r record) (take, stop bool) { return keys[r.key] || statuses[r.status], false })
		if err != nil {
			return err
		}
	}
	return nil
}

// trim removes the oldest entries of the largest shares of the largest rooms until at
// most size are left, like the memory. As it may have to read all entries of a room to
// find them, it lets the file exceed size by a little first.
func (s *update) trim(size int) error {
	rooms, total := s.rooms(), 0
	for _, n := range rooms {
		total += n
	}
	if total <= size+size/trimShare {
		return nil
	}
	for room, n := range excess(rooms, total-size) {
		shares := make(map[dedupe.Share]int)
		for p, sum := range s.sums {
			if p.room == room {
				shares[p.share] = sum
			}
		}
		gone := excess(shares, n)
		_, err := s.remove(room, n, func(r record) (take, stop bool) {
			take = gone[r.share] > 0
			if take {
				gone[r.share]--
			}
			return take, false
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// trimShare is the fraction of its size by which the file may exceed it.
const trimShare = 64

// excess returns how many entries each name loses, if n times the largest loses one.
func excess[K cmp.Ordered](sums map[K]int, n int) map[K]int {
	names := slices.SortedFunc(maps.Keys(sums), func(a, b K) int {
		return cmp.Or(cmp.Compare(sums[b], sums[a]), cmp.Compare(a, b))
	})
	lost := make(map[K]int)
	for i, name := range names {
		next := 0
		if i+1 < len(names) {
			next = sums[names[i+1]]
		}
		all := (sums[name] - next) * (i + 1) // until the larger ones are as large as the next
		if all < n {
			n -= all
			continue
		}
		level, rest := sums[name]-n/(i+1), n%(i+1)
		for j, larger := range names[:i+1] {
			if lost[larger] = sums[larger] - level; j < rest {
				lost[larger]++
			}
		}
		break
	}
	return lost
}

// sweep removes expired entries, and reports whether it removed all.
func (s *update) sweep(now int64) (all bool, err error) {
	left := sweepSize
	for room := range s.rooms() {
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
			r.room = room
			if s.sums[r.part()]--; s.sums[r.part()] == 0 {
				delete(s.sums, r.part())
			}
		}
	}
	for _, k := range gone {
		if err := b.Delete(k); err != nil {
			return 0, err
		}
	}
	if s.rooms()[room] == 0 {
		err = s.tx.DeleteBucket(bucketOf(room))
	}
	return len(gone), err
}
