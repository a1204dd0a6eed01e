package nats

import (
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
)

// The header that holds the record of a message. It is binary, because handlers and
// tenants may have any name, in base64, because a header is text.
const recordHeader = "Inbox"

const (
	formatVersion = 1
	recordFixed   = 4 + 3*2 + 4 + 3*8 + 8 + 8 + 8 // before the texts
	flagReplayed  = 1
	gone          = inbox.State(0) // the state of a removal

	// The space of a delivery besides its bytes: subjects, headers, marks.
	overhead = 320
)

// A record is what a message says about a delivery.
type record struct {
	key     inbox.Key
	version uint64 // the message's own sequence number
	seq     uint64 // sequence number of the delivery's message
	state   inbox.State
	hold    inbox.Hold

	replayed                     bool
	attempts, status, generation uint16
	size                         uint32
	received, since, due         int64
	inbox.Queue
	label string

	// The gateway that wrote it, and the serial of that write.
	session sessionID
	serial  uint64
}

var errDamaged = errors.New("it is damaged, or of another version")

// An entry is the state of one delivery in memory.
type entry struct {
	index.Entry
	version uint64    // sequence number of the last message of its key
	session sessionID // that wrote that message
	mark    *mark     // a change that is not being written yet
	flying  *mark     // the change that is being written

	epoch    uint32  // the last reading of the stream that found it
	shielded bool    // its due time is later here than where it was accepted
	removed  removal // why it is no longer in the index
}

// record returns the state of x as it must be written.
func (x *entry) record() record {
	state := x.State
	if state == inbox.Locked { // only here: another gateway, or the next start, tries again
		state = inbox.Pending
	}
	if x.removed != 0 {
		state = gone
	}
	return record{
		key: x.Key, version: x.version, seq: x.Seq, state: state, hold: x.Hold, replayed: x.Replayed,
		attempts: x.Attempts, status: x.Status, generation: x.Generation, size: x.Size,
		received: x.Received, since: x.Since, due: x.Due, Queue: x.Group.Queue(), label: x.Group.Label,
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
	return base64.RawStdEncoding.EncodeToString(index.AppendGroup(b, r.Queue, r.label))
}

// readRecord reads the record of a message of key. In a delivery's own message, seq is
// the message's sequence number.
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
	var ok bool
	r.Queue, r.label, ok = index.ReadGroup(b[recordFixed:])
	if !ok || r.state > inbox.Dead || r.hold > inbox.HoldRefused || r.state != gone && r.size == 0 {
		return record{}, errDamaged
	}
	return r, nil
}

// set gives x the state of r, except for its version. x is in no index, or is being
// changed.
func (x *entry) set(r record) {
	x.session, x.State, x.Hold, x.Replayed, x.shielded = r.session, r.state, r.hold, r.replayed, false
	x.Attempts, x.Status, x.Generation = r.attempts, r.status, r.generation
	x.Received, x.Since, x.Due, x.Size = r.received, r.since, r.due, r.size
}

// readDelivery reads the delivery of e from the data of its message. The error is
// errDamaged.
func readDelivery(e inbox.Entry, data []byte) (*inbox.Delivery, error) {
	d := new(inbox.Delivery)
	if err := d.UnmarshalOwn(data); err != nil {
		return nil, errDamaged
	}
	if d.Key != e.Key || d.Queue != e.Queue || d.Label != e.Label || !d.Received.Equal(e.Received) {
		return nil, errDamaged
	}
	return d, nil
}
