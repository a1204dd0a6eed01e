package integration

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestWhatIsDone: only an app's whole 2xx is done. After anything else the next
// copy reaches the app.
func TestWhatIsDone(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY} {\nupstream_timeout 1s\n}\nreverse_proxy APP"})
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
		}
	}
	dies := func(size int, announced string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if announced != "" {
				w.Header().Set("Content-Length", announced)
			}
			_, _ = io.WriteString(w, strings.Repeat("x", size))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	for what, c := range map[string]struct {
		app    http.HandlerFunc
		status int // that the sender gets; 0: a broken answer
		done   bool
	}{
		"200": {status(200), 200, true},
		"201": {status(201), 201, true},
		"204": {status(204), 204, true},
		"299": {status(299), 299, true},
		"103 before 200": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusOK)
		}, 200, true},
		"200 with 1 MiB": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", mebibyte))
		}, 200, true},
		"500 with 1 MiB": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, strings.Repeat("x", mebibyte))
		}, 500, false},
		"302": {status(302), 302, false},
		"304": {status(304), 304, false},
		"400": {status(400), 400, false},
		"409": {status(409), 409, false},
		"410": {status(410), 410, false},
		"500": {status(500), 500, false},
		"503": {status(503), 503, false},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-g.app.released:
			}
		}, 504, false},
		"hangs up":                         {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, false},
		"dies in its body":                 {dies(4, "100"), 0, false},
		"dies in its chunked body":         {dies(4, ""), 0, false},
		"dies after 64 KiB, which is done": {dies(128<<10, ""), 0, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for _, protocol := range protocols {
				id, m, d := newCase(), at("/").message(t), newDesk()
				g.app.answer(id, d.serve(func(n int, w http.ResponseWriter, r *http.Request) {
					if n == 1 {
						c.app(w, r)
						return
					}
					_, _ = io.WriteString(w, "taken")
				}))
				a, err := g.post(t.Context(), g.client(protocol), id, m)
				if c.status == 0 && err == nil && a.status < 500 {
					t.Errorf("%s: the sender got a whole answer, %d", protocol, a.status)
				}
				if c.status != 0 && (err != nil || a.status != c.status) {
					t.Errorf("%s: answered %d, %v; want %d", protocol, a.status, err, c.status)
				}
				next := g.do(t, g.client(protocol), g.request(t, id, m))
				if c.done {
					wantDuplicate(t, protocol+", the next copy", next)
				} else {
					wantForwarded(t, protocol+", the next copy", next)
				}
				wantDuplicate(t, protocol+", the last copy", g.do(t, g.client(protocol), g.request(t, id, m)))
				attempts, _ := d.seen()
				if want := map[bool]int{true: 1, false: 2}[c.done]; attempts != want {
					t.Errorf("%s: the app was called %d times, want %d", protocol, attempts, want)
				}
			}
		})
	}
}

// TestNothingBelowIsNotDone: a route without an app answers 502, and the delivery
// is there for the app that is configured later.
func TestNothingBelowIsNotDone(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY}"})
	m := at("/").message(t)
	for range 2 {
		if a := g.once(t, m); a.status != http.StatusBadGateway {
			t.Errorf("without an app: %d, want 502", a.status)
		}
	}
	g.reload(t, githubSite)
	wantForwarded(t, "with an app", g.once(t, m))
	wantDuplicate(t, "afterwards", g.once(t, m))
}

// TestHandleErrorsThatAnswers2xx: documented as wrong, since the sender takes it
// for the app's. But the gateway does not: the next copy reaches the app.
func TestHandleErrorsThatAnswers2xx(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: githubSite + "\nhandle_errors {\nrespond 200\n}"})
	m, id := at("/").message(t), newCase()
	g.app.answer(id, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if a := g.do(t, g.h1, g.request(t, id, m)); a.status != http.StatusOK || a.header.Get("Webhook-Duplicate") != "" {
		t.Fatalf("handle_errors answered %d", a.status)
	}
	wantForwarded(t, "the next copy", g.once(t, m))
	wantDuplicate(t, "the last copy", g.once(t, m))
}

// TestRetryAfterHangUp: a sender hangs up while the app works. The app finishes,
// a retry meanwhile waits for it, and none reaches the app (SCN-005).
func TestRetryAfterHangUp(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, global string) {
		g := start(t, setup{global: global, site: "handle /plain {\nreverse_proxy APP\n}\nhandle {\n" + githubSite + "\n}"})
		id, plain, m, d := newCase(), newCase(), at("/").message(t), newDesk()
		finish, noticed, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		g.app.answer(id, d.serve(func(_ int, w http.ResponseWriter, r *http.Request) {
			g.app.until(finish)
			ended <- r.Context().Err()
			_, _ = io.WriteString(w, "taken")
		}))
		// A plain proxy beside it shows when a hang-up has been noticed.
		begun := make(chan struct{})
		g.app.answer(plain, func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
			close(noticed)
		})
		sockets := make(map[string]*socket)
		for _, path := range []string{"/?case=" + id, "/plain?case=" + plain} {
			s := g.dial(t)
			s.head("POST", path, append(lines(m.header), length(len(m.body)))...)
			s.write(string(m.body))
			sockets[path] = s
		}
		next(t, "the app", d.arrived)
		next(t, "the plain app", begun)
		sockets["/?case="+id].Close()
		sockets["/plain?case="+plain].Close()
		next(t, "the hang-up", noticed)

		var c crowd
		retry := m.to("gateway", "") // as the socket's lines say
		c.send(t, g, id, retry, 2)
		close(finish)
		if err := next(t, "the app's end", ended); err != nil {
			t.Errorf("the app was cut off: %v", err)
		}
		for _, a := range c.wait(t) {
			wantDuplicate(t, "a retry", a)
		}
		a, err := g.post(t.Context(), g.h1, id, retry)
		if err != nil {
			t.Fatal(err)
		}
		wantDuplicate(t, "a later retry", a)
		if attempts, _ := d.seen(); attempts != 1 {
			t.Errorf("the app was called %d times, want once", attempts)
		}
	})
}

// TestAppIsBackLater: an app that cannot be reached has not taken anything
// (SCN-006).
func TestAppIsBackLater(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY}\nreverse_proxy " + freeAddress()})
	m := at("/").message(t)
	if a := g.once(t, m); a.status != http.StatusBadGateway {
		t.Errorf("answered %d, want 502", a.status)
	}
	g.reload(t, githubSite)
	wantForwarded(t, "the retry", g.once(t, m))
	wantDuplicate(t, "the one after", g.once(t, m))
}
