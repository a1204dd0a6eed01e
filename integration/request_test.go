package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// protocols are those that the tests of requests go through.
var protocols = []string{"HTTP/1.1", "HTTP/2"}

func (g *gateway) client(protocol string) *http.Client {
	if protocol == "HTTP/2" {
		return g.h2
	}
	return g.h1
}

// newClient speaks HTTP/1.1, or HTTP/2 without TLS and without asking first.
func newClient(h2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetUnencryptedHTTP2(h2)
	return &http.Client{
		Transport:     &http.Transport{Protocols: protocols, DisableCompression: true, MaxIdleConnsPerHost: 64},
		Timeout:       2 * patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

var cases atomic.Int64

// newCase names what one test sends, so that it finds it again at the app.
func newCase() string { return fmt.Sprintf("c%d", cases.Add(1)) }

// A message is a request to send.
type message struct {
	method  string // default POST
	path    string
	header  http.Header
	body    []byte
	chunked bool // on HTTP/1.1; on HTTP/2: without content-length
	trailer http.Header
}

// An answer is what a sender got.
type answer struct {
	status int
	header http.Header
	body   string
}

// outside is the answer as a sender can tell it from another one.
func (a answer) outside() string {
	header := maps.Clone(a.header)
	delete(header, "Date")
	delete(header, "Connection")
	return fmt.Sprintf("%d %v %q", a.status, header, a.body)
}

// request builds an HTTP request of a case.
func (g *gateway) request(t testing.TB, id string, m message) *http.Request {
	t.Helper()
	var body io.Reader = bytes.NewReader(m.body)
	if m.chunked || m.trailer != nil {
		body = io.MultiReader(body) // hides the length
	}
	method := m.method
	if method == "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.address+m.path+"?case="+id, body)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, m.header)
	r.Trailer = m.trailer
	return r
}

// send sends a message and returns the answer and what the app got of it.
func (g *gateway) send(t testing.TB, protocol string, m message) (answer, []arrival) {
	t.Helper()
	id := newCase()
	return g.do(t, g.client(protocol), g.request(t, id, m)), g.app.got(id)
}

func (g *gateway) do(t testing.TB, client *http.Client, r *http.Request) answer {
	t.Helper()
	resp, err := g.roundTrip(client, r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return read(t, resp)
}

func read(t testing.TB, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// A socket is one HTTP/1.1 connection on which a test writes bytes itself.
type socket struct {
	t testing.TB
	*net.TCPConn
	in *bufio.Reader
}

// dial opens a connection that ends with the test.
func (g *gateway) dial(t testing.TB) *socket {
	t.Helper()
	conn, err := net.DialTimeout("tcp", g.address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &socket{t, conn.(*net.TCPConn), bufio.NewReader(conn)}
}

// head writes a request line and headers, one a line, and the empty line.
func (s *socket) head(method, target string, lines ...string) {
	s.t.Helper()
	s.write(method + " " + target + " HTTP/1.1\r\nHost: gateway\r\n" + strings.Join(append(lines, "", ""), "\r\n"))
}

func (s *socket) write(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		s.t.Fatalf("writing: %v", err)
	}
}

// answer reads the next response that is not a 1xx.
func (s *socket) answer() answer {
	s.t.Helper()
	for {
		resp, err := http.ReadResponse(s.in, nil)
		if err != nil {
			s.t.Fatalf("no answer: %v", err)
		}
		if resp.StatusCode >= 200 {
			a := read(s.t, resp)
			if resp.Close {
				a.header.Set("Connection", "close") // ReadResponse takes it away
			}
			return a
		}
	}
}

// lines writes headers as lines, in the order of their names.
func lines(h http.Header) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			all = append(all, name+": "+value)
		}
	}
	return all
}

func length(n int) string { return fmt.Sprintf("Content-Length: %d", n) }
