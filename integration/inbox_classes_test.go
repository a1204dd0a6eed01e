package integration

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// inboxDiskFull is where a test can make a small disk.
var inboxDiskFull = func(t *testing.T) { t.Skip("needs Linux to make a small disk") }

// TestInboxFailureClasses: how inboxes of webhooks have failed, as published by the
// authors of one (jamescarr/ankusa, docs/critical-review.md), and what happens here. The
// memory that a start needs for a large backlog is measured in inbox/bolt.
func TestInboxFailureClasses(t *testing.T) {
	t.Parallel()
	for _, class := range []struct {
		name, promise string
		test          func(t *testing.T)
	}{
		{"damaged log", "the others are delivered, and the loss is named", testDamagedInbox},
		{"truncated log", "it is left alone, and delivered when it is repaired", testTruncatedInbox},
		{"disk full at start", "the start goes on, and what is stored is delivered", inboxDiskFull},
		{"refusal of what was stored", "it is kept until a person or its sender says so", testRefusedInbox},
		{"starving neighbour", "an app that hangs leaves turns and space to others", testStarvingNeighbour},
		{"head-of-line block", "what hangs, fails or is odd does not stop what comes after it", testHeadOfLine},
		{"runaway retries", "attempts are bounded, and an app that is down gets one probe", testRunawayRetries},
		{"replay storm", "a hundred thousand replays neither flood the app nor delay what arrives", testReplayStorm},
		{"replay while the app is down", "a kill forgets none, and what arrived goes first", testReplayWhileDown},
	} {
		t.Run(class.name+": "+class.promise, func(t *testing.T) {
			t.Parallel()
			class.test(t)
		})
	}
}

// A crowdedApp is what deliveries are to an app, by their X-Github-Delivery.
type crowdedApp struct {
	mu            sync.Mutex
	answer        func(id string) int // the status; 0: never
	tries, takes  map[string]int
	last          map[string]time.Time
	working, most int
	hangs         chan struct{} // closed: what hangs gets no answer
}

func newCrowdedApp(g *gateway, id string, answer func(id string) int) *crowdedApp {
	c := &crowdedApp{answer: answer, tries: make(map[string]int), takes: make(map[string]int), last: make(map[string]time.Time), hangs: make(chan struct{})}
	g.app.answer(id, func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Github-Delivery")
		c.mu.Lock()
		c.tries[id]++
		c.last[id] = time.Now()
		c.working++
		c.most = max(c.most, c.working)
		status := c.answer(id)
		if status/100 == 2 {
			c.takes[id]++
		}
		c.mu.Unlock()
		if status == 0 {
			select {
			case <-r.Context().Done():
			case <-g.app.released:
			case <-c.hangs:
				defer panic(http.ErrAbortHandler)
			}
		}
		c.mu.Lock()
		c.working--
		c.mu.Unlock()
		if status != 0 {
			w.WriteHeader(status)
		}
	})
	return c
}

