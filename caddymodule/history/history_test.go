package history

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

var clock = time.Unix(1_700_000_000, 0)

func delivered(name, id string) Delivery {
	return Delivery{Name: name, Time: clock, Outcome: metrics.Delivered, Status: 200, ID: id, Key: "1"}
}

func with(d Delivery, change func(*Delivery)) Delivery {
	change(&d)
	return d
}

func ids(list []*Delivery) (ids []string) {
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	return ids
}

func want(t *testing.T, what string, list []*Delivery, want ...string) {
	t.Helper()
	if got := ids(list); !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestNewest: a number is kept for each handler, newest first, and a busy handler
// does not displace another's.
func TestNewest(t *testing.T) {
	var s Store
	s.Add(delivered("quiet", "q1"), 3)
	for i := range 100 {
		s.Add(delivered("busy", fmt.Sprint("b", i)), 3)
	}
	want(t, "all", s.List(Query{}, -1), "b99", "b98", "b97", "q1")
	want(t, "a name", s.List(Query{Name: "quiet"}, -1), "q1")
	want(t, "nobody's", s.List(Query{Name: "other"}, -1))
	want(t, "two", s.List(Query{}, 2), "b99", "b98")
	want(t, "none", s.List(Query{}, 0))
	s.Add(delivered("off", "o1"), 0)
	want(t, "off", s.List(Query{Name: "off"}, -1))
}

// TestQuery: each filter is exact, and all must match.
func TestQuery(t *testing.T) {
	var s Store
	s.Add(with(delivered("shop", "evt_1"), func(d *Delivery) { d.Event = "paid" }), 9)
	s.Add(with(delivered("shop", "evt_1"), func(d *Delivery) { d.Outcome, d.Reason = metrics.Failed, "timeout" }), 9)
	s.Add(with(delivered("shop", "evt_10"), func(d *Delivery) { d.Event = "paid.later" }), 9)
	for what, tc := range map[string]struct {
		q Query
		n int
	}{
		"id":              {Query{ID: "evt_1"}, 2},
		"a part of an id": {Query{ID: "evt_"}, 0},
		"event":           {Query{Event: "paid"}, 1},
		"outcome":         {Query{Outcome: metrics.Failed}, 1},
		"id and outcome":  {Query{ID: "evt_1", Outcome: metrics.Delivered}, 1},
		"name and event":  {Query{Name: "shop", Event: "paid.later"}, 1},
	} {
		if got := s.List(tc.q, -1); len(got) != tc.n {
			t.Errorf("%s: %d, want %d", what, len(got), tc.n)
		}
	}
}

// TestCopiesDriveOutCopiesAlone: replaying a captured delivery does not displace
// those that went to the app.
func TestCopiesDriveOutCopiesAlone(t *testing.T) {
	var s Store
	s.Add(delivered("shop", "genuine"), 2)
	for _, o := range []metrics.Outcome{metrics.Duplicate, metrics.Rejected, metrics.Handshake} {
		for range 5 {
			s.Add(with(delivered("shop", string(o)), func(d *Delivery) { d.Outcome = o }), 2)
		}
	}
	want(t, "kept", s.List(Query{}, -1), "handshake", "handshake", "genuine")
}

// TestAttempts: requests of one delivery are counted as long as one is kept.
func TestAttempts(t *testing.T) {
	var s Store
	key := func(k string) func(*Delivery) { return func(d *Delivery) { d.Delivery = k } }
	for i, k := range []string{"aa", "bb", "aa", "", "", "aa"} {
		s.Add(with(delivered("shop", fmt.Sprint(i)), key(k)), 3)
	}
	var got []string
	for _, d := range s.List(Query{}, -1) {
		got = append(got, fmt.Sprint(d.ID, ":", d.Attempt))
	}
	if want := "[5:3 4:1 3:1]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	s.Add(with(delivered("shop", "6"), key("bb")), 3)
	if d := s.List(Query{}, 1)[0]; d.Attempt != 1 {
		t.Errorf("attempt %d of a delivery that was forgotten", d.Attempt)
	}
	s.Restrict(nil, 0)
	if n := len(s.attempts); n != 0 {
		t.Errorf("%d deliveries are counted and none is kept", n)
	}
}

// TestBounds: total entries and bytes are limited, and a sender's texts are cut.
func TestBounds(t *testing.T) {
	var s Store
	long := delivered("shop", strings.Repeat("é", maxText))
	long.Event = "x" + long.ID
	s.Add(long, 1)
	if d := s.List(Query{}, 1)[0]; len(d.ID) > maxText+4 || len(d.Event) > maxText+4 || !strings.HasSuffix(d.ID, "é…") || !strings.HasSuffix(d.Event, "é…") {
		t.Errorf("kept an id of %d bytes and an event of %d", len(d.ID), len(d.Event))
	}
	for i := range 3 * maxEntries {
		s.Add(long, 1<<20)
		if i%2 == 0 {
			s.Add(delivered(fmt.Sprint("other", i%100), "short"), 1<<20)
		}
	}
	if n, bytes := s.Totals(); n > maxEntries || bytes > maxBytes || n < maxEntries/8 {
		t.Errorf("%d kept, %d bytes", n, bytes)
	}
	var short Store
	for range 2 * maxEntries {
		short.Add(Delivery{Name: "shop", Outcome: metrics.Delivered}, 1<<20)
	}
	if n, bytes := short.Totals(); n != maxEntries || bytes > maxBytes {
		t.Errorf("%d kept, %d bytes", n, bytes)
	}
}

// TestTextIsCopied: an id is part of the body, and must not keep all of it in memory.
func TestTextIsCopied(t *testing.T) {
	var s Store
	body := strings.Repeat("x", 1<<20)
	id := body[:8]
	if n := testing.AllocsPerRun(100, func() { s.Add(delivered("shop", id), 8) }); n > 2 {
		t.Errorf("%v allocations, want the entry and its text", n)
	}
	if d := s.List(Query{}, 1)[0]; d.ID != id || unsafe.StringData(d.ID) == unsafe.StringData(id) {
		t.Error("the id is a part of the body")
	}
}

// TestRestrict: a new configuration keeps only its own handlers' deliveries, up to
// its limit.
func TestRestrict(t *testing.T) {
	var s Store
	for i := range 9 {
		s.Add(delivered("a", fmt.Sprint("a", i)), 8)
		s.Add(delivered("b", fmt.Sprint("b", i)), 8)
	}
	s.Restrict(map[string]bool{"a": true, "new": true}, 2)
	want(t, "kept", s.List(Query{}, -1), "a8", "a7")
	s.Add(delivered("a", "a9"), 3)
	want(t, "after more", s.List(Query{}, -1), "a9", "a8", "a7")
	s.Restrict(map[string]bool{"a": true}, 0)
	if n, bytes := s.Totals(); n != 0 || bytes != 0 {
		t.Errorf("%d kept, %d bytes", n, bytes)
	}
}

// TestAfter: a client that asks for later deliveries gets all that are kept, is told
// if some are missing, and of the next one.
func TestAfter(t *testing.T) {
	var s Store
	n := s.After(0, Query{})
	if len(n.Deliveries) != 0 || n.Last != 0 || n.Missed {
		t.Errorf("of nothing: %+v", n)
	}
	select {
	case <-n.More:
		t.Fatal("told of a delivery before there is one")
	default:
	}
	s.Add(delivered("shop", "1"), 3)
	<-n.More
	for i := range 2 {
		s.Add(with(delivered("shop", fmt.Sprint(i+2)), func(d *Delivery) { d.Outcome = metrics.Duplicate }), 3)
	}
	n = s.After(1, Query{})
	want(t, "after the first", n.Deliveries, "2", "3")
	if n.Last != 3 || n.Missed {
		t.Errorf("last %d, missed %t", n.Last, n.Missed)
	}
	for i := range 4 {
		s.Add(delivered("shop", fmt.Sprint(i+4)), 3)
	}
	if n = s.After(3, Query{}); !n.Missed {
		t.Error("a gap is not told")
	}
	want(t, "what is left", n.Deliveries, "5", "6", "7")
	if n = s.After(3, Query{Name: "other"}); n.Missed || n.Last != 7 {
		t.Errorf("of another handler: %+v", n)
	}
	if n = s.After(4, Query{Outcome: metrics.Duplicate}); len(n.Deliveries) != 0 || n.Missed {
		t.Errorf("of another outcome: %+v", n)
	}
}

// TestCursor: a cursor of another process is before everything.
func TestCursor(t *testing.T) {
	if got := ParseCursor(Cursor(42)); got != 42 {
		t.Errorf("read %d", got)
	}
	for _, foreign := range []string{"", "42", "-42", "0-42", Cursor(7) + "x", "x" + Cursor(7), process, "\n"} {
		if got := ParseCursor(foreign); got != 0 {
			t.Errorf("%q: %d", foreign, got)
		}
	}
}

// TestNoSecretIsShown: a sender may send its key as the id, and keys change.
func TestNoSecretIsShown(t *testing.T) {
	rules, err := verifier.Compile(verifier.Scheme{Signature: &verifier.Signature{Header: []string{"X-Signature"}}})
	if err != nil {
		t.Fatal(err)
	}
	snapshot := func(secret string) *keys.Snapshot {
		set, err := keys.Open(keys.Config{Name: "shop", Rules: rules, Secret: []keys.Value{{Value: secret}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { set.Close() })
		return set.Current()
	}
	old, now := snapshot("the-old-9f31c0a2"), snapshot("the-new-5d7e8b26")
	var s Store
	for _, id := range []string{"the-old-9f31c0a2", "x the-new-5d7e8b26", "dGhlLW5ldy01ZDdlOGIyNg==", "evt_1"} {
		s.Add(with(delivered("shop", id), func(d *Delivery) { d.Keys, d.Event = old, id }), 9)
	}
	var v View
	for range 2 { // a view is used for some time
		shown := v.Show(s.After(0, Query{}).Deliveries, []*keys.Snapshot{now, nil})
		for i, d := range shown {
			if hidden := d.ID == "(redacted)" && d.Event == "(redacted)"; hidden != (i < 3) {
				t.Errorf("shown %q, %q", d.ID, d.Event)
			}
		}
	}
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	var s Store
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 500 {
				s.Add(with(delivered(fmt.Sprint(i), "x"), func(d *Delivery) { d.Delivery = fmt.Sprint(j % 7) }), 16)
			}
		})
	}
	all.Go(func() {
		for range 200 {
			n := s.After(0, Query{})
			if !slices.IsSortedFunc(n.Deliveries, func(a, b *Delivery) int { return int(a.Seq) - int(b.Seq) }) {
				t.Error("not in order")
			}
			new(View).Show(n.Deliveries, nil)
			s.Restrict(map[string]bool{"0": true, "1": true, "2": true, "3": true}, 8)
		}
	})
	all.Wait()
}

// BenchmarkAdd is the cost for a delivery.
func BenchmarkAdd(b *testing.B) {
	var s Store
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = fmt.Sprintf("%032x", i)
	}
	id, event := strings.Repeat("i", 36), "checkout.session.completed"
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d := delivered("shop", id)
		d.Event, d.Delivery = event, keys[i%len(keys)]
		s.Add(d, PerHandler)
	}
}
