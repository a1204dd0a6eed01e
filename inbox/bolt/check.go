package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// The file has no list of free pages, so bbolt walks all pages when it opens it, in a
// goroutine (freepages in its db.go). A damaged page makes it panic there, which
// cannot be recovered and ends the process; or it panics in ours, and keeps reading
// in that goroutine. So everything that it reads is checked first: pages, bounds, and
// the order of keys.

const (
	pageHeader  = 16 // id 8, flags 2, count 2, overflow 4
	elementSize = 16 // branch: position 4, key 4, page 8; leaf: flags 4, position 4, key 4, value 4
	branchPage  = 0x01
	leafPage    = 0x02
	bucketEntry = 0x01
	metaSize    = 64
	metaMagic   = 0xED0CDAED
)

var native = binary.NativeEndian // bbolt maps its structures onto the file

// checkFile returns errDamaged if opening the file would be dangerous, errForeign if it
// is a database that no inbox has made, or bbolt's
// error if it cannot be opened or locked. A missing or empty file is valid. A page
// that lost elements may be intact otherwise, but then the numbers of deliveries and
// states differ: lacks is the difference.
func checkFile(path string) (lacks int, err error) {
	if st, err := os.Stat(path); err != nil || st.Size() == 0 {
		return 0, nil // opening it reports the error
	}
	// For the lock and the page size.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 100 * time.Millisecond, ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer closeFile(db)
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	c := checker{f: f, size: int64(db.Info().PageSize), end: uint64(st.Size()), counts: make(map[string]int)}
	root, err := c.root()
	if err == nil {
		err = c.walk(root, 0, nil, nil)
	}
	if err == nil && c.own == 0 && c.others > 0 {
		return 0, errForeign
	}
	lacks = c.counts[string(deliveries)] - c.counts[string(states)]
	return max(lacks, -lacks), err
}

type checker struct {
	f    io.ReaderAt
	size int64  // of a page
	end  uint64 // of the file
	high uint64 // pages from here on are unused
	seen []bool

	name   string         // of the bucket being walked
	counts map[string]int // elements of each bucket
	own    int            // buckets of an inbox
	others int            // other buckets
}

func (c *checker) damage(page uint64, what string) error {
	return fmt.Errorf("%w: page %d: %s", errDamaged, page, what)
}

// root returns the root page of the newer valid meta page.
func (c *checker) root() (root uint64, err error) {
	var newest uint64
	found := false
	for page := range int64(2) {
		var m [metaSize]byte
		if _, err := c.f.ReadAt(m[:], page*c.size+pageHeader); err != nil {
			continue
		}
		sum := fnv.New64a()
		sum.Write(m[:metaSize-8])
		txid := native.Uint64(m[48:])
		if native.Uint32(m[:]) != metaMagic || native.Uint64(m[metaSize-8:]) != sum.Sum64() || found && txid < newest {
			continue
		}
		newest, found = txid, true
		root, c.high = native.Uint64(m[16:]), native.Uint64(m[40:])
	}
	if !found || c.high*uint64(c.size) > c.end {
		return 0, c.damage(0, "the file is truncated, or not a bbolt file")
	}
	c.seen = make([]bool, c.high)
	return root, nil
}

// walk checks a page and all below it, whose keys are at least low and below high;
// nil means no bound. Each page is used once, so it ends.
func (c *checker) walk(page uint64, depth int, low, high []byte) error {
	if page < 2 || page >= c.high || depth > 64 {
		return c.damage(page, "it is out of bounds")
	}
	buf := make([]byte, c.size)
	at := int64(page) * c.size
	if _, err := c.f.ReadAt(buf, at); err != nil {
		return fmt.Errorf("%w: page %d: %w", errDamaged, page, err)
	}
	flags, count, overflow := native.Uint16(buf[8:]), int64(native.Uint16(buf[10:])), uint64(native.Uint32(buf[12:]))
	if native.Uint64(buf) != page || page+overflow >= c.high {
		return c.damage(page, "its header is that of another page")
	}
	for p := page; p <= page+overflow; p++ {
		if c.seen[p] {
			return c.damage(p, "it is used twice")
		}
		c.seen[p] = true
	}
	extent := int64(overflow+1) * c.size
	elements := buf[pageHeader:]
	if need := count * elementSize; need > extent-pageHeader {
		return c.damage(page, "its elements exceed its size")
	} else if need > int64(len(elements)) {
		elements = make([]byte, need)
		if _, err := c.f.ReadAt(elements, at+pageHeader); err != nil {
			return fmt.Errorf("%w: page %d: %w", errDamaged, page, err)
		}
	}
	if flags != leafPage && (flags != branchPage || count == 0) {
		return c.damage(page, "it has an unknown type")
	}
	keys := make([][]byte, count)
	for i := range count {
		// Positions are relative to the element; in a leaf the key precedes the
		// value.
		e, start := elements[i*elementSize:], pageHeader+i*elementSize
		position, length, value := int64(native.Uint32(e)), int64(native.Uint32(e[4:])), int64(0)
		if flags == leafPage {
			position, length, value = int64(native.Uint32(e[4:])), int64(native.Uint32(e[8:])), int64(native.Uint32(e[12:]))
		}
		if start+position+length+value > extent {
			return c.damage(page, "a key or value is out of bounds")
		}
		key := make([]byte, length)
		if from := start + position; from+length <= c.size {
			copy(key, buf[from:])
		} else if _, err := c.f.ReadAt(key, at+from); err != nil {
			return fmt.Errorf("%w: page %d: %w", errDamaged, page, err)
		}
		if i == 0 && bytes.Compare(low, key) > 0 || i > 0 && bytes.Compare(keys[i-1], key) >= 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return c.damage(page, "its keys are not in order")
		}
		keys[i] = key
		if flags == leafPage && native.Uint32(e)&bucketEntry == 0 {
			c.counts[c.name]++
		} else if flags == leafPage {
			if c.name = string(key); slices.Contains([]string{string(deliveries), string(states), string(about)}, c.name) {
				c.own++
			} else {
				c.others++
			}
			if err := c.bucket(page, at+start+position+length, value, depth); err != nil {
				return err
			}
		}
	}
	if flags == leafPage {
		return nil
	}
	for i := range count {
		next := high
		if i+1 < count {
			next = keys[i+1]
		}
		if err := c.walk(native.Uint64(elements[i*elementSize+8:]), depth+1, keys[i], next); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket: its root page, or its inline page.
func (c *checker) bucket(page uint64, at, length int64, depth int) error {
	buf := make([]byte, min(length, c.size))
	if _, err := c.f.ReadAt(buf, at); err != nil || len(buf) < 16 {
		return c.damage(page, "a bucket is out of bounds")
	}
	if root := native.Uint64(buf); root != 0 {
		return c.walk(root, depth+1, nil, nil)
	}
	inner := buf[16:]
	if len(inner) < pageHeader || native.Uint16(inner[8:]) != leafPage {
		return c.damage(page, "a bucket has an unknown type")
	}
	c.counts[c.name] = int(native.Uint16(inner[10:]))
	for i := range c.counts[c.name] {
		start := pageHeader + i*elementSize
		if start+elementSize > len(inner) {
			return c.damage(page, "the elements of a bucket exceed its size")
		}
		e := inner[start:]
		end := int64(start) + int64(native.Uint32(e[4:])) + int64(native.Uint32(e[8:])) + int64(native.Uint32(e[12:]))
		if end > int64(len(inner)) || native.Uint32(e)&bucketEntry != 0 {
			return c.damage(page, "a value of a bucket is out of bounds")
		}
	}
	return nil
}
