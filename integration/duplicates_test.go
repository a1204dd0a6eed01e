package integration

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"testing"
)

// The sites of these tests: GitHub, whose id is not signed.
const githubSite = "verify_webhook github {env.GITHUB_KEY}\nreverse_proxy APP"

// With 50 concurrent copies, one is forwarded, 8 wait, and 41 are asked to retry.
const (
	copies     = 50
	waiting    = 8
	turnedAway = copies - 1 - waiting
)

// TestCopiesAtOnce: of 50 copies of a slow delivery the app gets one, and no sender
// gets a refusal that makes it give up (SCN-003).
func TestCopiesAtOnce(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, global string) {
		g := start(t, setup{global: global, site: githubSite})
		id, m, d, finish := newCase(), at("/").message(t), newDesk(), make(chan struct{})
		g.app.answer(id, d.serve(func(_ int, w http.ResponseWriter, _ *http.Request) {
			g.app.until(finish)
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, "taken")
		}))
		var c crowd
		c.send(t, g, id, m, copies)
		eventually(t, "all but the first and eight waiters are answered", func() bool {
			return c.with(http.StatusServiceUnavailable) == turnedAway
		})
		close(finish)
		answers := c.wait(t)
		if attempts, _ := d.seen(); attempts != 1 {
			t.Errorf("the app was called %d times, want once", attempts)
		}
		checkCrowd(t, g, id, answers, map[string]int{"202": 1, "200 duplicate": waiting, "503": turnedAway})
		wantDuplicate(t, "a copy afterwards", g.do(t, g.h2, g.request(t, id, m)))
	})
}

// TestCopiesOfOneThatIsRefused: the app refuses three times, then accepts the
// delivery. Attempts follow one another, and waiting copies get the last one's
// result.
func TestCopiesOfOneThatIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: githubSite})
	id, m, d, begin := newCase(), at("/").message(t), newDesk(), make(chan struct{})
	g.app.answer(id, d.serve(func(n int, w http.ResponseWriter, _ *http.Request) {
		g.app.until(begin)
		if n <= 3 {
			http.Error(w, "not now", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "taken")
	}))
	var c crowd
	c.send(t, g, id, m, copies)
	eventually(t, "all but the first and eight waiters are answered", func() bool {
		return c.with(http.StatusServiceUnavailable) == turnedAway
	})
	close(begin)
	answers := c.wait(t)
	if attempts, most := d.seen(); attempts != 4 || most != 1 {
		t.Errorf("%d attempts, %d at once; want 4 and one after another", attempts, most)
	}
	checkCrowd(t, g, id, answers, map[string]int{"500": 3, "200": 1, "200 duplicate": waiting - 3, "503": turnedAway})
}

// checkCrowd compares the responses by kind, and checks their common part: the
// delivery's key, the same as at the app.
func checkCrowd(t *testing.T, g *gateway, id string, answers []answer, want map[string]int) {
	t.Helper()
	got := make(map[string]int)
	key := g.app.got(id)[0].Header.Get("Webhook-Delivery")
	if len(key) != 32 {
		t.Errorf("Webhook-Delivery at the app: %q, want 32 hex digits", key)
	}
	for _, one := range g.app.got(id) {
		if one.Header.Get("Webhook-Delivery") != key {
			t.Errorf("an attempt of another key: %q and %q", key, one.Header.Get("Webhook-Delivery"))
		}
	}
	for _, a := range answers {
		kind := strconv.Itoa(a.status)
		if a.header.Get("Webhook-Duplicate") == "true" {
			kind += " duplicate"
		}
		got[kind]++
		if k := a.header.Values("Webhook-Delivery"); len(k) != 1 || k[0] != key {
			t.Errorf("%s: Webhook-Delivery %q, the app got %q", kind, k, key)
		}
		if a.status == http.StatusServiceUnavailable && !slices.Contains([]string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}, a.header.Get("Retry-After")) {
			t.Errorf("503 with Retry-After %q, want 1 to 10", a.header.Get("Retry-After"))
		}
	}
	for kind, n := range want {
		if got[kind] != n {
			t.Errorf("answers %v, want %v", got, want)
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("answers %v, want %v", got, want)
	}
}

// TestDuplicateResponse: the response to a copy can be configured, within 2xx.
func TestDuplicateResponse(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: `
		verify_webhook github {env.GITHUB_KEY} {
			dedupe {
				duplicate_response 202 "[accepted]"
			}
		}
		reverse_proxy APP`})
	m := at("/").message(t)
	wantForwarded(t, "first", g.once(t, m))
	a := g.once(t, m)
	if a.status != http.StatusAccepted || a.body != "[accepted]" || a.header.Get("Webhook-Duplicate") != "true" {
		t.Errorf("a copy: answered %d %q %v, want 202 [accepted]", a.status, a.body, a.header)
	}
	counted := `caddy_verify_webhook_requests_total{name="github",outcome="duplicate",reason=""}`
	if n := g.metric(t, counted); n != 1 {
		t.Errorf("%s %v, want 1", counted, n)
	}
}

// TestDedupeOff: every copy is forwarded, also at once.
func TestDedupeOff(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY} {\ndedupe off\n}\nreverse_proxy APP"})
	id, m, d := newCase(), at("/").message(t), newDesk()
	together := make(chan struct{})
	g.app.answer(id, d.serve(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 10 {
			close(together)
		}
		g.app.until(together)
		_, _ = io.WriteString(w, "taken")
	}))
	var c crowd
	c.send(t, g, id, m, 10)
	for _, a := range c.wait(t) {
		wantForwarded(t, "dedupe off", a)
	}
	if attempts, most := d.seen(); attempts != 10 || most != 10 {
		t.Errorf("%d attempts, %d at once; want 10 and 10", attempts, most)
	}
}

// TestWait: a copy waits as long as configured.
func TestWait(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: `
		verify_webhook /none github {env.GITHUB_KEY} {
			name none
			dedupe {
				wait 0s
			}
		}
		verify_webhook /some github {env.GITHUB_KEY} {
			name some
			dedupe {
				wait 300ms
			}
		}
		reverse_proxy APP`})
	for _, path := range []string{"/none", "/some"} {
		id, m, d := newCase(), at(path).message(t), newDesk()
		finish := make(chan struct{})
		g.app.answer(id, d.serve(func(_ int, w http.ResponseWriter, _ *http.Request) {
			g.app.until(finish)
			_, _ = io.WriteString(w, "taken")
		}))
		var c crowd
		c.send(t, g, id, m, 1)
		next(t, "the app", d.arrived)
		a, err := g.post(t.Context(), g.h1, id, m)
		if err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: a copy was answered %d, Retry-After %q, %v; want 503 with it", path, a.status, a.header.Get("Retry-After"), err)
		}
		g.log.refused(t, path[1:], "in_flight")
		close(finish)
		wantForwarded(t, path, c.wait(t)[0])
	}
}
