package tenants

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestForeignSecretsAreLoggedOnce: a tenant's secret that does not look like the sender's
// causes one line, also after it was evicted, and thousands of tenants a few.
func TestForeignSecretsAreLoggedOnce(t *testing.T) {
	b := newBench(t, remote, 5)
	p, err := providers.Get("stripe")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := p.Rules()
	if err != nil {
		t.Fatal(err)
	}
	set, err := keys.Open(keys.Config{Rules: rules, Tenants: true, Sender: p.Key})
	if err != nil {
		t.Fatal(err)
	}
	b.base = set.Snapshot()
	const message, secret = "the secret of a tenant does not look like the sender's webhook secrets", "sk_live_9f31c0a2d47be58690f1"
	b.source.set("right", "whsec_9f31c0a2d47be58690f1c3")
	for round := range 2 {
		for n := range 100 {
			b.now = b.now.Add(time.Minute)
			name := fmt.Sprintf("t%d", n)
			b.source.set(name, secret)
			b.find(t, name)
			b.find(t, "right")
			b.answered()
		}
		warned := b.log.Filter(func(e observer.LoggedEntry) bool { return strings.HasPrefix(e.Message, message) }).All()
		if len(warned) != maxForeign {
			t.Fatalf("round %d: %d lines, want %d", round, len(warned), maxForeign)
		}
		for i, e := range warned {
			fields := e.ContextMap()
			if _, last := fields["others"]; fields["tenant"] != fmt.Sprintf("t%d", i) || fields["expected"] != "whsec_…" || last != (i == maxForeign-1) {
				t.Errorf("line %d: %v", i, fields)
			}
		}
	}
	if text := fmt.Sprint(b.log.All()); strings.Contains(text, secret) || strings.Contains(text, "tenant:right") {
		t.Error(text)
	}
}

func TestKeysAreCached(t *testing.T) {
	b := newBench(t, remote, 0)
	if b.Cached(t.Context(), "acme", b.now) != nil {
		t.Error("cached before it is found")
	}
	b.expect(t, "acme", "secret-of-acme", 1)
	b.now = b.now.Add(remote.Fresh * 3 / 4)
	b.expect(t, "acme", "secret-of-acme", 1)
	if s := b.Cached(t.Context(), "acme", b.now); s == nil || s != b.Peek("acme") || b.Len() != 1 {
		t.Error("not cached")
	}
	b.source.set("acme", "first second")
	b.now = b.now.Add(remote.Fresh)
	if b.Cached(t.Context(), "acme", b.now) != nil {
		t.Error("cached beyond its time")
	}
	b.expect(t, "acme", "first second", 2)
}

// TestFilesAreLookedAtWhenTheyAreDue: on the way of a delivery, with all that a look can
// find.
func TestFilesAreLookedAtWhenTheyAreDue(t *testing.T) {
	local := new(File).Terms()
	for name, c := range map[string]struct {
		change func(*sourceOf)
		want   string
	}{
		"unchanged":   {func(*sourceOf) {}, "secret-of-acme"},
		"rotated":     {func(s *sourceOf) { s.set("acme", "rotated") }, "rotated"},
		"removed":     {func(s *sourceOf) { delete(s.has, "acme") }, "unavailable"}, // it may be being replaced: see TestReplacedFile
		"unreadable":  {func(s *sourceOf) { s.fails(ErrDown) }, "secret-of-acme"},
		"other fault": {func(s *sourceOf) { s.fails(errors.New("no answer")) }, "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, local, 0)
			b.expect(t, "acme", "secret-of-acme", 1)
			c.change(b.source)
			b.now = b.now.Add(local.Fresh - 1)
			if got := shown(b.Cached(t.Context(), "acme", b.now), nil); got != "secret-of-acme" || b.source.times("acme") != 1 {
				t.Errorf("before it is due: %s, asked %d times", got, b.source.times("acme"))
			}
			b.now = b.now.Add(1)
			got := "none"
			if s := b.Cached(t.Context(), "acme", b.now); s != nil {
				got = shown(s, nil)
			}
			if want := strings.Replace(c.want, "unavailable", "none", 1); got != want || b.source.times("acme") != 2 {
				t.Errorf("%s, asked %d times, want %s", got, b.source.times("acme"), want)
			}
			b.expect(t, "acme", c.want, 2) // the reason, without another look
		})
	}
}

