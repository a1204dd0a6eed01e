package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// A call is a done that runs in its own goroutine.
type call struct {
	status int
	cancel context.CancelFunc
	result chan error
}

func (c call) want(t *testing.T, want error) {
	t.Helper()
	select {
	case err := <-c.result:
		if !errors.Is(err, want) {
			t.Errorf("done %d: got %v, want %v", c.status, err, want)
		}
	case <-time.After(15 * time.Second):
		t.Fatalf("done %d does not return", c.status)
	}
}

// A crowd is a store of a fake server where every round trip that may leave alone is
// under way, so that other calls wait.
type crowd struct {
	*Store
	server *fakeServer
	first  []call
	held   []request
	last   int
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	server := startFake(t)
	s, err := Open(Options{Addresses: []string{server.addr}, Namespace: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	o := Options{Addresses: []string{server.addr}}.universal()
	o.ReadTimeout = time.Minute // the tests say when something fails
	s.client = redis.NewUniversalClient(o)
	s.batcher = &batcher{client: s.client, wait: time.Hour}
	c := &crowd{Store: s, server: server}
	c.first = c.call(t, maxAlone)
	c.held = server.next(t, maxAlone)
	return c
}

// call makes n calls, one after the other, and returns when the batcher has them.
func (c *crowd) call(t *testing.T, n int) (calls []call) {
	t.Helper()
	for range n {
		c.last++
		ctx, cancel := context.WithCancel(t.Context())
		k := call{status: 1000 + c.last, cancel: cancel, result: make(chan error, 1)}
		before := c.counts().calls
		go func() {
			k.result <- c.Done(ctx, dedupe.NewKey(fmt.Sprint(k.status)), dedupe.Mark{Status: k.status, TTL: time.Minute})
		}()
		for c.counts().calls == before {
			runtime.Gosched()
		}
		calls = append(calls, k)
	}
	return calls
}

type counts struct{ calls, trips, waiting int }

func (c *crowd) counts() counts {
	c.batcher.mu.Lock()
	defer c.batcher.mu.Unlock()
	return counts{c.batcher.calls, c.batcher.trips, len(c.batcher.waiting)}
}

// land answers the first calls, so that what waits leaves.
func (c *crowd) land(t *testing.T) {
	t.Helper()
	for _, r := range c.held {
		r.answer("+OK\r\n")
	}
	for _, k := range c.first {
		k.want(t, nil)
	}
}

// end checks that nothing is left behind.
func (c *crowd) end(t *testing.T) {
	t.Helper()
	c.server.none(t)
	eventually(t, "the batcher is empty", func() bool { return c.counts() == counts{} })
}

func statusOf(r request) string { return strings.TrimPrefix(r.args[2], "D") }

func TestCallsThatWaitLeaveTogether(t *testing.T) {
	c := newCrowd(t)
	calls := c.call(t, batchMax+20)
	c.server.none(t)
	c.land(t)
	batches := make(map[net.Conn]int)
	all := c.server.next(t, len(calls)) // before one of them is answered
	for _, r := range all {
		batches[r.conn]++
	}
	if sizes := slices.Sorted(maps.Values(batches)); !slices.Equal(sizes, []int{20, batchMax}) {
		t.Errorf("batches of %v, want 20 and %d", sizes, batchMax)
	}
	refused := calls[3]
	for _, r := range all {
		if statusOf(r) == fmt.Sprint(refused.status) {
			r.answer("-ERR not this one\r\n")
		} else {
			r.answer("+OK\r\n")
		}
	}
	for _, k := range slices.Concat(calls[:3], calls[4:]) {
		k.want(t, nil)
	}
	again := c.server.next(t, 1)[0] // alone
	again.answer("-ERR nor now\r\n")
	if err := <-refused.result; err == nil || !strings.Contains(err.Error(), "nor now") {
		t.Errorf("refused: got %v", err)
	}
	c.end(t)
}

// A call that is no longer wanted returns at once and is not sent; the others are.
func TestACanceledCallLeavesItsBatch(t *testing.T) {
	c := newCrowd(t)
	calls := c.call(t, 5)
	calls[2].cancel()
	calls[2].want(t, context.Canceled)
	c.land(t)
	all := c.server.next(t, 4)
	calls[0].cancel() // on its way
	calls[0].want(t, context.Canceled)
	for _, r := range all {
		if statusOf(r) == fmt.Sprint(calls[2].status) {
			t.Error("a canceled call was sent")
		}
		r.answer("+OK\r\n")
	}
	for _, i := range []int{1, 3, 4} {
		calls[i].want(t, nil)
	}
	c.end(t)
}

// A connection ends in the middle of a batch: all calls that are still wanted are
// repeated, each alone.
func TestAConnectionEndsHalfWay(t *testing.T) {
	c := newCrowd(t)
	calls := c.call(t, 6)
	c.land(t)
	all := c.server.next(t, 6)
	calls[5].cancel()
	calls[5].want(t, context.Canceled)
	all[0].answer("+OK\r\n")
	all[1].answer("+OK\r\n")
	all[2].hangUp()
	conns, sent := make(map[net.Conn]bool), make(map[string]bool)
	again := c.server.next(t, 5)
	for _, r := range again {
		conns[r.conn], sent[statusOf(r)] = true, true
	}
	if len(conns) != 5 {
		t.Errorf("repeated on %d connections, want 5", len(conns))
	}
	for _, k := range calls[:5] {
		if !sent[fmt.Sprint(k.status)] {
			t.Errorf("done %d was not repeated", k.status)
		}
	}
	for _, r := range again {
		r.answer("+OK\r\n")
	}
	for _, k := range calls[:5] {
		k.want(t, nil)
	}
	c.end(t)
}

// Connections that hang do not hold up the calls behind them.
func TestConnectionsThatHang(t *testing.T) {
	c := newCrowd(t)
	c.batcher.wait = time.Millisecond
	calls := c.call(t, 3)
	for range calls {
		c.server.next(t, 1)[0].answer("+OK\r\n")
	}
	for _, k := range calls {
		k.want(t, nil)
	}
	c.land(t)
	c.end(t)
}

// The server ends all connections again and again under load. Every claim and done
// that was acknowledged is in the server, each with its own value.
func TestConnectionsEndUnderLoad(t *testing.T) {
	server := redistest.Start(t)
	s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer admin.Close()

	const workers, each = 64, 60
	var mu sync.Mutex
	want := make(map[string]string)
	var left, failed atomic.Int64
	left.Store(workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			defer left.Add(-1)
			for i := range each {
				k, token := dedupe.NewKey(fmt.Sprint(w, " ", i)), dedupe.NewToken()
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				st, err := s.Claim(ctx, k, token, time.Minute)
				value := "I" + string(token[:])
				if err == nil && i%2 == 0 {
					err = s.Done(ctx, k, dedupe.Mark{Status: 200 + i, TTL: time.Minute})
					value = fmt.Sprint("D", 200+i)
				}
				cancel()
				switch {
				case err != nil:
					failed.Add(1)
				case st.Phase != dedupe.Claimed:
					t.Errorf("a new key is %v", st)
				default:
					mu.Lock()
					want[s.key(k)] = value
					mu.Unlock()
				}
			}
		})
	}
	for tick := time.Tick(5 * time.Millisecond); left.Load() > 0; <-tick {
		if err := admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
			t.Fatal(err)
		}
		if rand.IntN(4) == 0 {
			admin.ScriptFlush(t.Context())
		}
	}
	wg.Wait()
	t.Logf("%d acknowledged, %d failed", len(want), failed.Load())
	if len(want) == 0 {
		t.Error("nothing was acknowledged")
	}
	for k, v := range want {
		if got, err := admin.Get(t.Context(), k).Result(); err != nil || got != v {
			t.Errorf("got %q %v, want %q", got, err, v)
		}
	}
}

