package storetest

import (
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// Everything with one status is forgotten, and nothing else. There is more of it than
// one round trip or one room holds.
func testForgetStatus(t *testing.T, open Factory) {
	p := &probe{t: t, Subject: open(t, 0)}
	if _, ok := p.Store.(dedupe.Forgetter); !ok {
		t.Skip("not a Forgetter")
	}
	lost, other := dedupe.StoredIn("lost"), dedupe.StoredIn("other")
	forget := func(want int) (gone []dedupe.Key) {
		t.Helper()
		gone, err := p.Store.(dedupe.Forgetter).ForgetStatus(t.Context(), lost)
		if err != nil || len(gone) != want {
			t.Fatalf("forget: got %d keys and %v, want %d", len(gone), err, want)
		}
		return gone
	}
	forget(0)
	const n = 700
	of := make(map[dedupe.Key]bool)
	for i := range n {
		k := dedupe.NewKey("lost", string(rune(i)))
		of[k] = true
		if err := p.Store.Done(t.Context(), k, dedupe.Mark{Status: lost, TTL: window, Room: []string{"a", "b"}[i%2]}); err != nil {
			t.Fatalf("done: %v", err)
		}
	}
	expired, taken, held, running := dedupe.NewKey("expired"), dedupe.NewKey("taken"), dedupe.NewKey("held"), dedupe.NewKey("running")
	p.done(expired, lost, time.Minute)
	p.done(taken, lost, window)
	p.done(taken, 204, window) // the app accepted it since
	p.done(held, other, window)
	p.done(key, dedupe.Stored, window)
	p.Advance(2 * time.Minute)
	if p.Reopen != nil {
		p.Store = p.Reopen() // so that nothing but the forgetting has to be written
	}
	p.claim(running, mine, claimed)
	for _, k := range forget(n) {
		if !of[k] {
			t.Errorf("forgotten: %v", k)
		}
		delete(of, k)
	}
	if len(of) != 0 {
		t.Errorf("%d keys are forgotten twice, and others are not", len(of))
	}
	forget(0)
	check := func() {
		t.Helper()
		p.claim(dedupe.NewKey("lost", string(rune(0))), his, claimed)
		p.claim(dedupe.NewKey("lost", string(rune(n-1))), his, claimed)
		p.claim(taken, his, isDone(204))
		p.claim(held, his, isDone(other))
		p.claim(key, his, isDone(dedupe.Stored))
	}
	check()
	p.claim(running, his, inFlight)
	if s, ok := p.Store.(dedupe.SharedForgetter); ok {
		for k, want := range map[dedupe.Key]bool{dedupe.NewKey("lost", string(rune(1))): true, held: false, running: false} {
			if got, err := s.Forgotten(t.Context(), k); err != nil || got != want {
				t.Errorf("forgotten: %v %v, want %v", got, err, want)
			}
		}
	}
	if p.Reopen != nil {
		p.Store = p.Reopen()
		check()
	}
}
