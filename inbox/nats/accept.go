package nats

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// An accept is a delivery that is being stored.
type accept struct {
	d       *inbox.Delivery
	data    []byte
	fresh   *entry // to be linked if it is stored
	running bool
	session sessionID
	serial  uint64
	done    chan struct{} // closed when the outcome is known
	missed  uint64        // version of the last message by others received meanwhile
}

// Accept implements [inbox.Engine]. It waits at most 3 s for the server. A delivery that
// is not acknowledged by then is withdrawn in the background, before another gateway
// attempts it. If this process ends or is cut off before that, it may be attempted
// nevertheless.
func (e *Engine) Accept(ctx context.Context, d *inbox.Delivery, running bool) (inbox.Accepted, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.patience)
	defer cancel()
	data, err := e.form(d)
	if err != nil {
		return inbox.Accepted{}, err
	}
	for {
		if ctx.Err() != nil {
			return inbox.Accepted{}, refusal(ctx.Err())
		}
		if err := e.present(ctx); err != nil {
			return inbox.Accepted{}, refusal(err)
		}
		e.mu.Lock()
		if err := e.refuses(); err != nil {
			e.mu.Unlock()
			return inbox.Accepted{}, err
		}
		e.purge()
		x, wait := e.idx.Entries[d.Key], e.wait(d.Key)
		switch {
		case x != nil && x.State != inbox.Delivered:
			got, err := e.join(ctx, x, d, running)
			if !errors.Is(err, errConflict) {
				return got, err
			}
		case wait != nil:
			e.mu.Unlock()
			select {
			case <-wait:
			case <-ctx.Done():
			case <-e.stop:
			}
		default:
			a, err := e.begin(d, data, running)
			if err != nil {
				e.mu.Unlock()
				return inbox.Accepted{}, err
			}
			if x != nil {
				a.fresh.version = x.version
			}
			got, err := e.store(ctx, a)
			if !errors.Is(err, errConflict) {
				return got, err
			}
		}
	}
}

// form returns d as it is stored.
func (e *Engine) form(d *inbox.Delivery) ([]byte, error) {
	e.mu.Lock()
	err := e.refuses()
	nc := e.nc
	e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	data, err := d.AppendBinary(make([]byte, 0, 1024+len(d.Body)))
	if size := int64(len(data)) + 4*overhead; err == nil && (size > nc.MaxPayload() || size > math.MaxUint32) {
		err = fmt.Errorf("it has %d bytes, and the NATS server's max_payload is %d", len(data), nc.MaxPayload())
		return nil, &inbox.NotStoredError{Why: inbox.WhyTooLarge, Err: err}
	}
	return data, err
}

// refuses says why nothing can be stored now. mu is held.
func (e *Engine) refuses() error {
	if e.health == nil {
		return nil
	}
	return &inbox.NotStoredError{Why: inbox.WhyUnavailable, Err: e.health}
}

// refusal returns the error of Accept for a failed request.
func refusal(err error) error {
	var api *jetstream.APIError
	why := inbox.WhyUnavailable
	switch {
	case unknownOutcome(err):
		why = inbox.WhyTimeout
	case errors.As(err, &api):
		switch api.ErrorCode {
		case codeStoreFailed, codeAccountFull, codeServerFull, codeNoResources:
			why = inbox.WhyFull
		case jetstream.JSErrCodeStreamMessageExceedsMaximum:
			why = inbox.WhyTooLarge
		}
		err = errors.New("the NATS server refuses it: " + api.Description)
	case errors.Is(err, nats.ErrMaxPayload):
		why = inbox.WhyTooLarge
	}
	return &inbox.NotStoredError{Why: why, Err: err}
}

// A server answers these if the stream, the account, its disk or the cluster has no
// room.
const (
	codeAccountFull jetstream.ErrorCode = 10002
	codeNoResources jetstream.ErrorCode = 10023
	codeServerFull  jetstream.ErrorCode = 10047
	codeStoreFailed jetstream.ErrorCode = 10077
)

// unknownOutcome reports whether a message may have been stored or may still be.
func unknownOutcome(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, jetstream.ErrInvalidJSAck) || errors.Is(err, nats.ErrDisconnected)
}

// wait returns a channel that is closed when the pending write for a key is done; nil if
// there is none. mu is held.
func (e *Engine) wait(key inbox.Key) <-chan struct{} {
	if a := e.accepting[key]; a != nil {
		return a.done
	}
	if x := e.leaving[key]; x != nil {
		return x.done()
	}
	if x := e.idx.Entries[key]; x != nil && x.busy() {
		return x.done()
	}
	return nil
}

// join returns the result for a copy of x. mu is held; join releases it.
func (e *Engine) join(ctx context.Context, x *entry, d *inbox.Delivery, running bool) (inbox.Accepted, error) {
	answer, before := inbox.Accepted{Copy: true}, x.record()
	revived := x.State == inbox.Dead
	if revived {
		e.idx.Change(x, func() { x.Revive(e.o.Now().UnixNano(), false) })
	}
	if running && x.State == inbox.Pending {
		answer.Attempt = e.attemptOf(x, d)
	}
	answer.Entry = x.View()
	if !revived && answer.Attempt == nil {
		e.mu.Unlock()
		return answer, nil
	}
	m := e.hurry(x)
	e.mu.Unlock()
	err := e.written(ctx, m)
	if err != nil && err != errConflict {
		e.undo(x, answer.Attempt, before)
		err = refusal(err)
	} else if err == nil && revived {
		e.log.Debug("a copy of a dead delivery was received: it is pending again", "key", x.Key.String())
	}
	if err != nil {
		return inbox.Accepted{}, err
	}
	return answer, nil
}

