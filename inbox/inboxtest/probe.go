package inboxtest

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A probe wraps an engine; each method makes a call and checks the result.
type probe struct {
	t *testing.T
	Subject
}

var (
	shop  = inbox.Queue{Handler: "shop"}
	acme  = inbox.Queue{Handler: "many", Tenant: "acme"}
	other = inbox.Queue{Handler: "many", Tenant: "other"}
)

func key(n int) inbox.Key { return inbox.Key{byte(n), byte(n >> 8), byte(n >> 16), 255} }

// delivery returns number n of q, with bytes that would confuse a text format.
func (p *probe) delivery(q inbox.Queue, n int) *inbox.Delivery {
	return &inbox.Delivery{
		Key: key(n), Queue: q, Received: p.Now().Add(-time.Second).Round(0),
		Label: "current", ID: fmt.Sprint("evt_", n), Event: "order.paid", Timestamp: time.Unix(1_700_000_000, 0),
		Method: "POST", Target: "/hooks/x?y=%2f\xff", Host: "h", Proto: "HTTP/2.0", Remote: "[::1]:9", Local: "[::1]:443",
		TLS:    &inbox.TLS{Version: 0x304, ServerName: "h", Peers: [][]byte{{1, 2}}},
		Header: map[string][]string{"A": {"1", "\xff"}, "Content-Type": {"application/json"}},
		Body:   fmt.Appendf(nil, "{\"n\":%d,\"\x00\xff\"}", n),
	}
}

func (p *probe) accept(q inbox.Queue, n int) inbox.Entry {
	p.t.Helper()
	return p.acceptAs(q, n, false, false).Entry
}

func (p *probe) acceptFrom(n int, t inbox.Trace) {
	p.t.Helper()
	d := p.delivery(shop, n)
	d.Trace = t
	if _, err := p.Engine.Accept(p.t.Context(), d, false); err != nil {
		p.t.Fatal(err)
	}
}

func (p *probe) acceptAs(q inbox.Queue, n int, running, isCopy bool) inbox.Accepted {
	p.t.Helper()
	got, err := p.Engine.Accept(p.t.Context(), p.delivery(q, n), running)
	if err != nil || got.Copy != isCopy || got.Entry.Key != key(n) {
		p.t.Fatalf("accept: got %+v %v, want a copy: %v", got, err, isCopy)
	}
	return got
}

// find checks the state of a delivery; 0: none.
func (p *probe) find(n int, want inbox.State) inbox.Entry {
	p.t.Helper()
	e, found, err := p.Engine.Find(p.t.Context(), key(n))
	if err != nil || e.State != want || found != (want != 0) {
		p.t.Fatalf("find %d: got %v %v %v, want %v", n, e.State, found, err, want)
	}
	return e
}

// take checks which delivery an attempt gets; -1: none.
func (p *probe) take(q inbox.Queue, which inbox.Which, want int) *inbox.Attempt {
	p.t.Helper()
	a, err := p.Engine.Take(p.t.Context(), q, which)
	switch {
	case err != nil:
		p.t.Fatalf("take: %v", err)
	case a == nil && want >= 0:
		p.t.Fatalf("take: got none, want %d", want)
	case a == nil:
	case want < 0:
		p.t.Fatalf("take: got %+v, want none", a.Entry)
	case a.Entry.Key != key(want) || a.Entry.Key != a.Delivery.Key || a.Entry.State != inbox.InAttempt:
		p.t.Fatalf("take: got %+v, want %d", a.Entry, want)
	}
	return a
}

// none checks that q has nothing due.
func (p *probe) none(q inbox.Queue) { p.t.Helper(); p.take(q, inbox.NextDue, -1) }

func (p *probe) retry(a *inbox.Attempt, after time.Duration, h inbox.Hold) {
	p.Engine.Settle(a, inbox.Settlement{To: inbox.Pending, Status: 503, After: after, Hold: h})
}

func (p *probe) end(a *inbox.Attempt, to inbox.State) {
	p.Engine.Settle(a, inbox.Settlement{To: to, Status: 200})
}

// dead makes number n of q dead.
func (p *probe) dead(q inbox.Queue, n int) {
	p.t.Helper()
	p.end(p.acceptAs(q, n, true, false).Attempt, inbox.Dead)
}

func (p *probe) discard(s inbox.Selection, want ...int) {
	p.t.Helper()
	keys, err := p.Engine.Discard(p.t.Context(), s)
	if err != nil || len(keys) != len(want) {
		p.t.Fatalf("discard: got %d %v, want %d", len(keys), err, len(want))
	}
	for _, n := range want {
		if !slices.Contains(keys, key(n)) {
			p.t.Fatalf("discard: %d is not among them", n)
		}
		p.find(n, 0)
	}
}

func (p *probe) replay(s inbox.Selection, handler string, want int) {
	p.t.Helper()
	if n, err := p.Engine.Replay(p.t.Context(), s, handler); n != want || err != nil {
		p.t.Fatalf("replay: got %d %v, want %d", n, err, want)
	}
}

// stats returns the figures of q; all zero if it is empty.
func (p *probe) stats(q inbox.Queue) inbox.QueueStats {
	p.t.Helper()
	all, err := p.Engine.Queues(p.t.Context())
	if err != nil {
		p.t.Fatalf("queues: %v", err)
	}
	for _, s := range all {
		if s.Queue == q {
			return s
		}
	}
	return inbox.QueueStats{Queue: q}
}

// same compares a delivery with the received one, except for the handler's name.
func (p *probe) same(got, want *inbox.Delivery) {
	p.t.Helper()
	g, w := *got, *want
	if !g.Received.Equal(w.Received) || !g.Timestamp.Equal(w.Timestamp) {
		p.t.Errorf("times: got %v and %v, want %v and %v", g.Received, g.Timestamp, w.Received, w.Timestamp)
	}
	g.Received, g.Timestamp, g.Handler = w.Received, w.Timestamp, w.Handler
	if !reflect.DeepEqual(g, w) {
		p.t.Errorf("got %+v, want %+v", g, w)
	}
}

func byKey(numbers ...int) inbox.Selection {
	var s inbox.Selection
	for _, n := range numbers {
		s.Keys = append(s.Keys, key(n))
	}
	return s
}

// written waits until all settlements are written.
func (p *probe) written() {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); p.Engine.Status().Unwritten > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("%d marks are not written", p.Engine.Status().Unwritten)
		}
	}
}

func (p *probe) hasten(q inbox.Queue, h inbox.Hold) {
	p.t.Helper()
	if err := p.Engine.Hasten(p.t.Context(), q, h); err != nil {
		p.t.Fatalf("hasten: %v", err)
	}
}
