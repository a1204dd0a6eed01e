package tenants

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/logging"
)

// DefaultMax is the default number of tenants whose keys are cached.
const DefaultMax = 10_000

const (
	// maxUnknown limits the unknown names remembered: a flood of them evicts no tenant.
	maxUnknown = 4096
	// flightTime limits a question, and waitTime how long a delivery waits for it.
	flightTime = httpTimeout
	waitTime   = flightTime + time.Second
)

// Options configure a Cache.
type Options struct {
	Source Source
	// Base returns the handler's snapshot, whose rules and signer those of tenants
	// share; nil while a value is missing.
	Base func() *keys.Snapshot
	// Max is how many tenants are cached, the most recently used ones. Default:
	// DefaultMax.
	Max int
	// Logger reports a source that fails.
	Logger *zap.Logger
	// Looked is called with the Result of each look-up. It must not call the Cache. May be
	// nil.
	Looked func(Result)
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// A Cache holds the compiled keys of tenants. It is safe for concurrent use.
type Cache struct {
	o     Options
	terms Terms

	mu      sync.Mutex
	known   *simplelru.LRU[string, *tenant]
	unknown *simplelru.LRU[string, absence]
	flights map[string]*flight
	budget  budget
	lines   logging.Limiter
	problem *Problem

	foreign, short, skipped, exposed said // tenants logged for one thing each
}

// A tenant is what is cached of one. The Cache's lock guards it. What Cached reads comes
// first: with thousands of tenants, each line of memory that it touches is a miss of the
// processor's caches.
type tenant struct {
	base     *keys.Snapshot
	snapshot *keys.Snapshot // nil if the keys do not fit base
	answered time.Time      // when the source answered last
	ready    bool           // without an error, and not Soon
	used     int64          // when it last became the most recently used, in nanoseconds

	found   *Found
	began   time.Time // when the last question to the source began
	asked   time.Time // when that ended
	pressed time.Time // when one began because a delivery of a known client did not match
	err     error     // why the source did not answer the last
}

// An absence is the answer for a name without cached keys.
type absence struct {
	began, asked, until time.Time
	err                 error // ErrUnknown, or why the source did not answer
}

// A flight is a question to a remote source, one at a time for each tenant.
type flight struct {
	done     chan struct{}
	began    time.Time
	snapshot *keys.Snapshot // set before done is closed, as is err
	err      error
}

var (
	errNoBase = errors.New("a value of the handler is missing")
	errLate   = errors.New("the source of tenants did not answer in time")
)

// NewCache returns an empty cache.
func NewCache(o Options) *Cache {
	if o.Max == 0 {
		o.Max = DefaultMax
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Cache{o: o, terms: o.Source.Terms(), flights: make(map[string]*flight), foreign: make(said), short: make(said), skipped: make(said), exposed: make(said), budget: newBudget()}
	if c.terms.Remote {
		c.terms.Unknown = c.terms.Again
	}
	c.known, _ = simplelru.NewLRU[string, *tenant](o.Max, nil) // both fail only for a size below 1
	c.unknown, _ = simplelru.NewLRU[string, absence](maxUnknown, nil)
	return c
}

// Len returns the number of tenants cached.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known.Len()
}

// Peek returns a tenant's cached snapshot without asking the source; nil if there is
// none.
func (c *Cache) Peek(name string) *keys.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.known.Peek(name); ok {
		return t.snapshot
	}
	return nil
}

