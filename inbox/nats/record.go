package nats

import (
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// The header of a message that says what a delivery is and how it does. It is
// binary, because handlers and tenants may have any name, in base64, because a
// header is text.
const recordHeader = "Inbox"

const (
	formatVersion = 1
	recordFixed   = 4 + 3*2 + 4 + 3*8 + 8 + 8 + 8 // before the texts
	flagReplayed  = 1
	gone          = inbox.State(0) // the state of a removal

	// What a delivery takes besides its bytes: subjects, headers, marks.
	overhead = 320
)

// A record is what a message says of a delivery.
type record struct {
	key     inbox.Key
	version uint64 // the message's own sequence number
	seq     uint64 // that of the delivery's message
	state   inbox.State
	hold    inbox.Hold

	replayed                     bool
	attempts, status, generation uint16
	size                         uint32
	received, since, due         int64
	inbox.Queue
	label string

	// Who wrote it, and which of its writes it was.
	session sessionID
	serial  uint64
}

var errDamaged = errors.New("it is damaged, or of another version")

// record returns the state of x as it is to be written.
func (x *entry) record() record {
	state := x.state
	if state == inbox.Locked { // here; the next one tries again
		state = inbox.Pending
	}
	if x.removed != 0 {
		state = gone
	}
	return record{
		key: x.key, version: x.version, seq: x.seq, state: state, hold: x.hold, replayed: x.replayed,
		attempts: x.attempts, status: x.status, generation: x.generation, size: x.size,
		received: x.received, since: x.since, due: x.due, Queue: x.group.queue.Queue, label: x.group.label,
		session: x.session,
	}
}

func (r record) header() string {
	var flags byte
	if r.replayed {
		flags = flagReplayed
	}
	num := binary.BigEndian
	b := []byte{formatVersion, byte(r.state), byte(r.hold), flags}
	b = num.AppendUint16(b, r.attempts)
	b = num.AppendUint16(b, r.status)
	b = num.AppendUint16(b, r.generation)
	b = num.AppendUint32(b, r.size)
	for _, n := range []uint64{uint64(r.received), uint64(r.since), uint64(r.due), r.seq, uint64(r.session), r.serial} {
		b = num.AppendUint64(b, n)
	}
	for _, text := range []string{r.Handler, r.Tenant, r.label} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return base64.RawStdEncoding.EncodeToString(b)
}

// readRecord reads the record of a message of key. Of a delivery's message, seq is
// the message's own.
func readRecord(key inbox.Key, version uint64, delivery bool, h nats.Header) (record, error) {
	b, err := base64.RawStdEncoding.DecodeString(h.Get(recordHeader))
	if err != nil || len(b) < recordFixed || b[0] != formatVersion {
		return record{}, errDamaged
	}
	num := binary.BigEndian
	r := record{
		key: key, version: version, state: inbox.State(b[1]), hold: inbox.Hold(b[2]), replayed: b[3]&flagReplayed != 0,
		attempts: num.Uint16(b[4:]), status: num.Uint16(b[6:]), generation: num.Uint16(b[8:]), size: num.Uint32(b[10:]),
		received: int64(num.Uint64(b[14:])), since: int64(num.Uint64(b[22:])), due: int64(num.Uint64(b[30:])),
		seq: num.Uint64(b[38:]), session: sessionID(num.Uint64(b[46:])), serial: num.Uint64(b[54:]),
	}
	if delivery {
		r.seq = version
	}
	rest := b[recordFixed:]
	for _, text := range []*string{&r.Handler, &r.Tenant, &r.label} {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return record{}, errDamaged
		}
		*text, rest = string(rest[size:size+int(n)]), rest[size+int(n):]
	}
	if r.state > inbox.Dead || r.hold > inbox.HoldRoute || r.state != gone && r.size == 0 {
		return record{}, errDamaged
	}
	return r, nil
}

// set makes x what r says; its version aside. X is in no index, or is being changed.
func (x *entry) set(r record) {
	x.session, x.state, x.hold, x.replayed, x.shielded = r.session, r.state, r.hold, r.replayed, false
	x.attempts, x.status, x.generation = r.attempts, r.status, r.generation
	x.received, x.since, x.due, x.size = r.received, r.since, r.due, r.size
}

// readDelivery reads the delivery of e in a message. The error is errDamaged.
func readDelivery(e inbox.Entry, data []byte) (*inbox.Delivery, error) {
	d := new(inbox.Delivery)
	if err := d.UnmarshalBinary(data); err != nil {
		return nil, errDamaged
	}
	if d.Key != e.Key || d.Queue != e.Queue || d.Label != e.Label || !d.Received.Equal(e.Received) {
		return nil, errDamaged
	}
	return d, nil
}
