package tenants

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// A Result is what became of a look-up: a question to the source, or one that it was not
// asked.
type Result string

// The results.
const (
	ResultFound   Result = "found"   // the tenant has keys
	ResultUnknown Result = "unknown" // the source does not have it
	ResultFailed  Result = "failed"  // the source did not answer, or with keys that cannot be used
	ResultLimited Result = "limited" // a limit of this gateway kept it from asking
)

// Results lists all results.
var Results = []Result{ResultFound, ResultUnknown, ResultFailed, ResultLimited}

// Figures are what the operator sees of a Cache.
type Figures struct {
	Cached    int      // tenants
	Max       int      // of them
	Unknown   int      // names remembered that have no keys
	Guessable []string // cached tenants with a secret that may be guessed, at most maxGuessable
	Problem   *Problem // nil: none
}

// A Problem is the newest failure of the source, until it answers about that tenant.
type Problem struct {
	Tenant string
	Text   string
	Time   time.Time
}

// maxGuessable limits the tenants named in Figures.
const maxGuessable = 32

// Figures returns the figures.
func (c *Cache) Figures() Figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := Figures{Cached: c.known.Len(), Max: c.o.Max, Unknown: c.unknown.Len(), Problem: c.problem}
	for _, name := range c.known.Keys() {
		if t, _ := c.known.Peek(name); t.snapshot != nil && len(t.snapshot.Guessable()) > 0 {
			f.Guessable = append(f.Guessable, name)
		}
	}
	slices.Sort(f.Guessable)
	f.Guessable = f.Guessable[:min(len(f.Guessable), maxGuessable)]
	return f
}

func (c *Cache) looked(r Result) {
	if c.o.Looked != nil {
		c.o.Looked(r)
	}
}

// notNow counts a question that is not asked.
func (c *Cache) notNow(after time.Duration, err error) error {
	c.looked(ResultLimited)
	return &NotNow{after, err}
}

// report counts and logs a failure. The lock is held.
func (c *Cache) report(name string, err error, now time.Time) {
	c.looked(ResultFailed)
	c.problem = &Problem{Tenant: name, Text: err.Error(), Time: now}
	if ok, suppressed := c.lines.Allow(now); ok {
		c.o.Logger.Error("cannot get the keys of a tenant", append([]zap.Field{zap.String("tenant", name), zap.Error(err),
			zap.String("consequence", "the last ones are used as long as they may be; otherwise its deliveries are answered 503")}, suppressed...)...)
	}
}

// maxForeign limits the tenants whose secrets are logged as unlike the sender's, and those
// logged for files that are skipped: where thousands are, they have one cause.
const maxForeign = 32

// warn logs new secrets of a tenant that may be guessed, and, once for a tenant, those that
// do not look like the sender's and files that are skipped. The lock is held.
func (c *Cache) warn(name string, t *tenant, now time.Time) {
	s := t.snapshot
	if skipped := t.found.Skipped; len(skipped) > 0 && !c.skipped[name] && len(c.skipped) < maxForeign {
		if ok, suppressed := c.lines.Allow(now); ok {
			c.skipped[name] = true
			c.o.Logger.Warn(keys.LeftoverUnused, append([]zap.Field{zap.String("tenant", name), zap.Strings("files", skipped)}, suppressed...)...)
		}
	}
	if foreign := s.Foreign(); foreign != nil && !c.foreign[name] && len(c.foreign) < maxForeign {
		if ok, suppressed := c.lines.Allow(now); ok {
			c.foreign[name] = true
			if len(c.foreign) == maxForeign {
				foreign = append(slices.Clone(foreign), zap.String("others", "further tenants are not logged"))
			}
			c.o.Logger.Warn("the secret of a tenant does not look like the sender's webhook secrets, and may be another one, such as an API key: its deliveries are refused then",
				slices.Concat([]zap.Field{zap.String("tenant", name)}, foreign, suppressed)...)
		}
	}
	if len(s.Guessable()) == 0 {
		return
	}
	if ok, suppressed := c.lines.Allow(now); ok {
		c.o.Logger.Warn("the secret of a tenant is a placeholder, published in documentation or easily guessed, so anyone may sign with it: use a random one, at the sender too (openssl rand -hex 32)",
			append([]zap.Field{zap.String("tenant", name), zap.Strings("keys", s.Guessable())}, suppressed...)...)
	}
}

// An unusable error is of a file that cannot be used now: like ErrDown, with words of its
// own.
type unusable struct{ error }

// Is reports whether target is ErrDown.
func (unusable) Is(target error) bool { return target == ErrDown }

// Unwrap returns the reason.
func (u unusable) Unwrap() error { return u.error }
