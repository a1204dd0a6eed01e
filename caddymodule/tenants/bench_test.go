package tenants

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A sourceOf is a source whose answers a test sets.
type sourceOf struct {
	terms Terms
	mu    sync.Mutex
	has   map[string]string // secrets, separated by spaces
	err   error             // instead of any answer
	asked map[string]int
	gate  chan struct{} // if not nil, an answer waits for it

	changing bool // answers are Soon
}

func (s *sourceOf) Terms() Terms { return s.terms }

func (s *sourceOf) Find(_ context.Context, name string, _ *Found) (*Found, error) {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[name]++
	secrets, ok := s.has[name]
	switch {
	case s.err != nil:
		return nil, s.err
	case !ok:
		return nil, ErrUnknown
	}
	found := &Found{Soon: s.changing}
	for secret := range strings.FieldsSeq(secrets) {
		found.Keys = append(found.Keys, verifier.Key{Text: secret})
	}
	return found, nil
}

func (s *sourceOf) set(name, secrets string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.has[name] = secrets
}

func (s *sourceOf) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sourceOf) times(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name]
}

var (
	remote = Terms{Fresh: 5 * time.Minute, Stale: time.Hour, Again: 10 * time.Second, Remote: true}
	client = netip.MustParsePrefix("192.0.2.1/32")
)

// A bench is a cache over a source, at a time that the test sets.
type bench struct {
	*Cache
	source  *sourceOf
	now     time.Time
	base    *keys.Snapshot
	results map[Result]int
	log     *observer.ObservedLogs
}

func newBench(t testing.TB, terms Terms, most int) *bench {
	t.Helper()
	core, log := observer.New(zap.InfoLevel)
	b := &bench{source: &sourceOf{terms: terms, has: map[string]string{"acme": "secret-of-acme"}, asked: make(map[string]int)}, now: time.Unix(1_700_000_000, 0), base: baseOf(t, ""), log: log, results: make(map[Result]int)}
	b.Cache = NewCache(Options{
		Source: b.source, Base: func() *keys.Snapshot { return b.base }, Max: most, Logger: zap.New(core),
		Looked: func(r Result) { b.results[r]++ }, Now: func() time.Time { return b.now },
	})
	return b
}

// baseOf returns the snapshot of a handler with tenants, which signs with a secret.
func baseOf(t testing.TB, signs string) *keys.Snapshot {
	t.Helper()
	p, err := providers.Get("github")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := p.Rules()
	if err != nil {
		t.Fatal(err)
	}
	set, err := keys.Open(keys.Config{Rules: rules, Tenants: true, SignUpstream: signs})
	if err != nil {
		t.Fatal(err)
	}
	return set.Snapshot()
}

// answered waits until no question to the source is under way.
func (b *bench) answered() {
	for {
		var fl *flight
		b.mu.Lock()
		for _, fl = range b.flights {
			break
		}
		b.mu.Unlock()
		if fl == nil {
			return
		}
		<-fl.done
	}
}

// find returns the secrets in use for a tenant, or the kind of error.
func (b *bench) find(t testing.TB, name string) string {
	t.Helper()
	return shown(b.Find(t.Context(), name, client))
}

func shown(s *keys.Snapshot, err error) string {
	if err != nil {
		if errors.Is(err, ErrUnknown) {
			return "unknown"
		}
		return "unavailable"
	}
	var all []string
	for _, k := range s.Keys {
		all = append(all, k.Text)
	}
	return strings.Join(all, " ")
}

func (b *bench) expect(t *testing.T, name, want string, asked int) {
	t.Helper()
	if got := b.find(t, name); got != want || b.source.times(name) != asked {
		t.Errorf("after %s: %s is %q, asked %d times; want %q, %d", b.now.Sub(time.Unix(1_700_000_000, 0)), name, got, b.source.times(name), want, asked)
	}
}

// BenchmarkUnchangedFile measures what an unchanged tenant costs, with a file of its own
// and with one of a Kubernetes Secret.
func BenchmarkUnchangedFile(b *testing.B) {
	f, dir := folderOf(b, map[string]string{"acme": "one", "..1/linked": "one"}, "{tenant}")
	symlink(b, "..1", dir+"/..data")
	symlink(b, "..data/linked", dir+"/linked")
	for _, name := range []string{"acme", "linked"} {
		b.Run(name, func(b *testing.B) {
			found, err := f.Find(b.Context(), name, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if found, err = f.Find(b.Context(), name, found); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHeldTenant measures what stays on the heap of a tenant that has delivered: the
// garbage collector visits each object of it.
//
//	go test ./caddymodule/tenants -run=- -bench=HeldTenant -benchtime=1x
func BenchmarkHeldTenant(b *testing.B) {
	const n = 10_000
	files := make(map[string]string, n)
	for i := range n {
		files[fmt.Sprint("tenant-", i)] = fmt.Sprintf("secret-of-tenant-%08d", i)
	}
	f, _ := folderOf(b, files, "{tenant}")
	stop(f)
	base := baseOf(b, "")
	names := slices.Collect(maps.Keys(files))
	held := func() (m runtime.MemStats) {
		runtime.GC()
		runtime.GC() // which empties what the first left in pools
		runtime.ReadMemStats(&m)
		return m
	}
	var objects, bytes float64
	for b.Loop() {
		before := held()
		c := NewCache(Options{Source: f, Base: func() *keys.Snapshot { return base }, Now: f.now})
		for _, name := range names {
			s, err := c.Find(b.Context(), name, client)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Verifier.Sign(&verifier.Request{Header: make(http.Header)}, "", f.now(), nil); err != nil { // has a MAC from then on
				b.Fatal(err)
			}
		}
		after := held()
		objects, bytes = float64(after.HeapObjects-before.HeapObjects), float64(after.HeapAlloc-before.HeapAlloc)
		runtime.KeepAlive(c)
	}
	b.ReportMetric(objects/n, "objects/tenant")
	b.ReportMetric(bytes/n, "B/tenant")
}
