// Package inboxtest is the suite that every inbox engine must pass. It is the
// specification of [inbox.Engine].
package inboxtest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A Subject is an open engine under test.
type Subject struct {
	Engine inbox.Engine

	// Now is the engine's clock, and Advance moves it, without sleeping.
	Now     func() time.Time
	Advance func(d time.Duration)

	// Reopen closes the engine, opens it again and waits until it is open.
	Reopen func() inbox.Engine

	// Crash opens what a kill -9 would leave at this moment. The previous engine is
	// no longer used. nil if the engine is not persistent.
	Crash func() inbox.Engine

	// Break makes the engine unable to store, or able again, and returns when it must
	// have noticed. nil if it cannot fail.
	Break func(ail bool)
}

// A Factory opens an empty engine that lives until tb ends. maxSize limits what it
// stores; 0 means its default.
type Factory func(tb TB, maxSize int64) Subject

// TB is the part of testing.TB that a factory may use: the model test's own type has
// no more.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

type engineCase struct {
	name string
	run  func(p *probe)
}

// Run runs the suite.
func Run(t *testing.T, open Factory) {
	for _, c := range slices.Concat(lifeCases, heldCases, operatorCases) {
		t.Run(c.name, func(t *testing.T) { c.run(&probe{t: t, Subject: open(t, 0)}) })
	}
	t.Run("excess deliveries are refused, which leaves room for others", func(t *testing.T) {
		testRoom(&probe{t: t, Subject: open(t, 256<<10)})
	})
	t.Run("a restart keeps all", func(t *testing.T) {
		p := &probe{t: t, Subject: open(t, 0)}
		p.testRestart(p.Reopen)
	})
	t.Run("a crash keeps accepted deliveries, and ends attempts", func(t *testing.T) {
		p := &probe{t: t, Subject: open(t, 0)}
		if p.Crash == nil {
			t.Skip("the engine keeps nothing")
		}
		p.testRestart(p.Crash)
	})
	t.Run("an unhealthy engine refuses, reports it, and loses nothing", func(t *testing.T) {
		testBreak(&probe{t: t, Subject: open(t, 0)})
	})
	t.Run("each has an id of its own", func(t *testing.T) {
		if a, b := open(t, 0).Engine.Status().ID, open(t, 0).Engine.Status().ID; a == b || a == "" {
			t.Errorf("two are called %q and %q", a, b)
		}
	})
	t.Run("an abandoned accept stores nothing", func(t *testing.T) {
		testAbandoned(&probe{t: t, Subject: open(t, 0)})
	})
	t.Run("one of several concurrent copies is stored", func(t *testing.T) { testCopiesAtOnce(t, open(t, 0).Engine) })
	t.Run("what is delivered while a replay runs is not replayed", func(t *testing.T) { testReplayRace(t, open(t, 0)) })
	t.Run("each delivery has one attempt at a time", func(t *testing.T) { testOneAttempt(t, open(t, 0)) })
	t.Run("a hundred thousand survive a restart", func(t *testing.T) {
		if testing.Short() {
			t.Skip("takes seconds")
		}
		p, n := &probe{t: t, Subject: open(t, 0)}, 100_000
		if p.Crash == nil { // the reference, which scans everything on each call
			n = 1000
		}
		testMany(p, n)
	})
	t.Run("model", func(t *testing.T) { testModel(t, open) })
}

func testRoom(p *probe) {
	large := func(q inbox.Queue, n int) inbox.Why {
		d := p.delivery(q, n)
		d.Body = make([]byte, 2<<10)
		_, err := p.Engine.Accept(p.t.Context(), d, false)
		var refused *inbox.NotStoredError
		if errors.As(err, &refused) {
			return refused.Why
		}
		if err != nil {
			p.t.Fatalf("accept: %v", err)
		}
		return ""
	}
	fill := func(q inbox.Queue, from int) (stored int, why inbox.Why) {
		for ; why == "" && stored < 200; stored++ {
			why = large(q, from+stored)
		}
		return stored - 1, why
	}
	first, why := fill(acme, 0)
	if why != inbox.WhyFull && why != inbox.WhyShare || first < 80 {
		p.t.Fatalf("%d of 120 stored, then %q", first, why)
	}
	size := p.find(0, inbox.Pending).Size
	if n, why := fill(other, 1000); n*size < 256<<10/12 || why == "" {
		p.t.Errorf("the second tenant: %d of %d bytes, then %q", n, size, why)
	}
	if n, _ := fill(shop, 2000); n < 2 {
		p.t.Errorf("another handler finds no room")
	}
	a := p.take(acme, inbox.NextDue, 0)
	p.end(a, inbox.Delivered)
	for i := 1; i < 40; i++ {
		p.end(p.take(acme, inbox.NextDue, i), inbox.Delivered)
	}
	if why := large(acme, 500); why != "" {
		p.t.Errorf("when there is room again: %q", why)
	}
	if st := p.Engine.Status(); st.Health != nil || st.Bytes > st.Limit || st.Limit != 256<<10 {
		p.t.Errorf("status: %+v", st)
	}
}

