package inboxtest

import (
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// What waits for an app, a route or a configuration.
var heldCases = []engineCase{
	{"an app that is back makes the ones held for it due", func(p *probe) {
		for n := range 4 {
			p.accept(shop, n)
		}
		p.retry(p.take(shop, inbox.NextDue, 0), 2*time.Hour, inbox.HoldApp)
		p.retry(p.take(shop, inbox.NextDue, 1), time.Hour, inbox.HoldApp)
		p.retry(p.take(shop, inbox.NextDue, 2), time.Hour, inbox.HoldTime)
		p.retry(p.take(shop, inbox.NextDue, 3), 0, inbox.HoldRoute)
		p.none(shop)
		p.hasten(shop, inbox.HoldApp)
		p.take(shop, inbox.NextDue, 0) // accepted first
		p.take(shop, inbox.NextDue, 1)
		p.none(shop)
		p.hasten(acme, inbox.HoldApp) // none
	}},
	{"one that does not reach its handler waits for a configuration, however long", func(p *probe) {
		p.accept(shop, 1)
		p.retry(p.take(shop, inbox.NextDue, 1), 0, inbox.HoldRoute)
		p.Advance(24 * time.Hour)
		p.none(shop)
		if due := p.stats(shop).Due; !due.IsZero() {
			p.t.Errorf("it is due at %v", due)
		}
		p.hasten(shop, inbox.HoldRoute)
		p.take(shop, inbox.NextDue, 1)
	}},
	{"a configuration does not hasten the retry of one that did not reach its handler", func(p *probe) {
		p.accept(shop, 1)
		p.retry(p.take(shop, inbox.NextDue, 1), time.Hour, inbox.HoldApp)
		due := p.find(1, inbox.Pending).Due
		p.retry(p.take(shop, inbox.Probe, 1), 0, inbox.HoldRoute)
		if e := p.find(1, inbox.Pending); !e.Due.IsZero() || e.Hold != inbox.HoldRoute {
			p.t.Errorf("entry: %+v", e)
		}
		p.hasten(shop, inbox.HoldRoute)
		if e := p.find(1, inbox.Pending); !e.Due.Equal(due) || e.Hold != inbox.HoldApp {
			p.t.Errorf("due at %v, want %v: %+v", e.Due, due, e)
		}
		p.none(shop)
	}},
	{"one that a route refused waits for its time or a configuration, and is no probe", func(p *probe) {
		for n := range 3 {
			p.accept(shop, n)
			a := p.take(shop, inbox.NextDue, n)
			p.Engine.Settle(a, inbox.Settlement{To: inbox.Pending, Status: 403, After: time.Hour, Hold: inbox.HoldRefused})
			p.none(shop)
		}
		p.take(shop, inbox.Probe, -1)
		p.hasten(shop, inbox.HoldApp)
		p.none(shop)
		if e := p.find(0, inbox.Pending); e.Hold != inbox.HoldRefused || e.Status != 403 || e.Attempts != 1 {
			p.t.Errorf("entry: %+v", e)
		}
		p.Engine.Settle(p.take(shop, inbox.Oldest, 0), inbox.Settlement{To: inbox.Dead, Status: 403, Hold: inbox.HoldRefused})
		if e := p.find(0, inbox.Dead); e.Hold != inbox.HoldRefused || e.Status != 403 {
			p.t.Errorf("dead: %+v", e)
		}
		p.replay(inbox.Selection{Keys: []inbox.Key{key(1)}}, "", 1)
		if e := p.find(1, inbox.Pending); e.Hold != inbox.HoldTurn || e.Status != 0 { // it was not the app's
			p.t.Errorf("replayed: %+v", e)
		}
		p.take(shop, inbox.NextDue, 1)
		p.hasten(shop, inbox.HoldRefused)
		p.take(shop, inbox.NextDue, 2)
	}},
	{"probes take turns", func(p *probe) {
		for n := range 3 {
			p.accept(shop, n)
			p.retry(p.take(shop, inbox.NextDue, n), time.Duration(n+1)*time.Minute, inbox.HoldApp)
		}
		p.accept(shop, 3)
		p.retry(p.take(shop, inbox.NextDue, 3), time.Second, inbox.HoldTime) // Retry-After
		for _, n := range []int{0, 1, 2, 0, 1} {
			a := p.take(shop, inbox.Probe, n)
			p.Engine.Settle(a, inbox.Settlement{To: inbox.Pending, Unspent: true, After: time.Hour, Hold: inbox.HoldApp})
			p.Advance(time.Millisecond)
		}
	}},
	{"a probe is one that the app has not failed to answer, if there is one", func(p *probe) {
		p.accept(shop, 1)
		p.retry(p.take(shop, inbox.NextDue, 1), time.Second, inbox.HoldApp)
		p.Advance(2 * time.Second)
		p.accept(shop, 2)
		p.accept(shop, 3)
		p.take(shop, inbox.Probe, 3)
		p.take(shop, inbox.Probe, 2)
		p.take(shop, inbox.Probe, 1)
	}},
	{"every second probe is for another content, then for another client", func(p *probe) {
		p.acceptFrom(1, inbox.Trace{Content: 7, Client: 5})
		for n := 2; n <= 4; n++ {
			p.acceptFrom(n, inbox.Trace{Content: 8, Client: 5})
		}
		p.acceptFrom(5, inbox.Trace{Content: 9, Client: 6})
		for n := 6; n <= 7; n++ {
			p.acceptFrom(n, inbox.Trace{Content: 8, Client: 5})
		}
		p.take(shop, inbox.Probe, 7) // the newest
		p.take(shop, inbox.Probe, 5) // of another content, and client
		p.take(shop, inbox.Probe, 6)
		p.take(shop, inbox.Probe, 1) // of another content
		p.take(shop, inbox.Probe, 4)
		p.take(shop, inbox.Probe, 2) // the oldest
		p.take(shop, inbox.Probe, 3)
	}},
	{"a probe may be one that is due again, after all others", func(p *probe) {
		p.accept(shop, 1)
		p.retry(p.take(shop, inbox.NextDue, 1), time.Second, inbox.HoldTime)
		p.take(shop, inbox.Probe, -1)
		p.Advance(2 * time.Second)
		p.accept(shop, 2)
		p.retry(p.take(shop, inbox.Probe, 2), time.Hour, inbox.HoldApp)
		p.take(shop, inbox.Probe, 2)
		p.take(shop, inbox.Probe, 1)
	}},
	{"what is stored while the clock is ahead is due when the engine opens and the clock is right", func(p *probe) {
		p.accept(shop, 1)
		p.retry(p.take(shop, inbox.NextDue, 1), time.Hour, inbox.HoldTime)
		p.Advance(12 * time.Hour)
		p.accept(shop, 2)
		p.retry(p.take(shop, inbox.Probe, 2), time.Hour, inbox.HoldTime)
		p.accept(shop, 3)
		since := p.find(3, inbox.Pending).Since
		p.Advance(-12 * time.Hour)
		p.Engine = p.Reopen()
		p.take(shop, inbox.NextDue, 2)
		p.end(p.take(shop, inbox.NextDue, 3), inbox.Dead)
		p.none(shop) // 1 waits for its time
		if e := p.find(3, inbox.Dead); !e.Since.Equal(since) {
			p.t.Errorf("its life began at %v, and at %v before", e.Since, since) // if the clock is behind now, it must not expire for that
		}
	}},
	{"what is stored while the clock is ahead is due when it is set back", func(p *probe) {
		p.accept(shop, 1)
		p.retry(p.take(shop, inbox.NextDue, 1), time.Hour, inbox.HoldTime)
		p.Advance(12 * time.Hour)
		for n := 2; n < 4; n++ {
			p.accept(shop, n)
			p.retry(p.take(shop, inbox.Probe, n), time.Hour, inbox.HoldTime)
		}
		p.accept(shop, 4)
		undone := p.take(shop, inbox.Probe, 4)
		p.Advance(-12 * time.Hour)
		for end := time.Now().Add(time.Minute); p.find(2, inbox.Pending).Due.After(p.Now()); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				p.t.Fatal("it is not due")
			}
		}
		p.Engine.Settle(undone, inbox.Settlement{})
		for n := 2; n < 5; n++ {
			p.take(shop, inbox.NextDue, n)
		}
		p.none(shop)
	}},
	{"the oldest is found whatever it is held for", func(p *probe) {
		p.accept(shop, 1)
		p.retry(p.take(shop, inbox.NextDue, 1), 0, inbox.HoldRoute)
		p.Advance(time.Second)
		p.accept(shop, 2)
		p.find(2, inbox.Pending)
		if got, want := p.stats(shop).Oldest, p.find(1, inbox.Pending).Since; !got.Equal(want) {
			p.t.Errorf("the oldest is of %v, want %v", got, want)
		}
		p.end(p.take(shop, inbox.Oldest, 1), inbox.Dead)
		p.take(shop, inbox.Oldest, 2)
	}},
}
