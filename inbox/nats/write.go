package nats

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

const (
	writers    = 32 // marks being written at a time
	firstPause = 20 * time.Millisecond
)

// A mark is a change of an entry that must be written. Later changes join it until the
// write begins.
type mark struct {
	serial uint64
	done   chan struct{} // closed when it is written or err is set
	err    error         // errConflict: another gateway was first
	missed uint64        // version of the last message received while it was being written
}

// A removal says why an entry is no longer in the index.
type removal uint8

const (
	delivered removal = iota + 1
	discarded
	expired // it was kept long enough
)

var errConflict = errors.New("another gateway changed the delivery")

func (x *entry) busy() bool { return x.mark != nil || x.flying != nil }

// done returns a channel that is closed when the last change of x is written. x is busy.
func (x *entry) done() <-chan struct{} {
	if x.mark != nil {
		return x.mark.done
	}
	return x.flying.done
}

// miss records that a message was skipped because x is being written. A write that has not
// begun will find it by itself.
func (x *entry) miss(version uint64) {
	if x.flying != nil {
		x.flying.missed = max(x.flying.missed, version)
	}
}

// touch queues the state of x for writing. mu is held.
func (e *Engine) touch(x *entry) *mark {
	if x.mark == nil {
		e.serial++
		x.mark = &mark{serial: e.serial, done: make(chan struct{})}
		e.count(1)
		if x.flying == nil {
			e.queue = append(e.queue, x)
			e.queued.Signal()
		}
	}
	return x.mark
}

// hurry is touch for a caller that waits. mu is held.
func (e *Engine) hurry(x *entry) *mark {
	m := e.touch(x)
	if x.flying == nil {
		e.urgent = append(e.urgent, x)
		e.queued.Signal()
	}
	return m
}

// drop removes x from the index and the stream. mu is held.
func (e *Engine) drop(x *entry, why removal) *mark {
	e.idx.Unlink(x)
	x.removed = why
	e.leaving[x.Key] = x
	return e.touch(x)
}

// written waits for a mark to be written. The error is errConflict, inbox.ErrUnavailable
// or that of ctx.
func (e *Engine) written(ctx context.Context, m *mark) error {
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	case <-e.stop:
		return inbox.ErrUnavailable
	}
}

// write writes marks until halt.
func (e *Engine) write() {
	for {
		e.mu.Lock()
		for len(e.urgent)+len(e.queue) == 0 && !e.halted {
			e.queued.Wait()
		}
		if e.halted {
			e.mu.Unlock()
			return
		}
		from := &e.queue
		if len(e.urgent) > 0 {
			from = &e.urgent
		}
		x := (*from)[0]
		*from = (*from)[1:]
		if x.mark != nil && x.flying == nil { // otherwise it was in both queues
			e.writeMark(x)
		}
		e.mu.Unlock()
	}
}

// writeMark writes the mark of x, however long it takes. mu is held, and released while it
// waits.
func (e *Engine) writeMark(x *entry) {
	m := x.mark
	x.mark, x.flying = nil, m
	for pause := firstPause; ; pause = min(2*pause, retryPause) {
		r := x.record()
		r.session, r.serial = e.self.id, m.serial
		e.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), e.o.patience)
		version, err := e.putRecord(ctx, r, nil, false)
		var now sight
		if isConflict(err) {
			if now, err = e.look(ctx, x.Key); err == nil {
				err = errConflict
			}
		}
		cancel()
		e.mu.Lock()
		switch {
		case err == errConflict && now.is(r): // its acknowledgement was lost
			version, err = now.version, nil
		case err == errConflict && now.version == x.version: // another write is under way, or the leader changes
		case err == errConflict && x.outlives(now):
			x.version = now.version
			continue
		case err == errConflict:
			e.giveWay(x, m, now)
			return
		}
		if err == nil {
			x.version, x.session, x.epoch = version, r.session, e.epoch
			e.conclude(x, m, nil)
			return
		}
		e.mu.Unlock()
		halted := e.rest(pause)
		e.mu.Lock()
		if halted {
			return
		}
	}
}

// rest waits before a write is repeated, and reports whether the engine halts.
func (e *Engine) rest(pause time.Duration) (halted bool) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-e.stop:
		return true
	}
}

// conclude ends writing a mark. mu is held.
func (e *Engine) conclude(x *entry, m *mark, err error) {
	x.flying = nil
	e.note(x.Key, x.version)
	m.err = err
	close(m.done)
	e.count(-1)
	if x.removed != 0 && x.mark == nil && e.leaving[x.Key] == x {
		delete(e.leaving, x.Key)
	}
	if x.mark != nil {
		e.queue = append(e.queue, x)
		e.queued.Signal()
	} else if m.missed > x.version {
		e.lookAgain(x.Key)
	}
}

