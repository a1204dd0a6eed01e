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
	errChanges = errors.New("the tenant's keys are being changed now")
)

// Mismatch returns a newer snapshot of a tenant whose delivery, which came then from a
// client, did not match tried. It asks the source if it may. nil without an error means
// that there is none, and that the delivery is refused: the source has answered a
// question that began after the delivery arrived. An error, NotNow or another, means
// that this cannot be told now: a key may be newer than the last answer.
func (c *Cache) Mismatch(ctx context.Context, name string, tried *keys.Snapshot, came time.Time, client netip.Prefix) (*keys.Snapshot, error) {
	base, now := c.o.Base(), c.o.Now()
	if base == nil {
		return nil, errNoBase
	}
	c.mu.Lock()
	why, had := unknownName, (*Found)(nil)
	t, known := c.known.Peek(name)
	if known {
		why = mismatch
		if t.rebase(base) == nil {
			had = t.found
			if t.snapshot != tried {
				defer c.mu.Unlock()
				return t.snapshot, nil
			}
		}
	}
	last := c.last(name, client)
	switch wait := last.wait(now); {
	case last.settles(came):
		c.mu.Unlock()
		return nil, nil
	case wait > 0 && c.flights[name] == nil:
		defer c.mu.Unlock()
		return nil, c.notNow(wait, last.why())
	}
	if known && c.budget.known.Contains(client) {
		t.pressed = now
	}
	s, err := c.ask(ctx, name, client, had, why, now)
	switch {
	case err == nil && s != tried:
		return s, nil
	case err != nil && !errors.Is(err, ErrUnknown):
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if last = c.last(name, client); !last.settles(came) {
		return nil, c.notNow(max(last.wait(c.o.Now()), time.Second), last.why())
	}
	return nil, nil
}

// A lastAnswer is what the source said last about a name.
type lastAnswer struct {
	began, asked, until time.Time // until: when it may be asked again about a mismatch
	err                 error     // why it did not answer; nil with ErrUnknown
	soon                bool      // see Found.Soon
}

// last returns the last answer about a name. For a client that deliveries were verified
// from, questions that others caused do not count: they cannot keep a customer's new key
// from its first delivery. A file costs so little that it is looked at for each mismatch.
// The lock is held.
func (c *Cache) last(name string, client netip.Prefix) (a lastAnswer) {
	if t, ok := c.known.Peek(name); ok {
		a = lastAnswer{began: t.began, asked: t.asked, until: t.asked.Add(c.terms.Again), err: t.err, soon: t.found.Soon}
		if c.budget.known.Contains(client) {
			a.until = t.pressed.Add(c.terms.Again)
		}
	} else if absent, ok := c.unknown.Peek(name); ok {
		a = lastAnswer{began: absent.began, asked: absent.asked, until: absent.until, err: absent.err}
		if errors.Is(a.err, ErrUnknown) {
			a.err = nil
		}
	}
	if !c.terms.Remote && a.err == nil && !a.soon {
		a.until = a.asked
	}
	return a
}

// settles reports whether the answer counts against a delivery that came then.
func (a *lastAnswer) settles(came time.Time) bool {
	return a.err == nil && !a.soon && !a.began.IsZero() && !a.began.Before(came)
}

// wait is how long the source may not be asked again.
func (a *lastAnswer) wait(now time.Time) time.Duration {
	if now.Before(a.asked) { // the clock was set back
		return 0
	}
	return max(0, a.until.Sub(now))
}

// why is why the answer does not settle.
func (a *lastAnswer) why() error {
	switch {
	case a.err != nil:
		return a.err
	case a.soon:
		return errChanges
	}
	return errLately
}