// A server dies and comes back while many deliveries are claimed and done. Each call
// returns within its time, the outage is noticed, and in the end another instance
// knows all that were done.
func TestAnOutageUnderLoad(t *testing.T) {
	server := redistest.Start(t)
	open := func() *dedupe.Gate {
		s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "x"})
		if err != nil {
			t.Fatal(err)
		}
		g := dedupe.NewGate(dedupe.Options{Store: s, Local: dedupe.NewMemory(dedupe.MemoryOptions{})})
		t.Cleanup(func() { _ = g.Close(t.Context()) })
		return g
	}
	here, there := open(), open()
	const workers, each = 64, 40
	var done [workers][each]dedupe.Key // since the server died
	var died atomic.Bool
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i, after := 0, 0; after < each; i++ {
				k, dead := dedupe.NewKey(fmt.Sprint(w, " ", i)), died.Load()
				start := time.Now()
				d := here.Claim(t.Context(), k, dedupe.Terms{})
				if d.Outcome != dedupe.Held {
					t.Errorf("got %v, want held", d.Outcome)
					return
				}
				d.Claim.Done(200)
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("a claim and a done took %v", took)
				}
				if dead {
					done[w][after] = k
					after++
				}
			}
		})
	}
	server.Kill()
	died.Store(true)
	eventually(t, "the outage is noticed", func() bool { return here.Stats().Degraded })
	wg.Wait()
	server.Restart()
	eventually(t, "recovery", func() bool { st := here.Stats(); return !st.Degraded && st.Unwritten == 0 })
	for _, keys := range done {
		for _, k := range keys {
			if d := there.Claim(t.Context(), k, dedupe.Terms{}); d.Outcome != dedupe.Duplicate {
				t.Fatalf("got %v, want duplicate", d.Outcome)
			}
		}
	}
}

