package nats

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
)

// A handle finds the entry of an attempt.
type handle struct {
	index.Handle
	engine  *Engine
	settled bool
}

// attemptOf begins an attempt of x. mu is held.
func (e *Engine) attemptOf(x *entry, d *inbox.Delivery) *inbox.Attempt {
	e.attempt++
	h := &handle{Handle: e.idx.Begin(x, e.attempt), engine: e}
	return &inbox.Attempt{Entry: x.View(), Delivery: d, Handle: h}
}

// running returns the entry of a running attempt; nil if it ended. mu is held.
func (e *Engine) running(a *inbox.Attempt) *entry {
	h, _ := a.Handle.(*handle)
	if h == nil || h.engine != e || h.settled {
		return nil
	}
	return e.idx.Running(h.Handle)
}

// Take implements [inbox.Engine]. It returns when the server has acknowledged that this
// gateway makes the attempt.
func (e *Engine) Take(ctx context.Context, q inbox.Queue, which inbox.Which) (*inbox.Attempt, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.patience)
	defer cancel()
	for {
		e.mu.Lock()
		if e.health != nil {
			e.mu.Unlock()
			return nil, inbox.ErrUnavailable
		}
		e.purge()
		x := e.idx.Next(q, which, e.o.Now().UnixNano())
		if x == nil {
			e.mu.Unlock()
			return nil, nil
		}
		before := x.record()
		a := e.attemptOf(x, nil)
		e.mu.Unlock()
		err := e.present(ctx)
		if err == nil {
			err = e.claim(ctx, x, a)
		}
		if err == nil {
			a.Delivery, err = e.body(ctx, a.Entry)
		}
		switch {
		case err == nil:
			return a, nil
		case errors.Is(err, errConflict):
		case errors.Is(err, errDamaged):
			e.lock(a, err)
		default:
			e.undo(x, a, before)
			return nil, inbox.ErrUnavailable
		}
	}
}

// claim writes that this gateway makes an attempt.
func (e *Engine) claim(ctx context.Context, x *entry, a *inbox.Attempt) error {
	e.mu.Lock()
	if e.running(a) != x {
		e.mu.Unlock()
		return errConflict
	}
	m := e.hurry(x)
	e.mu.Unlock()
	return e.written(ctx, m)
}

// body reads a delivery. The error is errDamaged, or that of the request.
func (e *Engine) body(ctx context.Context, of inbox.Entry) (*inbox.Delivery, error) {
	msg, err := e.stream.GetMsg(ctx, of.Position)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, errDamaged
	}
	if err != nil {
		return nil, err
	}
	return readDelivery(of, msg.Data)
}

// lock sets aside an unreadable delivery until the stream is opened again.
func (e *Engine) lock(a *inbox.Attempt, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.running(a); x != nil {
		e.idx.Lock(x)
		e.touch(x)
		e.log.Error("a delivery in the inbox cannot be read, and is left alone",
			"key", x.Key.String(), "handler", x.Group.Queue().Handler, "received", time.Unix(0, x.Received), "error", why)
	}
}

// Settle implements [inbox.Engine].
func (e *Engine) Settle(a *inbox.Attempt, st inbox.Settlement) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.running(a)
	if x == nil {
		x = e.overtaken(a, st)
	}
	if h, ok := a.Handle.(*handle); ok {
		h.settled = true
	}
	if x == nil {
		return
	}
	if !e.idx.Settle(x, st, e.o.Now().UnixNano()) {
		e.drop(x, delivered)
		return
	}
	e.touch(x)
	e.purge()
}

// overtaken returns the entry of an attempt that another gateway has declared over, if the
// app has accepted the delivery: that counts, whatever runs now. mu is held.
func (e *Engine) overtaken(a *inbox.Attempt, st inbox.Settlement) *entry {
	h, _ := a.Handle.(*handle)
	if h == nil || h.engine != e || h.settled || st.To != inbox.Delivered {
		return nil
	}
	x := e.idx.Entries[h.Key]
	if x == nil || x.Seq != h.Seq || x.Generation != h.Generation || x.State == inbox.Delivered {
		return nil
	}
	return x
}

// purge removes delivered entries that were kept long enough or exceed their share. mu is
// held.
func (e *Engine) purge() {
	now := e.o.Now().UnixNano()
	for x := e.idx.Overdue(now, e.o.MaxSize); x != nil; x = e.idx.Overdue(now, e.o.MaxSize) {
		e.drop(x, expired)
	}
}

// Get implements [inbox.Engine].
func (e *Engine) Get(ctx context.Context, key inbox.Key) (*inbox.Delivery, inbox.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.patience)
	defer cancel()
	e.mu.Lock()
	if e.health != nil {
		e.mu.Unlock()
		return nil, inbox.Entry{}, inbox.ErrUnavailable
	}
	e.purge()
	x := e.idx.Entries[key]
	if x == nil {
		e.mu.Unlock()
		return nil, inbox.Entry{}, inbox.ErrNotFound
	}
	view := x.View()
	e.mu.Unlock()
	d, err := e.body(ctx, view)
	switch {
	case errors.Is(err, errDamaged):
		err = inbox.ErrLocked
		e.mu.Lock()
		if e.idx.Entries[key] != x {
			err = inbox.ErrNotFound // removed meanwhile
		}
		e.mu.Unlock()
	case err != nil:
		err = inbox.ErrUnavailable
	}
	return d, view, err
}