// Verified records that a delivery of client was verified: renewals for it have a budget
// of their own. It allocates nothing for a client that is known.
func (c *Cache) Verified(client netip.Prefix) {
	if !c.terms.Remote {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.budget.known.Get(client); !ok {
		c.budget.known.Add(client, struct{}{})
	}
}

// lately is the time within which a tenant that is used again counts as the most recently
// used as it is: to move it costs more than to find it.
const lately = time.Second

// Cached returns the snapshot of a cached tenant if it can be used now, and otherwise nil.
// A remote source is not asked; files are looked at again if they are due. Without a look
// it allocates nothing.
func (c *Cache) Cached(ctx context.Context, name string, now time.Time) *keys.Snapshot {
	base, nanos := c.o.Base(), now.UnixNano()
	c.mu.Lock()
	t, ok := c.known.Peek(name)
	if !ok || t.base != base || !t.ready {
		c.mu.Unlock()
		return nil
	}
	if since := nanos - t.used; since < 0 || since > int64(lately) {
		t.used = nanos
		c.known.Get(name)
	}
	s, had, age := t.snapshot, t.found, now.Sub(t.answered)
	c.mu.Unlock()
	if age >= 0 && age < c.renewal() {
		return s
	}
	if c.terms.Remote {
		return nil
	}
	s, _ = c.look(ctx, name, had, now) // nil with an error, which Find returns
	return s
}

// renewal is the age from which keys are renewed: those of a remote source before they
// end.
func (c *Cache) renewal() time.Duration {
	if c.terms.Remote {
		return c.terms.Fresh / 5 * 4
	}
	return c.terms.Fresh
}

// Find returns a tenant's snapshot, and asks the source if necessary. client is the
// client of the request. The error is or wraps ErrUnknown for a tenant that does not
// exist; any other means that this cannot be told now.
func (c *Cache) Find(ctx context.Context, name string, client netip.Prefix) (*keys.Snapshot, error) {
	base, now := c.o.Base(), c.o.Now()
	if base == nil {
		return nil, errNoBase
	}
	c.mu.Lock()
	t, ok := c.known.Get(name)
	if !ok {
		if a, ok := c.unknown.Get(name); ok && now.Before(a.until) && !now.Before(a.asked) {
			c.mu.Unlock()
			return nil, a.err
		}
		return c.ask(ctx, name, client, nil, unknownName, now)
	}
	misfit := t.rebase(base)
	age := now.Sub(t.answered)
	fresh := age >= 0 && age < c.terms.Fresh
	paused := now.Sub(t.asked) < c.terms.Again && now.Sub(t.asked) >= 0
	switch {
	case paused && misfit != nil:
		c.mu.Unlock()
		return nil, misfit
	case misfit != nil: // keys for the handler as it was before
		return c.ask(ctx, name, client, nil, renewal, now)
	case paused && (fresh || t.err != nil):
		defer c.mu.Unlock()
		return t.usable(age, c.terms)
	case fresh && c.terms.Remote && !t.found.Soon:
		s := t.snapshot
		if age >= c.renewal() && c.flights[name] == nil && c.budget.allows(renewal, client, now) {
			c.depart(name, t.found, now)
		}
		c.mu.Unlock()
		return s, nil
	case fresh && !t.found.Soon:
		defer c.mu.Unlock()
		return t.snapshot, nil
	}
	return c.ask(ctx, name, client, t.found, renewal, now)
}

// ask asks the source, or waits for a question under way. The caller holds the lock;
// ask releases it.
func (c *Cache) ask(ctx context.Context, name string, client netip.Prefix, had *Found, why cause, now time.Time) (*keys.Snapshot, error) {
	if !c.terms.Remote { // cheaper than any order
		c.mu.Unlock()
		return c.look(ctx, name, had, now)
	}
	leave, ok := c.budget.wait(why, client)
	if !ok {
		defer c.mu.Unlock()
		return nil, c.notNow(flightTime, errWaiting)
	}
	defer func() {
		c.mu.Lock()
		leave()
		c.mu.Unlock()
	}()
	fl := c.flights[name]
	if fl == nil {
		if !c.budget.allows(why, client, now) {
			defer c.mu.Unlock()
			return nil, c.notNow(time.Second, errBudget)
		}
		fl = c.depart(name, had, now)
	}
	c.mu.Unlock()
	late := time.NewTimer(waitTime)
	defer late.Stop()
	select {
	case <-fl.done:
		return fl.snapshot, fl.err
	case <-late.C:
		return nil, errLate
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// depart begins a question in the background. The caller holds the lock.
func (c *Cache) depart(name string, had *Found, now time.Time) *flight {
	fl := &flight{done: make(chan struct{}), began: now}
	c.flights[name] = fl
	go c.fly(fl, name, had)
	return fl
}

// fly asks, and caches the answer.
func (c *Cache) fly(fl *flight, name string, had *Found) {
	defer close(fl.done)
	ctx, cancel := context.WithTimeout(context.Background(), flightTime)
	defer cancel()
	fl.snapshot, fl.err = c.look(ctx, name, had, fl.began)
}

// look asks the source and caches the answer.
func (c *Cache) look(ctx context.Context, name string, had *Found, began time.Time) (*keys.Snapshot, error) {
	found, err := c.o.Source.Find(ctx, name, had)
	now := began
	if c.terms.Remote {
		now = c.o.Now()
	}
	var next *tenant
	if err == nil && found != had {
		next, err = c.compile(found)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, name)
	if err == nil && next == nil {
		if t, ok := c.known.Peek(name); ok && t.found == had && t.rebase(c.o.Base()) == nil { // unchanged
			t.answered, t.began, t.asked, t.err = now, began, now, nil
			t.ready = !found.Soon
			c.looked(ResultFound)
			return t.snapshot, nil
		}
		next, err = c.compile(found)
	}
	return c.settle(name, next, err, began, now)
}

// compile makes the snapshot of what was found.
func (c *Cache) compile(found *Found) (*tenant, error) {
	if len(found.Keys) == 0 {
		return nil, ErrUnknown
	}
	t := &tenant{found: found, ready: !found.Soon}
	err := t.rebase(c.o.Base())
	if err != nil && !c.terms.Remote && !errors.Is(err, errNoBase) { // a file that is half-written, or not a key
		err = unusable{err}
	}
	return t, err
}

// rebase makes the snapshot again if that of the handler has changed.
func (t *tenant) rebase(base *keys.Snapshot) (err error) {
	switch {
	case base == nil:
		return errNoBase
	case t.base == base && t.snapshot != nil:
		return nil
	}
	t.base = base
	t.snapshot, err = base.With(t.found.Keys, t.found.Texts)
	return err
}

// settle caches an answer, or the lack of one. The lock is held. A name is copied, since
// it is part of a request's address, which may be long.
func (c *Cache) settle(name string, next *tenant, err error, began, now time.Time) (*keys.Snapshot, error) {
	t, known := c.known.Peek(name)
	switch {
	case err == nil:
		c.looked(ResultFound)
		same := known && slices.Equal(t.found.Keys, next.found.Keys)
		if same && t.base == next.base && t.snapshot != nil { // keep what requests have seen
			next.snapshot = t.snapshot
		}
		if known {
			next.pressed = t.pressed
		}
		if !same {
			c.warn(name, next, now)
		}
		next.answered, next.began, next.asked, next.used = now, began, now, now.UnixNano()
		c.known.Add(strings.Clone(name), next)
		c.unknown.Remove(name)
		if c.problem != nil && c.problem.Tenant == name {
			c.problem = nil
		}
		return next.snapshot, nil
	case errors.Is(err, ErrUnknown) && known && !c.terms.Remote && !t.stillGone(began, c.terms.Again):
		c.looked(ResultUnknown)
		t.isGone(began)
		return t.usable(now.Sub(t.answered), c.terms)
	case errors.Is(err, ErrUnknown):
		c.looked(ResultUnknown)
		c.known.Remove(name)
		c.unknown.Add(strings.Clone(name), absence{began: began, asked: now, until: now.Add(c.terms.Unknown), err: err})
		return nil, err
	}
	c.report(name, err, now)
	if !known {
		c.unknown.Add(strings.Clone(name), absence{began: began, asked: now, until: now.Add(c.terms.Again), err: err})
		return nil, err
	}
	t.began, t.asked, t.err, t.ready = began, now, err, false
	return t.usable(now.Sub(t.answered), c.terms)
}

// usable returns the snapshot if keys of this age may be used: a source that is down
// does not revoke them yet.
func (t *tenant) usable(age time.Duration, terms Terms) (*keys.Snapshot, error) {
	if t.snapshot != nil && (age < terms.Fresh || errors.Is(t.err, ErrDown) && age-terms.Fresh < terms.Stale) {
		return t.snapshot, nil
	}
	return nil, t.err
}
