package inboxtest

import (
	"errors"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

type engineCase struct {
	name string
	run  func(p *probe)
}

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

// Operations of an operator.
var operatorCases = []engineCase{
	{"a replay begins a new generation and keeps the marks", func(p *probe) {
		want := p.delivery(shop, 1)
		p.accept(shop, 1)
		p.retry(p.take(shop, inbox.NextDue, 1), 0, inbox.HoldTime)
		p.end(p.take(shop, inbox.NextDue, 1), inbox.Dead)
		p.Advance(time.Hour)
		p.replay(byKey(1), "", 1)
		select {
		case <-p.Engine.Changed():
		case <-time.After(10 * time.Second):
			p.t.Error("Changed does not receive")
		}
		e := p.find(1, inbox.Pending)
		if e.Generation != 1 || !e.Replayed || e.Attempts != 0 || !e.Since.Equal(p.Now()) || !e.Received.Equal(want.Received) {
			p.t.Errorf("entry: %+v", e)
		}
		a := p.take(shop, inbox.NextDue, 1)
		p.same(a.Delivery, want)
		p.replay(byKey(1), "", 0) // an attempt is running
		p.retry(a, time.Hour, inbox.HoldTime)
		p.replay(byKey(1), "", 1) // makes it due
		if e := p.find(1, inbox.Pending); e.Generation != 1 || e.Attempts != 1 {
			p.t.Errorf("what was pending is of another generation: %+v", e)
		}
		p.take(shop, inbox.NextDue, 1)
	}},
	{"replayed ones come after what is due, whenever that arrives, and in order", func(p *probe) {
		p.dead(shop, 1)
		p.dead(shop, 2)
		p.accept(shop, 3)
		p.retry(p.take(shop, inbox.NextDue, 3), time.Hour, inbox.HoldTime)
		p.replay(inbox.Selection{Handler: "shop"}, "", 3)
		for n := range 3 { // a restart changes nothing
			for _, n := range []int{4 + 2*n, 5 + 2*n} {
				p.Advance(time.Second)
				p.accept(shop, n)
			}
			p.end(p.take(shop, inbox.NextDue, 4+2*n), inbox.Delivered)
			p.end(p.take(shop, inbox.NextDue, 5+2*n), inbox.Delivered)
			a := p.take(shop, inbox.NextDue, 1+n)
			if e := a.Entry; e.Hold != inbox.HoldTurn || e.Replayed != (n < 2) {
				p.t.Errorf("entry: %+v", e)
			}
			p.end(a, inbox.Delivered)
			p.written()
			p.Engine = p.Reopen()
		}
		p.none(shop)
	}},
	{"a replayed one that fails is retried like any other", func(p *probe) {
		p.dead(shop, 1)
		p.replay(byKey(1), "", 1)
		p.retry(p.take(shop, inbox.NextDue, 1), time.Minute, inbox.HoldTime)
		p.none(shop)
		p.Advance(time.Minute)
		p.accept(shop, 2)
		p.take(shop, inbox.NextDue, 1) // due as long as the other
		p.take(shop, inbox.NextDue, 2)
	}},
	{"a kept delivered one can be replayed", func(p *probe) {
		p.accept(shop, 1)
		p.Engine.Settle(p.take(shop, inbox.NextDue, 1), inbox.Settlement{To: inbox.Delivered, Keep: time.Hour})
		p.replay(inbox.Selection{Handler: "shop", States: []inbox.State{inbox.Delivered}}, "", 1)
		p.Advance(2 * time.Hour)
		p.take(shop, inbox.NextDue, 1)
	}},
	{"a replay may move a delivery to another handler", func(p *probe) {
		p.dead(acme, 1)
		p.accept(acme, 2)
		p.accept(acme, 3)
		p.take(acme, inbox.NextDue, 2) // running
		p.replay(inbox.Selection{Handler: "many"}, "new", 2)
		moved := inbox.Queue{Handler: "new", Tenant: "acme"}
		p.Engine = p.Reopen()
		p.take(acme, inbox.NextDue, 2)
		p.none(acme)
		for range 2 {
			a, err := p.Engine.Take(p.t.Context(), moved, inbox.NextDue)
			if err != nil || a == nil || a.Delivery.Handler != "new" || a.Entry.Handler != "new" {
				p.t.Fatalf("got %+v %v", a, err)
			}
			n := int(a.Entry.Key[0])
			p.same(a.Delivery, p.delivery(acme, n))
			if a.Entry.Replayed != (n == 1) {
				p.t.Errorf("%d: replayed is %v", n, a.Entry.Replayed)
			}
			p.end(a, inbox.Delivered)
			p.find(n, 0)
		}
	}},
	{"deliveries are discarded by key, handler, tenant, label and state", func(p *probe) {
		for _, s := range []inbox.Selection{{}, {Keys: []inbox.Key{}}} {
			if _, err := p.Engine.Discard(p.t.Context(), s); !errors.Is(err, inbox.ErrEmptySelection) {
				p.t.Errorf("discard all: %v", err)
			}
			if _, err := p.Engine.Replay(p.t.Context(), s, ""); !errors.Is(err, inbox.ErrEmptySelection) {
				p.t.Errorf("replay all: %v", err)
			}
		}
		p.accept(shop, 1)
		p.dead(shop, 2)
		p.accept(acme, 3)
		p.accept(other, 4)
		stolen := p.delivery(other, 5)
		stolen.Label = "stolen"
		if _, err := p.Engine.Accept(p.t.Context(), stolen, false); err != nil {
			p.t.Fatalf("accept: %v", err)
		}
		p.discard(inbox.Selection{Handler: "shop", Tenant: "acme"})
		p.discard(inbox.Selection{States: []inbox.State{inbox.Dead}}, 2)
		p.discard(inbox.Selection{Label: "stolen"}, 5)
		p.discard(inbox.Selection{Tenant: "acme"}, 3)
		p.discard(byKey(4, 77), 4)
		p.discard(inbox.Selection{Handler: "shop"}, 1)
		p.Engine = p.Reopen()
		for n := range 6 {
			p.find(n, 0)
		}
	}},
	{"one discarded during an attempt is gone", func(p *probe) {
		p.accept(shop, 1)
		a := p.take(shop, inbox.NextDue, 1)
		p.discard(byKey(1), 1)
		p.retry(a, 0, inbox.HoldTime)
		p.find(1, 0)
		p.accept(shop, 1) // another one
		p.end(a, inbox.Delivered)
		p.find(1, inbox.Pending)
	}},
	{"a list has pages, in the order of acceptance", func(p *probe) {
		for n := range 20 {
			p.accept(inbox.Queue{Handler: "h", Tenant: []string{"a", "b"}[n%2]}, n)
		}
		p.end(p.take(inbox.Queue{Handler: "h", Tenant: "b"}, inbox.NextDue, 1), inbox.Dead)
		after, n := uint64(0), 1
		for {
			page, err := p.Engine.List(p.t.Context(), inbox.Selection{Tenant: "b"}, after, 3)
			if err != nil {
				p.t.Fatalf("list: %v", err)
			}
			for _, e := range page {
				if e.Key != key(n) || e.State != map[bool]inbox.State{true: inbox.Dead, false: inbox.Pending}[n == 1] {
					p.t.Errorf("got %+v, want %d", e, n)
				}
				n, after = n+2, e.Position
			}
			if len(page) < 3 {
				break
			}
		}
		if n != 21 {
			p.t.Errorf("the list ends before %d", n)
		}
		page, err := p.Engine.List(p.t.Context(), byKey(7, 3, 99), 0, 10)
		if err != nil || len(page) != 2 || page[0].Key != key(3) || page[1].Key != key(7) {
			p.t.Errorf("by key: %+v %v", page, err)
		}
		if page, _ := p.Engine.List(p.t.Context(), inbox.Selection{}, 0, 100); len(page) != 20 {
			p.t.Errorf("all are %d", len(page))
		}
	}},
	{"queues are counted", func(p *probe) {
		if all, err := p.Engine.Queues(p.t.Context()); len(all) != 0 || err != nil {
			p.t.Errorf("of nothing: %+v %v", all, err)
		}
		p.accept(acme, 1)
		p.take(acme, inbox.NextDue, 1)
		p.accept(acme, 2)
		p.dead(other, 3)
		size := p.find(1, inbox.InAttempt).Size + p.find(2, inbox.Pending).Size
		want := inbox.QueueStats{Queue: acme, Pending: 1, InAttempt: 1, Bytes: int64(size), Oldest: p.find(2, inbox.Pending).Since}
		got := p.stats(acme)
		if !got.Oldest.Equal(want.Oldest) || !got.Due.Equal(want.Oldest) {
			p.t.Errorf("times: %+v", got)
		}
		got.Oldest, got.Due = want.Oldest, want.Due
		if got != want {
			p.t.Errorf("got %+v, want %+v", got, want)
		}
		if got := p.stats(other); got.Dead != 1 || got.Pending != 0 || !got.Due.IsZero() || !got.Oldest.IsZero() {
			p.t.Errorf("of the dead: %+v", got)
		}
		if st := p.Engine.Status(); st.Bytes != int64(size)+p.stats(other).Bytes {
			p.t.Errorf("status: %+v", st)
		}
		p.discard(inbox.Selection{Handler: "many"}, 1, 2, 3)
		if all, err := p.Engine.Queues(p.t.Context()); len(all) != 0 || err != nil {
			p.t.Errorf("of nothing again: %+v %v", all, err)
		}
	}},
}

func (p *probe) hasten(q inbox.Queue, h inbox.Hold) {
	p.t.Helper()
	if err := p.Engine.Hasten(p.t.Context(), q, h); err != nil {
		p.t.Fatalf("hasten: %v", err)
	}
}
