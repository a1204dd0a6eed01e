package tenants

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// mismatch returns the newer secrets for a delivery that came then, "" if there are none,
// or the kind of error and when to retry.
func (b *bench) mismatch(t testing.TB, name string, tried *keys.Snapshot, came time.Time, client netip.Prefix) string {
	t.Helper()
	s, err := b.Mismatch(t.Context(), name, tried, came, client)
	if e, ok := errors.AsType[*NotNow](err); ok {
		return "in " + e.After.String()
	}
	if s == nil && err == nil {
		return ""
	}
	return shown(s, err)
}

func stranger(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 32)
}

// awaitWaiters waits until n deliveries wait.
func (b *bench) awaitWaiters(n int) {
	for {
		b.mu.Lock()
		waiting := b.budget.waiting + b.budget.renewing
		b.mu.Unlock()
		if waiting == n {
			return
		}
		runtime.Gosched()
	}
}

// TestMismatchIsSettledByALaterQuestion: a delivery is refused only if the source was
// asked since it arrived.
func TestMismatchIsSettledByALaterQuestion(t *testing.T) {
	b := newBench(t, remote, 0)
	b.expect(t, "acme", "secret-of-acme", 1)
	tried := b.Peek("acme")
	expect := func(what, want string, name string, came time.Time, asked int) {
		t.Helper()
		if got := b.mismatch(t, name, tried, came, client); got != want || b.source.times(name) != asked {
			t.Errorf("%s: %q, asked %d times; want %q, %d", what, got, b.source.times(name), want, asked)
		}
	}
	expect("asked for this delivery", "", "acme", b.now, 1)
	b.now = b.now.Add(time.Second)
	expect("asked just before it", "in 9s", "acme", b.now, 1)
	b.now = b.now.Add(9 * time.Second)
	expect("a forgery", "", "acme", b.now, 2)
	b.source.set("acme", "rotated")
	b.now = b.now.Add(time.Second)
	expect("a rotation after a forgery", "in 9s", "acme", b.now, 2)
	b.now = b.now.Add(9 * time.Second)
	expect("when it may retry", "rotated", "acme", b.now, 3)
	expect("one with the keys from before", "rotated", "acme", b.now, 3)
	tried = b.Peek("acme")
	b.now = b.now.Add(10 * time.Second)
	b.source.fails(ErrDown)
	expect("the source is down", "in 10s", "acme", b.now, 4)
	b.source.fails(nil)
	delete(b.source.has, "acme")
	b.now = b.now.Add(10 * time.Second)
	expect("a tenant that was removed", "", "acme", b.now, 5)
	if b.Peek("acme") != nil {
		t.Error("it is kept")
	}
	b.now = b.now.Add(time.Second)
	expect("removed just before", "in 9s", "acme", b.now, 5)
	b.expect(t, "bravo", "unknown", 1)
	expect("an unknown name", "", "bravo", b.now, 1)
	expect("and just before", "in 10s", "bravo", b.now.Add(1), 1)
}

// TestUnknownNamesAreLikeKnownOnes: forgeries for an unknown name, a removed tenant and a
// tenant are answered alike, at any time.
func TestUnknownNamesAreLikeKnownOnes(t *testing.T) {
	terms := remote
	terms.Unknown = 30 * time.Second
	b := newBench(t, terms, 0)
	b.expect(t, "removed", "unknown", 1)
	b.source.set("removed", "secret-of-removed")
	b.now = b.now.Add(time.Hour)
	b.expect(t, "removed", "secret-of-removed", 2)
	delete(b.source.has, "removed")
	b.now = b.now.Add(terms.Fresh)
	for _, pause := range []time.Duration{0, 1, time.Second, 8 * time.Second, time.Second, time.Second, 10 * time.Second, 11 * time.Second, time.Minute} {
		b.now = b.now.Add(pause)
		forged := func(name string) string {
			snapshot, err := b.Find(t.Context(), name, client)
			if err != nil && !errors.Is(err, ErrUnknown) {
				return "find: " + err.Error()
			}
			return b.mismatch(t, name, snapshot, b.now, client)
		}
		known := forged("acme")
		for _, name := range []string{"nobody", "removed"} {
			if got := forged(name); got != known {
				t.Errorf("after %s: %s is answered %q, a tenant %q", pause, name, got, known)
			}
		}
	}
}

