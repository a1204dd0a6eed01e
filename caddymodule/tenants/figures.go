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

// maxForeign limits the tenants that are logged for one thing each: secrets unlike the
// sender's, short ones, files that are skipped or that everybody may write. Where
// thousands are, they have one cause.
const maxForeign = 32

// said are the tenants that were logged for one thing.
type said map[string]bool

// once logs a tenant, once, and at most maxForeign of them. The lock is held.
func (c *Cache) once(s said, name, text string, now time.Time, fields ...zap.Field) {
	if s[name] || len(s) == maxForeign {
		return
	}
	ok, suppressed := c.lines.Allow(now)
	if !ok {
		return
	}
	s[name] = true
	if len(s) == maxForeign {
		suppressed = append(suppressed, zap.String("others", "further tenants are not logged"))
	}
	c.o.Logger.Warn(text, slices.Concat([]zap.Field{zap.String("tenant", name)}, fields, suppressed)...)
}

// warn logs new secrets of a tenant that may be guessed, and, once for a tenant, those that
// are short or do not look like the sender's, and files that are skipped or that everybody
// may write. The lock is held.
func (c *Cache) warn(name string, t *tenant, now time.Time) {
	s := t.snapshot
	if exposed := t.found.Exposed; len(exposed) > 0 {
		c.once(c.exposed, name, keys.Exposed, now, zap.Strings("files", exposed), zap.String("problem", "writable by every user of this machine: chmod o-w"))
	}
	if skipped := t.found.Skipped; len(skipped) > 0 {
		c.once(c.skipped, name, keys.LeftoverUnused, now, zap.Strings("files", skipped))
	}
	if foreign := s.Foreign(); foreign != nil {
		c.once(c.foreign, name, "the secret of a tenant does not look like the sender's webhook secrets, and may be another one, such as an API key: its deliveries are refused then", now, foreign...)
	}
	if short := s.Short(); len(short) > 0 && len(s.Guessable()) == 0 {
		c.once(c.short, name, "the secret of a tenant is short enough to be guessed: use at least 16 random characters if the sender lets you choose", now, zap.Strings("keys", short))
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
