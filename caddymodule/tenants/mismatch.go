package tenants

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// A NotNow is the error for a question that the source may not be asked yet, by a limit
// of this gateway. Its text says which.
type NotNow struct {
	// After is how long until it may, more than 0.
	After time.Duration
	err   error
}

func (e *NotNow) Error() string { return e.err.Error() }

// Unwrap returns the reason.
func (e *NotNow) Unwrap() error { return e.err }

var (
	errBudget  = errors.New("too many questions to the source of tenants now")
	errWaiting = errors.New("too many deliveries wait for the source of tenants")
	errLately  = errors.New("the source of tenants was asked just before the delivery arrived")
)

// Mismatch returns a newer snapshot of a tenant whose delivery, which came then from a
// client, did not match tried. It asks the source if it may. nil without an error means
// that there is none, and that the delivery is refused: a remote source has answered a
// question that began after the delivery arrived. An error, NotNow or another, means
// that this cannot be told now: a key may be newer than the last answer.
func (c *Cache) Mismatch(ctx context.Context, name string, tried *keys.Snapshot, came time.Time, client netip.Prefix) (*keys.Snapshot, error) {
	base, now := c.o.Base(), c.o.Now()
	if base == nil {
		return nil, errNoBase
	}
	c.mu.Lock()
	why, had := unknownName, (*Found)(nil)
	if t, ok := c.known.Peek(name); ok {
		if t.snapshot != tried && t.rebase(base) == nil {
			defer c.mu.Unlock()
			return t.snapshot, nil
		}
		why, had = mismatch, t.found
	}
	wait, settled := c.settled(name, came, now)
	switch {
	case settled:
		c.mu.Unlock()
		return nil, nil
	case wait > 0 && c.flights[name] == nil:
		c.mu.Unlock()
		return nil, &NotNow{wait, errLately}
	}
	s, err := c.ask(ctx, name, client, had, why, now)
	switch {
	case err == nil && s != tried:
		return s, nil
	case !c.terms.Remote:
		return nil, nil
	case err != nil && !errors.Is(err, ErrUnknown):
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait, settled = c.settled(name, came, c.o.Now()); !settled {
		return nil, &NotNow{max(wait, time.Second), errLately}
	}
	return nil, nil
}

// settled reports whether the last answer counts against a delivery that came then, or
// else how long to wait until the source may be asked again. That of a file counts until
// then. The lock is held.
func (c *Cache) settled(name string, came, now time.Time) (wait time.Duration, settled bool) {
	var began, asked, until time.Time
	answered := false
	if t, ok := c.known.Peek(name); ok {
		began, asked, until, answered = t.began, t.asked, t.asked.Add(c.terms.Again), t.err == nil
	} else if a, ok := c.unknown.Peek(name); ok {
		began, asked, until, answered = a.began, a.asked, a.until, errors.Is(a.err, ErrUnknown)
		if !c.terms.Remote {
			until = a.asked.Add(c.terms.Again)
		}
	}
	if !now.Before(asked) { // the clock was not set back
		wait = max(0, until.Sub(now))
	}
	if !c.terms.Remote {
		return wait, wait > 0
	}
	return wait, answered && !began.Before(came)
}
