package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

// generation is a site whose answers tell which configuration gave them.
func generation(n int) string { return fmt.Sprintf("header X-Generation %d\n%s", n, githubSite) }

// TestReloadInFlight: the configuration changes while the app works. The delivery
// finishes, a copy that arrives at the new configuration waits for it, and the
// mark is where the new configuration looks.
func TestReloadInFlight(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, global string) {
		g := start(t, setup{global: global, site: generation(1)})
		id, m, d, finish := newCase(), at("/").message(t), newDesk(), make(chan struct{})
		g.app.answer(id, d.serve(func(_ int, w http.ResponseWriter, _ *http.Request) {
			g.app.until(finish)
			_, _ = io.WriteString(w, "taken")
		}))
		var first, second crowd
		first.send(t, g, id, m, 1)
		next(t, "the app", d.arrived)
		for n := 2; n <= 4; n++ { // the old configurations are cleaned up meanwhile
			g.reload(t, generation(n))
		}
		second.send(t, g, id, m, 2*waiting)
		eventually(t, "eight wait, the others are turned away", func() bool {
			return second.with(http.StatusServiceUnavailable) == waiting
		})
		close(finish)
		a := first.wait(t)[0]
		wantForwarded(t, "the delivery", a)
		if a.header.Get("X-Generation") != "1" {
			t.Errorf("the delivery was answered by configuration %q, want 1", a.header.Get("X-Generation"))
		}
		for _, a := range second.wait(t) {
			if a.status == http.StatusServiceUnavailable {
				continue
			}
			wantDuplicate(t, "a copy meanwhile", a)
			if a.header.Get("X-Generation") != "4" {
				t.Errorf("a copy was answered by configuration %q, want 4", a.header.Get("X-Generation"))
			}
		}
		g.reload(t, generation(5))
		wantDuplicate(t, "a copy afterwards", g.do(t, g.h1, g.request(t, id, m)))
		if attempts, _ := d.seen(); attempts != 1 {
			t.Errorf("the app was called %d times, want once", attempts)
		}
	})
}

// TestReloadBeyondGrace: the app takes longer than the old configuration's grace
// period. The mark still precedes the answer, and a copy does not slip in.
func TestReloadBeyondGrace(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: generation(1)})
	id, m, d, finish := newCase(), at("/").message(t), newDesk(), make(chan struct{})
	g.app.answer(id, d.serve(func(_ int, w http.ResponseWriter, r *http.Request) {
		g.app.until(finish)
		if r.Context().Err() != nil {
			t.Error("the app was cut off")
		}
		_, _ = io.WriteString(w, "taken")
	}))
	var first, second crowd
	first.send(t, g, id, m, 1)
	next(t, "the app", d.arrived)
	g.reload(t, generation(2))
	g.log.await(t, "the grace period ends", func(l logLine) bool {
		return l.text("logger") == "http" && l.text("level") == "error" || l.text("level") == "warn" && l.text("msg") == "server shutdown"
	})
	second.send(t, g, id, m, 2*waiting)
	eventually(t, "eight wait, the others are turned away", func() bool {
		return second.with(http.StatusServiceUnavailable) == waiting
	})
	close(finish)
	wantForwarded(t, "the delivery", first.wait(t)[0])
	second.wait(t)
	wantDuplicate(t, "a copy afterwards", g.do(t, g.h1, g.request(t, id, m)))
	if attempts, _ := d.seen(); attempts != 1 {
		t.Errorf("the app was called %d times, want once", attempts)
	}
}

// TestReloadsDoNotGrow: goroutines and heap are after many reloads, with a
// delivery in flight at each, what they were after a few. Connections to the app
// are not kept: reverse_proxy leaves those that were in use at a reload idle for
// two minutes, with or without us.
//
//	INTEGRATION_RELOADS=1000 go test ./integration -run=TestReloadsDoNotGrow -timeout=1h
func TestReloadsDoNotGrow(t *testing.T) {
	t.Parallel()
	const warm, slack, room = 10, 12, 8 * mebibyte
	reloads := 40
	if text := os.Getenv("INTEGRATION_RELOADS"); text != "" {
		var err error
		if reloads, err = strconv.Atoi(text); err != nil {
			t.Fatalf("INTEGRATION_RELOADS: %v", err)
		}
	}
	eachStore(t, func(t *testing.T, global string) {
		site := func(n int) string {
			return strings.Replace(generation(n), "reverse_proxy APP", "reverse_proxy APP {\ntransport http {\nkeepalive off\n}\n}", 1)
		}
		g := start(t, setup{level: "INFO", global: global, site: site(0)})
		inFlight := func(n int) {
			id, m, d, finish := newCase(), at("/").message(t), newDesk(), make(chan struct{})
			g.app.answer(id, d.serve(func(_ int, w http.ResponseWriter, _ *http.Request) {
				g.app.until(finish)
				_, _ = io.WriteString(w, "taken")
			}))
			var c crowd
			c.send(t, g, id, m, 1)
			next(t, "the app", d.arrived)
			g.reload(t, site(n))
			close(finish)
			wantForwarded(t, "in flight", c.wait(t)[0])
			g.h1.CloseIdleConnections()
			wantDuplicate(t, "its copy", g.do(t, g.h1, g.request(t, id, m)))
		}
		measure := func() (goroutines, heap float64) {
			g.h1.CloseIdleConnections()
			g.h2.CloseIdleConnections()
			g.adminGet(t, "/debug/pprof/heap?gc=1")
			g.adminGet(t, "/debug/pprof/heap?gc=1") // what had finalizers goes with the second
			return g.metric(t, "go_goroutines"), g.metric(t, "go_memstats_heap_alloc_bytes")
		}
		for n := range warm {
			inFlight(n)
		}
		var goroutines, heap float64
		settled := 0.0
		eventually(t, "old configurations are gone", func() bool {
			was := settled
			settled, heap = measure()
			return settled == was
		})
		goroutines = settled
		for n := range reloads {
			inFlight(warm + n)
		}
		var now, held float64
		defer func() {
			if t.Failed() {
				t.Logf("goroutines %v, then %v; heap %s, then %s:\n%s", goroutines, now, inMiB(int64(heap)), inMiB(int64(held)),
					g.adminGet(t, "/debug/pprof/goroutine?debug=1"))
			}
		}()
		eventually(t, "goroutines and heap are what they were", func() bool {
			now, held = measure()
			return now <= goroutines+slack && held <= heap+room
		})
		t.Logf("%d reloads with a delivery in flight: goroutines %v, then %v; heap %s, then %s",
			reloads, goroutines, now, inMiB(int64(heap)), inMiB(int64(held)))
	})
}