// List implements [inbox.Engine].
func (e *Engine) List(_ context.Context, sel inbox.Selection, after uint64, limit int) ([]inbox.Entry, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.health != nil {
		return nil, inbox.ErrUnavailable
	}
	chosen := slices.DeleteFunc(e.selected(sel), func(x *entry) bool { return x.Seq <= after })
	slices.SortFunc(chosen, func(a, b *entry) int { return int(a.Seq) - int(b.Seq) })
	var found []inbox.Entry
	for _, x := range chosen[:min(limit, len(chosen))] {
		found = append(found, x.View())
	}
	return found, nil
}

// selected returns the entries of sel. mu is held.
func (e *Engine) selected(sel inbox.Selection) []*entry {
	e.purge()
	return e.idx.Select(sel)
}

// Discard implements [inbox.Engine].
func (e *Engine) Discard(ctx context.Context, sel inbox.Selection) ([]inbox.Key, error) {
	if sel.Empty() {
		return nil, inbox.ErrEmptySelection
	}
	e.mu.Lock()
	if e.health != nil {
		e.mu.Unlock()
		return nil, inbox.ErrUnavailable
	}
	var keys []inbox.Key
	var marks []*mark
	for _, x := range e.selected(sel) {
		keys = append(keys, x.Key)
		marks = append(marks, e.drop(x, discarded))
	}
	e.mu.Unlock()
	for _, m := range marks {
		if err := e.written(ctx, m); err != nil && err != errConflict {
			return keys, err
		}
	}
	return keys, nil
}

// replayTries limits the attempts of a replay with which other gateways interfere.
const replayTries = 3

// Replay implements [inbox.Engine].
func (e *Engine) Replay(ctx context.Context, sel inbox.Selection, handler string) (n int, err error) {
	if sel.Empty() {
		return 0, inbox.ErrEmptySelection
	}
	for range replayTries {
		var done int
		var again []inbox.Key
		if handler == "" {
			done, again, err = e.replay(ctx, sel)
		} else {
			done, again, err = e.move(ctx, sel, handler)
		}
		if n += done; err != nil || len(again) == 0 {
			break
		}
		sel = inbox.Selection{Keys: again, States: sel.States} // the app may have accepted some meanwhile
	}
	signal(e.changed)
	return n, err
}

// replay makes the selected entries due, and returns the keys that must be tried again.
func (e *Engine) replay(ctx context.Context, sel inbox.Selection) (n int, again []inbox.Key, err error) {
	e.mu.Lock()
	if e.health != nil {
		e.mu.Unlock()
		return 0, nil, inbox.ErrUnavailable
	}
	marks := make(map[inbox.Key]*mark)
	for _, x := range e.selected(sel) {
		if !x.Replayable() {
			continue
		}
		e.idx.Change(x, func() { e.again(x) })
		marks[x.Key] = e.touch(x)
	}
	e.mu.Unlock()
	for key, m := range marks {
		switch err := e.written(ctx, m); err {
		case nil:
			n++
		case errConflict:
			again = append(again, key)
		default:
			return n, nil, err
		}
	}
	return n, again, nil
}

// again makes x due, in a new generation unless it is pending. x is being changed; mu is
// held.
func (e *Engine) again(x *entry) {
	x.Replay(e.o.Now().UnixNano())
	x.shielded = false
}

// move is replay with another handler. A message cannot change in the stream, so the
// delivery is stored again in its own place.
func (e *Engine) move(ctx context.Context, sel inbox.Selection, handler string) (n int, again []inbox.Key, err error) {
	e.mu.Lock()
	chosen := e.selected(sel)
	e.mu.Unlock()
	for _, x := range chosen {
		d, _, err := e.Get(ctx, x.Key)
		if errors.Is(err, inbox.ErrNotFound) || errors.Is(err, inbox.ErrLocked) {
			continue
		}
		if err != nil {
			return n, nil, err
		}
		d.Handler = handler
		data, err := e.form(d)
		if err != nil {
			return n, nil, err
		}
		switch err := e.moveOne(ctx, x, sel.States, d, data); {
		case err == nil:
			n++
		case errors.Is(err, inbox.ErrNotFound):
		case errors.Is(err, errConflict):
			again = append(again, x.Key)
		default:
			return n, nil, err
		}
	}
	return n, again, nil
}

// moveOne stores x again, as d, if it still has one of the states. The error is ErrNotFound
// if it must not be replayed, or errConflict if another gateway has changed it meanwhile.
func (e *Engine) moveOne(ctx context.Context, x *entry, states []inbox.State, d *inbox.Delivery, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, e.o.patience)
	defer cancel()
	e.mu.Lock()
	for wait := e.wait(x.Key); wait != nil; wait = e.wait(x.Key) {
		e.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.stop:
			return inbox.ErrUnavailable
		}
		e.mu.Lock()
	}
	if e.idx.Entries[x.Key] != x || !x.Replayable() || !(inbox.Selection{States: states}).Includes(x.View()) {
		e.mu.Unlock()
		return inbox.ErrNotFound
	}
	moved := &entry{Entry: index.Entry{Key: x.Key, Group: e.idx.Group(d.Queue, d.Label)}}
	moved.set(x.record())
	moved.version, moved.Size = x.version, uint32(len(data)+overhead)
	e.again(moved)
	_, err := e.store(ctx, &accept{d: d, data: data, fresh: moved})
	return err
}
