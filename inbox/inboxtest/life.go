package inboxtest

import (
	"errors"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// The life cycle of a delivery.
var lifeCases = []engineCase{
	{"an accepted delivery is taken as received", func(p *probe) {
		p.find(1, 0)
		want := p.delivery(acme, 1)
		e := p.accept(acme, 1)
		if e.State != inbox.Pending || e.Queue != acme || e.Label != "current" || e.Attempts != 0 || e.Generation != 0 ||
			!e.Received.Equal(want.Received) || !e.Due.Equal(p.Now()) || !e.Since.Equal(p.Now()) || e.Position == 0 || e.Size == 0 {
			p.t.Errorf("entry: %+v", e)
		}
		p.find(1, inbox.Pending)
		p.none(shop)
		p.none(other)
		a := p.take(acme, inbox.NextDue, 1)
		p.same(a.Delivery, want)
		got, _, err := p.Engine.Get(p.t.Context(), key(1))
		if err != nil {
			p.t.Fatalf("get: %v", err)
		}
		p.same(got, want)
		if _, _, err := p.Engine.Get(p.t.Context(), key(2)); !errors.Is(err, inbox.ErrNotFound) {
			p.t.Errorf("get what is not there: %v", err)
		}
	}},
	{"a delivered one is removed, and a later copy is a new delivery", func(p *probe) {
		p.accept(shop, 1)
		p.end(p.take(shop, inbox.NextDue, 1), inbox.Delivered)
		p.find(1, 0)
		p.none(shop)
		p.accept(shop, 1)
		p.take(shop, inbox.NextDue, 1)
	}},
	{"a copy of a pending one or one in attempt is not stored again", func(p *probe) {
		first := p.accept(shop, 1)
		if e := p.acceptAs(shop, 1, false, true).Entry; e.Position != first.Position || e.State != inbox.Pending {
			p.t.Errorf("entry: %+v", e)
		}
		p.take(shop, inbox.NextDue, 1)
		if e := p.acceptAs(shop, 1, false, true).Entry; e.State != inbox.InAttempt {
			p.t.Errorf("entry: %+v", e)
		}
		p.none(shop)
	}},
	{"one attempt at a time", func(p *probe) {
		p.accept(shop, 1)
		a := p.take(shop, inbox.NextDue, 1)
		p.find(1, inbox.InAttempt)
		for _, w := range []inbox.Which{inbox.NextDue, inbox.Probe, inbox.Oldest} {
			p.take(shop, w, -1)
		}
		p.retry(a, 0, inbox.HoldTime)
		if e := p.find(1, inbox.Pending); e.Attempts != 1 || e.Status != 503 {
			p.t.Errorf("entry: %+v", e)
		}
		p.end(a, inbox.Delivered) // already settled
		p.find(1, inbox.Pending)
		b := p.take(shop, inbox.NextDue, 1)
		p.end(a, inbox.Delivered)
		p.find(1, inbox.InAttempt)
		p.end(b, inbox.Delivered)
		p.find(1, 0)
	}},
	{"the one due first is taken first, and none before it is due", func(p *probe) {
		for n := range 3 {
			p.accept(shop, n)
		}
		for n, after := range []time.Duration{time.Hour, time.Minute, time.Minute} {
			p.retry(p.take(shop, inbox.NextDue, n), after, inbox.HoldTime)
		}
		p.none(shop)
		if due := p.stats(shop).Due; !due.Equal(p.Now().Add(time.Minute)) {
			p.t.Errorf("the next is due at %v, now is %v", due, p.Now())
		}
		p.accept(shop, 3)
		p.take(shop, inbox.NextDue, 3)
		p.Advance(time.Minute - time.Nanosecond)
		p.none(shop)
		p.Advance(time.Nanosecond)
		p.take(shop, inbox.NextDue, 1)
		p.take(shop, inbox.NextDue, 2)
		p.none(shop)
		p.Advance(time.Hour)
		p.take(shop, inbox.NextDue, 0)
	}},
	{"an attempt that is already running is the only one", func(p *probe) {
		got := p.acceptAs(shop, 1, true, false)
		if got.Attempt == nil || got.Entry.State != inbox.InAttempt {
			p.t.Fatalf("got %+v", got)
		}
		p.none(shop)
		if again := p.acceptAs(shop, 1, true, true); again.Attempt != nil {
			p.t.Errorf("a copy has an attempt too: %+v", again)
		}
		p.retry(got.Attempt, 0, inbox.HoldTime)
		second := p.acceptAs(shop, 1, true, true)
		if second.Attempt == nil {
			p.t.Fatalf("no attempt runs, but the copy does not get it: %+v", second)
		}
		p.none(shop)
		p.end(second.Attempt, inbox.Delivered)
		p.find(1, 0)
	}},
	{"an unspent attempt does not count", func(p *probe) {
		p.accept(shop, 1)
		p.Engine.Settle(p.take(shop, inbox.NextDue, 1), inbox.Settlement{To: inbox.Pending, Status: 502, Unspent: true, After: time.Minute})
		if e := p.find(1, inbox.Pending); e.Attempts != 0 || e.Status != 0 {
			p.t.Errorf("entry: %+v", e)
		}
		p.none(shop)
	}},
	{"an undone attempt, or one to a state in which none ends, leaves the delivery as it was", func(p *probe) {
		for n, to := range []inbox.State{0, inbox.InAttempt, inbox.Locked, inbox.Locked + 1} {
			p.accept(shop, n)
			p.retry(p.take(shop, inbox.NextDue, n), time.Hour, inbox.HoldApp)
			was := p.find(n, inbox.Pending)
			a := p.acceptAs(shop, n, true, true).Attempt
			p.Engine.Settle(a, inbox.Settlement{To: to, Status: 415, After: time.Minute, Hold: inbox.HoldRoute, Keep: time.Minute})
			if e := p.find(n, inbox.Pending); !e.Due.Equal(was.Due) || e.Hold != was.Hold || e.Attempts != 1 || e.Status != 503 {
				p.t.Errorf("to %v: %+v, was %+v", to, e, was)
			}
			p.end(a, inbox.Delivered) // already settled
			p.none(shop)
		}
		p.Advance(time.Hour)
		for n := range 4 {
			p.end(p.take(shop, inbox.NextDue, n), inbox.Delivered)
		}
		p.dead(shop, 9)
		p.Engine.Settle(p.acceptAs(shop, 9, true, true).Attempt, inbox.Settlement{})
		p.take(shop, inbox.NextDue, 9)
	}},
	{"what an app or a route that is back makes due is so after an undone attempt", func(p *probe) {
		for n, h := range []inbox.Hold{inbox.HoldApp, inbox.HoldRoute} {
			p.accept(shop, n)
			p.retry(p.take(shop, inbox.NextDue, n), time.Hour, h)
			a := p.acceptAs(shop, n, true, true).Attempt
			p.hasten(shop, h)
			p.Engine.Settle(a, inbox.Settlement{})
			p.end(p.take(shop, inbox.NextDue, n), inbox.Delivered)
		}
	}},
	{"dead ones stay", func(p *probe) {
		p.dead(shop, 1)
		p.Advance(365 * 24 * time.Hour)
		p.find(1, inbox.Dead)
		p.none(shop)
		p.take(shop, inbox.Oldest, -1)
		p.Engine = p.Reopen()
		p.find(1, inbox.Dead)
	}},
	{"a copy of a dead one makes it pending again", func(p *probe) {
		p.dead(shop, 1)
		received := p.find(1, inbox.Dead).Received
		p.Advance(time.Hour)
		e := p.acceptAs(shop, 1, false, true).Entry
		if e.State != inbox.Pending || e.Generation != 1 || e.Replayed || e.Attempts != 0 || !e.Since.Equal(p.Now()) || !e.Received.Equal(received) {
			p.t.Errorf("entry: %+v", e)
		}
		p.take(shop, inbox.NextDue, 1)
	}},
	{"a delivered one is kept for the requested time", func(p *probe) {
		p.accept(shop, 1)
		p.Engine.Settle(p.take(shop, inbox.NextDue, 1), inbox.Settlement{To: inbox.Delivered, Status: 201, Keep: time.Hour})
		if e := p.find(1, inbox.Delivered); e.Status != 201 {
			p.t.Errorf("entry: %+v", e)
		}
		p.none(shop)
		p.Advance(time.Hour)
		p.find(1, 0)

		p.accept(shop, 2)
		p.Engine.Settle(p.take(shop, inbox.NextDue, 2), inbox.Settlement{To: inbox.Delivered, Keep: time.Hour})
		p.accept(shop, 2) // a new delivery replaces the kept one
		p.take(shop, inbox.NextDue, 2)
	}},
}
