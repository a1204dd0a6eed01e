package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A session is one gateway, from opening the stream until it closes it or others declare
// it gone.
type session struct {
	id    sessionID
	seq   uint64    // of its last beat
	heard time.Time // when that was received; of our own: when the last acknowledged one was sent
	epoch uint32    // of the last reading of the stream that found it

	// Only of our own session.
	beats  uint64    // serial of the last beat
	sent   time.Time // when that was sent
	echoed time.Time // when the last beat that was read back was sent: everything before it has been read
}

type sessionID uint64

func (id sessionID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

const (
	gatewayToken  = "gateway"
	deliveryToken = "delivery"
	stateToken    = "state"

	// The header of a gateway's message: the serial of a beat, or that the gateway is
	// gone.
	sessionHeader = "Inbox-Gateway"
	sessionGone   = "gone"

	goneTTL = 2 * time.Minute // how long the mark of a removal remains
)

func (e *Engine) gatewaySubject(id sessionID) string {
	return e.o.Stream + "." + gatewayToken + "." + id.String()
}

// beat announces this gateway regularly, until halt.
func (e *Engine) beat() {
	pause := e.o.lease / beatsPerLease
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-timer.C:
		}
		timer.Reset(pause)
		e.mu.Lock()
		healthy := e.health == nil
		if e.idx.Tick(e.o.Now().UnixNano()) { // the clock was set back
			signal(e.changed)
		}
		e.mu.Unlock()
		if !healthy { // reading the stream again begins with a beat
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), e.o.patience)
		if err := e.announce(ctx); err != nil {
			e.fail(streamError(err))
		}
		cancel()
	}
}

// announce writes one beat. If others have declared this gateway gone, it continues in a
// new session.
func (e *Engine) announce(ctx context.Context) error {
	e.beating.Lock()
	defer e.beating.Unlock()
	for {
		e.mu.Lock()
		e.self.beats++
		e.self.sent = time.Now()
		self := e.self
		e.mu.Unlock()
		seq, err := e.say(ctx, self.id, self.seq, strconv.FormatUint(self.beats, 10), 0)
		if err == nil {
			e.mu.Lock()
			e.self.seq, e.self.heard = seq, self.sent
			e.mu.Unlock()
			return nil
		}
		if !isConflict(err) {
			return err
		}
		last, err := e.stream.GetLastMsgForSubject(ctx, e.gatewaySubject(self.id))
		switch {
		case err == nil && last.Header.Get(sessionHeader) != sessionGone: // a beat whose acknowledgement was lost
			e.mu.Lock()
			e.self.seq = last.Sequence
			e.mu.Unlock()
		case err == nil || errors.Is(err, jetstream.ErrMsgNotFound):
			e.mu.Lock()
			e.self = session{id: newSessionID()}
			e.mu.Unlock()
			e.log.Warn("this gateway was silent for so long that another one may repeat its attempts")
		default:
			return err
		}
	}
}

// present ensures that no other gateway declares this one gone before an attempt that
// begins now is written.
func (e *Engine) present(ctx context.Context) error {
	e.mu.Lock()
	recent := time.Since(e.self.heard) < e.o.lease/2
	e.mu.Unlock()
	if recent {
		return nil
	}
	return e.announce(ctx)
}

// leave declares this gateway gone.
func (e *Engine) leave(ctx context.Context) error {
	e.beating.Lock()
	defer e.beating.Unlock()
	e.mu.Lock()
	self, known := e.self, e.self.seq > 0
	e.mu.Unlock()
	if !known {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.o.patience)
	defer cancel()
	if _, err := e.say(ctx, self.id, self.seq, sessionGone, goneTTL); err != nil && !isConflict(err) {
		return errors.Join(errors.New("inbox nats: other gateways were not told that this one stops, and wait for it"), err)
	}
	return nil
}

func (e *Engine) say(ctx context.Context, id sessionID, after uint64, text string, ttl time.Duration) (uint64, error) {
	subject := e.gatewaySubject(id)
	return e.put(ctx, message{subject: subject, filter: subject, after: after, header: sessionHeader, text: text, ttl: ttl})
}

// hearSession records a beat, or that a gateway is gone. mu is held.
func (e *Engine) hearSession(name string, seq uint64, h nats.Header) {
	n, err := strconv.ParseUint(name, 16, 64)
	id, text := sessionID(n), h.Get(sessionHeader)
	switch {
	case err != nil:
	case id == e.self.id && text == strconv.FormatUint(e.self.beats, 10):
		e.judge()
	case id == e.self.id:
	case text == sessionGone:
		if e.sessions[id] != nil {
			delete(e.sessions, id)
			e.release(id)
		}
	default:
		s := e.sessions[id]
		if s == nil {
			s = &session{id: id}
			e.sessions[id] = s
		}
		s.seq, s.heard, s.epoch = seq, time.Now(), e.epoch
	}
}

// judge declares those gateways gone that were silent for a lease before our last beat was
// sent. That beat has just been read back, and with it everything that the others wrote
// before. If our own beats are late, the stream may be slow, and silence proves nothing.
// mu is held.
func (e *Engine) judge() {
	late := e.self.sent.Sub(e.self.echoed) > e.o.lease/2
	e.self.echoed = e.self.sent
	for id, s := range e.sessions {
		switch {
		case late:
			s.heard = time.Now()
		case e.self.sent.Sub(s.heard) > e.o.lease:
			s.heard = time.Now() // until the next attempt to declare it gone
			seq := s.seq
			e.ended.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), e.o.patience)
				defer cancel()
				if _, err := e.say(ctx, id, seq, sessionGone, goneTTL); err == nil {
					e.log.Warn("another gateway is gone: its attempts are repeated", "gateway", id.String())
				}
			})
		}
	}
}

// release ends the attempts of a gateway that is gone. mu is held.
func (e *Engine) release(id sessionID) {
	for _, x := range e.idx.Entries {
		if x.session == id && (x.State == inbox.InAttempt || x.shielded) {
			e.idx.Change(x, func() { e.settleOwner(x) })
		}
	}
	signal(e.changed)
}
