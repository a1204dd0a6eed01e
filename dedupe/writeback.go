package dedupe

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A pendingWrite is a done or a release that the store did not accept. The background
// goroutine, which runs only while there is work, writes it later. A done remains
// pending until its window ends: however long the store was down, accepted deliveries
// are not forwarded again, up to MaxUnwritten. The flags are guarded by Gate.mu.
type pendingWrite struct {
	key       Key
	release   bool
	token     Token     // for a release
	mark      Mark      // for a done; for a release, only room and share
	until     time.Time // when it becomes pointless: the end of the lease or window
	writing   bool
	cancelled bool
}

// queueWrite queues a write. When there are too many, the oldest of the largest share of
// the largest room is dropped, as in a store.
func (g *Gate) queueWrite(w *pendingWrite) {
	g.mu.Lock()
	if w.cancelled {
		g.mu.Unlock()
		return
	}
	if len(g.queue) >= g.maxQueued {
		g.dropOldest()
	}
	g.queue = append(g.queue, w)
	g.count(w, 1)
	g.mu.Unlock()
	g.wakeWriter()
}

func (g *Gate) queueRelease(key Key, token Token, t Terms) {
	g.queueWrite(&pendingWrite{key: key, token: token, release: true, mark: Mark{Room: t.Room, Share: t.Share}, until: time.Now().Add(t.Lease)})
}

// count counts a write that enters or leaves the queue. Gate.mu is held.
func (g *Gate) count(w *pendingWrite, n int) {
	q := g.queued[w.mark.Room]
	if q == nil {
		q = &roomQueue{shares: make(map[Share]int)}
		g.queued[w.mark.Room] = q
	}
	q.sum += n
	if q.shares[w.mark.Share] += n; q.shares[w.mark.Share] == 0 {
		delete(q.shares, w.mark.Share)
	}
	if q.sum == 0 {
		delete(g.queued, w.mark.Room)
	}
}

func (g *Gate) dropOldest() {
	room, share := g.queue[0].mark.Room, g.queue[0].mark.Share
	for name, q := range g.queued {
		if q.sum > g.queued[room].sum {
			room = name
		}
	}
	most := g.queued[room].shares
	for of, n := range most {
		if n > most[share] {
			share = of
		}
	}
	i := slices.IndexFunc(g.queue, func(w *pendingWrite) bool { return w.mark.Room == room && w.mark.Share == share })
	w := g.queue[i]
	g.dequeue(i)
	if w.release || w.cancelled {
		return
	}
	g.written(w)
	if g.dropped.Add(1) == 1 {
		g.log.Error("too many deliveries wait for the dedupe store: copies of the oldest may be forwarded again",
			"max_unwritten", g.maxQueued)
	}
}

// dequeue removes a write from the queue. Gate.mu is held.
func (g *Gate) dequeue(i int) {
	g.count(g.queue[i], -1)
	if i == 0 {
		g.queue = g.queue[1:] // without moving the others
		return
	}
	g.queue = slices.Delete(g.queue, i, i+1)
}

// written records that a done is written. Gate.mu is held.
func (g *Gate) written(w *pendingWrite) {
	if g.unwritten[w.key] == w {
		delete(g.unwritten, w.key)
	}
}

// wakeWriter starts the background goroutine unless it runs.
func (g *Gate) wakeWriter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writerRuns || g.closed {
		return
	}
	g.writerRuns = true
	g.writers.Go(g.runWriter)
}

// runWriter probes a store that is down every two seconds, then writes the queue. It
// ends when the queue is empty and the store is up.
func (g *Gate) runWriter() {
	pause := 100 * time.Millisecond
	for {
		if g.breaker.open() {
			if !sleep(g.ctx, breakerPause) {
				return
			}
			g.probe()
			continue
		}
		w, ok := g.nextWrite()
		if !ok {
			return
		}
		if w == nil {
			continue
		}
		if err := g.writeOne(g.ctx, w); err == nil {
			pause = 100 * time.Millisecond
			continue
		}
		if !sleep(g.ctx, pause) {
			return
		}
		pause = min(2*pause, breakerPause)
	}
}

// probe closes the breaker if the store is back.
func (g *Gate) probe() {
	ctx, cancel := context.WithTimeout(g.ctx, breakerSlow)
	defer cancel()
	if g.try(ctx) != nil {
		return
	}
	g.breaker.close()
	g.log.Info("the dedupe store is back", "unwritten", g.Stats().Unwritten)
	g.announce()
}

// announce claims running deliveries that were forwarded without the store's answer,
// before another instance gets a copy.
func (g *Gate) announce() {
	g.mu.Lock()
	var claims []*Claim
	for _, f := range g.flights {
		if f.claim != nil {
			claims = append(claims, f.claim)
		}
	}
	g.mu.Unlock()
	for _, c := range claims {
		c.mu.Lock()
		unknown := !c.inStore
		c.mu.Unlock()
		if unknown {
			go c.renew()
		}
	}
}

// nextWrite returns the oldest write that still matters, marked as being written, or
// nil. ok is false if there is nothing left to do: the goroutine must end.
func (g *Gate) nextWrite() (w *pendingWrite, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.queue) > 0 {
		w := g.queue[0]
		if !w.cancelled && time.Now().Before(w.until) {
			w.writing = true
			return w, true
		}
		g.written(w)
		g.dequeue(0)
	}
	g.queue = nil // free the array
	g.writerRuns = g.breaker.open()
	return nil, g.writerRuns
}

// writeOne writes w, which nextWrite returned.
func (g *Gate) writeOne(ctx context.Context, w *pendingWrite) error {
	var err error
	switch {
	case w.release:
		err = g.releaseStore(ctx, w.key, w.token)
	default:
		m := w.mark
		m.TTL = time.Until(w.until)
		err = g.doneStore(ctx, w.key, m)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	w.writing = false
	if err != nil {
		return err
	}
	g.written(w)
	if len(g.queue) > 0 && g.queue[0] == w {
		g.dequeue(0)
	}
	return nil
}

// writeAll writes the queue on Close, until a write fails.
func (g *Gate) writeAll(ctx context.Context) error {
	g.breaker.close()
	for {
		w, _ := g.nextWrite()
		if w == nil {
			return nil
		}
		if err := g.writeOne(ctx, w); err != nil {
			return fmt.Errorf("%d accepted deliveries could not be written: %w", g.Stats().Unwritten, err)
		}
	}
}
