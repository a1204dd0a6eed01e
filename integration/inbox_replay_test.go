package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// testReplayStorm does not wait for the end of the replay: it counts what the app gets
// while other deliveries arrive.
func testReplayStorm(t *testing.T) {
	const dead = 100_000
	path := filepath.Join(t.TempDir(), "inbox.db")
	bury(t, path, dead)
	var replays, working, most atomic.Int64
	live := make(chan int64, 100) // how many replays the app had got when it got a live one
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n := working.Add(1)
		defer working.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-Github-Delivery") != "" {
			live <- replays.Load()
			return
		}
		replays.Add(1)
	}))
	defer app.Close()
	g := startInbox(t, setup{
		level: "INFO", global: boltInbox(filepath.ToSlash(path), ""),
		site: inboxSite("inbox first", strings.TrimPrefix(app.URL, "http://"), "name github"),
	})
	binary, err := caddyBinary()
	if err != nil {
		t.Fatal(err)
	}
	replay := exec.CommandContext(t.Context(), binary, "webhook", "inbox", "replay", "--dead", "github", "--address", g.admin)
	replay.Env = caddyEnv(g.dir, nil)
	if err := replay.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = replay.Wait()
	}()
	eventually(t, "the replay begins", func() bool { return replays.Load() > 1000 })
	var worst int64
	for i := range 20 {
		wantStored(t, "a live delivery", g.sendAs(t, "/", "", fmt.Sprint("live-", i), 10))
		before := replays.Load()
		worst = max(worst, next(t, "a live delivery is delivered", live)-before)
	}
	_ = replay.Process.Kill()
	<-ended
	g.quit(t)
	all, err := opened(t, path).Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, q := range all {
		left += q.Pending + q.Dead
	}
	got := int(replays.Load())
	t.Logf("%d replayed, at most %d at once; a live delivery waits for at most %d of them", got, most.Load(), worst)
	if most.Load() > 16 {
		t.Errorf("%d reach the app at once", most.Load())
	}
	if worst > 100 || got > dead/2 {
		t.Errorf("a live delivery waits for %d of %d replays", worst, got)
	}
	if left+got != dead {
		t.Errorf("%d delivered and %d left, of %d", got, left, dead)
	}
}

func testReplayWhileDown(t *testing.T) {
	const dead, live = 3000, 20
	path := filepath.Join(t.TempDir(), "inbox.db")
	bury(t, path, dead)
	address := freeAddress()
	g := startInbox(t, setup{
		level: "INFO", global: boltInbox(filepath.ToSlash(path), ""),
		site: inboxSite("inbox first", address, "name github"),
	})
	sent := 0
	send := func(n int) {
		for range n {
			wantStored(t, "while the app is down", g.sendAs(t, "/", "", fmt.Sprint("live-", sent), 10))
			sent++
		}
	}
	send(3)
	goesDown := func() {
		eventually(t, "the app counts as down", func() bool {
			out, _ := g.webhook(t, "inbox", "github")
			return strings.Contains(out, "down")
		})
	}
	goesDown()
	if out, code := g.webhook(t, "inbox", "replay", "--dead", "github"); code != 0 || !strings.Contains(out, fmt.Sprint("Replayed: ", dead)) {
		t.Fatalf("replay: %d %s", code, out)
	}
	g.kill()
	restart(t, g)
	goesDown() // the gateway has forgotten
	send(live - sent)

	var mu sync.Mutex
	var order []string
	times := make(map[string]int)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	app := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		id := r.Header.Get("Webhook-Delivery")
		if r.Header.Get("X-Github-Delivery") != "" {
			id = "live " + id
		}
		order = append(order, id)
		times[id]++
	})}}
	app.Start()
	defer app.Close()
	g.settledFor(t, "github")
	mu.Lock()
	defer mu.Unlock()
	last := 0
	for i, id := range order {
		if strings.HasPrefix(id, "live ") {
			last = i
		}
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s: the app gets it %d times", id, n)
		}
	}
	if len(times) != dead+live {
		t.Errorf("the app gets %d of %d", len(times), dead+live)
	}
	// Those that were probed in vain before wait like the live ones.
	if last > 3*live {
		t.Errorf("the last one that arrived is number %d at the app", last)
	}
	t.Logf("the last of %d that arrived is number %d of %d at the app", live, last+1, len(order))
}

// bury makes an inbox of dead letters.
func bury(t *testing.T, path string, n int) {
	t.Helper()
	engine := opened(t, path)
	var all sync.WaitGroup
	var number atomic.Int64
	for range 512 { // share commits
		all.Go(func() {
			for i := number.Add(1); i <= int64(n); i = number.Add(1) {
				got, err := engine.Accept(context.Background(), &inbox.Delivery{
					Key: inbox.Key{byte(i), byte(i >> 8), byte(i >> 16), 1}, Queue: inbox.Queue{Handler: "github"}, Label: "1",
					Received: time.Now(), Method: http.MethodPost, Target: "/", Host: "hooks.test", Proto: "HTTP/1.1",
					Remote: "127.0.0.1:1", Local: "127.0.0.1:2", Body: []byte("{}"),
				}, true)
				if err != nil {
					t.Error(err)
					return
				}
				engine.Settle(got.Attempt, inbox.Settlement{To: inbox.Dead, Status: http.StatusGone})
			}
		})
	}
	all.Wait()
	if err := engine.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}
