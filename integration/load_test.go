package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// resident returns the process's resident memory in bytes. Linux only.
func (g *gateway) resident(t testing.TB) int64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("resident memory is read from /proc")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("/proc has no VmRSS")
	return 0
}

// wantGrowth compares, unless the gateway carries the race detector, which needs
// several times the memory.
func wantGrowth(t testing.TB, grown, bound int64) {
	t.Helper()
	if grown >= bound && os.Getenv("INTEGRATION_RACE") == "" {
		t.Errorf("memory grew by %s, want less than %s", inMiB(grown), inMiB(bound))
	}
}

func inMiB(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/mebibyte) }

// TestSilentSenders: 256 connections announce 1 MiB each and send nothing. They
// cost little, and keep nobody else waiting.
func TestSilentSenders(t *testing.T) {
	t.Parallel()
	const senders, bound = 256, 32 * mebibyte
	g := start(t, setup{level: "INFO", site: "verify_webhook github {env.GITHUB_KEY} {\nbody_timeout 1m\n}\nreverse_proxy APP"})
	for range 20 { // what every process allocates once is not the senders' cost
		g.status(t, github.message(t))
	}
	before := g.resident(t)
	m := github.message(t)
	for range senders {
		g.dial(t).head("POST", "/", append(lines(m.header), length(mebibyte))...)
	}
	const first = 4 << 10 // what a body is given before any of it has arrived
	held := 0.0
	eventually(t, "all senders are awaited", func() bool {
		held = g.metric(t, "caddy_verify_webhook_buffered_bytes")
		return held >= senders*first
	})
	grown := g.resident(t) - before
	began := time.Now()
	a, got := g.send(t, "HTTP/1.1", m)
	took := time.Since(began)
	wantTaken(t, "genuine among the silent", a, got)
	t.Logf("%d silent senders: memory grew by %s (from %s), %s of the budget charged; a genuine delivery meanwhile took %s",
		senders, inMiB(grown), inMiB(before), inMiB(int64(held)), took.Round(100*time.Microsecond))
	wantGrowth(t, grown, bound)
	if held >= bound { // untouched memory is not resident, but others would be refused for it
		t.Errorf("%s of max_buffered are charged for bodies that were only announced", inMiB(int64(held)))
	}
}

// TestMaxBuffered: bodies beyond the budget are refused and can be sent again,
// and the process stays within the budget and a constant.
func TestMaxBuffered(t *testing.T) {
	t.Parallel()
	const deliveries, budget, bound = 64, 16 * mebibyte, (16 + 32) * mebibyte
	g := start(t, setup{level: "INFO", global: "verify_webhook {\nmax_buffered 16MiB\n}",
		site: "verify_webhook github {env.GITHUB_KEY}\nreverse_proxy APP"})
	m := github.deliver(t, githubKey, time.Now(), bytes.Repeat([]byte("x"), mebibyte))
	for range 20 {
		g.status(t, github.message(t))
	}
	before := g.resident(t)

	id := newCase()
	var waiting, taken, refused atomic.Int64
	finish := make(chan struct{})
	g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) {
		waiting.Add(1)
		<-finish
		_, _ = io.WriteString(w, "taken")
	})
	var all sync.WaitGroup
	for range deliveries {
		r := g.request(t, id, m)
		all.Go(func() {
			resp, err := g.h1.Do(r)
			if err != nil {
				t.Errorf("no answer: %v", err)
				return
			}
			resp.Body.Close()
			switch {
			case resp.StatusCode == http.StatusOK:
				taken.Add(1)
			case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
				refused.Add(1)
			default:
				t.Errorf("answered %d, Retry-After %q; want 200, or 503 with it", resp.StatusCode, resp.Header.Get("Retry-After"))
			}
		})
	}
	most := int64(0)
	eventually(t, "every delivery is at the app or refused", func() bool {
		most = max(most, g.resident(t)-before)
		return waiting.Load()+refused.Load() == deliveries || t.Failed()
	})
	held := g.metric(t, "caddy_verify_webhook_buffered_bytes")
	close(finish)
	all.Wait()
	t.Logf("%d deliveries of 1 MiB at once, max_buffered 16MiB: %d taken, %d refused, %s charged; memory grew by at most %s (from %s)",
		deliveries, taken.Load(), refused.Load(), inMiB(int64(held)), inMiB(most), inMiB(before))
	if taken.Load() == 0 || refused.Load() < deliveries-budget/mebibyte || held > budget {
		t.Errorf("%d taken, %d refused, %s charged: more than the budget holds, or nothing", taken.Load(), refused.Load(), inMiB(int64(held)))
	}
	wantGrowth(t, most, bound)
	eventually(t, "the budget is given back", func() bool { return g.metric(t, "caddy_verify_webhook_buffered_bytes") == 0 })
	if s := g.status(t, m); s != http.StatusOK {
		t.Errorf("afterwards: %d, want 200", s)
	}
}
