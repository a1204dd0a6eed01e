package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A strictApp refuses what it cannot read, as frameworks do: another type than JSON, and
// more than 4 KiB of headers.
type strictApp struct {
	up atomic.Bool

	mu    sync.Mutex
	said  []int
	taken int
}

func (a *strictApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	size := 0
	for name, lines := range r.Header {
		size += len(name) + len(strings.Join(lines, ""))
	}
	status := http.StatusOK
	switch {
	case !a.up.Load():
		status = http.StatusServiceUnavailable
	case size > 4<<10:
		status = http.StatusRequestHeaderFieldsTooLarge
	case r.Header.Get("Content-Type") != "application/json":
		status = http.StatusUnsupportedMediaType
	}
	a.mu.Lock()
	a.said = append(a.said, status)
	if status == http.StatusOK {
		a.taken++
	}
	a.mu.Unlock()
	w.WriteHeader(status)
}

func (a *strictApp) hasSaid(status int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.said, status)
}

// TestInboxReplayedFirst: who captured a delivery sends it first, with headers that the
// app refuses. The sender's own attempts reach the app, and it takes one of them, once.
func TestInboxReplayedFirst(t *testing.T) {
	t.Parallel()
	for name, poison := range map[string]func(http.Header){
		"another type":  func(h http.Header) { h.Set("Content-Type", "text/plain") },
		"large headers": func(h http.Header) { h.Set("X-Pad", strings.Repeat("a", 6<<10)) },
	} {
		for _, mode := range []string{"inbox", "inbox first"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				t.Parallel()
				app := new(strictApp)
				server := httptest.NewServer(app)
				defer server.Close()
				g := startInbox(t, setup{site: inboxSite(mode, strings.TrimPrefix(server.URL, "http://"), "")})
				id, genuine := newCase(), at("/").message(t)
				genuine.header.Set("Content-Type", "application/json")
				replayed := genuine.clone()
				poison(replayed.header)
				send := func(m message) answer { return g.do(t, g.h1, g.request(t, id, m)) }

				wantStored(t, "a replay while the app is down", send(replayed))
				if a := send(genuine); a.status < 500 || a.header.Get("Webhook-Stored") != "" {
					t.Errorf("the sender's own is answered %d, %v, while the app is down", a.status, a.header)
				}
				app.up.Store(true)
				refused := http.StatusUnsupportedMediaType
				if poison := replayed.header.Get("X-Pad"); poison != "" {
					refused = http.StatusRequestHeaderFieldsTooLarge
				}
				eventually(t, "the app refuses the replay", func() bool { return app.hasSaid(refused) })
				wantStored(t, "the replay again", send(replayed))
				a := send(genuine)
				if a.status != http.StatusOK || a.header.Get("Webhook-Stored")+a.header.Get("Webhook-Duplicate") != "" {
					t.Errorf("the sender's own is answered %d, %v; want the app's 200", a.status, a.header)
				}
				for _, copied := range []message{genuine, replayed} {
					wantDuplicate(t, "a copy of what the app has", send(copied))
				}
				g.settled(t)
				app.mu.Lock()
				defer app.mu.Unlock()
				if app.taken != 1 {
					t.Errorf("the app took %d, want 1; it said %v", app.taken, app.said)
				}
			})
		}
	}
}

// TestInboxBesideReplays: replays without an end, which the app refuses, do not keep the
// stored delivery away from it.
func TestInboxBesideReplays(t *testing.T) {
	t.Parallel()
	var up atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !up.Load():
			w.WriteHeader(http.StatusInternalServerError)
		case r.Header.Get("Content-Type") != "application/json":
			time.Sleep(100 * time.Millisecond) // one of them is always at the app
			w.WriteHeader(http.StatusUnsupportedMediaType)
		}
	}))
	defer app.Close()
	g := startInbox(t, setup{site: inboxSite("inbox", strings.TrimPrefix(app.URL, "http://"), "")})
	id, genuine := newCase(), at("/").message(t)
	genuine.header.Set("Content-Type", "application/json")
	wantStored(t, "the sender's own", g.do(t, g.h1, g.request(t, id, genuine)))

	var replays sync.WaitGroup
	var done atomic.Bool
	defer replays.Wait()
	defer done.Store(true)
	for i := range 4 {
		replays.Go(func() {
			for n := 0; !done.Load(); n++ {
				replayed := genuine.clone()
				replayed.header.Set("Content-Type", fmt.Sprintf("text/plain; n=%d-%d", i, n))
				g.do(t, g.h1, g.request(t, id, replayed))
			}
		})
	}
	up.Store(true)
	g.settled(t)
}
