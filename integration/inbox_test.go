package integration

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/bolt"
)

// inboxSite is GitHub's sender with an inbox, in front of an app at an address. The
// pauses are short, so that a test sees several attempts.
func inboxSite(mode, address, more string) string {
	return "verify_webhook github {env.GITHUB_KEY} {\n" + inboxOption(mode) + more + "\n}\nreverse_proxy " + address
}

func inboxOption(mode string) string {
	return mode + " {\nafter 150ms\nretry 50ms 100ms 200ms\n}\n"
}

// inboxFile is where a gateway keeps its inbox unless told otherwise.
func (g *gateway) inboxFile() string {
	return filepath.Join(g.dir, "data", "caddy", "verify_webhook", "inbox.db")
}

// startInbox starts a gateway, and returns when its inbox is open: until then, which a
// start waits half a second for, deliveries get the app's answer.
func startInbox(t testing.TB, s setup) *gateway {
	t.Helper()
	g := start(t, s)
	g.awaitInbox(t)
	return g
}

func (g *gateway) awaitInbox(t testing.TB) {
	t.Helper()
	eventually(t, "the inbox is open", func() bool { return g.inbox(t).Problem == "" })
}

// settled waits until nothing in the inbox is owed to the app. What the app took may be
// pending again: it does not know of a mark that a kill prevented, and an app that is
// not well does not take it a second time at once.
func (g *gateway) settled(t testing.TB) {
	t.Helper()
	g.settledFor(t, "")
}

// settledFor is settled for the app of one handler; "": of all.
func (g *gateway) settledFor(t testing.TB, name string) {
	t.Helper()
	eventually(t, "the inbox owes nothing to the app", func() bool {
		now := g.inbox(t)
		for _, q := range now.Queues {
			if (name == "" || name == q.Name) && q.Pending+q.InAttempt > 0 {
				return false
			}
		}
		return now.Problem == ""
	})
}

// inbox asks the admin API for the state of the inbox.
func (g *gateway) inbox(t testing.TB) (now struct {
	Problem string
	Queues  []struct {
		Name                             string
		Pending, Delivered, Dead, Locked int
		InAttempt                        int `json:"in_attempt"`
	}
}) {
	t.Helper()
	text := g.adminGet(t, "/verify_webhook/inbox")
	if err := json.Unmarshal([]byte(text), &now); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return now
}

// opened opens the inbox of a gateway that has ended.
func opened(t testing.TB, path string) *bolt.Store {
	t.Helper()
	engine, err := bolt.Open(bolt.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(context.WithoutCancel(t.Context())) })
	eventually(t, "the inbox file is open", func() bool { return engine.Status().Health == nil })
	return engine
}

// stored looks into the inbox of a gateway that has ended.
func stored(t testing.TB, path string) []inbox.Entry {
	t.Helper()
	engine := opened(t, path)
	defer engine.Close(context.WithoutCancel(t.Context()))
	entries, err := engine.List(t.Context(), inbox.Selection{}, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// A brittleApp is an app with a ledger. While it is not well, it fails, hangs longer
// than the sender waits, and breaks off connections; and it restarts.
type brittleApp struct {
	*ledger
	address string
	well    atomic.Bool
	asked   atomic.Int64
	server  *http.Server
	done    chan struct{} // closed when server has ended
}

func newBrittleApp(t *testing.T) *brittleApp {
	t.Helper()
	b := &brittleApp{ledger: newLedger(-1), address: freeAddress()}
	b.open(t)
	t.Cleanup(b.close)
	return b
}

func (b *brittleApp) open(t *testing.T) {
	t.Helper()
	var listener net.Listener
	eventually(t, "the app listens", func() (ok bool) { // a connection may have its port for a moment
		var err error
		listener, err = net.Listen("tcp", b.address)
		return err == nil
	})
	b.server, b.done = &http.Server{Handler: b}, make(chan struct{})
	go func(server *http.Server, done chan struct{}) {
		defer close(done)
		_ = server.Serve(listener)
	}(b.server, b.done)
}

func (b *brittleApp) close() {
	b.server.Close()
	<-b.done
}

// restart breaks off what the app is working on. Like a kill of the gateway it
// explains why the app sees a delivery twice.
func (b *brittleApp) restart(t *testing.T) {
	from := time.Now()
	b.close()
	b.open(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kills = append(b.kills, span{from, time.Now()})
}

func (b *brittleApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, err := io.Copy(io.Discard, r.Body)
	id := r.Header.Get("X-Github-Delivery")
	b.mu.Lock()
	e := b.entry(id)
	n := len(e.attempts)
	e.attempts = append(e.attempts, span{from: time.Now()})
	b.mu.Unlock()
	turn := int64(4) // takes it
	if !b.well.Load() {
		turn = b.asked.Add(1) % 8
	}
	work := time.NewTimer(time.Duration(n%3) * time.Millisecond)
	if turn == 1 {
		work.Reset(250 * time.Millisecond) // longer than the sender waits
	}
	<-work.C
	takes := err == nil && turn != 2 && turn != 3
	b.mu.Lock()
	e.attempts[n].to = time.Now()
	if takes {
		e.takes = append(e.takes, time.Now())
	}
	b.mu.Unlock()
	switch {
	case takes:
		_, _ = io.WriteString(w, "taken")
	case turn == 2:
		b.refused.Add(1)
		panic(http.ErrAbortHandler)
	default:
		b.refused.Add(1)
		http.Error(w, "not now", http.StatusInternalServerError)
	}
}

// owed lists what was acknowledged and is not taken.
func (b *brittleApp) owed() (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, e := range b.deliveries {
		if len(e.acks) > 0 && len(e.takes) == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// TestInboxKill9 kills the gateway at any point, in each mode, in front of an app that
// fails, hangs, breaks off and restarts. What a sender got a 2xx for reaches the app,
// and twice only if the gateway or the app ended between.
//
//	INTEGRATION_KILLS=1000 go test ./integration -run=TestInboxKill9 -timeout=1h
func TestInboxKill9(t *testing.T) {
	t.Parallel()
	each := (kills(t) + 1) / 2
	for _, mode := range []string{"inbox", "inbox first"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBrittleApp(t)
			g := start(t, setup{level: "INFO", site: inboxSite(mode, b.address, "upstream_timeout 5s")})
			b.between = func(n int) {
				if n%5 == 3 {
					b.restart(t)
				}
			}
			b.storm(t, g, each)
			b.well.Store(true)
			eventually(t, "everything is taken", func() bool { return len(b.owed()) == 0 })
			g.settled(t)
			b.check(t)
			g.quit(t)
			if left := stored(t, g.inboxFile()); len(left) != 0 {
				t.Errorf("%d are left in the inbox: %+v", len(left), left[0])
			}
		})
	}
}

func (b *brittleApp) check(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, e := range b.deliveries {
		if len(e.acks) == 0 || len(e.takes) == 0 {
			t.Errorf("%s is lost: %d takes, %d acknowledgements", id, len(e.takes), len(e.acks))
			continue
		}
		for i := 1; i < len(e.takes); i++ {
			b.twice.Add(1)
			if !b.killBetween(e.attempts[0].from, e.takes[i]) {
				t.Errorf("%s: taken %d times, and neither gateway nor app ended between: %s", id, len(e.takes), b.story(e))
			}
		}
	}
	t.Logf("%d kills; %d deliveries acknowledged, of which %d stored; %d attempts that the app did not take; 0 lost; %d taken twice",
		b.killed.Load(), b.acknowledged.Load(), b.stored.Load(), b.refused.Load(), b.twice.Load())
}
