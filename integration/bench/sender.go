package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// A sender has one connection at a time.
type sender struct {
	*wire                       // over HTTP/1.1
	h2          *http.Transport // over HTTP/2
	g           *generator
	buf         []byte
	took        []time.Duration
	sent, dials int
	wrong       map[string]int
}

func newSender(g *generator) (*sender, error) {
	s := &sender{g: g, wrong: make(map[string]int)}
	if g.TLS {
		s.h2 = newH2(g.Address)
		return s, nil
	}
	return s, s.dial()
}

func (s *sender) dial() error {
	c, err := net.Dial("tcp", s.g.Address)
	if err != nil {
		return err
	}
	s.wire = newWire(c)
	return nil
}

func (s *sender) close() {
	if s.h2 != nil {
		s.h2.CloseIdleConnections()
		return
	}
	s.Close()
}

// closed sends one delivery after the other until the time is up.
func (s *sender) closed(until time.Time) error {
	send := s.one
	if s.g.Burst > 0 {
		send = s.burst
	}
	for time.Now().Before(until) {
		if more, err := send(); err != nil || !more {
			return err
		}
	}
	return nil
}

// open sends a delivery whenever one is due.
func (s *sender) open(due <-chan time.Time) error {
	for at := range due {
		if more, err := s.one(); err != nil || !more {
			return err
		}
		s.took = append(s.took, time.Since(at))
	}
	return nil
}

// one sends a delivery and checks its answer.
func (s *sender) one() (more bool, err error) {
	d, ok := s.g.take()
	if !ok {
		return false, nil
	}
	m, err := s.exchange(d)
	s.check(m)
	return true, err
}

// burst sends several deliveries before it reads their answers.
func (s *sender) burst() (more bool, err error) {
	s.buf = s.buf[:0]
	n := 0
	for ; n < s.g.Burst; n++ {
		d, ok := s.g.take()
		if !ok {
			break
		}
		s.buf = append(s.head(s.buf, d), d.body...)
	}
	if n == 0 {
		return false, nil
	}
	if _, err := s.Write(s.buf); err != nil {
		return false, err
	}
	for range n {
		m, err := s.read()
		if err != nil {
			return false, err
		}
		s.check(m)
	}
	return true, nil
}

// check counts an answer.
func (s *sender) check(m message) {
	s.sent++
	if got := (answer{m.status, m.length}); got != s.g.Want {
		s.wrong[got.String()]++
	}
}

// exchange sends a delivery and reads its answer.
func (s *sender) exchange(d delivery) (message, error) {
	if s.h2 != nil {
		return exchangeH2(s.h2, d)
	}
	if err := s.write(d); err != nil {
		return message{}, err
	}
	m, err := s.read()
	if err != nil {
		return m, err
	}
	if m.close {
		s.Close()
		s.dials++
		err = s.dial()
	}
	return m, err
}

func (s *sender) write(d delivery) (err error) {
	s.buf = s.head(s.buf[:0], d)
	if len(d.body) <= 16<<10 {
		s.buf = append(s.buf, d.body...)
		_, err = s.Write(s.buf)
		return err
	}
	both := net.Buffers{s.buf, d.body}
	_, err = both.WriteTo(s.Conn)
	return err
}

// head appends a request without its body.
func (s *sender) head(to []byte, d delivery) []byte {
	to = append(to, "POST "...)
	to = append(to, d.path...)
	to = append(to, " HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: "...)
	to = strconv.AppendInt(to, int64(len(d.body)), 10)
	to = append(to, "\r\n"...)
	to = append(to, d.header...)
	return append(to, "\r\n"...)
}

// newH2 makes an HTTP/2 client with a connection of its own to the gateway, whose
// certificate is of its own authority.
func newH2(address string) *http.Transport {
	t := &http.Transport{TLSClientConfig: &tls.Config{ServerName: host, InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP2(true)
	t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return t
}

func exchangeH2(t *http.Transport, d delivery) (m message, err error) {
	r, err := http.NewRequest(http.MethodPost, "https://"+host+d.path, bytes.NewReader(d.body))
	if err != nil {
		return m, err
	}
	for line := range bytes.SplitSeq(bytes.TrimSpace(d.header), []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(": "))
		r.Header[string(name)] = []string{string(value)}
	}
	resp, err := t.RoundTrip(r)
	if err != nil {
		return m, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	return message{status: resp.StatusCode, length: int(n)}, err
}
