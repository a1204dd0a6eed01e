// Package storetest is the suite that every dedupe store must pass. It is the
// specification of [dedupe.Store].
package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// A Subject is one store under test.
type Subject struct {
	Store dedupe.Store

	// Advance lets time pass for the store without sleeping: with its injected clock,
	// or by subtracting d from every lifetime in the server.
	Advance func(d time.Duration)

	// Reopen closes the store and opens it again with its persistent content, as a
	// restart does. nil if there is none.
	Reopen func() dedupe.Store

	// Break makes the store unhealthy, or healthy again, and returns when the store
	// must have noticed. nil if it cannot become unhealthy.
	Break func(ail bool)

	// Bounded says that the store respects the factory's maxEntries.
	Bounded bool
}

// A Factory opens an empty store that lives until tb ends. maxEntries limits the
// dones; 0 means the store's default.
type Factory func(tb TB, maxEntries int) Subject

// TB is the part of testing.TB that a factory may use: the model test's own type has
// no more.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

const (
	lease  = 30 * time.Second
	window = time.Hour
)

// Run runs the suite.
func Run(t *testing.T, open Factory) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, 0)
			c.run(&probe{t: t, Subject: s})
		})
	}
	t.Run("the oldest is evicted when there is no space", func(t *testing.T) { testEviction(t, open) })
	t.Run("expired ones are evicted before any other", func(t *testing.T) { testExpiredFirst(t, open) })
	t.Run("a flood evicts only its own", func(t *testing.T) { testFlood(t, open) })
	t.Run("each room keeps its fair share", func(t *testing.T) { testShares(t, open) })
	t.Run("a tenant's flood evicts only its own", func(t *testing.T) { testTenants(t, open) })
	t.Run("many tenants give a room no more space", func(t *testing.T) { testRoomBeforeTenant(t, open) })
	t.Run("a restart keeps dones and drops claims", func(t *testing.T) { testRestart(t, open) })
	t.Run("all dones with one status are forgotten", func(t *testing.T) { testForgetStatus(t, open) })
	t.Run("exactly one of many concurrent claims succeeds", func(t *testing.T) { testConcurrency(t, open(t, 0).Store) })
	t.Run("an unhealthy store reports it, and its recovery", func(t *testing.T) { testHealth(t, open(t, 0)) })
	t.Run("model", func(t *testing.T) { testModel(t, open) })
}

// A probe wraps a store; each method makes a call and checks the result.
type probe struct {
	t *testing.T
	Subject
}

func (p *probe) claim(k dedupe.Key, tok dedupe.Token, want dedupe.State) {
	p.t.Helper()
	got, err := p.Store.Claim(p.t.Context(), k, tok, lease)
	if err != nil || got != want {
		p.t.Fatalf("claim: got %v %v, want %v", got, err, want)
	}
}

func (p *probe) renew(k dedupe.Key, tok dedupe.Token, want bool) {
	p.t.Helper()
	got, err := p.Store.Renew(p.t.Context(), k, tok, lease)
	if err != nil || got != want {
		p.t.Fatalf("renew: got %v %v, want %v", got, err, want)
	}
}

func (p *probe) done(k dedupe.Key, status int, ttl time.Duration) {
	p.t.Helper()
	if err := p.Store.Done(p.t.Context(), k, dedupe.Mark{Status: status, TTL: ttl}); err != nil {
		p.t.Fatalf("done: %v", err)
	}
}

func (p *probe) release(k dedupe.Key, tok dedupe.Token) {
	p.t.Helper()
	if err := p.Store.Release(p.t.Context(), k, tok); err != nil {
		p.t.Fatalf("release: %v", err)
	}
}

var (
	key  = dedupe.NewKey("storetest", "a")
	key2 = dedupe.NewKey("storetest", "b")
	mine = dedupe.Token{1, 0, 255, '\r', '\n'} // bytes that would confuse a text protocol
	his  = dedupe.Token{2}

	claimed  = dedupe.State{Phase: dedupe.Claimed}
	inFlight = dedupe.State{Phase: dedupe.InFlight}
)

func isDone(status int) dedupe.State { return dedupe.State{Phase: dedupe.Done, Status: status} }

