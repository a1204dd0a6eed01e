package nats

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A handle finds the entry of an attempt again.
type handle struct {
	engine     *Engine
	key        inbox.Key
	seq        uint64
	serial     uint32
	generation uint16
	settled    bool
}

// attemptOf begins an attempt of x, which is pending or not yet in attempt. Mu is
// held.
func (e *Engine) attemptOf(x *entry, d *inbox.Delivery) *inbox.Attempt {
	e.attempt++
	e.idx.change(x, func() { x.state, x.attempt = inbox.InAttempt, e.attempt })
	return &inbox.Attempt{Entry: x.view(), Delivery: d, Handle: &handle{
		engine: e, key: x.key, seq: x.seq, serial: x.attempt, generation: x.generation,
	}}
}

// running returns the entry of an attempt that runs; nil if it ended. Mu is held.
func (e *Engine) running(a *inbox.Attempt) *entry {
	h, _ := a.Handle.(*handle)
	if h == nil || h.engine != e || h.settled {
		return nil
	}
	x := e.idx.entries[h.key]
	if x == nil || x.seq != h.seq || x.attempt != h.serial || x.state != inbox.InAttempt {
		return nil
	}
	return x
}

// Take implements [inbox.Engine]. It returns once the server has acknowledged that
// this gateway makes the attempt.
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
		var x *entry
		if queue := e.idx.queues[q]; queue != nil {
			x = queue.next(which, e.o.Now().UnixNano())
		}
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

// claim has the server know of an attempt.
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

// body reads a delivery. The error is errDamaged or another.
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