func (p *probe) testRestart(restart func() inbox.Engine) {
	id := p.Engine.Status().ID
	p.accept(shop, 1)
	p.retry(p.take(shop, inbox.NextDue, 1), time.Hour, inbox.HoldTime)
	p.dead(shop, 2)
	p.accept(acme, 3)
	p.Engine.Settle(p.take(acme, inbox.NextDue, 3), inbox.Settlement{To: inbox.Delivered, Status: 204, Keep: time.Hour})
	p.accept(acme, 4)
	p.end(p.take(acme, inbox.NextDue, 4), inbox.Delivered)
	p.accept(other, 5)
	p.retry(p.take(other, inbox.NextDue, 5), time.Hour, inbox.HoldApp)
	p.accept(other, 6)
	p.discard(byKey(6), 6)
	p.dead(other, 7)
	p.replay(byKey(7), "", 1)
	running := p.acceptAs(shop, 8, true, false)
	p.written()

	p.Engine = restart()
	if got := p.Engine.Status().ID; got != id || id == "" {
		p.t.Errorf("its id was %q and is %q", id, got)
	}
	e := p.find(1, inbox.Pending)
	if e.Attempts != 1 || e.Status != 503 || e.Generation != 0 || !e.Due.After(p.Now()) {
		p.t.Errorf("of what waits: %+v", e)
	}
	p.find(2, inbox.Dead)
	p.find(3, inbox.Delivered)
	p.find(4, 0)
	if e = p.find(5, inbox.Pending); e.Due.After(p.Now()) {
		p.t.Errorf("what waits for the app is not tried at once: %+v", e)
	}
	p.find(6, 0)
	if e = p.find(7, inbox.Pending); !e.Replayed || e.Generation != 1 {
		p.t.Errorf("of what was replayed: %+v", e)
	}
	p.find(8, inbox.Pending)
	p.Engine.Settle(running.Attempt, inbox.Settlement{To: inbox.Delivered}) // of a dead process
	p.find(8, inbox.Pending)
	a := p.take(shop, inbox.NextDue, 8)
	p.same(a.Delivery, p.delivery(shop, 8))
	p.none(shop)
	p.acceptAs(shop, 1, false, true)
	p.acceptAs(shop, 9, false, false)
	if n := p.find(9, inbox.Pending).Position; n <= p.find(8, inbox.InAttempt).Position {
		p.t.Errorf("position %d is used again", n)
	}
}

func testBreak(p *probe) {
	if st := p.Engine.Status(); st.Health != nil {
		p.t.Fatalf("ails at first: %v", st.Health)
	}
	if p.Break == nil {
		p.t.Skip("nothing can ail it")
	}
	p.accept(shop, 1)
	p.dead(shop, 2)
	p.accept(shop, 3)
	a := p.take(shop, inbox.NextDue, 1)
	p.Break(true)
	_, err := p.Engine.Accept(p.t.Context(), p.delivery(shop, 4), false)
	var refused *inbox.NotStoredError
	if !errors.As(err, &refused) || p.Engine.Status().Health == nil {
		p.t.Errorf("ails, and accepts (%v) or is healthy (%v)", err, p.Engine.Status().Health)
	}
	p.Engine.Settle(a, inbox.Settlement{To: inbox.Delivered}) // accepted by the app meanwhile
	p.Break(false)
	if st := p.Engine.Status(); st.Health != nil {
		p.t.Fatalf("still ails: %v", st.Health)
	}
	p.find(1, 0)
	p.find(2, inbox.Dead)
	p.find(3, inbox.Pending)
	p.find(4, 0)
	p.accept(shop, 4)
	p.written()
	p.Engine = p.Reopen()
	p.find(1, 0)
	p.find(2, inbox.Dead)
	p.find(3, inbox.Pending)
	p.find(4, inbox.Pending)
}

// An accept whose context ends must say whether the delivery is stored: after an
// error it is not, and is never attempted.
func testAbandoned(p *probe) {
	ctx, cancel := context.WithCancel(p.t.Context())
	cancel()
	refused := make(map[int]bool)
	for n := range 50 {
		_, err := p.Engine.Accept(ctx, p.delivery(shop, n), false)
		refused[n] = err != nil
	}
	p.accept(acme, 1000) // the last one
	check := func() {
		p.t.Helper()
		for n, refused := range refused {
			_, found, err := p.Engine.Find(p.t.Context(), key(n))
			if err != nil || found == refused {
				p.t.Errorf("%d was refused: %v, and is found: %v %v", n, refused, found, err)
			}
		}
	}
	check()
	p.Engine = p.Reopen()
	check()
	for n, refused := range refused {
		p.acceptAs(shop, n, false, !refused)
	}
}