// TestMismatchDuringAQuestion: one that began before the delivery arrived settles
// nothing, and its keys count all the same.
func TestMismatchDuringAQuestion(t *testing.T) {
	for secrets, want := range map[string]string{"secret-of-acme": "in 10s", "rotated": "rotated"} {
		b := newBench(t, remote, 0)
		b.expect(t, "acme", "secret-of-acme", 1)
		tried, came := b.Peek("acme"), b.now.Add(remote.Again+1)
		b.now = b.now.Add(remote.Again)
		b.source.gate = make(chan struct{})
		b.source.set("acme", secrets)
		var both sync.WaitGroup
		both.Go(func() { _ = b.mismatch(t, "acme", tried, came.Add(-1), client) })
		b.awaitWaiters(1)
		both.Go(func() {
			if got := b.mismatch(t, "acme", tried, came, client); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
		b.awaitWaiters(2)
		b.now = came.Add(1)
		close(b.source.gate)
		both.Wait()
		if secrets == "secret-of-acme" {
			continue
		}
		if got := b.mismatch(t, "acme", b.Peek("acme"), came, client); got != "in 10s" {
			t.Errorf("the newer keys do not match either: %q", got)
		}
	}
}

// TestMismatchOfFiles: a file is looked at for each delivery that does not match, since
// then, so that a new key counts for the first delivery that it signs; one that is being
// changed, or cannot be read, refuses nothing.
func TestMismatchOfFiles(t *testing.T) {
	b := newBench(t, Terms{Fresh: 2 * time.Second, Unknown: 2 * time.Second, Again: 100 * time.Millisecond}, 0)
	b.expect(t, "bravo", "unknown", 1)
	if got := b.mismatch(t, "bravo", b.base, b.now, client); got != "" || b.source.times("bravo") != 1 {
		t.Errorf("looked at since the delivery arrived, and again: %q, %d times", got, b.source.times("bravo"))
	}
	b.now = b.now.Add(1)
	if got := b.mismatch(t, "bravo", b.base, b.now, client); got != "" {
		t.Errorf("still no file: %q", got)
	}
	b.source.set("bravo", "secret-of-bravo")
	b.now = b.now.Add(1)
	if got := b.mismatch(t, "bravo", b.base, b.now, client); got != "secret-of-bravo" {
		t.Errorf("a new file is not found at once: %q", got)
	}
	b.source.changing = true
	b.now = b.now.Add(1)
	for range 3 {
		if got := b.mismatch(t, "bravo", b.Peek("bravo"), b.now, client); !strings.HasPrefix(got, "in ") {
			t.Errorf("a file that is being changed: %q", got)
		}
	}
	if n := b.source.times("bravo"); n != 4 {
		t.Errorf("looked at %d times, want once in 100 ms while it changes", n)
	}
	b.source.changing = false
	b.source.set("bravo", "newer-secret-of-bravo")
	b.now = b.now.Add(100 * time.Millisecond)
	if got := b.mismatch(t, "bravo", b.Peek("bravo"), b.now, client); got != "newer-secret-of-bravo" {
		t.Errorf("once it is complete: %q", got)
	}
	b.now = b.now.Add(1)
	b.source.fails(ErrDown)
	if got := b.mismatch(t, "bravo", b.Peek("bravo"), b.now, client); got != "in 1s" && got != "unavailable" {
		t.Errorf("a file that cannot be read: %q", got)
	}
}

// TestRotationBetweenForgeries: whoever forges all the time uses up the questions about a
// tenant that mismatches of strangers may cause, and not those of a client that has
// delivered before, which has the endpoint asked once in ten seconds whatever they do.
func TestRotationBetweenForgeries(t *testing.T) {
	b := newBench(t, remote, 0)
	b.expect(t, "acme", "secret-of-acme", 1)
	b.Verified(client)
	b.now = b.now.Add(remote.Again)
	late := 0
	for i := range 60 { // a forgery every ten seconds, and a rotation somewhere between two
		b.mismatch(t, "acme", b.Peek("acme"), b.now, stranger(0))
		b.now = b.now.Add(5 * time.Second)
		b.source.set("acme", fmt.Sprintf("rotated-%d", i))
		if got := b.mismatch(t, "acme", b.Peek("acme"), b.now, client); got != fmt.Sprintf("rotated-%d", i) {
			late++
		}
		b.now = b.now.Add(5 * time.Second)
	}
	if late > 0 {
		t.Errorf("%d of 60 deliveries after a rotation have to come again", late)
	}
	if n := b.source.times("acme"); n > 122 {
		t.Errorf("the endpoint was asked %d times in ten minutes, want at most two in ten seconds", n)
	}
	b.now = b.now.Add(5 * time.Second)
	first := b.mismatch(t, "acme", b.Peek("acme"), b.now, client)
	b.now = b.now.Add(time.Second)
	if again := b.mismatch(t, "acme", b.Peek("acme"), b.now, client); first != "" || again != "in 9s" {
		t.Errorf("a known client asks without end: %q, then %q", first, again)
	}
}

// TestForgeriesForKnownTenants: whatever strangers send for tenants with cached keys,
// those of customers are renewed, and one client's forgeries use up its own share only.
func TestForgeriesForKnownTenants(t *testing.T) {
	for _, clients := range []int{1, 100} {
		b := newBench(t, remote, 0)
		var names []string
		for i := range 2000 {
			names = append(names, fmt.Sprint("tenant-", i))
			b.source.set(names[i], "secret-of-"+names[i])
			b.expect(t, names[i], "secret-of-"+names[i], 1)
			b.now = b.now.Add(100 * time.Millisecond)
		}
		b.Verified(client)
		b.now = b.now.Add(remote.Fresh) // all may be renewed, and asked about for a mismatch
		asked := 0
		for i, name := range names[100:] {
			tried, from := b.Peek(name), stranger(i%clients)
			if i%2 == 0 {
				_, _ = b.Find(t.Context(), name, from)
			} else {
				b.mismatch(t, name, tried, b.now, from)
			}
			asked += b.source.times(name) - 1
		}
		if most := min(clients*clientBurst, mismatchBurst); asked != most {
			t.Errorf("%d clients: asked %d times, want %d", clients, asked, most)
		}
		for _, name := range names[:100] {
			b.expect(t, name, "secret-of-"+name, 2)
		}
		b.source.set("tenant-0", "rotated")
		b.now = b.now.Add(remote.Again)
		for _, name := range names[100:] {
			b.mismatch(t, name, b.Peek(name), b.now, stranger(0))
		}
		if got := b.mismatch(t, "tenant-0", b.Peek("tenant-0"), b.now, stranger(1)); got != "rotated" {
			t.Errorf("%d clients: a rotation, during forgeries of one: %q", clients, got)
		}
	}
}

// TestPlacesToWait: strangers take none of those that renewals for known clients have,
// one client a share of the others, and who gives up leaves its own.
func TestPlacesToWait(t *testing.T) {
	b := newBench(t, remote, 0)
	b.expect(t, "acme", "secret-of-acme", 1)
	b.Verified(client)
	b.now = b.now.Add(remote.Fresh)
	b.source.gate = make(chan struct{})
	gone, leave := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for i := range maxClientWaiting {
		waiting.Go(func() { _, _ = b.Find(gone, []string{"acme", "bravo"}[i%2], stranger(0)) })
	}
	b.awaitWaiters(maxClientWaiting)
	if _, err := b.Find(t.Context(), "bravo", stranger(0)); !errors.Is(err, errWaiting) {
		t.Errorf("one client has all places: %v", err)
	}
	for i := maxClientWaiting; i < maxWaiting; i++ {
		waiting.Go(func() { _, _ = b.Find(gone, "bravo", stranger(i)) })
	}
	b.awaitWaiters(maxWaiting)
	if _, err := b.Find(t.Context(), "bravo", client); !errors.Is(err, errWaiting) {
		t.Errorf("more places than there are: %v", err)
	}
	waiting.Go(func() {
		if got := shown(b.Find(t.Context(), "acme", client)); got != "secret-of-acme" {
			t.Errorf("a customer: %s", got)
		}
	})
	b.awaitWaiters(maxWaiting + 1)
	leave()
	b.awaitWaiters(1)
	close(b.source.gate)
	waiting.Wait()
	if b.budget.waiting+b.budget.renewing+len(b.budget.waiters) != 0 {
		t.Errorf("places are not left: %+v", b.budget)
	}
}
