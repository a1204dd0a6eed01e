package bolt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
)

// The file has three buckets. "deliveries" maps a sequence number (8 bytes, big endian)
// to a delivery, which never changes. "states" maps the same number to its state, which
// includes the delivery's key, so that both are written in one step. "inbox" holds the
// name of the file.
//
//	delivery: version, id of the encryption key, then either (id 0)
//	          checksum, inbox.Delivery    or    nonce, sealed inbox.Delivery
//	state:    see appendState
//
// Number, key, handler, tenant, label and time of receipt are additional data of sealed
// deliveries, so that a delivery cannot be given the state of another.
var (
	deliveries = []byte("deliveries")
	states     = []byte("states")
	about      = []byte("inbox")
	nameKey    = []byte("name")
	versionKey = []byte("version")
)

const formatVersion = 1

// A keyID identifies the key that encrypted a delivery; zero: none.
type keyID [4]byte

var (
	errDamaged = errors.New("damaged")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// A sealer holds the encryption keys.
type sealer struct {
	first keyID // the key that encrypts; zero: none
	open  map[keyID]cipher.AEAD
}

func newSealer(keys [][]byte) (*sealer, error) {
	s := &sealer{open: make(map[keyID]cipher.AEAD, len(keys))}
	for _, k := range keys {
		if err := s.add(k); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *sealer) add(key []byte) error {
	if len(key) != 32 {
		return fmt.Errorf("inbox bolt: an encryption key is 32 bytes, not %d", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(append([]byte("verify_webhook inbox: id of a key\n"), key...))
	id := keyID(sum[:4])
	if id == (keyID{}) {
		id[0] = 1
	}
	if len(s.open) == 0 {
		s.first = id
	}
	s.open[id] = aead
	return nil
}

// opensSame reports whether both have the same keys.
func (s *sealer) opensSame(t *sealer) bool {
	for id := range t.open {
		if s.open[id] == nil {
			return false
		}
	}
	return len(s.open) == len(t.open)
}

func (s *sealer) has(id keyID) bool { return id == keyID{} || s.open[id] != nil }

// bound is the additional data of a delivery.
func bound(seq uint64, d *inbox.Delivery) []byte {
	b := binary.BigEndian.AppendUint64(nil, seq)
	b = append(b, d.Key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(d.Received.UnixNano()))
	return index.AppendGroup(b, d.Queue, d.Label)
}

// seal returns the record of d.
func (s *sealer) seal(seq uint64, d *inbox.Delivery) ([]byte, error) {
	b := make([]byte, 0, 1024+len(d.Body))
	b = append(b, formatVersion)
	b = append(b, s.first[:]...)
	if s.first == (keyID{}) {
		at := len(b)
		b, err := d.AppendBinary(append(b, 0, 0, 0, 0))
		binary.BigEndian.PutUint32(b[at:], checksum(bound(seq, d), b[at+4:]))
		return b, err
	}
	plain, err := d.AppendBinary(make([]byte, 0, 1024+len(d.Body)))
	if err != nil {
		return nil, err
	}
	var nonce [12]byte
	rand.Read(nonce[:]) // never fails
	b = append(b, nonce[:]...)
	return s.open[s.first].Seal(b, nonce[:], plain, bound(seq, d)), nil
}

// sealedWith returns the key that encrypted a record. It may be no longer in use.
func sealedWith(record []byte) keyID { return keyID(record[1:]) }

func checksum(parts ...[]byte) uint32 {
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return sum
}

// unseal decodes or decrypts a record. what has its key, queue, label and time of
// receipt.
func (s *sealer) unseal(seq uint64, what *inbox.Delivery, b []byte) (*inbox.Delivery, error) {
	if len(b) < 1+4+4 || b[0] != formatVersion {
		return nil, errDamaged
	}
	id, plain := keyID(b[1:5]), b[5:]
	d := new(inbox.Delivery)
	unmarshal := d.UnmarshalBinary
	switch {
	case id == keyID{}:
		sum := binary.BigEndian.Uint32(plain)
		if plain = plain[4:]; checksum(bound(seq, what), plain) != sum {
			return nil, errDamaged
		}
	case s.open[id] == nil:
		return nil, inbox.ErrLocked
	case len(plain) < 12:
		return nil, errDamaged
	default:
		var err error
		unmarshal = d.UnmarshalOwn
		if plain, err = s.open[id].Open(nil, plain[:12], plain[12:], bound(seq, what)); err != nil {
			return nil, errDamaged
		}
	}
	if err := unmarshal(plain); err != nil {
		return nil, errDamaged
	}
	return d, nil
}

const (
	stateFixed   = 4 + 3*2 + 4 + 4 + 3*8 + 16 // before the texts
	flagReplayed = 1
)

// An entry is the state of one delivery in memory.
type entry struct {
	index.Entry
	sealed keyID       // the key that encrypted it
	dirty  bool        // a mark for it is waiting to be written
	was    inbox.State // of what is locked: in the file
}

// lock sets e aside, which cannot be read. It stays in the file as it is.
func (e *entry) lock() { e.was, e.State = e.written(), inbox.Locked }

// written is the state of e in the file. An attempt ends with the process.
func (e *entry) written() inbox.State {
	switch e.State {
	case inbox.InAttempt:
		return inbox.Pending
	case inbox.Locked:
		return e.was
	}
	return e.State
}

// appendState appends the state of e in its file format.
func (e *entry) appendState(b []byte) []byte {
	at := len(b)
	var flags byte
	if e.Replayed {
		flags = flagReplayed
	}
	b = append(b, formatVersion, byte(e.written()), byte(e.Hold), flags)
	b = binary.BigEndian.AppendUint16(b, e.Attempts)
	b = binary.BigEndian.AppendUint16(b, e.Status)
	b = binary.BigEndian.AppendUint16(b, e.Generation)
	b = append(b, e.sealed[:]...)
	b = binary.BigEndian.AppendUint32(b, e.Size)
	for _, t := range []int64{e.Received, e.Since, e.Due} {
		b = binary.BigEndian.AppendUint64(b, uint64(t))
	}
	b = append(b, e.Key[:]...)
	b = index.AppendGroup(b, e.Group.Queue(), e.Group.Label)
	return binary.BigEndian.AppendUint32(b, checksum(b[at:]))
}

// readState is the inverse of appendState. It looks up the group in x.
func readState(x *index.Index[*entry], k, b []byte) (*entry, error) {
	if len(k) != 8 || len(b) < stateFixed+4 || b[0] != formatVersion {
		return nil, errDamaged
	}
	b, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if checksum(b) != sum {
		return nil, errDamaged
	}
	num := binary.BigEndian
	e := &entry{sealed: keyID(b[10:]), Entry: index.Entry{
		Seq: num.Uint64(k), State: inbox.State(b[1]), Hold: inbox.Hold(b[2]), Replayed: b[3]&flagReplayed != 0,
		Attempts: num.Uint16(b[4:]), Status: num.Uint16(b[6:]), Generation: num.Uint16(b[8:]), Size: num.Uint32(b[14:]),
		Received: int64(num.Uint64(b[18:])), Since: int64(num.Uint64(b[26:])), Due: int64(num.Uint64(b[34:])),
		Key: inbox.Key(b[42:]),
	}}
	q, label, ok := index.ReadGroup(b[stateFixed:])
	if !ok || e.State != inbox.Pending && e.State != inbox.Dead && e.State != inbox.Delivered || e.Hold > inbox.HoldRefused || e.Size == 0 {
		return nil, errDamaged
	}
	e.Group = x.Group(q, label)
	return e, nil
}

// outline returns the part of a delivery that its state holds.
func (e *entry) outline() *inbox.Delivery {
	return &inbox.Delivery{
		Key: e.Key, Queue: e.Group.Queue(), Label: e.Group.Label, Received: time.Unix(0, e.Received),
	}
}

// stateKey returns the key in a state; zero if the state is invalid.
func stateKey(state []byte) inbox.Key {
	if len(state) < stateFixed {
		return inbox.Key{}
	}
	return inbox.Key(state[stateFixed-len(inbox.Key{}):])
}

func seqOf(k []byte) uint64 {
	if len(k) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(k)
}

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// sameDelivery reports whether a delivery matches its state.
func sameDelivery(d, outline *inbox.Delivery) bool {
	return bytes.Equal(d.Key[:], outline.Key[:]) && d.Queue == outline.Queue && d.Label == outline.Label
}