func (c *crowdedApp) set(answer func(id string) int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

func (c *crowdedApp) taken(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.takes[id]
}

func (c *crowdedApp) tried(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tries[id]
}

func always(status int) func(string) int { return func(string) int { return status } }

// sendAs sends a delivery of an id with a body of a size, in a case of the app.
func (g *gateway) sendAs(t testing.TB, path, app, id string, size int) answer {
	t.Helper()
	m := signedBy(t, github, path, []byte("body of "+id+"; "+bodyMark+strings.Repeat("x", size)))
	m.header.Set("X-Github-Delivery", id)
	a, err := g.post(t.Context(), g.h1, app, m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// backlog starts a gateway with n stored deliveries, ends it, and returns their app.
func backlog(t *testing.T, n int) (g *gateway, c *crowdedApp, ids, keys []string) {
	t.Helper()
	g = startInbox(t, setup{site: inboxSite("inbox", "APP", "name github")})
	c = newCrowdedApp(g, "backlog", always(http.StatusInternalServerError))
	for i := range n {
		id := fmt.Sprint("delivery-", i)
		a := g.sendAs(t, "/", "backlog", id, 10)
		wantStored(t, id, a)
		ids, keys = append(ids, id), append(keys, a.header.Get("Webhook-Delivery"))
	}
	g.quit(t)
	c.set(always(http.StatusOK))
	return g, c, ids, keys
}

func testDamagedInbox(t *testing.T) {
	g, c, ids, keys := backlog(t, 20)
	const hit = 7
	text, err := os.ReadFile(g.inboxFile())
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("body of " + ids[hit] + ";")
	if !bytes.Contains(text, body) {
		t.Fatal("the file has no body")
	}
	for at := bytes.Index(text, body); at >= 0; at = bytes.Index(text, body) { // free pages have older copies
		text[at] ^= 1
	}
	if err := os.WriteFile(g.inboxFile(), text, 0o600); err != nil {
		t.Fatal(err)
	}
	restart(t, g)
	for i, id := range ids {
		if i != hit {
			eventually(t, "the others are delivered", func() bool { return c.taken(id) == 1 })
		}
	}
	g.wantLog(t, `"level":"error"`, "cannot be read, and is left alone", keys[hit])
	if out, _ := g.webhook(t, "inbox", "github", "--state", "locked"); !strings.Contains(out, keys[hit]) {
		t.Errorf("the damaged one is not listed:\n%s", out)
	}
	g.settled(t)
	g.quit(t)
	if left := stored(t, g.inboxFile()); len(left) != 1 || left[0].Key.String() != keys[hit] || c.taken(ids[hit]) != 0 {
		t.Errorf("left: %+v; the damaged one was taken %d times", left, c.taken(ids[hit]))
	}
}

func testTruncatedInbox(t *testing.T) {
	g, c, ids, _ := backlog(t, 20)
	whole, err := os.ReadFile(g.inboxFile())
	if err != nil {
		t.Fatal(err)
	}
	half := whole[:len(whole)/2]
	if err := os.WriteFile(g.inboxFile(), half, 0o600); err != nil {
		t.Fatal(err)
	}
	restart(t, g)
	g.wantLog(t, `"level":"error"`, "the inbox does not store deliveries", "left alone")
	for status, said := range map[int]string{http.StatusOK: "well", http.StatusServiceUnavailable: "busy"} {
		newCrowdedApp(g, said, always(status))
		if a := g.sendAs(t, "/", said, said, 10); a.status != status || a.header.Get("Webhook-Stored") != "" {
			t.Errorf("meanwhile: answered %d %v, want the app's %d", a.status, a.header, status)
		}
	}
	if now, err := os.ReadFile(g.inboxFile()); err != nil || !bytes.Equal(now, half) {
		t.Errorf("the truncated file was changed: %v", err)
	}
	if err := os.WriteFile(g.inboxFile()+".whole", whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(g.inboxFile()+".whole", g.inboxFile()); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		eventually(t, "what is repaired is delivered", func() bool { return c.taken(id) == 1 })
	}
	g.settled(t)
}

func testRefusedInbox(t *testing.T) {
	g := startInbox(t, setup{site: "verify_webhook github {env.GITHUB_KEY} {\nname github\ninbox first {\n" +
		"retry 50ms\nexpire 2s\ndead_on 410\n}\n}\nreverse_proxy APP"})
	gone := newCrowdedApp(g, "gone", always(http.StatusGone))
	no := newCrowdedApp(g, "no", always(http.StatusUnprocessableEntity))
	keys := make(map[string]string)
	for id, app := range map[string]string{"gone": "gone", "gone too": "gone", "no": "no"} {
		a := g.sendAs(t, "/", app, id, 10)
		wantStored(t, id, a)
		keys[id] = a.header.Get("Webhook-Delivery")
	}
	dead := func() bool {
		for _, key := range keys {
			if out, _ := g.webhook(t, "inbox", "github", "--state", "dead"); !strings.Contains(out, key) {
				return false
			}
		}
		return true
	}
	eventually(t, "all are dead letters", dead)
	for _, key := range keys {
		g.wantLog(t, `"level":"error"`, "dead letter", key)
	}
	if gone.tried("gone") != 1 || gone.tried("gone too") != 1 || no.tried("no") < 3 {
		t.Errorf("410: %d and %d attempts, want 1; 422: %d, want some until it expires", gone.tried("gone"), gone.tried("gone too"), no.tried("no"))
	}
	g.quit(t)
	restart(t, g)
	eventually(t, "a restart keeps dead letters", dead)
	gone.set(always(http.StatusOK))
	no.set(always(http.StatusOK))
	wantDuplicate(t, "a copy from its sender", g.sendAs(t, "/", "gone", "gone", 10))
	eventually(t, "a copy revives one", func() bool { return gone.taken("gone") == 1 })
	if gone.tried("gone too") != 1 || no.taken("no") != 0 {
		t.Error("the others are tried, too")
	}
	if out, code := g.webhook(t, "inbox", "replay", "--dead", "github"); code != 0 || !strings.Contains(out, "Replayed: 2") {
		t.Errorf("replay: %d %s", code, out)
	}
	eventually(t, "a person revives the others", func() bool { return gone.taken("gone too")+no.taken("no") == 2 })
	g.settled(t)
	g.quit(t)
	if left := stored(t, g.inboxFile()); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

func testStarvingNeighbour(t *testing.T) {
	site := ""
	for _, name := range []string{"hangs", "well"} {
		site += "handle /" + name + " {\nverify_webhook github {env.GITHUB_KEY} {\nname " + name + "\n" + inboxOption("inbox first") + "}\nreverse_proxy APP\n}\n"
	}
	g := startInbox(t, setup{level: "INFO", global: boltInbox("DIR/inbox.db", "max_size 4MiB"), site: site})
	const quick = 100 // by which it earns all the turns that one may have
	asked := 0        // guarded by the app's mu
	hangs := newCrowdedApp(g, "hangs", func(string) int {
		if asked++; asked > quick {
			return 0
		}
		return http.StatusOK
	})
	well := newCrowdedApp(g, "well", always(http.StatusOK))
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	defer func() { cancel(); flood.Wait() }()
	var returned atomic.Int64
	sent := 0
	for _, size := range []int{10, 256 << 10, 16 << 10, 1 << 10, 10} { // turns, and then space to the last byte
		for range 40 + max(quick-sent, 0) {
			id := fmt.Sprint("flood-", sent)
			m := signedBy(t, github, "/hangs", []byte(id+bodyMark+strings.Repeat("x", size)))
			m.header.Set("X-Github-Delivery", id)
			sent++
			flood.Go(func() {
				_, _ = g.post(ctx, g.h1, "hangs", m) // what does not fit hangs as the app does
				returned.Add(1)
			})
		}
		eventually(t, "what fits is stored", func() bool {
			n := returned.Load()
			for _, why := range []inbox.Why{inbox.WhyShare, inbox.WhyFull} {
				n += int64(g.metric(t, `caddy_verify_webhook_inbox_bypassed_total{name="hangs",why="`+string(why)+`"}`))
			}
			return n == int64(sent)
		})
	}
	if returned.Load() == int64(sent) {
		t.Error("the flood fills no share")
	}
	eventually(t, "the app hangs", func() bool { hangs.mu.Lock(); defer hangs.mu.Unlock(); return hangs.working > 8 })
	began := time.Now()
	for i := range 100 {
		wantStored(t, "the neighbour", g.sendAs(t, "/well", "well", fmt.Sprint("n-", i), 100))
	}
	for i := range 100 {
		eventually(t, "the neighbour's are delivered", func() bool { return well.taken(fmt.Sprint("n-", i)) == 1 })
	}
	hangs.mu.Lock()
	defer hangs.mu.Unlock()
	if hangs.working <= 8 {
		t.Error("the app does not hang any more: nothing starves")
	}
	t.Logf("%d attempts hang; 100 of the neighbour are delivered within %v", hangs.working, time.Since(began).Round(time.Millisecond))
}

func testHeadOfLine(t *testing.T) {
	g := startInbox(t, setup{site: inboxSite("inbox first", "APP", "name github\nupstream_timeout 10m")})
	c := newCrowdedApp(g, "line", func(id string) int {
		switch id {
		case "hangs":
			return 0
		case "fails":
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	wantStored(t, "hangs", g.sendAs(t, "/", "line", "hangs", 10))
	wantStored(t, "fails", g.sendAs(t, "/", "line", "fails", 10))
	odd := signedBy(t, github, "/", []byte("odd"+bodyMark))
	odd.header.Set("X-Github-Delivery", "odd")
	odd.header["X-Odd"] = []string{"\xff\xfe \x80", "", strings.Repeat("y", 8<<10)}
	if a, err := g.post(t.Context(), g.h1, "line", odd); err != nil {
		t.Error(err)
	} else {
		wantStored(t, "odd", a)
	}
	ids := []string{"odd"}
	for i := range 50 {
		id := fmt.Sprint("n-", i)
		ids = append(ids, id)
		wantStored(t, id, g.sendAs(t, "/", "line", id, 10))
	}
	for _, id := range ids {
		eventually(t, id+" is delivered", func() bool { return c.taken(id) == 1 })
	}
	if c.tried("hangs") != 1 || c.tried("fails") == 0 || c.taken("hangs")+c.taken("fails") != 0 {
		t.Errorf("meanwhile the first were tried %d and %d times, want one attempt that hangs and some that fail", c.tried("hangs"), c.tried("fails"))
	}
	c.set(always(http.StatusOK))
	close(c.hangs)
	g.settled(t)
	if c.taken("hangs") != 1 || c.taken("fails") != 1 {
		t.Errorf("at last they are taken %d and %d times", c.taken("hangs"), c.taken("fails"))
	}
}

func testRunawayRetries(t *testing.T) {
	b := newBrittleApp(t)
	b.well.Store(true)
	b.close()
	site := "handle /down {\nverify_webhook github {env.GITHUB_KEY} {\nname down\n" + inboxOption("inbox first") + "}\nreverse_proxy " + b.address + "\n}\n" +
		"handle {\nverify_webhook github {env.GITHUB_KEY} {\nname up\ninbox first {\nretry 50ms 100ms 200ms\nexpire 2s\n}\n}\nreverse_proxy APP\n}"
	g := startInbox(t, setup{level: "INFO", site: site})

	c := newCrowdedApp(g, "up", func(id string) int {
		if id == "fails" {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	wantStored(t, "one that fails", g.sendAs(t, "/", "up", "fails", 10))
	g.wantLog(t, "dead letter", `"name":"up"`)
	tries := c.tried("fails")
	if tries < 2 || tries > 15 { // in two seconds, with pauses of at least 40, 80 and 160 ms
		t.Errorf("%d attempts", tries)
	}

	var asked []time.Time
	g.app.answer("later", newDesk().serve(func(n int, w http.ResponseWriter, _ *http.Request) {
		if asked = append(asked, time.Now()); n == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	wantStored(t, "one for later", g.sendAs(t, "/", "later", "later", 10))
	g.attempts(t, "later", 2)
	g.settledFor(t, "up")
	if len(asked) != 2 || asked[1].Sub(asked[0]) < time.Second {
		t.Errorf("asked at %v, despite Retry-After", asked)
	}
	if n := c.tried("fails"); n != tries {
		t.Errorf("a dead letter is tried %d times", n-tries)
	}

	const waiting = 200
	for i := range waiting {
		wantStored(t, "while the app is down", g.sendAs(t, "/down", "", fmt.Sprint("w-", i), 10))
	}
	attempts := func() float64 {
		return g.metric(t, `caddy_verify_webhook_inbox_attempts_total{name="down",outcome="retry"}`)
	}
	from := attempts()
	var times []time.Time
	for seen := from; len(times) < 3; {
		eventually(t, "a probe", func() bool { return attempts() > seen })
		seen = attempts()
		times = append(times, time.Now())
		if len(times) == 1 {
			from = seen
		}
		if probes := seen - from; probes > float64(len(times)-1) {
			t.Errorf("%v probes at once", probes)
		}
	}
	if took := times[2].Sub(times[0]); took < 8*time.Second {
		t.Errorf("two probes within %v, want one each 5 s", took)
	}
	b.open(t)
	g.settledFor(t, "down")
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range waiting {
		if n := len(b.entry(fmt.Sprint("w-", i)).attempts); n != 1 {
			t.Errorf("%d attempts reach the app that is back, want 1", n)
		}
	}
}