var cases = []struct {
	name string
	run  func(p *probe)
}{
	{"the first claim gets the delivery", func(p *probe) {
		p.claim(key, mine, claimed)
		p.claim(key, his, inFlight)
		p.claim(key2, his, claimed)
	}},
	{"a claim repeated after a lost reply succeeds, and restarts the lease", func(p *probe) {
		p.claim(key, mine, claimed)
		p.Advance(lease - time.Second)
		p.claim(key, mine, claimed)
		p.Advance(lease - time.Second)
		p.claim(key, his, inFlight)
	}},
	{"a released delivery can be claimed again", func(p *probe) {
		p.claim(key, mine, claimed)
		p.release(key, mine)
		p.claim(key, his, claimed)
	}},
	{"a foreign token releases nothing", func(p *probe) {
		p.claim(key, mine, claimed)
		p.release(key, his)
		p.claim(key, his, inFlight)
	}},
	{"a foreign token renews nothing", func(p *probe) {
		p.claim(key, mine, claimed)
		p.Advance(lease - time.Second)
		p.renew(key, his, false)
		p.Advance(2 * time.Second)
		p.claim(key, his, claimed)
	}},
	{"an absent delivery cannot be renewed, but may be released", func(p *probe) {
		p.renew(key, mine, false)
		p.release(key, mine)
		p.claim(key, mine, claimed)
	}},
	{"a renewed lease lasts as long as a new one", func(p *probe) {
		p.claim(key, mine, claimed)
		for range 5 {
			p.Advance(lease - time.Second)
			p.renew(key, mine, true)
		}
		p.Advance(lease - time.Second)
		p.claim(key, his, inFlight)
	}},
	{"after a lease ends, the next claim gets the delivery", func(p *probe) {
		p.claim(key, mine, claimed)
		p.Advance(lease + time.Second)
		p.renew(key, mine, false)
		p.claim(key, his, claimed)
		p.renew(key, mine, false)
		p.release(key, mine)
		p.claim(key, mine, inFlight)
	}},
	{"a done delivery stays done, with its status", func(p *probe) {
		p.claim(key, mine, claimed)
		p.done(key, 204, window)
		p.claim(key, mine, isDone(204))
		p.claim(key, his, isDone(204))
	}},
	{"a done delivery can be neither renewed nor released", func(p *probe) {
		p.claim(key, mine, claimed)
		p.done(key, 200, window)
		p.renew(key, mine, false)
		p.release(key, mine)
		p.claim(key, his, isDone(200))
	}},
	{"done is written without a claim", func(p *probe) {
		p.done(key, 201, window)
		p.claim(key, mine, isDone(201))
	}},
	{"done is written even after another claim, which cannot undo it", func(p *probe) {
		p.claim(key, mine, claimed)
		p.Advance(lease + time.Second)
		p.claim(key, his, claimed)
		p.done(key, 200, window)
		p.renew(key, his, false)
		p.release(key, his)
		p.claim(key, his, isDone(200))
	}},
	{"the last done counts", func(p *probe) {
		p.done(key, 200, window)
		p.done(key, 202, 3*window)
		p.Advance(2 * window)
		p.claim(key, mine, isDone(202))
	}},
	{"a window ends, and not before", func(p *probe) {
		p.done(key, 200, window)
		p.done(key2, 200, 3*window)
		p.Advance(window - time.Second)
		p.claim(key, mine, isDone(200))
		p.Advance(2 * time.Second)
		p.claim(key, mine, claimed)
		p.claim(key2, mine, isDone(200))
	}},
	{"a lease does not shorten a window", func(p *probe) {
		p.claim(key, mine, claimed)
		p.done(key, 200, window)
		p.Advance(lease + time.Second)
		p.claim(key, his, isDone(200))
	}},
	{"forget removes a done delivery and refuses one in flight", func(p *probe) {
		f, ok := p.Store.(dedupe.Forgetter)
		if !ok {
			p.t.Skip("not a Forgetter")
		}
		forget := func(want bool, wantErr error) {
			p.t.Helper()
			found, err := f.Forget(p.t.Context(), key)
			if found != want || err != wantErr {
				p.t.Fatalf("forget: got %v %v, want %v %v", found, err, want, wantErr)
			}
		}
		forget(false, nil)
		p.claim(key, mine, claimed)
		forget(false, dedupe.ErrInFlight)
		p.claim(key, his, inFlight)
		p.done(key, 200, window)
		forget(true, nil)
		forget(false, nil)
		p.claim(key, his, claimed)
	}},
}

// An unhealthy store may fail its calls, and its gate then treats it as down; if the
// calls succeed, only Health tells the operator.
func testHealth(t *testing.T, s Subject) {
	ailing := func() bool {
		k, tok := dedupe.NewKey("health"), dedupe.NewToken()
		_, claim := s.Store.Claim(t.Context(), k, tok, lease)
		done := s.Store.Done(t.Context(), k, dedupe.Mark{Status: 200, TTL: window})
		return s.Store.Health() != nil || claim != nil && done != nil
	}
	if ailing() {
		t.Fatalf("ails at first: %v", s.Store.Health())
	}
	if s.Break == nil {
		return
	}
	s.Break(true)
	if !ailing() {
		t.Error("ails, and neither its calls nor its health say so")
	}
	s.Break(false)
	if ailing() {
		t.Errorf("still ails when it is well: %v", s.Store.Health())
	}
}

func testRestart(t *testing.T, open Factory) {
	s := open(t, 0)
	if s.Reopen == nil {
		t.Skip("the store keeps nothing")
	}
	p := &probe{t: t, Subject: s}
	p.done(key, 201, window)
	p.claim(key2, mine, claimed)
	short := dedupe.NewKey("short")
	p.done(short, 200, time.Minute)

	p.Store = s.Reopen()
	p.claim(key, his, isDone(201))
	p.claim(key2, his, claimed)

	p.Advance(2 * time.Minute)
	p.Store = s.Reopen()
	p.claim(key, his, isDone(201))
	p.claim(short, his, claimed)
	p.Advance(window)
	p.claim(key, his, claimed)
}

func testConcurrency(t *testing.T, s dedupe.Store) {
	const rounds, racers = 50, 8
	for i := range rounds {
		k := dedupe.NewKey("race", string(rune(i)))
		var won, done atomic.Int32
		var wg sync.WaitGroup
		for range racers {
			wg.Go(func() {
				tok := dedupe.NewToken()
				st, err := s.Claim(context.Background(), k, tok, lease)
				switch {
				case err != nil:
					t.Errorf("claim: %v", err)
				case st.Phase == dedupe.Claimed:
					won.Add(1)
					if err := s.Done(context.Background(), k, dedupe.Mark{Status: 200, TTL: window}); err != nil {
						t.Errorf("done: %v", err)
					}
				case st.Phase == dedupe.Done:
					done.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d: %d claims succeeded, want 1", i, won.Load())
		}
	}
}