// TestRenewedBeforeTheEnd: no delivery waits for a tenant that has deliveries.
func TestRenewedBeforeTheEnd(t *testing.T) {
	b := newBench(t, remote, 0)
	b.expect(t, "acme", "secret-of-acme", 1)
	b.source.set("acme", "rotated")
	b.source.gate = make(chan struct{})
	b.now = b.now.Add(remote.Fresh * 9 / 10)
	b.expect(t, "acme", "secret-of-acme", 1)
	b.expect(t, "acme", "secret-of-acme", 1) // one question at a time
	b.mu.Lock()
	fl := b.flights["acme"]
	b.mu.Unlock()
	close(b.source.gate)
	<-fl.done
	b.expect(t, "acme", "rotated", 2)
}

// TestOneQuestionATenant: however many deliveries wait.
func TestOneQuestionATenant(t *testing.T) {
	b := newBench(t, remote, 0)
	b.source.gate = make(chan struct{})
	var waiting sync.WaitGroup
	for range maxClientWaiting {
		waiting.Go(func() {
			if got := b.find(t, "acme"); got != "secret-of-acme" {
				t.Error(got)
			}
		})
	}
	for {
		b.mu.Lock()
		n := b.budget.waiting
		b.mu.Unlock()
		if n == maxClientWaiting {
			break
		}
		runtime.Gosched()
	}
	close(b.source.gate)
	waiting.Wait()
	if n := b.source.times("acme"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestUnknownIsObeyed: at once for a name, and for a tenant that was removed.
func TestUnknownIsObeyed(t *testing.T) {
	b := newBench(t, remote, 0)
	b.expect(t, "bravo", "unknown", 1)
	b.now = b.now.Add(remote.Again - 1)
	b.expect(t, "bravo", "unknown", 1)
	b.source.set("bravo", "secret-of-bravo")
	b.now = b.now.Add(1)
	b.expect(t, "bravo", "secret-of-bravo", 2)
	delete(b.source.has, "bravo")
	b.now = b.now.Add(remote.Fresh)
	b.expect(t, "bravo", "unknown", 3)
	b.source.fails(ErrDown)
	b.now = b.now.Add(remote.Again)
	b.expect(t, "bravo", "unavailable", 4) // no longer the last keys
	if b.Len() != 0 {
		t.Error("still cached")
	}
}

// TestStale: the last keys serve while the source is down, and then no delivery is
// lost, but answered 503.
func TestStale(t *testing.T) {
	b := newBench(t, remote, 0)
	b.expect(t, "acme", "secret-of-acme", 1)
	b.source.fails(fmt.Errorf("%w: status 500", ErrDown))
	b.now = b.now.Add(remote.Fresh)
	b.expect(t, "acme", "secret-of-acme", 2)
	b.now = b.now.Add(remote.Again - 1)
	b.expect(t, "acme", "secret-of-acme", 2) // not asked at each delivery
	b.now = b.now.Add(1)
	b.expect(t, "acme", "secret-of-acme", 3)
	b.now = b.now.Add(remote.Stale)
	b.expect(t, "acme", "unavailable", 4)
	b.expect(t, "bravo", "unavailable", 1)
	b.now = b.now.Add(remote.Again - 1)
	b.expect(t, "bravo", "unavailable", 1)
	b.source.fails(nil)
	b.now = b.now.Add(1)
	b.expect(t, "acme", "secret-of-acme", 5)
	b.expect(t, "bravo", "unknown", 2)
	if b.results[ResultFailed] != 4 || b.log.FilterMessage("cannot get the keys of a tenant").Len() != 4 {
		t.Errorf("%d failures, %d lines", b.results[ResultFailed], b.log.Len())
	}
}

// TestOtherFailuresAreNotStale: what is neither an outage nor an answer may be a
// revocation.
func TestOtherFailuresAreNotStale(t *testing.T) {
	b := newBench(t, remote, 0)
	b.expect(t, "acme", "secret-of-acme", 1)
	b.source.fails(errors.New("status 403"))
	b.now = b.now.Add(remote.Fresh - 1)
	if got := b.find(t, "acme"); got != "secret-of-acme" {
		t.Errorf("before the end: %q", got)
	}
	b.answered() // the renewal before the end
	b.expect(t, "acme", "secret-of-acme", 2)
	b.now = b.now.Add(remote.Again)
	b.expect(t, "acme", "unavailable", 3)
	b.expect(t, "acme", "unavailable", 3)
}

// TestKeyThatIsNone: an answer that cannot be used is no answer.
func TestKeyThatIsNone(t *testing.T) {
	b := newBench(t, remote, 0)
	b.base = baseOf(t, "whsec_c2lnbnMtZm9yLXRoZS1hcHAtNzQxOQ==")
	for name, secrets := range map[string]string{"short": "x", "shared": "whsec_c2lnbnMtZm9yLXRoZS1hcHAtNzQxOQ=="} {
		b.source.set(name, secrets)
		if got := b.find(t, name); got != "unavailable" && name == "short" {
			t.Errorf("%s: %s", name, got)
		}
	}
	local := newBench(t, Terms{Fresh: time.Second, Stale: time.Hour, Unknown: time.Second, Again: time.Millisecond}, 0)
	local.expect(t, "acme", "secret-of-acme", 1)
	local.source.set("acme", "x")
	local.now = local.now.Add(time.Second)
	local.expect(t, "acme", "secret-of-acme", 2)
}

// TestFloodOfNames: strangers evict no tenant, and have the source asked for a share of
// the names only; tenants are renewed as before.
func TestFloodOfNames(t *testing.T) {
	b := newBench(t, remote, 4)
	for _, name := range []string{"one", "two", "three"} {
		b.source.set(name, "secret-of-"+name)
		b.expect(t, name, "secret-of-"+name, 1)
	}
	asked, unavailable := 0, 0
	for i := range 20_000 {
		name := fmt.Sprintf("stranger-%d", i)
		got, _ := b.Find(t.Context(), name, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 32))
		if got != nil {
			t.Fatal("a stranger has keys")
		}
		asked += b.source.times(name)
		unavailable += 1 - b.source.times(name)
	}
	if asked > strangeBurst || unavailable == 0 || b.unknown.Len() > maxUnknown || b.Len() != 3 {
		t.Errorf("asked %d times, %d names and %d tenants are remembered", asked, b.unknown.Len(), b.Len())
	}
	b.now = b.now.Add(remote.Fresh)
	for _, name := range []string{"one", "two", "three"} {
		b.expect(t, name, "secret-of-"+name, 2)
	}
}

// TestOwnLimitIsNotStale: what this gateway does not ask says nothing about the source.
func TestOwnLimitIsNotStale(t *testing.T) {
	b := newBench(t, remote, 0)
	b.expect(t, "acme", "secret-of-acme", 1)
	b.Verified(client)
	b.now = b.now.Add(remote.Fresh)
	for b.budget.allows(renewal, client, b.now) {
	}
	b.expect(t, "acme", "unavailable", 1)
	b.now = b.now.Add(time.Second)
	b.expect(t, "acme", "secret-of-acme", 2)
}

// TestShareOfAClient: one client uses up its own share only.
func TestShareOfAClient(t *testing.T) {
	b := newBench(t, remote, 0)
	refused := 0
	for i := range 10 * clientBurst {
		if b.find(t, fmt.Sprint("stranger-", i)) == "unavailable" {
			refused++
		}
	}
	if refused != 9*clientBurst {
		t.Errorf("%d refused", refused)
	}
	b.source.set("bravo", "secret-of-bravo")
	other := netip.MustParsePrefix("203.0.113.9/32")
	if got := shown(b.Find(t.Context(), "bravo", other)); got != "secret-of-bravo" {
		t.Error(got)
	}
}

// TestNamesAreCopied: a name is part of an address, which may be as long as a server takes
// it; what is remembered is the name alone.
func TestNamesAreCopied(t *testing.T) {
	b := newBench(t, Terms{Fresh: time.Hour, Unknown: time.Hour}, 0)
	for i := range 200 {
		address := fmt.Sprintf("/hooks/tenant-%d/%s", i, strings.Repeat("x", 1<<20))
		name := strings.Split(address, "/")[2]
		if i%2 == 0 {
			b.source.set(strings.Clone(name), "secret-of-acme")
		}
		_, _ = b.Find(t.Context(), name, client)
	}
	clear(b.source.asked)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if b.Len() != 100 || m.HeapAlloc > 100<<20 {
		t.Errorf("%d tenants, %d MiB in use", b.Len(), m.HeapAlloc>>20)
	}
	runtime.KeepAlive(b)
}

// TestHandlerChanges: a tenant's snapshot follows the handler's, without a question.
func TestHandlerChanges(t *testing.T) {
	b := newBench(t, remote, 0)
	b.expect(t, "acme", "secret-of-acme", 1)
	b.base = baseOf(t, "whsec_c2lnbnMtZm9yLXRoZS1hcHAtNzQxOQ==")
	if b.Cached(t.Context(), "acme", b.now) != nil {
		t.Error("the old snapshot is used")
	}
	b.expect(t, "acme", "secret-of-acme", 1)
	if s := b.Cached(t.Context(), "acme", b.now); s == nil || s.Signer != b.base.Signer {
		t.Error("another signer than the handler's")
	}
	b.base = nil
	b.expect(t, "acme", "unavailable", 1)
}

// TestCachedAllocatesNothing on the way of a request.
func TestCachedAllocatesNothing(t *testing.T) {
	b := newBench(t, remote, 0)
	b.find(t, "acme")
	b.Verified(client)
	if n := testing.AllocsPerRun(1000, func() { b.Cached(t.Context(), "acme", b.now); b.Verified(client) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSizeOfATenant: 10 000 of them that have delivered take at most 4 KB each, however
// many more names have come.
func TestSizeOfATenant(t *testing.T) {
	local := Terms{Fresh: time.Hour, Unknown: time.Hour, Again: time.Hour}
	b := newBench(t, local, 0)
	for i := range 30_000 {
		b.source.has[fmt.Sprint("tenant-", i)] = fmt.Sprintf("secret-of-tenant-%d", i)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	clear(b.source.asked)
	before := heap()
	for i := range 30_000 {
		s, err := b.Find(t.Context(), fmt.Sprint("tenant-", i), client)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verifier.Sign(&verifier.Request{Header: make(map[string][]string)}, "", b.now, []byte("{}")); err != nil { // has a MAC from then on
			t.Fatal(err)
		}
		b.find(t, fmt.Sprint("stranger-", i))
	}
	b.source.asked = make(map[string]int)
	after := heap()
	if each := (int64(after) - int64(before)) / int64(b.Len()); b.Len() != DefaultMax || each > 4096 {
		t.Errorf("%d tenants, %d bytes each", b.Len(), each)
	} else {
		t.Logf("%d bytes each", each)
	}
	runtime.KeepAlive(b)
}

// BenchmarkCompile: what a tenant costs whose keys are not cached, besides the question.
func BenchmarkCompile(b *testing.B) {
	base := baseOf(b, "")
	for name, texts := range map[string]bool{"answer": false, "file": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := base.With([]verifier.Key{{Text: "whsec_Tn2vQ8r5GKYqrTwjUPD8ILPZIo2Lk4bX"}}, texts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCached(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := newBench(b, Terms{Fresh: time.Hour}, 0)
			names := make([]string, n)
			for i := range names {
				names[i] = fmt.Sprint("tenant-", i)
				c.source.has[names[i]] = "secret-of-" + names[i]
				if _, err := c.Find(b.Context(), names[i], client); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if c.Cached(b.Context(), names[i], c.now) == nil {
					b.Fatal("not cached")
				}
				if i += 7919; i >= n {
					i %= n
				}
			}
		})
	}
}
