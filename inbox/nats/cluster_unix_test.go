//go:build unix

package nats

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// freeze stops the process, or lets it continue.
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
	for stop { // wait until all its threads have stopped
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(s.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != syscall.EINTR {
			return
		}
	}
}

// An accept that is not acknowledged in time is refused. The server stores it nevertheless
// when it continues; it is withdrawn, and no gateway ever attempts it.
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
	until(t, "the delivery is not withdrawn", func() bool { return a.Status().Unwritten == 0 && a.Status().Health == nil })
	info := must(stream.Info(t.Context()))
	if info.State.LastSeq < before+2 {
		t.Errorf("the server stored nothing to withdraw, so this test proves nothing (%d, then %d)", before, info.State.LastSeq)
	}
	for _, e := range []*Engine{a, b} {
		has(t, e, 2, 0)
		has(t, e, 1, inbox.Pending)
	}
	put(t, b, 2, false) // the sender's next attempt
}

// TestCluster: three servers lose nothing under load from two gateways, while the stream's
// leader is killed, another server is frozen for a while, and one gateway is killed.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	servers, urls := cluster(t)
	o := Options{Servers: urls, Replicas: 3, MaxSize: 64 << 20}
	g := []*Engine{open(t, o), open(t, o)}
	l := begin(t, g)
	l.progress("the start")
	first := leader(t, servers, servers...)
	first.kill()
	l.progress("kill -9 of the leader")
	first.run()
	first.await()
	l.progress("its restart")
	whole(t, servers)
	second := leader(t, servers, servers...)
	second.freeze(true)
	l.progress("SIGSTOP of the leader")
	second.freeze(false)
	l.progress("SIGCONT")
	l.stop()
	g[1].halt() // a gateway is killed
	l.end(g[0])
}
