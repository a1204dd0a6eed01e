package inboxtest

import (
	"errors"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

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
