//go:build unix

package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// freeze stops the process where it is, or lets it go on.
func (s *server) freeze(stop bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sig := syscall.SIGCONT
	if stop {
		sig = syscall.SIGSTOP
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Errorf("signal: %v", err)
	}
	for stop { // until all of its threads are
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(s.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != syscall.EINTR {
			return
		}
	}
}

// An accept that is not acknowledged in time is refused. The server stores it all the
// same, once it goes on; it is withdrawn, and no gateway ever tries it.
func TestAnAcceptThatIsNotAnsweredInTime(t *testing.T) {
	s := start(t)
	o := Options{Servers: []string{s.url()}, MaxSize: 64 << 20, patience: 500 * time.Millisecond}
	a, b := open(t, o), open(t, o)
	put(t, a, 1, false)
	js := streams(t, s.url())
	stream := must(js.Stream(t.Context(), a.o.Stream))
	before := must(stream.Info(t.Context())).State.LastSeq
	s.freeze(true)
	began := time.Now()
	var refusedAs *inbox.NotStoredError
	if _, err := a.Accept(t.Context(), delivery(2), false); !errors.As(err, &refusedAs) || refusedAs.Why != inbox.WhyTimeout {
		t.Errorf("accept: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the refusal takes %v", took)
	}
	s.freeze(false)
	until(t, "it is not withdrawn", func() bool { return a.Status().Unwritten == 0 && a.Status().Health == nil })
	info := must(stream.Info(t.Context()))
	if info.State.LastSeq < before+2 {
		t.Errorf("the server stored nothing that was withdrawn: this test tests nothing (%d, then %d)", before, info.State.LastSeq)
	}
	for _, e := range []*Engine{a, b} {
		has(t, e, 2, 0)
		has(t, e, 1, inbox.Pending)
	}
	put(t, b, 2, false) // the sender's next attempt
}

// TestCluster has three servers keep all under load from two gateways, while the
// leader of the stream is killed, another server is stopped for a while, and one of
// the gateways is killed.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	servers, urls := cluster(t)
	o := Options{Servers: urls, Replicas: 3, MaxSize: 64 << 20}
	g := []*Engine{open(t, o), open(t, o)}
	js := streams(t, urls[0])
	var mu sync.Mutex
	accepted, delivered := make(map[int]bool), make(map[int]int)
	var refusals, next atomic.Int64
	var stop, closing atomic.Bool
	var senders, takers sync.WaitGroup
	for i := range 8 { // the pauses pace the load; nothing is judged by them
		senders.Go(func() {
			for !stop.Load() {
				n, e := int(next.Add(1)), g[i%2]
				if _, err := e.Accept(context.Background(), delivery(n), false); err != nil {
					refusals.Add(1)
					time.Sleep(10 * time.Millisecond)
					continue
				}
				mu.Lock()
				accepted[n] = true
				mu.Unlock()
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	for i := range 8 {
		takers.Go(func() {
			for !closing.Load() {
				a, err := g[i%2].Take(context.Background(), shop, inbox.NextDue)
				if err != nil || a == nil {
					time.Sleep(5 * time.Millisecond)
					continue
				}
				mu.Lock()
				delivered[number(a)]++
				mu.Unlock()
				g[i%2].Settle(a, inbox.Settlement{To: inbox.Delivered, Status: 200})
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		began, from := time.Now(), count(&mu, accepted)
		until(t, "nothing is accepted after "+what, func() bool { return count(&mu, accepted) > from+200 })
		t.Logf("%s: 200 more are accepted after %v; %d accepted, %d refused", what, time.Since(began).Round(time.Millisecond), count(&mu, accepted), refusals.Load())
	}
	progress("the start")
	leader := func() *server {
		for {
			if s, err := js.Stream(context.Background(), g[0].o.Stream); err == nil && s.CachedInfo().Cluster != nil {
				for i, server := range servers {
					if s.CachedInfo().Cluster.Leader == fmt.Sprint("n", i) {
						return server
					}
				}
			}
		}
	}
	first := leader()
	first.kill()
	progress("kill -9 of the leader")
	first.run()
	first.await()
	progress("its restart")
	until(t, "the cluster is not whole", func() bool {
		s, err := js.Stream(context.Background(), g[0].o.Stream)
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
	second := leader()
	second.freeze(true)
	progress("SIGSTOP of the leader")
	second.freeze(false)
	progress("SIGCONT")
	stop.Store(true)
	senders.Wait()
	g[1].halt() // a gateway is killed
	began := time.Now()
	until(t, "not all is delivered", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for n := range accepted {
			if delivered[n] == 0 {
				return false
			}
		}
		return true
	})
	until(t, "something is left", func() bool {
		all, err := g[0].Queues(context.Background())
		return err == nil && len(all) == 0
	})
	closing.Store(true)
	takers.Wait()
	twice, never := 0, 0
	for n, times := range delivered {
		if times > 1 {
			twice++
		}
		if !accepted[n] {
			never++
		}
	}
	t.Logf("%d accepted, all delivered within %v of the end; %d twice, %d that were refused", len(accepted), time.Since(began).Round(time.Millisecond), twice, never)
}

func count(mu *sync.Mutex, m map[int]bool) int {
	mu.Lock()
	defer mu.Unlock()
	return len(m)
}
