package nats

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// A wire is a TCP proxy. While it is cut, it passes nothing in either direction and keeps
// the connections open, as a partitioned network does; what was sent meanwhile arrives when
// it is mended.
type wire struct {
	listener net.Listener
	to       string

	mu     sync.Mutex
	passes chan struct{} // closed while it passes
	conns  []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to, passes: make(chan struct{})}
	close(w.passes)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { w.join(conn, &running) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.cut(false)
		w.mu.Lock()
		for _, c := range w.conns {
			c.Close()
		}
		w.mu.Unlock()
		running.Wait()
	})
	return w
}

func (w *wire) url() string { return "nats://" + w.listener.Addr().String() }

// cut cuts or mends the wire.
func (w *wire) cut(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.passes:
		if yes {
			w.passes = make(chan struct{})
		}
	default:
		if !yes {
			close(w.passes)
		}
	}
}

// wait waits until the wire is not cut.
func (w *wire) wait() {
	w.mu.Lock()
	passes := w.passes
	w.mu.Unlock()
	<-passes
}

func (w *wire) join(from net.Conn, running *sync.WaitGroup) {
	w.wait()
	to, err := net.Dial("tcp", w.to)
	if err != nil {
		from.Close()
		return
	}
	w.mu.Lock()
	w.conns = append(w.conns, from, to)
	w.mu.Unlock()
	running.Go(func() { w.pass(to, from) })
	w.pass(from, to)
}

func (w *wire) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	for buf := make([]byte, 64<<10); ; {
		n, err := from.Read(buf)
		w.wait()
		if _, failed := to.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}

// A network is three servers and the wires between them.
type network struct {
	servers []*server
	routes  [3][3]*wire // from, to
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := new(network)
	var listens []string
	for range 3 {
		listens = append(listens, freeAddr(t))
	}
	for from := range 3 {
		var routes []string
		for to := range 3 {
			if to != from {
				n.routes[from][to] = newWire(t, listens[to])
				routes = append(routes, n.routes[from][to].url())
			}
		}
		// Servers announce addresses to each other and to clients: these must not lead past
		// the wires.
		s := prepare(t, freeAddr(t), "", fmt.Sprintf("server_name: n%d", from), fmt.Sprintf(
			"cluster { name: c, listen: %q, advertise: %q, no_advertise: true, routes: [%s] }", listens[from], freeAddr(t), strings.Join(routes, ", ")))
		s.run()
		n.servers = append(n.servers, s)
	}
	for _, s := range n.servers {
		s.await()
	}
	return n
}

// cut cuts a server off from the other two, or mends that.
func (n *network) cut(s *server, yes bool) {
	for from := range 3 {
		for to := range 3 {
			if w := n.routes[from][to]; w != nil && (n.servers[from] == s || n.servers[to] == s) {
				w.cut(yes)
			}
		}
	}
}

// A site is a gateway and its wires to the servers.
type site struct {
	*Engine
	wires map[*server]*wire
}

func (n *network) site(t *testing.T) *site {
	t.Helper()
	g := &site{wires: make(map[*server]*wire)}
	var urls []string
	for _, s := range n.servers {
		g.wires[s] = newWire(t, s.addr)
		urls = append(urls, g.wires[s].url())
	}
	g.Engine = open(t, Options{Servers: urls, Replicas: 3, MaxSize: 64 << 20})
	return g
}

// others returns the servers other than s.
func (n *network) others(s *server) (others []*server) {
	for _, o := range n.servers {
		if o != s {
			others = append(others, o)
		}
	}
	return others
}

// TestPartition: the leader of the stream is cut off, first alone, then together with a
// gateway. The side with two servers accepts deliveries, the other side refuses them, and
// everything accepted is delivered once the network is mended.
func TestPartition(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	n := newNetwork(t)
	a, b := n.site(t), n.site(t)
	l := begin(t, []*Engine{a.Engine, b.Engine})
	l.progress("the start")

	alone := leader(t, n.servers, n.servers...)
	n.cut(alone, true)
	a.wires[alone].cut(true)
	b.wires[alone].cut(true)
	l.progress("the cut that leaves the leader alone")
	if now := leader(t, n.servers, n.others(alone)...); now == alone {
		t.Error("the leader that was cut off still leads: the cut has no effect")
	}
	n.cut(alone, false)
	a.wires[alone].cut(false)
	b.wires[alone].cut(false)
	whole(t, n.servers)
	l.progress("it is mended")

	with := leader(t, n.servers, n.servers...)
	n.cut(with, true)
	b.wires[with].cut(true)
	for _, s := range n.others(with) {
		a.wires[s].cut(true)
	}
	l.progress("the cut that leaves the leader with a gateway")
	for i := range 3 {
		if _, err := a.Accept(t.Context(), delivery(1_000_000+i), false); err == nil {
			t.Error("a gateway accepts a delivery that only one of three servers can have")
		}
	}
	n.cut(with, false)
	b.wires[with].cut(false)
	for _, s := range n.others(with) {
		a.wires[s].cut(false)
	}
	whole(t, n.servers)
	l.progress("it is mended")
	l.stop()
	l.end(a.Engine, b.Engine)
}
