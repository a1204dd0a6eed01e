package boxes

import (
	"context"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/inbox/bolt"
)

// needsInbox reports whether the configuration has an inbox, by its option or by a
// handler's, or the default file holds deliveries of a handler of that name: accepted
// deliveries are delivered, whatever the configuration says by then. Others may be those of
// another Caddy of the same user. c.mu is held.
func (c *Configuration) needsInbox() bool {
	if c.configured || slices.ContainsFunc(c.handlers, func(h Handler) bool { return h.Policy != nil }) {
		return true
	}
	file, ok := c.Module.(*Bolt)
	if !ok || len(c.handlers) == 0 {
		return false
	}
	owed := c.look(file)
	return slices.ContainsFunc(c.handlers, func(h Handler) bool { return owed[h.Name] > 0 })
}

// look returns what the default file owes to handlers, as it was when the configuration
// looked first. c.mu is held.
func (c *Configuration) look(file *Bolt) (byHandler map[string]int) {
	if c.owed == nil {
		c.owed, c.inUse = bolt.Owed(file.Path)
	}
	return c.owed
}

// WarnAboutOthers warns of deliveries in inboxes that this configuration does not use:
// open ones, and the default file. Call it before Open.
func (c *Configuration) WarnAboutOthers() {
	identity := ""
	c.mu.Lock()
	if c.needsInbox() {
		identity = c.Module.Identity()
	}
	c.mu.Unlock()
	c.pool.each(func(b *Box) {
		o, _ := b.owed()
		if b.identity == identity || o.total() == 0 {
			return
		}
		c.logger.Warn("an inbox that this configuration does not use holds deliveries: they are delivered as long as this process runs, and a restart leaves them: configure it again until it is empty",
			zap.String("inbox", describe(b.module)), zap.Int("deliveries", o.total()), zap.Int("dead", o.dead), zap.Int("locked", o.locked))
	})
	file := new(Bolt)
	if err := file.Provision(caddy.Context{}); err != nil || file.Identity() == identity {
		return
	}
	if _, open := c.pool.open.References(file.Identity()); open {
		return
	}
	c.warnOfUnused(file)
}

// warnOfUnused warns of deliveries in the default file, which the configuration does not
// use.
func (c *Configuration) warnOfUnused(file *Bolt) {
	c.mu.Lock()
	owed := c.look(file)
	c.mu.Unlock()
	n := 0
	for _, ofHandler := range owed {
		n += ofHandler
	}
	if n > 0 {
		c.logger.Warn("the default inbox file holds deliveries, and this configuration does not use it: they are not delivered: if they are this Caddy's, and not another's of the same user, write the global option { verify_webhook { inbox bolt } } until it is empty",
			zap.String("inbox", describe(file)), zap.Int("deliveries", n))
	}
}

const (
	// overlap is how long after the start of the process the default file may be in use by
	// one that this one replaces, and that still waits for the app.
	overlap = 2 * time.Minute
	// settling is how long the file must be free then. Another Caddy of the same user that
	// restarts has it back sooner.
	settling = 10 * time.Second
)

// inherit waits for the default file, which another process had at the start: one that this
// one replaces ends later. Then it does what Open would have done, and returns the inbox;
// nil without one.
func (c *Configuration) inherit(ctx context.Context) *Box {
	file, ok := c.Module.(*Bolt)
	if !ok {
		return nil
	}
	pause, free := openPause, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if _, open := c.pool.open.References(file.Identity()); open || c.pool.o.Serving() != c {
			return nil
		}
		c.mu.Lock()
		c.owed = nil
		c.look(file)
		inUse, needs := c.inUse, c.needsInbox()
		c.mu.Unlock()
		switch {
		case inUse && (free || time.Since(c.pool.began) > overlap): // another Caddy's
			return nil
		case inUse:
		case !free:
			pause, free = settling, true
		case !needs:
			c.warnOfUnused(file)
			return nil
		default:
			c.Open()
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.box
		}
	}
}
