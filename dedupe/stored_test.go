package dedupe_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// Every inbox has a status that no app can have and every store can keep.
func TestTheStatusOfAnInbox(t *testing.T) {
	if dedupe.StoredIn("") != dedupe.Stored || !dedupe.IsStored(dedupe.Stored) {
		t.Error("an unknown inbox")
	}
	seen := make(map[int]bool)
	for i := range 100 {
		status := dedupe.StoredIn(strconv.Itoa(i))
		if status < 1000 || status > 65535 || !dedupe.IsStored(status) {
			t.Fatalf("status %d", status)
		}
		seen[status] = true
	}
	if len(seen) < 95 {
		t.Errorf("100 inboxes have %d statuses", len(seen))
	}
	if dedupe.StoredIn("a") != 3578 {
		t.Errorf("%d: a store must still know it after an update", dedupe.StoredIn("a"))
	}
	for _, status := range []int{0, 100, 200, 999} {
		if dedupe.IsStored(status) {
			t.Errorf("%d is an app's", status)
		}
	}
}

// What a lost inbox had is forwarded again, by every instance, and nothing else is.
func TestForgetStored(t *testing.T) {
	inWorld(t, true, func(w *world) {
		forget := func(g *dedupe.Gate, inbox string, want int) {
			t.Helper()
			if n, err := g.ForgetStored(w.t.Context(), inbox); n != want || err != nil {
				w.t.Fatalf("forget what %s had: got %d %v, want %d", inbox, n, err, want)
			}
		}
		d := w.claim(w.a, terms, dedupe.Held)
		forget(w.b, "lost", 0)
		w.claim(w.b, dedupe.Terms{}, dedupe.Busy) // still in flight
		d.Claim.Done(dedupe.StoredIn("lost"))
		forget(w.b, "other", 0)
		if d = w.claim(w.b, terms, dedupe.Duplicate); d.Status != dedupe.StoredIn("lost") {
			t.Errorf("status %d", d.Status)
		}
		forget(w.b, "lost", 1)
		w.claim(w.a, terms, dedupe.Held).Claim.Release() // though it has a memory of its own
		w.claim(w.b, terms, dedupe.Held).Claim.Done(200)
		forget(w.a, "lost", 0)
		w.claim(w.a, terms, dedupe.Duplicate)
	})
}

// While the store is down, what was not written to it is forgotten and never written.
func TestForgetStoredWhileTheStoreIsDown(t *testing.T) {
	inWorld(t, true, func(w *world) {
		d := w.claim(w.a, terms, dedupe.Held)
		w.lineA.down()
		d.Claim.Done(dedupe.StoredIn("lost"))
		if n, err := w.a.ForgetStored(w.t.Context(), "lost"); n != 1 || err == nil {
			t.Errorf("got %d %v, want 1 and an error", n, err)
		}
		w.lineA.up()
		w.claim(w.a, terms, dedupe.Held).Claim.Release()
		w.claim(w.b, terms, dedupe.Held).Claim.Release()
	})
}

// A store that forgets some and fails says both.
func TestForgetStoredInPart(t *testing.T) {
	inWorld(t, false, func(w *world) {
		w.claim(w.a, terms, dedupe.Held).Claim.Done(dedupe.StoredIn("lost"))
		w.lineA.set(func(string) fault { return fault{after: errBroken} })
		if n, err := w.a.ForgetStored(w.t.Context(), "lost"); n != 1 || !errors.Is(err, errBroken) {
			t.Errorf("got %d %v, want 1 and the error", n, err)
		}
	})
}
