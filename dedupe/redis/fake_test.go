package redis

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeServer speaks Redis's protocol and answers what, and when, a test wants.
type fakeServer struct {
	addr    string
	arrived chan request
}

// A request waits for answer, or for hangUp, which ends its connection after the
// earlier answers.
type request struct {
	args  []string
	conn  net.Conn
	reply chan string
}

func (r request) answer(raw string) { r.reply <- raw }
func (r request) hangUp()           { close(r.reply) }

func startFake(t *testing.T) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{addr: l.Addr().String(), arrived: make(chan request, 1024)}
	var mu sync.Mutex
	var conns []net.Conn
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			go s.serve(c)
		}
	}()
	return s
}

// serve reads requests as they come, and writes their answers in order.
func (s *fakeServer) serve(c net.Conn) {
	defer c.Close()
	replies := make(chan chan string, 1024)
	defer close(replies)
	go func() {
		for reply := range replies {
			raw, ok := <-reply
			if !ok {
				c.Close()
				return
			}
			if _, err := io.WriteString(c, raw); err != nil {
				return
			}
		}
	}()
	in := bufio.NewReader(c)
	for {
		args, err := readRequest(in)
		if err != nil {
			return
		}
		r := request{args: args, conn: c, reply: make(chan string, 1)}
		replies <- r.reply
		if strings.EqualFold(args[0], "hello") {
			r.answer("-ERR unknown command\r\n")
			continue
		}
		s.arrived <- r
	}
}

func readRequest(in *bufio.Reader) (args []string, err error) {
	number := func() (int, error) {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := number()
	for range n {
		size, err := number()
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, err
		}
		args = append(args, string(b[:size]))
	}
	return args, err
}

// next returns the next n requests.
func (s *fakeServer) next(t *testing.T, n int) (all []request) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	for range n {
		select {
		case r := <-s.arrived:
			all = append(all, r)
		case <-deadline:
			t.Fatalf("%d of %d requests arrived", len(all), n)
		}
	}
	return all
}

// none checks that no other request has arrived.
func (s *fakeServer) none(t *testing.T) {
	t.Helper()
	select {
	case r := <-s.arrived:
		t.Errorf("unexpected request %q", r.args)
	default:
	}
}
