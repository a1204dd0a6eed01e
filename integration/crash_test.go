package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// kills returns how often the gateway is killed, over all stores.
//
//	INTEGRATION_KILLS=3000 go test ./integration -run=TestKill9 -timeout=1h
func kills(t *testing.T) int {
	text := os.Getenv("INTEGRATION_KILLS")
	if text == "" {
		return 102
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("INTEGRATION_KILLS: %v", err)
	}
	return n
}

// TestKill9 kills the gateway at any point while senders retry until they read a
// 2xx and now and then send a copy of what was acknowledged long ago. The app
// keeps a ledger, which is compared with what was acknowledged (SCN-013):
//
//   - nothing is acknowledged that the app did not take, and nothing is lost;
//   - two attempts at once, or two takes, have a kill between them;
//   - what was acknowledged before a kill is not forwarded after it, where the
//     store outlives the process.
func TestKill9(t *testing.T) {
	t.Parallel()
	const stores = 3
	each := (kills(t) + stores - 1) / stores
	for store, remembers := range map[string]time.Duration{
		"memory": -1, // lost with the process
		"bolt":   100 * time.Millisecond,
		"redis":  0,
	} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			global := map[string]string{"memory": "", "bolt": boltStore("DIR/dedupe.db")}[store]
			if store == "redis" {
				global = redisStore(redistest.Start(t).Addr, "")
			}
			g := start(t, setup{global: global, site: githubSite, lease: "1s"})
			l := newLedger(remembers)
			g.app.Config.Handler = l
			l.storm(t, g, each)
			l.check(t)
		})
	}
}

// A ledger is an app that records the deliveries it accepts, and the responses to its
// senders. Times are of this process, and monotonic.
type ledger struct {
	remembers time.Duration // how long before a kill an acknowledgement must lie to outlive it; negative: none does
	between   func(n int)   // called before each kill; may be nil

	mu         sync.Mutex
	deliveries map[string]*entry // by X-Github-Delivery
	kills      []span
	up         chan struct{} // closed when the gateway serves

	killed, acknowledged, stored, copies, refused, twice atomic.Int64
}

type span struct{ from, to time.Time }

// An entry is the history of one delivery.
type entry struct {
	attempts []span // to is zero while the app works
	takes    []time.Time
	acks     []time.Time // when the sender had read a 2xx of an attempt
}

func newLedger(remembers time.Duration) *ledger {
	up := make(chan struct{})
	close(up)
	return &ledger{remembers: remembers, deliveries: make(map[string]*entry), up: up}
}

func (l *ledger) entry(id string) *entry {
	e := l.deliveries[id]
	if e == nil {
		e = new(entry)
		l.deliveries[id] = e
	}
	return e
}

// ServeHTTP accepts a delivery or refuses it: the app fails at every fifth attempt,
// before or after its work.
func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, err := io.Copy(io.Discard, r.Body)
	id := r.Header.Get("X-Github-Delivery")
	l.mu.Lock()
	e := l.entry(id)
	n := len(e.attempts)
	e.attempts = append(e.attempts, span{from: time.Now()})
	l.mu.Unlock()

	work := time.NewTimer(time.Duration(n%3+len(id)%3) * 3 * time.Millisecond) // what the app does
	<-work.C
	fails := err != nil || (n == 0 && id[len(id)-1] == '5')
	l.mu.Lock()
	e.attempts[n].to = time.Now()
	if !fails {
		e.takes = append(e.takes, e.attempts[n].to)
	}
	l.mu.Unlock()
	if fails {
		l.refused.Add(1)
		http.Error(w, "not now", http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "taken")
}

// storm lets senders send until the gateway was killed the given number of times, and
// all their deliveries are acknowledged.
func (l *ledger) storm(t *testing.T, g *gateway, times int) {
	const senders = 6
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(times)*3*time.Second+2*patience)
	stop := make(chan struct{})
	progress := make(chan struct{}, 1)
	var all sync.WaitGroup
	defer func() { cancel(); all.Wait() }()
	for i := range senders {
		all.Go(func() { l.sender(ctx, t, g, i, stop, progress) })
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for n := range times {
		// Some deliveries pass, then the gateway is killed at any point of the next.
		for range n % 7 {
			next(t, "an acknowledgement", progress)
		}
		<-pause.C
		if l.between != nil {
			l.between(n)
		}
		l.kill(t, g)
		pause.Reset(time.Duration(n*37%40) * time.Millisecond)
		if n%10 == 9 { // time for background writes
			pause.Reset(15 * max(l.remembers, 0))
		}
	}
	close(stop)
	all.Wait()
	if ctx.Err() != nil {
		t.Fatalf("deliveries are not acknowledged in time: %v", ctx.Err())
	}
}

func (l *ledger) kill(t *testing.T, g *gateway) {
	up := make(chan struct{})
	l.mu.Lock()
	l.up = up
	l.mu.Unlock()
	from := time.Now()
	g.kill()
	err := g.again()
	// Until senders use the new gateway, attempts at the app were sent by the old
	// one: its last request may be unread while this process is busy.
	l.mu.Lock()
	l.kills = append(l.kills, span{from, time.Now()})
	l.mu.Unlock()
	l.killed.Add(1)
	close(up)
	if err != nil {
		t.Error(err)
	}
}

