package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
)

const (
	readAhead     = 4096 // messages requested in advance
	readHeartbeat = 2 * time.Second
)

// serve opens the stream and reads it from its first message on, until that fails. What is
// already in the index remains until the whole stream has been read without it.
func (e *Engine) serve() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*e.o.patience)
	defer cancel()
	select {
	case <-e.broken: // of an earlier reading
	default:
	}
	if !e.nc.IsConnected() {
		return cmp.Or(whyRefused(e.nc.LastError()), errLost)
	}
	stream, err := e.open(ctx)
	if err != nil {
		return err
	}
	config := stream.CachedInfo().Config
	e.mu.Lock()
	fresh := e.id != config.Metadata[idInStream]
	if e.stream == nil {
		e.stream = stream
	}
	e.id = config.Metadata[idInStream]
	if fresh { // sequence numbers of another stream mean nothing here
		e.loaded, e.idx = false, index.New[*entry]()
		e.sessions, e.self = make(map[sessionID]*session), session{id: newSessionID()}
	}
	e.epoch++
	e.damaged = 0
	e.mu.Unlock()
	if fresh {
		e.warn(config)
	}
	if err := e.announce(ctx); err != nil {
		return streamError(err)
	}
	e.mu.Lock()
	until := e.self.seq
	e.mu.Unlock()
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return streamError(err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead), jetstream.PullHeartbeat(readHeartbeat))
	if err != nil {
		return streamError(err)
	}
	ended, why := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(why)
		select {
		case <-e.stop:
		case err := <-e.broken:
			why <- err
		case <-ended:
		}
		messages.Stop()
	}()
	err = e.follow(messages, until)
	close(ended)
	if first := <-why; first != nil {
		return first
	}
	return err
}

// follow reads messages until that fails. With the one at until, the index is complete.
func (e *Engine) follow(messages jetstream.MessagesContext, until uint64) error {
	for next, read := uint64(1), false; ; next++ {
		msg, err := messages.Next()
		switch {
		case errors.Is(err, jetstream.ErrMsgIteratorClosed):
			return errClosed
		case err != nil:
			return fmt.Errorf("the stream cannot be read: %w", err)
		}
		meta, err := msg.Metadata()
		if err != nil || meta.Sequence.Consumer != next {
			return errors.New("the stream cannot be read: a message is missing")
		}
		e.hear(msg.Subject(), meta.Sequence.Stream, msg.Headers())
		if !read && meta.Sequence.Stream >= until {
			read = true
			e.sweep()
		}
	}
}

// hear applies a message to the index.
func (e *Engine) hear(subject string, seq uint64, h nats.Header) {
	parts := strings.Split(subject, ".")
	if len(parts) != 3 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if parts[1] == gatewayToken {
		e.hearSession(parts[2], seq, h)
		return
	}
	key, err := inbox.ParseKey(parts[1])
	if err != nil {
		return
	}
	delivery := parts[2] == deliveryToken
	r, err := readRecord(key, seq, delivery, h)
	if err != nil {
		if e.damaged++; e.damaged == 1 {
			e.log.Error("a message in the inbox stream cannot be read, and is left alone", "sequence", seq, "key", key.String())
		}
		return
	}
	e.note(key, seq)
	if a := e.accepting[key]; a != nil {
		if r.session == a.session && r.serial == a.serial {
			return // our own: the server acknowledges it to store
		}
		a.missed = max(a.missed, seq)
	}
	e.apply(r, delivery)
}

// apply updates the index from r, unless r is older. mu is held.
func (e *Engine) apply(r record, delivery bool) {
	x := e.idx.Entries[r.key]
	if busy := e.leaving[r.key]; busy != nil {
		busy.miss(r.version)
		return
	}
	if x != nil && (r.version == x.Seq || r.version == x.version) {
		x.epoch = e.epoch
	}
	if x != nil && r.version <= x.version {
		return
	}
	if x != nil && x.busy() {
		x.miss(r.version)
		return
	}
	switch {
	case r.state == gone:
		if x != nil {
			e.idx.Unlink(x)
		}
	case delivery:
		if x != nil {
			e.idx.Unlink(x)
		}
		e.link(r)
	case x != nil && x.Seq == r.seq:
		e.update(x, r)
	}
	signal(e.changed)
}

// update gives x the state of r. mu is held.
func (e *Engine) update(x *entry, r record) {
	e.idx.Change(x, func() {
		locked := x.State == inbox.Locked
		x.set(r)
		x.version, x.Attempt = r.version, 0
		if locked { // other gateways cannot read it either
			x.State = inbox.Locked
		}
		e.settleOwner(x)
	})
}

// link adds a delivery that another gateway or an earlier process accepted. mu is held.
func (e *Engine) link(r record) *entry {
	x := &entry{Entry: index.Entry{Key: r.key, Seq: r.seq, Group: e.idx.Group(r.Queue, r.label)}, version: r.version, epoch: e.epoch}
	x.set(r)
	e.settleOwner(x)
	e.idx.Link(x)
	return x
}

// sweep is called when the whole stream has been read. It removes entries that the stream
// does not have, and ends attempts of gateways that are gone.
func (e *Engine) sweep() {
	e.mu.Lock()
	first := !e.loaded
	e.loaded = true
	for id, s := range e.sessions {
		if s.epoch != e.epoch {
			delete(e.sessions, id)
		}
	}
	now := e.o.Now().UnixNano()
	for _, x := range e.idx.Entries {
		if x.epoch != e.epoch && !x.busy() {
			e.idx.Unlink(x)
			continue
		}
		e.idx.Change(x, func() {
			e.settleOwner(x)
			if first {
				x.Wake(now)
			}
		})
	}
	id, entries := e.id, len(e.idx.Entries)
	if !e.closed {
		e.health = nil
	}
	e.mu.Unlock()
	e.log.Info("the inbox stream is open", "id", id, "deliveries", entries)
	signal(e.changed)
}

// settleOwner adapts x to the gateway that wrote it last: an attempt is over when its
// gateway is gone, and a delivery that another gateway has just accepted is left to that
// one for a while. x is in no index, or is being changed; mu is held.
func (e *Engine) settleOwner(x *entry) {
	if !e.loaded || x.Attempt != 0 {
		return
	}
	_, alive := e.sessions[x.session]
	switch {
	case x.State == inbox.InAttempt && !alive:
		x.State = inbox.Pending
		x.Wake(e.o.Now().UnixNano())
	case x.shielded && !alive:
		x.shielded, x.Due = false, x.Since
		x.Wake(e.o.Now().UnixNano())
	case x.State == inbox.Pending && alive && x.version == x.Seq && x.Attempts == 0 && x.Generation == 0 && !x.shielded:
		if until := e.o.Now().Add(e.o.lease).UnixNano(); until > x.Due {
			x.shielded, x.Due = true, until
		}
	}
}
