package caddymodule

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A step is a stage of a fresh delivery of a catalogue's provider, 1 KiB, that the app
// accepts.
type step struct {
	name   string
	allocs float64 // the most that it may allocate: lower it with each improvement
	take   func(*arrival)
}

var steps = []step{
	{"arrive", 3, func(a *arrival) { a.d, _ = a.h.arrive(a.w, a.r) }},
	{"open", 0, func(a *arrival) { a.err = cmp.Or(a.d.admit(), a.d.open()) }},
	{"read", 3, func(a *arrival) { a.err = a.d.read() }},
	{"verify", 2, func(a *arrival) { a.err = a.d.verify() }},
	{"claim", 10, func(a *arrival) { a.err = a.d.claim() }},
	{"forward", 12, func(a *arrival) { a.err = a.d.forward(taker) }}, // settles too
	{"leave", 0, func(a *arrival) { a.d.leave() }},
}

// An arrival is a delivery for a benchmark.
type arrival struct {
	h   *Handler
	w   http.ResponseWriter
	r   *http.Request
	d   *delivery
	err error
}

// taker is an app that accepts everything.
var taker = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(taken)
	return err
})

var taken = []byte("taken")

// A sink is a connection that allocates nothing.
type sink struct{ header http.Header }

func (s sink) Header() http.Header             { return s.header }
func (sink) WriteHeader(int)                   {}
func (sink) Write(p []byte) (int, error)       { return len(p), nil }
func (sink) SetReadDeadline(t time.Time) error { return nil }

// arrivals returns a source of fresh deliveries of GitHub for a handler.
func arrivals(b testing.TB, options ...string) func() *arrival {
	return arrivalsOf(b, 1024, options...)
}

// arrivalsOf returns a source of those with a body of this size.
func arrivalsOf(b testing.TB, size int, options ...string) func() *arrival {
	config := append([]string{`"provider":"github"`, `"secret":["n9Wd4kTq2"]`}, options...)
	g := mustProvision(b, "", "{"+strings.Join(config, ",")+"}")
	g.start(b)
	h := g.handlers[0]
	content := []byte(strings.Repeat("x", size))
	signature, serial := "sha256="+sign("n9Wd4kTq2", string(content)), 0
	return func() *arrival {
		serial++
		r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/github", nil)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(content)), int64(len(content))
		for name, value := range map[string]string{
			"X-Hub-Signature-256": signature, "X-Github-Delivery": strconv.Itoa(serial), "X-Github-Event": "push",
			"User-Agent": "GitHub-Hookshot", "Content-Type": "application/json", "Content-Length": strconv.Itoa(size),
		} {
			r.Header.Set(name, value)
		}
		w := sink{make(http.Header)}
		w.header.Set("Server", "Caddy")
		return &arrival{h: h, w: w, r: caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))}
	}
}

// BenchmarkDelivery measures the stages of a fresh delivery in the handler, and all of
// them together.
//
//	go test ./caddymodule -run=- -bench=Delivery -count=10 | benchstat -
func BenchmarkDelivery(b *testing.B) {
	for i, s := range steps {
		b.Run(s.name, func(b *testing.B) { measure(b, arrivals(b), steps[:i], steps[i:i+1], steps[i+1:]) })
	}
	b.Run("fresh", func(b *testing.B) {
		measure(b, arrivals(b), nil, []step{{take: func(a *arrival) { a.err = a.h.ServeHTTP(a.w, a.r, taker) }}}, nil)
	})
	reader := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.Copy(io.Discard, r.Body)
		return taker(w, r)
	})
	for _, size := range []int{16 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint("fresh-", size), func(b *testing.B) {
			measure(b, arrivalsOf(b, size), nil, []step{{take: func(a *arrival) {
				a.err = a.h.ServeHTTP(a.w, a.r, reader)
				a.r = nil // a server does not keep it either
			}}}, nil)
		})
	}
}

// measure measures some stages, and not those before and after them.
func measure(b *testing.B, next func() *arrival, before, measured, after []step) {
	b.ReportAllocs()
	for left := b.N; left > 0; {
		b.StopTimer()
		all := make([]*arrival, min(left, turn))
		left -= len(all)
		for i := range all {
			all[i] = next()
			all[i].through(b, before)
		}
		b.StartTimer()
		for _, a := range all {
			a.through(b, measured)
		}
		b.StopTimer()
		for _, a := range all {
			a.through(b, after)
		}
		b.StartTimer()
	}
}

func (a *arrival) through(t testing.TB, stages []step) {
	for _, s := range stages {
		if s.take(a); a.err != nil {
			t.Fatalf("%s: %v", s.name, a.err)
		}
	}
}
