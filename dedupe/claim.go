package dedupe

import (
	"errors"
	"sync"
	"time"
)

// A Claim is the right to forward one delivery. It is renewed in the background until
// the first call of Done or Release settles it, or until Terms.Limit and one lease have
// passed: then another attempt may own the delivery, and only Done has an effect. Later
// calls do nothing.
//
// The methods may be called from any goroutine, also after the server loaded a
// new configuration.
type Claim struct {
	g     *Gate
	f     *flight
	key   Key
	token Token
	terms Terms
	end   time.Time // when renewals end

	due time.Time // of the next renewal; zero while there is none to come. Guarded by Gate.mu

	mu      sync.Mutex
	settled bool
	inStore bool // the store has our token
	asked   bool // the store may have our token
	lapsed  bool // renewals ended: another attempt may own the flight
}

// newClaim makes a claim for a flight. inStore is false if the store did not respond:
// the renewals then claim. asked is false if it was not called.
func (g *Gate) newClaim(f *flight, token Token, t Terms, inStore, asked bool) *Claim {
	c := &Claim{g: g, f: f, key: f.key, token: token, terms: t, inStore: inStore, asked: asked}
	now := time.Now()
	c.end = now.Add(t.Limit + t.Lease)
	g.mu.Lock()
	f.claim = c
	g.renewAt(c, now.Add(t.Lease/3))
	g.found(f)
	g.mu.Unlock()
	return c
}

// renewAt has a claim renewed at a time. One timer serves all claims: most are settled
// long before, and would start and stop one of their own for nothing. Gate.mu is held.
func (g *Gate) renewAt(c *Claim, due time.Time) {
	c.due = due
	if g.nextDue.IsZero() || due.Before(g.nextDue) {
		g.wakeRenewals(due)
	}
}

func (g *Gate) wakeRenewals(due time.Time) {
	g.nextDue = due
	if g.renewals == nil {
		g.renewals = time.AfterFunc(time.Until(due), g.renewDue)
		return
	}
	g.renewals.Reset(time.Until(due))
}

// renewDue renews the claims that are due, each in its own goroutine, and sets the timer
// for the next. Those that are due soon count as due: it reads all flights, so it must
// not run for each of thousands.
func (g *Gate) renewDue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, next := time.Now(), time.Time{}
	for _, f := range g.flights {
		switch c := f.claim; {
		case c == nil || c.due.IsZero():
		case !c.due.After(now.Add(c.terms.Lease / 16)):
			c.due = time.Time{}
			go c.renew()
		case next.IsZero() || c.due.Before(next):
			next = c.due
		}
	}
	if g.nextDue = next; !next.IsZero() {
		g.wakeRenewals(next)
	}
}

// Key returns the key of the delivery.
func (c *Claim) Key() Key { return c.key }

// Done records that the app accepted the delivery, with its status, or that an inbox
// has it, with StoredIn. When it returns, after at most 500 ms, every waiting and later
// copy in this process is a duplicate; so are copies at other instances once the store
// has the mark. It returns no error: a delivery that the app accepted is never refused
// because of the store.
func (c *Claim) Done(status int) {
	owns, _, ok := c.settle()
	if !ok {
		return
	}
	f := c.f
	if !owns {
		f = nil
	}
	c.g.record(f, c.key, Mark{Status: status, TTL: c.terms.TTL, Room: c.terms.Room, Share: c.terms.Share})
}

// Record marks a delivery as done without a claim: the app accepted it later, out of
// an inbox. It waits as [Claim.Done] does.
func (g *Gate) Record(key Key, m Mark) { g.record(nil, key, m) }

// record writes a mark, locally at once and to the store within its time limit or
// later, and ends the flight if there is one.
func (g *Gate) record(f *flight, key Key, m Mark) {
	if g.instant && g.store.Done(g.ctx, key, m) == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if f != nil {
			g.concludeLocked(f, m.Status)
		}
		return
	}
	d := &pendingWrite{key: key, mark: m, until: time.Now().Add(m.TTL), writing: true}
	if g.local != nil {
		g.local.Done(g.ctx, key, m) // does not fail
	}
	g.mu.Lock()
	if old := g.unwritten[key]; old != nil {
		old.cancelled = true
	}
	g.unwritten[key] = d
	if f != nil {
		g.concludeLocked(f, m.Status)
	}
	g.mu.Unlock()

	err := g.doneStore(g.ctx, key, m)

	g.mu.Lock()
	d.writing = false
	if err == nil {
		g.written(d)
	}
	g.mu.Unlock()
	if err != nil {
		g.queueWrite(d)
	}
}

// Release returns the delivery: the app did not accept it, and the next copy is
// forwarded. The first waiter gets it once the store has the release, after at most
// 500 ms.
func (c *Claim) Release() {
	owns, asked, ok := c.settle()
	if !ok {
		return
	}
	if asked && c.g.releaseStore(c.g.ctx, c.key, c.token) != nil {
		c.g.queueRelease(c.key, c.token, c.terms)
	}
	if owns {
		c.g.pass(c.f)
	}
}

// settle ends the renewals. ok is false if the claim was already settled; owns is
// false if its flight was handed on, asked if the store cannot have our token.
func (c *Claim) settle() (owns, asked, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settled {
		return false, false, false
	}
	c.settled = true
	return !c.lapsed, c.asked, true
}

// renew runs every third of the lease.
func (c *Claim) renew() {
	c.mu.Lock()
	if c.settled || c.lapsed {
		c.mu.Unlock()
		return
	}
	if !time.Now().Before(c.end) {
		c.lapsed = true
		c.mu.Unlock()
		c.g.log.Warn("an attempt outlived its limit and its lease: the next copy may be forwarded",
			"delivery", c.key.String())
		c.g.pass(c.f)
		return
	}
	inStore := c.inStore
	c.mu.Unlock()

	held, err := c.extend(inStore)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.inStore = held
	if !errors.Is(err, errStoreDown) {
		c.asked = true
		if c.settled {
			// Settled during the call. A done is final, but our renewal may have
			// overtaken a release by claiming again: repeat the release.
			c.g.queueRelease(c.key, c.token, c.terms)
		}
	}
	if c.settled || c.lapsed {
		return
	}
	next := c.terms.Lease / 3
	if err != nil {
		next /= 3 // three more attempts before the lease ends
	}
	c.g.mu.Lock()
	c.g.renewAt(c, time.Now().Add(min(next, max(time.Until(c.end), time.Millisecond))))
	c.g.mu.Unlock()
}

// extend renews the lease. If the store does not know our claim, because it did not
// respond or has forgotten it, extend claims again.
func (c *Claim) extend(inStore bool) (held bool, err error) {
	g := c.g
	if inStore {
		held, err = g.renewStore(c.key, c.token, c.terms.Lease)
		if err != nil {
			return true, err // as far as we know, we still hold it
		}
		if held {
			return true, nil
		}
		g.lost.Add(1)
		g.log.Warn("lease lost: another instance may forward this delivery as well", "delivery", c.key.String())
	}
	state, err := g.claimStore(c.key, c.token, c.terms.Lease)
	return err == nil && state.Phase == Claimed, err
}