// lock puts away what cannot be read, until the stream is opened the next time.
func (e *Engine) lock(a *inbox.Attempt, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.running(a); x != nil {
		e.idx.change(x, func() { x.state, x.attempt = inbox.Locked, 0 })
		e.touch(x)
		e.log.Error("a delivery in the inbox cannot be read, and is left alone",
			"key", x.key.String(), "handler", x.group.queue.Handler, "received", time.Unix(0, x.received), "error", why)
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
	if st.To == inbox.Delivered && st.Keep <= 0 {
		e.drop(x, delivered)
		return
	}
	now := e.o.Now().UnixNano()
	e.idx.change(x, func() {
		x.attempt, x.state, x.hold, x.due = 0, st.To, st.Hold, now+int64(st.After)
		if st.Hold == inbox.HoldRoute {
			x.due = never
		}
		if st.To == inbox.Delivered {
			x.due = now + int64(st.Keep)
		}
		if !st.Unspent {
			x.attempts = uint16(min(int(x.attempts)+1, math.MaxUint16))
			x.status = uint16(max(0, min(st.Status, math.MaxUint16)))
		}
	})
	e.touch(x)
	e.purge()
}

// overtaken returns the entry of an attempt that another gateway thought was over,
// if the app took it: that is true whatever is being tried now. Mu is held.
func (e *Engine) overtaken(a *inbox.Attempt, st inbox.Settlement) *entry {
	h, _ := a.Handle.(*handle)
	if h == nil || h.engine != e || h.settled || st.To != inbox.Delivered {
		return nil
	}
	x := e.idx.entries[h.key]
	if x == nil || x.seq != h.seq || x.generation != h.generation || x.state == inbox.Delivered {
		return nil
	}
	return x
}

// purge removes what was kept for long enough, or takes more than its share. Mu is
// held.
func (e *Engine) purge() {
	now := e.o.Now().UnixNano()
	for len(e.idx.kept.list) > 0 {
		first := e.idx.kept.list[0]
		if first.due > now && e.idx.keptSize <= e.o.MaxSize/keptShare {
			return
		}
		e.drop(first, expired)
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
	x := e.idx.entries[key]
	if x == nil {
		e.mu.Unlock()
		return nil, inbox.Entry{}, inbox.ErrNotFound
	}
	view := x.view()
	e.mu.Unlock()
	d, err := e.body(ctx, view)
	switch {
	case errors.Is(err, errDamaged):
		err = inbox.ErrLocked
		e.mu.Lock()
		if e.idx.entries[key] != x {
			err = inbox.ErrNotFound // it was removed meanwhile
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
	chosen := slices.DeleteFunc(e.selected(sel), func(x *entry) bool { return x.seq <= after })
	slices.SortFunc(chosen, func(a, b *entry) int { return int(a.seq) - int(b.seq) })
	var found []inbox.Entry
	for _, x := range chosen[:min(limit, len(chosen))] {
		found = append(found, x.view())
	}
	return found, nil
}

// selected are the entries of sel. Mu is held.
func (e *Engine) selected(sel inbox.Selection) (chosen []*entry) {
	e.purge()
	if len(sel.Keys) == 0 {
		for _, x := range e.idx.entries {
			if sel.Includes(x.view()) {
				chosen = append(chosen, x)
			}
		}
		return chosen
	}
	seen := make(map[inbox.Key]bool, len(sel.Keys))
	for _, key := range sel.Keys {
		if x := e.idx.entries[key]; x != nil && !seen[key] && sel.Includes(x.view()) {
			chosen = append(chosen, x)
		}
		seen[key] = true
	}
	return chosen
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
		keys = append(keys, x.key)
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

// replayTries is how often a replay is tried that other gateways interfere with.
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
		sel = inbox.Selection{Keys: again}
	}
	signal(e.changed)
	return n, err
}

// replay makes what is selected due, and returns which must be looked at again.
func (e *Engine) replay(ctx context.Context, sel inbox.Selection) (n int, again []inbox.Key, err error) {
	e.mu.Lock()
	if e.health != nil {
		e.mu.Unlock()
		return 0, nil, inbox.ErrUnavailable
	}
	marks := make(map[inbox.Key]*mark)
	for _, x := range e.selected(sel) {
		if x.state == inbox.InAttempt || x.state == inbox.Locked {
			continue
		}
		e.idx.change(x, func() { e.again(x) })
		marks[x.key] = e.touch(x)
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

// again makes x due, in a new generation if it was dead or delivered. X is being
// changed; mu is held.
func (e *Engine) again(x *entry) {
	if x.state == inbox.Pending {
		x.due, x.hold, x.shielded = e.o.Now().UnixNano(), inbox.HoldTime, false
		return
	}
	e.revive(x, true)
}

// move is replay with another handler. What a delivery is does not change in the
// stream, so it is stored again in its own place.
func (e *Engine) move(ctx context.Context, sel inbox.Selection, handler string) (n int, again []inbox.Key, err error) {
	e.mu.Lock()
	chosen := e.selected(sel)
	e.mu.Unlock()
	for _, x := range chosen {
		d, _, err := e.Get(ctx, x.key)
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
		switch err := e.moveOne(ctx, x, d, data); {
		case err == nil:
			n++
		case errors.Is(err, inbox.ErrNotFound):
		case errors.Is(err, errConflict):
			again = append(again, x.key)
		default:
			return n, nil, err
		}
	}
	return n, again, nil
}

// moveOne stores x again, as d. The error is ErrNotFound if it must not be replayed,
// errConflict if it changed meanwhile.
func (e *Engine) moveOne(ctx context.Context, x *entry, d *inbox.Delivery, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, e.o.patience)
	defer cancel()
	e.mu.Lock()
	for wait := e.wait(x.key); wait != nil; wait = e.wait(x.key) {
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
	if e.idx.entries[x.key] != x || x.state == inbox.InAttempt || x.state == inbox.Locked {
		e.mu.Unlock()
		return inbox.ErrNotFound
	}
	moved := &entry{key: x.key, group: e.idx.group(d.Queue, d.Label)}
	moved.set(x.record())
	moved.version, moved.size = x.version, uint32(len(data)+overhead)
	e.again(moved)
	_, err := e.store(ctx, &accept{d: d, data: data, fresh: moved})
	return err
}