// undo restores the state of x before a change that may have been written.
func (e *Engine) undo(x *entry, a *inbox.Attempt, before record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.idx.Entries[x.Key] != x || a != nil && e.running(a) != x {
		return
	}
	e.idx.Change(x, func() { x.set(before); x.Attempt = 0 })
	e.touch(x)
}

// begin prepares to store d. mu is held.
func (e *Engine) begin(d *inbox.Delivery, data []byte, running bool) (*accept, error) {
	size := len(data) + overhead
	if why := e.idx.Room(d.Queue, e.o.MaxSize).Refuses(d.Queue, int64(size)); why != "" {
		return nil, &inbox.NotStoredError{Why: why}
	}
	x := &entry{Entry: e.idx.NewEntry(d, size, e.o.Now().UnixNano())}
	if running {
		x.State = inbox.InAttempt
	}
	return &accept{d: d, data: data, fresh: x, running: running}, nil
}

// store writes what begin has prepared, as the successor of version fresh.version of its
// key. The error is errConflict if another gateway was first. mu is held; store releases
// it.
func (e *Engine) store(ctx context.Context, a *accept) (inbox.Accepted, error) {
	key := a.d.Key
	e.serial++
	a.session, a.serial, a.done = e.self.id, e.serial, make(chan struct{})
	e.accepting[key] = a
	idx := e.idx // a stream that is replaced meanwhile gets a new one
	idx.Reserve(a.fresh)
	r := a.fresh.record()
	r.session, r.serial = a.session, a.serial
	e.mu.Unlock()
	version, now, err := e.place(ctx, r, a.data)
	e.mu.Lock()
	defer e.mu.Unlock()
	idx.Release(a.fresh)
	if err != nil && unknownOutcome(err) {
		e.count(1)
		go e.withdraw(a, r)
		return inbox.Accepted{}, refusal(err)
	}
	e.resolve(a)
	switch {
	case err == errConflict:
		e.adopt(key, now)
		if a.missed > now.version {
			e.lookAgain(key)
		}
		return inbox.Accepted{}, err
	case err != nil:
		return inbox.Accepted{}, refusal(err)
	}
	e.note(key, version)
	answer := inbox.Accepted{}
	if x := e.idx.Entries[key]; x != nil && x.version > version {
		answer.Entry = x.View() // another gateway has already changed it
		return answer, nil
	} else if x != nil {
		e.idx.Unlink(x)
	}
	x := a.fresh
	x.Seq, x.version, x.session, x.epoch = version, version, a.session, e.epoch
	e.idx.Link(x)
	if a.running {
		answer.Attempt = e.attemptOf(x, a.d)
	}
	answer.Entry = x.View()
	if a.missed > version {
		e.lookAgain(key)
	}
	return answer, nil
}

// resolve ends an accept. mu is held.
func (e *Engine) resolve(a *accept) {
	delete(e.accepting, a.d.Key)
	close(a.done)
}

// place writes a delivery. With errConflict it returns what the stream has instead.
func (e *Engine) place(ctx context.Context, r record, data []byte) (uint64, sight, error) {
	for pause := firstPause; ; pause *= 2 {
		version, err := e.putRecord(ctx, r, data, true)
		if !isConflict(err) {
			return version, sight{}, err
		}
		now, err := e.look(ctx, r.key)
		switch {
		case err != nil:
			return 0, now, errors.Join(inbox.ErrUnavailable, errors.New("the stream cannot be read"))
		case now.live && now.version > r.version:
			return 0, now, errConflict
		case now.version > r.version: // the mark of a removal
			r.version = now.version
			continue
		case now.version < r.version: // that mark has expired, or the stream was purged
			r.version = now.version
			continue
		}
		select { // another write is under way, or the leader changes
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, now, errors.Join(inbox.ErrUnavailable, errors.New("another gateway is storing it, or the leader is changing"))
		}
	}
}

// withdraw removes a delivery that may have been stored or may still be: once the mark of
// a removal has taken its place, the server refuses it.
func (e *Engine) withdraw(a *accept, r record) {
	own := r
	r.state = gone
	for pause := firstPause; ; pause = min(2*pause, retryPause) {
		ctx, cancel := context.WithTimeout(context.Background(), e.o.patience)
		_, err := e.putRecord(ctx, r, nil, false)
		if isConflict(err) {
			var now sight
			if now, err = e.look(ctx, r.key); err == nil && now.version != r.version {
				if now.is(own) && now.live {
					r.version = now.version
					cancel()
					continue
				}
				cancel()
				break // it can no longer be stored
			}
			err = errConflict
		}
		cancel()
		if err == nil {
			break
		}
		if e.rest(pause) {
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.resolve(a)
	e.count(-1)
	if a.missed > 0 {
		e.lookAgain(a.d.Key)
	}
}
