package index

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

var shop = inbox.Queue{Handler: "shop"}

// put adds delivery n of q, of ten bytes, accepted at second n.
func put(x *Index[*Entry], q inbox.Queue, n int) *Entry {
	now := int64(n) * int64(time.Second)
	e := x.NewEntry(&inbox.Delivery{Key: inbox.Key{byte(n)}, Queue: q, Label: "current", Received: time.Unix(int64(n), 0)}, 10, now)
	e.Seq = uint64(n)
	x.Link(&e)
	return &e
}

func attempt(x *Index[*Entry], e *Entry) Handle { return x.Begin(e, 1) }

func TestAnEmptyQueueIsForgottenAndReturns(t *testing.T) {
	x := New[*Entry]()
	e := put(x, shop, 1)
	x.Unlink(e)
	if len(x.Queues()) != 0 || x.Bytes != 0 || len(x.handlers) != 0 {
		t.Fatalf("%+v, %d bytes, %v", x.Queues(), x.Bytes, x.handlers)
	}
	x.Link(e) // its group still names the queue that was removed
	if all := x.Queues(); len(all) != 1 || all[0].Pending != 1 || all[0].Bytes != 10 {
		t.Errorf("%+v", all)
	}
	if x.Next(shop, inbox.Oldest, 0) != e {
		t.Error("it is not found by its queue")
	}
}

func TestReservedBytesCountAsUsed(t *testing.T) {
	x := New[*Entry]()
	acme := inbox.Queue{Handler: "shop", Tenant: "acme"}
	put(x, shop, 1)
	e := x.NewEntry(&inbox.Delivery{Key: inbox.Key{2}, Queue: acme, Received: time.Unix(2, 0)}, 20, 0)
	x.Reserve(&e)
	if got, want := x.Room(acme, 99), (inbox.Room{Limit: 99, Used: 30, Handler: 30, Queue: 20}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	x.Release(&e)
	if got, want := x.Room(acme, 99), (inbox.Room{Limit: 99, Used: 10, Handler: 10}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestOnlyTheRunningAttemptIsFound(t *testing.T) {
	x := New[*Entry]()
	e := put(x, shop, 1)
	first := x.Begin(e, 1)
	if x.Running(first) != e {
		t.Error("it is not found while it runs")
	}
	if !x.Settle(e, inbox.Settlement{To: inbox.Pending}, 0) || x.Running(first) != nil {
		t.Error("it is found after it was settled")
	}
	if second := x.Begin(e, 2); x.Running(first) != nil || x.Running(second) != e {
		t.Error("an earlier attempt is found for a later one")
	}
}

func TestAnUnspentAttemptDoesNotCount(t *testing.T) {
	x := New[*Entry]()
	e := put(x, shop, 1)
	for i, unspent := range []bool{false, true} {
		attempt(x, e)
		x.Settle(e, inbox.Settlement{To: inbox.Pending, Status: 500 + i, Unspent: unspent}, 0)
	}
	if e.Attempts != 1 || e.Status != 500 {
		t.Errorf("%d attempts, status %d", e.Attempts, e.Status)
	}
	e.Attempts = math.MaxUint16
	attempt(x, e)
	if x.Settle(e, inbox.Settlement{To: inbox.Pending}, 0); e.Attempts != math.MaxUint16 {
		t.Errorf("the number of attempts overflows: %d", e.Attempts)
	}
}

// What waits for a configuration is made due by that, or by an operator.
func TestWhatWaitsForARouteHasNoTime(t *testing.T) {
	for name, wake := range map[string]func(x *Index[*Entry], e *Entry){
		"hastened": func(x *Index[*Entry], e *Entry) { x.Hasten(shop, inbox.HoldRoute, 9) },
		"replayed": func(x *Index[*Entry], e *Entry) { x.Change(e, func() { e.Replay(9) }) },
	} {
		x := New[*Entry]()
		e := put(x, shop, 1)
		attempt(x, e)
		x.Settle(e, inbox.Settlement{To: inbox.Pending, Hold: inbox.HoldRoute, After: time.Hour}, 0)
		if x.Next(shop, inbox.NextDue, math.MaxInt64-1) != nil || !x.Queues()[0].Due.IsZero() || !e.View().Due.IsZero() {
			t.Errorf("%s: it is due by time: %+v", name, e.View())
		}
		if wake(x, e); x.Next(shop, inbox.NextDue, int64(time.Second)) != e {
			t.Errorf("%s: it is not due: %+v", name, e.View())
		}
	}
}

func TestKeptEntriesGiveWay(t *testing.T) {
	x := New[*Entry]()
	for n := 1; n <= 3; n++ {
		attempt(x, put(x, shop, n))
		x.Settle(x.Entries[inbox.Key{byte(n)}], inbox.Settlement{To: inbox.Delivered, Keep: time.Duration(n)}, 0)
	}
	var gone []byte
	drop := func(now, limit int64) {
		for e := x.Overdue(now, limit); e != nil; e = x.Overdue(now, limit) {
			gone = append(gone, e.Key[0])
			x.Unlink(e)
		}
	}
	if drop(0, 300); gone != nil {
		t.Errorf("within time and share, but removed: %v", gone)
	}
	if drop(0, 299); !slices.Equal(gone, []byte{1}) {
		t.Errorf("beyond the share: %v is removed", gone)
	}
	if drop(2, 300); !slices.Equal(gone, []byte{1, 2}) {
		t.Errorf("kept long enough: %v is removed", gone)
	}
}

func TestADeliveredEntryThatIsNotKeptIsForTheEngineToRemove(t *testing.T) {
	x := New[*Entry]()
	e := put(x, shop, 1)
	attempt(x, e)
	if x.Settle(e, inbox.Settlement{To: inbox.Delivered}, 0) || e.State != inbox.InAttempt {
		t.Errorf("%+v", e.View())
	}
}

func TestAKeyThatIsSelectedTwiceIsOneEntry(t *testing.T) {
	x := New[*Entry]()
	put(x, shop, 1)
	put(x, shop, 2)
	if got := x.Select(inbox.Selection{Keys: []inbox.Key{{1}, {1}, {3}}}); len(got) != 1 || got[0].Seq != 1 {
		t.Errorf("%d selected", len(got))
	}
	if got := x.Select(inbox.Selection{Label: "current"}); len(got) != 2 {
		t.Errorf("%d selected", len(got))
	}
}

func TestGroupsThatAreCutShortAreRefused(t *testing.T) {
	q := inbox.Queue{Handler: "shop", Tenant: "acme\xff"}
	b := AppendGroup(nil, q, "current")
	if got, label, ok := ReadGroup(append(b, "rest"...)); !ok || got != q || label != "current" {
		t.Errorf("%+v %q %v", got, label, ok)
	}
	for n := range b {
		if got, label, ok := ReadGroup(b[:n]); ok {
			t.Errorf("%d bytes: %+v %q", n, got, label)
		}
	}
	if _, _, ok := ReadGroup(fmt.Append(nil, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")); ok {
		t.Error("a length beyond the bytes is accepted")
	}
}