// outlives reports whether the change of x counts although another gateway was first: an
// operator has discarded the delivery, or the app has accepted it.
func (x *entry) outlives(now sight) bool {
	if !now.live || now.seq != x.Seq {
		return false
	}
	accepted := x.removed == delivered || x.removed == 0 && x.State == inbox.Delivered
	return x.removed == discarded || accepted && now.generation == x.Generation && now.state != inbox.Delivered
}

// giveWay replaces the changes of x by those of another gateway. mu is held.
func (e *Engine) giveWay(x *entry, m *mark, now sight) {
	if later := x.mark; later != nil {
		x.mark = nil
		later.err = errConflict
		close(later.done)
		e.count(-1)
	}
	missed := m.missed
	m.missed = 0
	e.conclude(x, m, errConflict)
	e.adopt(x.Key, now)
	if missed > now.version {
		e.lookAgain(x.Key)
	}
	signal(e.changed)
}

// adopt updates the index with what the server has for a key. mu is held.
func (e *Engine) adopt(key inbox.Key, now sight) {
	if e.leaving[key] != nil {
		return
	}
	x := e.idx.Entries[key]
	switch {
	case x != nil && (x.busy() || now.live && now.version <= x.version):
	case x != nil && now.live && now.seq == x.Seq:
		e.update(x, now.record)
	default:
		if x != nil {
			e.idx.Unlink(x)
		}
		if now.live {
			e.link(now.record)
		}
	}
}

// lookAgain asks the server for a key whose messages were skipped, until the answer is as
// new as the messages received meanwhile. mu is held.
func (e *Engine) lookAgain(key inbox.Key) {
	if e.halted || e.looking[key] != nil {
		e.note(key, math.MaxUint64)
		return
	}
	newer := new(uint64)
	e.looking[key] = newer
	e.ended.Go(func() {
		for {
			ctx, cancel := context.WithTimeout(context.Background(), e.o.patience)
			now, err := e.look(ctx, key)
			cancel()
			e.mu.Lock()
			if err != nil || *newer <= now.version {
				delete(e.looking, key)
				if err == nil {
					e.adopt(key, now)
				}
				e.mu.Unlock()
				if err != nil {
					e.fail(streamError(err))
				}
				signal(e.changed)
				return
			}
			*newer = 0
			e.mu.Unlock()
		}
	})
}

// note tells lookAgain about a later version of a key. mu is held.
func (e *Engine) note(key inbox.Key, version uint64) {
	if newer := e.looking[key]; newer != nil {
		*newer = max(*newer, version)
	}
}

// A sight is what the server has for a key.
type sight struct {
	live    bool // there is a delivery
	version uint64
	record
}

// is reports whether it is what this gateway wrote as r.
func (s sight) is(r record) bool { return s.session == r.session && s.serial == r.serial }

// look asks the server for the last messages of a key.
func (e *Engine) look(ctx context.Context, key inbox.Key) (s sight, err error) {
	for _, kind := range []string{deliveryToken, stateToken} {
		msg, err := e.stream.GetLastMsgForSubject(ctx, e.subject(key, kind))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return sight{}, err
		}
		r, err := readRecord(key, msg.Sequence, kind == deliveryToken, msg.Header)
		switch {
		case err != nil:
			return sight{}, err
		case kind == deliveryToken:
			s.record, s.live = r, r.state != gone
		case s.live && r.seq == s.seq:
			s.record = r
		}
		s.version = max(s.version, msg.Sequence)
	}
	s.record.version = s.version
	return s, nil
}

// A message is stored by the server only if the last one of filter is after.
type message struct {
	subject, filter string
	after           uint64
	header, text    string
	data            []byte
	ttl             time.Duration
}

// putRecord writes r, with the delivery or as its state. data is the delivery's form.
func (e *Engine) putRecord(ctx context.Context, r record, data []byte, delivery bool) (uint64, error) {
	m := message{
		subject: e.subject(r.key, stateToken), filter: e.subject(r.key, "*"), after: r.version,
		header: recordHeader, text: r.header(), data: data,
	}
	if delivery || r.state == gone {
		m.subject = e.subject(r.key, deliveryToken)
	}
	if r.state == gone {
		m.ttl = goneTTL
	}
	return e.put(ctx, m)
}

func (e *Engine) put(ctx context.Context, m message) (uint64, error) {
	h := nats.Header{
		m.header:                            []string{m.text},
		jetstream.ExpectedLastSubjSeqHeader: []string{strconv.FormatUint(m.after, 10)},
	}
	if m.filter != m.subject {
		h.Set(jetstream.ExpectedLastSubjSeqSubjHeader, m.filter)
	}
	if m.ttl > 0 {
		h.Set(jetstream.MsgTTLHeader, m.ttl.String())
	}
	ack, err := e.js.PublishMsg(ctx, &nats.Msg{Subject: m.subject, Header: h, Data: m.data})
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
