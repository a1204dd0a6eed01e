package boxes

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A Handler is what its inbox knows of a verify_webhook handler.
type Handler struct {
	Name    string
	Policy  *inbox.Policy // nil without an inbox
	MaxBody int64         // in bytes
	Token   bool          // its sender has a token instead of a signature
	Keys    func() *keys.Snapshot
	// Tenant returns the current keys of a tenant; nil if they cannot be had. It is nil for
	// a handler without tenants.
	Tenant func(name string) *keys.Snapshot
}

// A Configuration is one configuration of Caddy, and has a reference to its inbox.
type Configuration struct {
	// Module opens the engine. It may be replaced before Open.
	Module Module

	pool       *Pool
	configured bool // otherwise it is the default
	logger     *zap.Logger

	mu       sync.Mutex
	handlers []Handler
	box      *Box           // nil without an inbox
	ended    bool           // has released it
	owed     map[string]int // by the default file, to handlers; nil before it is looked at
	inUse    bool           // so nobody knows what it owes
}

// Add adds a handler.
func (c *Configuration) Add(h Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers = append(c.handlers, h)
}

// named returns the handlers with a name, or all for "".
func (c *Configuration) named(name string) (handlers []Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.handlers {
		if name == "" || h.Name == name {
			handlers = append(handlers, h)
		}
	}
	return handlers
}

// has reports whether there is a handler with a name.
func (c *Configuration) has(name string) bool { return len(c.named(name)) > 0 }

// names lists the names of the handlers, for errors.
func (c *Configuration) names() string {
	var names []string
	for _, h := range c.named("") {
		names = append(names, h.Name)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// Open takes the reference to the inbox, if the configuration has one.
func (c *Configuration) Open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.needsInbox() {
		return
	}
	b, err := c.pool.acquire(c.Module.Identity(), c.Module)
	if err != nil {
		c.logger.Error("the inbox cannot be opened; deliveries go to the app as without one", zap.Error(err))
		return
	}
	c.box = b
	b.use()
}

// Close releases the reference, unless the inbox is retained. Without a configuration in
// force, nothing is retained any longer. Only the end of the process waits.
func (c *Configuration) Close() {
	c.mu.Lock()
	b := c.box
	c.box, c.ended = nil, true
	c.mu.Unlock()
	var leaving sync.WaitGroup
	if b != nil {
		leaving.Go(b.leave)
	}
	if c.pool.o.InForce() == nil {
		leaving.Go(c.pool.closeRetained)
	}
	leaving.Wait()
}

// Box returns the open inbox with a reference, or nil.
func (c *Configuration) Box() *Box {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.visited()
}

// visited is Box. c.mu is held.
func (c *Configuration) visited() *Box {
	if c.box == nil {
		return nil
	}
	b, err := c.pool.acquire(c.box.identity, c.Module)
	if err != nil {
		return nil
	}
	return b
}

// BoxFor is Box for a delivery to a handler. Caddy ends a configuration while its last
// requests arrive: they get the inbox in force, unless that has no handler of the name to
// deliver to.
func (c *Configuration) BoxFor(handler string) (b *Box) {
	c.mu.Lock()
	ended := c.ended
	if !ended {
		b = c.visited()
	}
	c.mu.Unlock()
	if ended {
		if now := c.pool.o.InForce(); now != nil && now.has(handler) {
			b = now.Box()
		}
	}
	if b != nil {
		b.served.Store(true)
	}
	return b
}

// servingPause is the interval of checks whether the configuration serves requests.
const servingPause = 20 * time.Millisecond

// Follow gives the inbox its options, and the retry policies of the handlers, once the
// configuration serves requests: before that, attempts go to the previous configuration.
func (c *Configuration) Follow(ctx context.Context, polling *sync.WaitGroup) {
	c.mu.Lock()
	b, inUse := c.box, c.box == nil && c.inUse
	c.mu.Unlock()
	if b == nil && !inUse && !c.pool.any() {
		return
	}
	if before := c.pool.o.Serving(); before != nil {
		before.serves()
	} else if b != nil { // the first deliveries are retried as it says
		c.serves()
		b.first.Store(true)
		_ = c.adjust(b)
	}
	polling.Go(func() {
		tick := time.NewTicker(servingPause)
		defer tick.Stop()
		for c.pool.o.Serving() != c {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		c.pool.each(func(other *Box) { // which deliver through this configuration as well
			if other != b {
				other.Configure(c.policies())
			}
		})
		if inUse {
			b = c.inherit(ctx)
		}
		if b == nil {
			return
		}
		c.insist(ctx, b)
		c.compareBodies(ctx, b.Engine())
	})
}

// serves notes that the configuration serves requests, which its inbox outlasts.
func (c *Configuration) serves() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.box != nil {
		c.box.served.Store(true)
	}
}

// adjust applies the options and retry policies of the configuration to its inbox.
func (c *Configuration) adjust(b *Box) error {
	err := c.Module.Adjust(b.Box)
	b.Configure(c.policies())
	return err
}

// insist is adjust, again and again until a file that is missing is there.
func (c *Configuration) insist(ctx context.Context, b *Box) {
	err := c.adjust(b)
	if err == nil {
		return
	}
	if b.Engine().Status().Health == nil { // otherwise it says why itself
		c.logger.Error("the options of the inbox cannot be applied: it keeps those that it has until they can", zap.Error(err))
	}
	tick := time.NewTicker(openPause)
	defer tick.Stop()
	for err != nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if c.pool.o.Serving() != c {
			return
		}
		err = c.Module.Adjust(b.Box)
	}
	c.logger.Info("the options of the inbox are applied")
}

// policies returns the retry policies of all handlers by name. One without an inbox
// still delivers what an earlier configuration stored.
func (c *Configuration) policies() map[string]inbox.Policy {
	all := make(map[string]inbox.Policy)
	for _, h := range c.named("") {
		if h.Policy != nil {
			all[h.Name] = *h.Policy
		} else if _, known := all[h.Name]; !known {
			all[h.Name] = inbox.Policy{}
		}
	}
	return all
}

// openPause is the interval of checks whether the inbox is open, or can have its options.
const openPause = time.Second

// compareBodies waits until the inbox is open, and warns of handlers whose max_body
// exceeds what it can store.
func (c *Configuration) compareBodies(ctx context.Context, e inbox.Engine) {
	tick := time.NewTicker(openPause)
	defer tick.Stop()
	for e.Status().Health != nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	largest := e.Status().LargestBody
	for _, h := range c.named("") {
		if h.Policy != nil && largest > 0 && h.MaxBody > largest {
			c.logger.Warn("max_body exceeds what the inbox can store, so larger bodies go to the app as without one: lower max_body, or raise the limit of the inbox's server (max_payload of NATS)",
				zap.String("name", h.Name), zap.Int64("max_body", h.MaxBody), zap.Int64("most", largest))
		}
	}
}
