package nats

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A load is the senders and the app of some gateways. It records what is accepted and
// delivered.
type load struct {
	t                *testing.T
	refusals, next   atomic.Int64
	stopped, closing atomic.Bool
	senders, takers  sync.WaitGroup

	mu        sync.Mutex
	accepted  map[int]bool
	delivered map[int]int
}

// begin starts a load. Its pauses only limit it.
func begin(t *testing.T, gateways []*Engine) *load {
	l := &load{t: t, accepted: make(map[int]bool), delivered: make(map[int]int)}
	for i := range 8 {
		e := gateways[i%len(gateways)]
		l.senders.Go(func() { l.send(e) })
		l.takers.Go(func() { l.take(e) })
	}
	return l
}

func (l *load) send(e *Engine) {
	for !l.stopped.Load() {
		n := int(l.next.Add(1))
		if _, err := e.Accept(context.Background(), delivery(n), false); err != nil {
			l.refusals.Add(1)
			time.Sleep(10 * time.Millisecond) // only limits the load: nothing waits for it to be right
			continue
		}
		l.mu.Lock()
		l.accepted[n] = true
		l.mu.Unlock()
		time.Sleep(2 * time.Millisecond) // only limits the load
	}
}

func (l *load) take(e *Engine) {
	for !l.closing.Load() {
		a, err := e.Take(context.Background(), shop, inbox.NextDue)
		if err != nil || a == nil {
			time.Sleep(5 * time.Millisecond) // only limits the polling: Changed serves one listener, and these are many
			continue
		}
		l.mu.Lock()
		l.delivered[number(a)]++
		l.mu.Unlock()
		e.Settle(a, inbox.Settlement{To: inbox.Delivered, Status: 200})
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

// progress waits until 200 more are accepted.
func (l *load) progress(what string) {
	l.t.Helper()
	began, from := time.Now(), l.count()
	until(l.t, "nothing is accepted after "+what, func() bool { return l.count() > from+200 })
	l.t.Logf("%s: 200 more are accepted after %v; %d accepted, %d refused", what, time.Since(began).Round(time.Millisecond), l.count(), l.refusals.Load())
}

func (l *load) stop() {
	l.stopped.Store(true)
	l.senders.Wait()
}

// end waits until everything accepted is delivered, and the gateways have nothing left.
func (l *load) end(gateways ...*Engine) {
	l.t.Helper()
	began := time.Now()
	until(l.t, "not everything is delivered", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for n := range l.accepted {
			if l.delivered[n] == 0 {
				return false
			}
		}
		return true
	})
	for _, e := range gateways {
		until(l.t, "something is left", func() bool {
			all, err := e.Queues(context.Background())
			return err == nil && len(all) == 0
		})
	}
	l.closing.Store(true)
	l.takers.Wait()
	twice, never := 0, 0
	for n, times := range l.delivered {
		if times > 1 {
			twice++
		}
		if !l.accepted[n] {
			never++
		}
	}
	l.t.Logf("%d accepted, all delivered within %v of the end; %d twice, %d that were refused", len(l.accepted), time.Since(began).Round(time.Millisecond), twice, never)
}

// leader returns the server that leads the default stream, according to one of asked.
func leader(t *testing.T, servers []*server, asked ...*server) (leads *server) {
	t.Helper()
	until(t, "there is no leader", func() bool {
		for _, s := range asked {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			info, err := streams(t, s.url()).Stream(ctx, defaultStream)
			if cancel(); err != nil || info.CachedInfo().Cluster == nil {
				continue
			}
			for i, other := range servers {
				if info.CachedInfo().Cluster.Leader == fmt.Sprint("n", i) {
					leads = other
					return true
				}
			}
		}
		return false
	})
	return leads
}

// whole waits until all three servers have the whole stream.
func whole(t *testing.T, servers []*server) {
	t.Helper()
	js := streams(t, servers[0].url())
	until(t, "the cluster is not complete again", func() bool {
		s, err := js.Stream(context.Background(), defaultStream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return false
		}
		for _, r := range s.CachedInfo().Cluster.Replicas {
			if !r.Current || r.Offline {
				return false
			}
		}
		return len(s.CachedInfo().Cluster.Replicas) == 2
	})
}