// A failover under load: the calls go on with the new master.
func TestAFailoverUnderLoad(t *testing.T) {
	master := redistest.Start(t)
	replica := redistest.Start(t, "--replicaof", "127.0.0.1", fmt.Sprint(master.Port()), "--repl-diskless-sync-delay", "0")
	admin := redis.NewClient(&redis.Options{Addr: replica.Addr})
	defer admin.Close()
	eventually(t, "the replica is in sync", func() bool {
		info, err := admin.Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	sentinel := redistest.StartSentinel(t, "main", master)
	watch := redis.NewSentinelClient(&redis.Options{Addr: sentinel.Addr})
	defer watch.Close()
	s, err := Open(Options{Addresses: []string{sentinel.Addr}, Namespace: "s", Mode: Sentinel, Master: "main"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	eventually(t, "failover", func() bool { return watch.Failover(t.Context(), "main").Err() == nil })
	var moved atomic.Bool
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := 0; ; i++ {
				last := moved.Load()
				k := dedupe.NewKey(fmt.Sprint(w, " ", i))
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				_, err := s.Claim(ctx, k, dedupe.NewToken(), time.Minute)
				if err == nil {
					err = s.Done(ctx, k, dedupe.Mark{Status: 200, TTL: time.Minute})
				}
				cancel()
				if !last {
					continue
				}
				if err != nil {
					t.Errorf("after the failover: %v", err)
				} else if v, err := admin.Get(t.Context(), s.key(k)).Result(); err != nil || v != "D200" {
					t.Errorf("the new master has %q %v, want a done", v, err)
				}
				return
			}
		})
	}
	eventually(t, "the replica is master, and is used", func() bool {
		info, err := admin.Info(t.Context(), "replication").Result()
		if err != nil || !strings.Contains(info, "role:master") {
			return false
		}
		k := dedupe.NewKey("used")
		err = s.Done(t.Context(), k, dedupe.Mark{Status: 200, TTL: time.Minute})
		return err == nil && admin.Get(t.Context(), s.key(k)).Err() == nil
	})
	moved.Store(true)
	wg.Wait()
}
