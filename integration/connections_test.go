package integration

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"
)

// traced sends a message and tells which connection it went over.
func (g *gateway) traced(t testing.TB, client *http.Client, m message) (answer, net.Conn) {
	t.Helper()
	var conn net.Conn
	r := g.request(t, newCase(), m)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { conn = info.Conn },
	}))
	return g.do(t, client, r), conn
}

// TestConnectionAfterARefusal: it is kept if the body has been read or is small; on
// HTTP/2 always.
func TestConnectionAfterARefusal(t *testing.T) {
	eachTransport(t, func(t *testing.T, g *gateway) {
		genuine := github.message(t)
		small := genuine
		small.header = http.Header{"X-Hub-Signature-256": {"sha256=" + hmacHex("another", jsonBody)}}
		unsigned := message{path: github.path, body: []byte(jsonBody)}
		chunked := small
		chunked.chunked = true
		large := message{path: github.path, body: bytes.Repeat([]byte("x"), mebibyte)} // unsigned: refused unread

		for what, c := range map[string]struct {
			protocol string
			refused  message
		}{
			"HTTP/1.1, read":          {"HTTP/1.1", small},
			"HTTP/1.1, read, chunked": {"HTTP/1.1", chunked},
			"HTTP/1.1, small, unread": {"HTTP/1.1", unsigned},
			"HTTP/2, read":            {"HTTP/2", small},
			"HTTP/2, unread":          {"HTTP/2", large},
		} {
			t.Run(what, func(t *testing.T) {
				client := newClient(c.protocol == "HTTP/2")
				defer client.CloseIdleConnections()
				a, first := g.traced(t, client, c.refused)
				if a.status != http.StatusUnauthorized {
					t.Fatalf("answered %d, want 401", a.status)
				}
				b, second := g.traced(t, client, genuine)
				if b.status != http.StatusOK {
					t.Fatalf("the genuine delivery after it: answered %d, want 200", b.status)
				}
				if first != second {
					t.Error("the connection was not kept")
				}
			})
		}
		for what, head := range map[string][]string{
			"large": {length(16<<10 + 1)}, "chunked": {"Transfer-Encoding: chunked"}, "asked for": {length(10), "Expect: 100-continue"},
		} {
			t.Run("HTTP/1.1, unread, "+what, func(t *testing.T) {
				s := g.dial(t)
				s.head("POST", github.path, head...)
				if a := s.answer(); a.status != http.StatusUnauthorized || a.header.Get("Connection") != "close" {
					t.Errorf("answered %d, Connection %q; want 401 and close", a.status, a.header.Get("Connection"))
				}
			})
		}
	})
}

// TestPipelinedAfterARefusal: bytes of a refused body are never read as the next
// request.
func TestPipelinedAfterARefusal(t *testing.T) {
	eachTransport(t, func(t *testing.T, g *gateway) {
		id := newCase()
		hidden := "POST /plain?case=" + id + " HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n"
		s := g.dial(t)
		s.head("POST", github.path, length(len(hidden)+mebibyte/2))
		s.write(hidden)
		if a := s.answer(); a.status != http.StatusUnauthorized {
			t.Errorf("answered %d, want 401", a.status)
		}
		_ = s.SetReadDeadline(time.Now().Add(patience))
		if n, err := s.in.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Error("the body was read as a request: a second answer came")
		}
		s = g.dial(t)
		s.head("POST", github.path, length(len(hidden)))
		s.write(hidden)
		s.head("PUT", github.path, length(0))
		for _, want := range []int{http.StatusUnauthorized, http.StatusMethodNotAllowed} {
			if a := s.answer(); a.status != want || a.header.Get("Connection") == "close" {
				t.Errorf("answered %d, Connection %q; want %d and a connection that is kept", a.status, a.header.Get("Connection"), want)
			}
		}
		if n := len(g.app.got(id)); n != 0 {
			t.Errorf("app called %d times, want never", n)
		}
	})
}
