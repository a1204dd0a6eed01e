package dedupe

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A debt is a done or a release that the store did not take. It is paid by the
// keeper, a goroutine that runs only while there is something to do. A done is
// owed until its window ends: however long the store was down, what was taken
// meanwhile is not forwarded again, as far as MaxUnwritten reaches.
// The flags are guarded by Gate.mu.
type debt struct {
	key       Key
	release   bool
	token     Token     // of a release
	mark      Mark      // of a done; of a release, the room alone
	until     time.Time // when it loses its meaning: the end of the lease or the window
	writing   bool
	cancelled bool
}

// owe queues a debt. When there are too many, the oldest of the room that owes
// most is given up, as in a store.
func (g *Gate) owe(d *debt) {
	g.mu.Lock()
	if d.cancelled {
		g.mu.Unlock()
		return
	}
	if len(g.debts) >= g.maxDebts {
		g.giveUp()
	}
	g.debts = append(g.debts, d)
	g.owed[d.mark.Room]++
	g.mu.Unlock()
	g.wakeKeeper()
}

func (g *Gate) giveBack(key Key, token Token, t Terms) {
	g.owe(&debt{key: key, token: token, release: true, mark: Mark{Room: t.Room}, until: time.Now().Add(t.Lease)})
}

func (g *Gate) giveUp() {
	most := g.debts[0].mark.Room
	for room, n := range g.owed {
		if n > g.owed[most] {
			most = room
		}
	}
	i := slices.IndexFunc(g.debts, func(d *debt) bool { return d.mark.Room == most })
	d := g.debts[i]
	g.strike(i)
	if d.release || d.cancelled {
		return
	}
	g.written(d)
	if g.dropped.Add(1) == 1 {
		g.log.Error("too many deliveries wait for the dedupe store: the oldest of the handler that has most may be forwarded again",
			"max_unwritten", g.maxDebts)
	}
}

// strike takes a debt off the books. Gate.mu is held.
func (g *Gate) strike(i int) {
	room := g.debts[i].mark.Room
	if g.owed[room]--; g.owed[room] == 0 {
		delete(g.owed, room)
	}
	if i == 0 {
		g.debts = g.debts[1:] // without moving the others
		return
	}
	g.debts = slices.Delete(g.debts, i, i+1)
}

// written forgets that a done is unwritten. Gate.mu is held.
func (g *Gate) written(d *debt) {
	if g.unwritten[d.key] == d {
		delete(g.unwritten, d.key)
	}
}

// wakeKeeper starts the keeper unless it runs.
func (g *Gate) wakeKeeper() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.keeping || g.closed {
		return
	}
	g.keeping = true
	g.keepers.Go(g.keep)
}

// keep tries every two seconds whether a store that is down is back, then pays
// the debts. It ends when all is well.
func (g *Gate) keep() {
	pause := 100 * time.Millisecond
	for {
		if g.breaker.open() {
			if !sleep(g.ctx, breakerPause) {
				return
			}
			g.probe()
			continue
		}
		d, ok := g.nextDebt()
		if !ok {
			return
		}
		if d == nil {
			continue
		}
		if err := g.pay(g.ctx, d); err == nil {
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

// announce claims at once what was forwarded without the store's consent and
// still runs, before another instance is handed a copy.
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

// nextDebt returns the oldest debt that still matters, marked as being written,
// or nil. ok is false if all is well, and then the keeper must end.
func (g *Gate) nextDebt() (d *debt, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.debts) > 0 {
		d := g.debts[0]
		if !d.cancelled && time.Now().Before(d.until) {
			d.writing = true
			return d, true
		}
		g.written(d)
		g.strike(0)
	}
	g.debts = nil // let the array go
	g.keeping = g.breaker.open()
	return nil, g.keeping
}

// pay writes one debt, which nextDebt returned.
func (g *Gate) pay(ctx context.Context, d *debt) error {
	var err error
	switch {
	case d.release:
		err = g.releaseStore(ctx, d.key, d.token)
	default:
		m := d.mark
		m.TTL = time.Until(d.until)
		err = g.doneStore(ctx, d.key, m)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	d.writing = false
	if err != nil {
		return err
	}
	g.written(d)
	if len(g.debts) > 0 && g.debts[0] == d {
		g.strike(0)
	}
	return nil
}

// writeAll pays the debts on the way out, until one cannot be paid.
func (g *Gate) writeAll(ctx context.Context) error {
	g.breaker.close()
	for {
		d, _ := g.nextDebt()
		if d == nil {
			return nil
		}
		if err := g.pay(ctx, d); err != nil {
			return fmt.Errorf("%d deliveries that the app took could not be written: %w", g.Stats().Unwritten, err)
		}
	}
}