// sender sends one delivery after the other, each until it is acknowledged.
func (l *ledger) sender(ctx context.Context, t *testing.T, g *gateway, number int, stop <-chan struct{}, progress chan<- struct{}) {
	client := newClient(number%2 == 1)
	defer client.CloseIdleConnections()
	var sent []message
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		m := signedBy(t, github, "/", []byte(fmt.Sprintf(`{"sender":%d,"event":%d,"note":"%s"}`, number, i, bodyMark)))
		m.header.Set("X-Github-Delivery", fmt.Sprintf("%d-%d", number, i))
		if !l.deliver(ctx, t, g, client, m) {
			return
		}
		l.acknowledged.Add(1)
		select {
		case progress <- struct{}{}:
		default:
		}
		sent = append(sent, m)
		if i%4 == 3 { // as if the acknowledgement was lost
			l.copies.Add(1)
			if !l.deliver(ctx, t, g, client, sent[i*i%len(sent)]) {
				return
			}
		}
	}
}

// deliver retries until a 2xx, at once, and reports whether it came.
func (l *ledger) deliver(ctx context.Context, t *testing.T, g *gateway, client *http.Client, m message) bool {
	id := m.header.Get("X-Github-Delivery")
	for ctx.Err() == nil {
		l.mu.Lock()
		up := l.up
		l.mu.Unlock()
		select {
		case <-up:
		case <-ctx.Done():
			return false
		}
		a, err := g.post(ctx, client, "", m)
		if err != nil {
			continue // killed; or not yet noticed that it was
		}
		now := time.Now()
		l.mu.Lock()
		e := l.entry(id)
		inboxHas := a.header.Get("Webhook-Stored") != ""
		switch {
		case a.status == http.StatusOK && len(e.takes) == 0 && !inboxHas:
			t.Errorf("%s was acknowledged (%v), but the app has not taken it", id, a.header)
		case a.status == http.StatusOK:
			e.acks = append(e.acks, now)
			if inboxHas {
				l.stored.Add(1)
			}
		case a.status != http.StatusServiceUnavailable && a.status < 500:
			t.Errorf("%s was answered %d", id, a.status)
		}
		l.mu.Unlock()
		if a.status == http.StatusOK {
			return true
		}
	}
	return false
}

// check compares the ledger with the responses to the senders.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, e := range l.deliveries {
		if len(e.takes) == 0 || len(e.acks) == 0 {
			t.Errorf("%s is lost: %d takes, %d acknowledgements", id, len(e.takes), len(e.acks))
			continue
		}
		for i := 1; i < len(e.attempts); i++ {
			before, after := e.attempts[i-1], e.attempts[i]
			overlap := before.to.IsZero() || after.from.Before(before.to)
			if overlap && !l.killBetween(before.from, after.from) {
				t.Errorf("%s: two attempts at once, and no kill between them", id)
			}
		}
		for i := 1; i < len(e.takes); i++ {
			l.twice.Add(1)
			if !l.killBetween(e.attempts[0].from, e.takes[i]) {
				t.Errorf("%s: taken %d times, and no kill between: %s", id, len(e.takes), l.story(e))
			}
		}
		l.checkRemembered(t, id, e)
	}
	t.Logf("%d kills; %d deliveries acknowledged, %d copies sent afterwards, %d attempts refused by the app, %d taken twice",
		l.killed.Load(), l.acknowledged.Load(), l.copies.Load(), l.refused.Load(), l.twice.Load())
}

// story prints an entry's times in milliseconds since its first attempt, and the
// kills around it.
func (l *ledger) story(e *entry) string {
	began := e.attempts[0].from
	since := func(at time.Time) string { return fmt.Sprintf("%.1f", float64(at.Sub(began).Microseconds())/1000) }
	var b strings.Builder
	for _, a := range e.attempts {
		fmt.Fprintf(&b, "attempt %s to %s; ", since(a.from), since(a.to))
	}
	for _, at := range e.acks {
		fmt.Fprintf(&b, "acknowledged %s; ", since(at))
	}
	for _, k := range l.kills {
		if k.to.After(began.Add(-time.Second)) && k.from.Before(began.Add(2*time.Second)) {
			fmt.Fprintf(&b, "kill %s to %s; ", since(k.from), since(k.to))
		}
	}
	return b.String()
}

// checkRemembered looks for attempts that began after the first acknowledgement.
func (l *ledger) checkRemembered(t *testing.T, id string, e *entry) {
	t.Helper()
	for _, a := range e.attempts {
		if !a.from.After(e.acks[0]) {
			continue
		}
		until := a.from
		if l.remembers >= 0 { // only a kill soon after the acknowledgement excuses
			until = e.acks[0].Add(l.remembers + time.Second)
			if l.remembers == 0 {
				until = e.acks[0]
			}
		}
		if !l.killBetween(e.acks[0], until) {
			t.Errorf("%s: forwarded %s after it was acknowledged, and no kill explains it", id, a.from.Sub(e.acks[0]))
		}
	}
}

// killBetween reports whether a kill fell into a time.
func (l *ledger) killBetween(from, to time.Time) bool {
	for _, k := range l.kills {
		if !k.from.After(to) && !k.to.Before(from) {
			return true
		}
	}
	return false
}
