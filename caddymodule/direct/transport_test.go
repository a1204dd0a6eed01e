//go:build unix

package direct

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// An app answers each connection with a script.
type app struct {
	network, address string
	conns            atomic.Int32
}

// A visit is one connection to an app; n counts them from 1.
type visit struct {
	net.Conn
	r   *bufio.Reader
	raw bytes.Buffer
	n   int
}

// request reads a request with its body, and returns its bytes; none: the end.
func (v *visit) request() string {
	v.raw.Reset()
	r := bufio.NewReader(io.TeeReader(v.r, &v.raw))
	req, err := http.ReadRequest(r)
	if err == nil {
		_, err = io.Copy(io.Discard, req.Body)
	}
	if err != nil {
		return ""
	}
	return v.raw.String()
}

func newApp(t testing.TB, script func(*visit)) *app {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, l, script)
}

func serve(t testing.TB, l net.Listener, script func(*visit)) *app {
	a := &app{network: l.Addr().Network(), address: l.Addr().String()}
	var done sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			v := &visit{Conn: c, r: bufio.NewReader(c), n: int(a.conns.Add(1))}
			done.Go(func() {
				defer c.Close()
				script(v)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		done.Wait()
	})
	return a
}

// answering reads each request and writes text; it closes if the text is the last.
func answering(text string, last bool) func(*visit) {
	return func(v *visit) {
		for v.request() != "" {
			if _, err := io.WriteString(v, text); err != nil || last {
				return
			}
		}
	}
}

func (a *app) request(ctx context.Context, body string) *http.Request {
	ctx = context.WithValue(ctx, caddy.CtxKey("reverse_proxy.dial_info"), reverseproxy.DialInfo{Network: a.network, Address: a.address})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://app/hooks/a?b=c", io.NopCloser(strings.NewReader(body)))
	if err != nil {
		panic(err)
	}
	req.Host = "hooks.example.com"
	req.URL.Host = a.address // of a socket it is a path
	req.ContentLength = int64(len(body))
	req.Header = http.Header{"User-Agent": {""}, "Accept-Encoding": {"identity"}, "Content-Type": {"application/json"}}
	return req
}

func provision(t testing.TB, tr interface {
	caddy.Provisioner
	caddy.CleanerUpper
	http.RoundTripper
}) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := tr.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Cleanup() })
}

func newDirect(t testing.TB) *Transport {
	tr := new(Transport)
	provision(t, tr)
	return tr
}

func newStock(t testing.TB) http.RoundTripper {
	tr := new(reverseproxy.HTTPTransport)
	provision(t, tr)
	return tr
}

// An outcome is what reverse_proxy sees of a round trip.
type outcome struct {
	Status        int
	Header        http.Header
	Length        int64
	Body          string
	Trailer       http.Header
	Informational []int
	Err, BodyErr  string
}

func try(tr http.RoundTripper, req *http.Request) (o outcome) {
	var mu sync.Mutex
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		mu.Lock()
		defer mu.Unlock()
		o.Informational = append(o.Informational, code)
		return nil
	}}
	resp, err := tr.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		o.Err = kind(err)
		return o
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	o.Status, o.Header, o.Length, o.Body, o.Trailer, o.BodyErr = resp.StatusCode, resp.Header, resp.ContentLength, string(body), resp.Trailer, kind(err)
	return o
}

// kind keeps of an error what Caddy and the gateway look at.
func kind(err error) string {
	var dial reverseproxy.DialError
	netErr, isNet := err.(net.Error)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &dial):
		return "dial"
	case err == context.Canceled:
		return "canceled"
	case isNet && netErr.Timeout():
		return "timeout"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "unexpected EOF"
	case errors.Is(err, io.EOF):
		return "EOF"
	default:
		return "other"
	}
}

const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

// TestAnswersAreThoseOfTheStockTransport makes two requests through each.
func TestAnswersAreThoseOfTheStockTransport(t *testing.T) {
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	for _, c := range []struct {
		name   string
		method string
		script func(*visit)
		conns  int32 // for both
		want   outcome
	}{
		{name: "Content-Length", script: answering(hello, false), conns: 1, want: outcome{Status: 200, Body: "hello"}},
		{name: "a failure with a body", script: answering("HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 5\r\n\r\nlater", false), conns: 1, want: outcome{Status: 503, Body: "later"}},
		{name: "chunked", script: answering(chunked+"\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", false), conns: 1, want: outcome{Status: 200, Body: "hello"}},
		{name: "trailers", script: answering(chunked+"Trailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n", false), conns: 1, want: outcome{Status: 200, Body: "hello"}},
		{name: "no body", script: answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false), conns: 1, want: outcome{Status: 200}},
		{name: "HEAD with a body", method: "HEAD", script: answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false), conns: 1, want: outcome{Status: 200}},
		{name: "204", script: answering("HTTP/1.1 204 No Content\r\n\r\n", false), conns: 1, want: outcome{Status: 204}},
		{name: "304 with a length", script: answering("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false), conns: 1, want: outcome{Status: 304}},
		{name: "until close", script: answering("HTTP/1.1 200 OK\r\n\r\nhello", true), conns: 2, want: outcome{Status: 200, Body: "hello"}},
		{name: "HTTP/1.0", script: answering("HTTP/1.0 200 OK\r\n\r\nhello", true), conns: 2, want: outcome{Status: 200, Body: "hello"}},
		{name: "Connection: close", script: answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", true), conns: 2, want: outcome{Status: 200, Body: "hello"}},
		{name: "1xx", script: answering("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+hello, false), conns: 1, want: outcome{Status: 200, Body: "hello", Informational: []int{102, 103}}},
		{name: "one byte at a time", script: byBytes, conns: 1, want: outcome{Status: 200, Body: "hello"}},
		{name: "an early answer with close", script: early, conns: 2, want: outcome{Status: 413}},
		{name: "close after the request", script: answering("", true), conns: 2, want: outcome{Err: "EOF"}},
		{name: "close in the head", script: answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", true), conns: 2, want: outcome{Err: "unexpected EOF"}},
		{name: "close in the body", script: answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", true), conns: 2, want: outcome{Status: 200, Body: "hello", BodyErr: "unexpected EOF"}},
		{name: "close in a chunk", script: answering(chunked+"\r\n9\r\nhello", true), conns: 2, want: outcome{Status: 200, Body: "hello", BodyErr: "unexpected EOF"}},
		{name: "garbage", script: answering("SSH-2.0-OpenSSH\r\n\r\n", true), conns: 2, want: outcome{Err: "other"}},
		{name: "a broken length", script: answering("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", true), conns: 2, want: outcome{Err: "other"}},
		{name: "two lengths", script: answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", true), conns: 2, want: outcome{Err: "other"}},
		{name: "an unknown coding", script: answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: xor\r\n\r\nhello", true), conns: 2, want: outcome{Err: "other"}},
		{name: "a broken chunk", script: answering(chunked+"\r\nz\r\nhello\r\n0\r\n\r\n", true), conns: 2, want: outcome{Status: 200, BodyErr: "other"}},
		{name: "an endless head", script: endless, conns: 2, want: outcome{Err: "other"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := func(a *app) *http.Request {
				req := a.request(t.Context(), `{"a":1}`)
				req.Method = cmp.Or(c.method, req.Method)
				return req
			}
			for name, tr := range map[string]http.RoundTripper{"stock": newStock(t), "direct": newDirect(t)} {
				a := newApp(t, c.script)
				for range 2 {
					req := request(a)
					if !direct(req, upstream{a.network, a.address}) {
						t.Fatal("the request is not direct")
					}
					got := try(tr, req)
					want := c.want
					want.Header, want.Trailer, want.Length = got.Header, got.Trailer, got.Length
					if !reflect.DeepEqual(got, want) {
						t.Errorf("%s: got %+v, want %+v", name, got, want)
					}
				}
				if n := a.conns.Load(); n != c.conns {
					t.Errorf("%s: %d connections, want %d", name, n, c.conns)
				}
			}
			// What the table does not spell out is the same.
			a := newApp(t, c.script)
			stock, ours := try(newStock(t), request(a)), try(newDirect(t), request(a))
			if !reflect.DeepEqual(stock, ours) {
				t.Errorf("stock %+v, direct %+v", stock, ours)
			}
		})
	}
}

func byBytes(v *visit) {
	for v.request() != "" {
		for i := range hello {
			io.WriteString(v, hello[i:i+1])
		}
	}
}

// early answers after the head, and reads the rest so that its close is no reset.
func early(v *visit) {
	if _, err := v.r.ReadString('\n'); err != nil {
		return
	}
	io.WriteString(v, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	v.Conn.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, v.r)
}

func endless(v *visit) {
	if v.request() == "" {
		return
	}
	io.WriteString(v, "HTTP/1.1 200 OK\r\n")
	line := []byte("X: " + strings.Repeat("x", 64<<10) + "\r\n")
	for range 2 * maxHead / len(line) {
		if _, err := v.Write(line); err != nil {
			return
		}
	}
}

// TestAppReceivesTheSameBytes: the stock transport adds Accept-Encoding: gzip by itself
// where the request has none, and decompresses the answer. This one does not.
func TestAppReceivesTheSameBytes(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"as it is":      func(*http.Request) {},
		"no encoding":   func(r *http.Request) { r.Header.Del("Accept-Encoding") },
		"a user agent":  func(r *http.Request) { r.Header.Set("User-Agent", "Sender/1.0") },
		"no user agent": func(r *http.Request) { r.Header.Del("User-Agent") },
		"many headers": func(r *http.Request) {
			r.Header["X-A"], r.Header["x-lower"], r.Header["Te"] = []string{"1", "2", "", " a "}, []string{"é\xff\t"}, []string{"trailers"}
		},
		"another length": func(r *http.Request) { r.Header["Content-Length"] = []string{"999"} },
		"a coding":       func(r *http.Request) { r.Header["Transfer-Encoding"] = []string{"chunked"} },
		"PUT":            func(r *http.Request) { r.Method = "PUT" },
		"a path": func(r *http.Request) {
			r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/a/b ü", "/a%2Fb%20%C3%BC", "x=%0a&y"
		},
		"a host":  func(r *http.Request) { r.Host = "a b" },
		"no host": func(r *http.Request) { r.Host = "" },
	} {
		t.Run(name, func(t *testing.T) {
			var sent [2]string
			for i, tr := range []http.RoundTripper{newStock(t), newDirect(t)} {
				got := make(chan string, 1)
				a := newApp(t, func(v *visit) {
					got <- v.request()
					io.WriteString(v, hello)
				})
				req := a.request(t.Context(), `{"a":1}`)
				change(req)
				if !direct(req, upstream{a.network, a.address}) {
					t.Fatal("the request is not direct")
				}
				if o := try(tr, req); o.Body != "hello" {
					t.Fatalf("%+v", o)
				}
				sent[i] = strings.ReplaceAll(<-got, a.address, "APP")
			}
			if stock := strings.Replace(sent[0], "Accept-Encoding: gzip\r\n", "", 1); stock != sent[1] {
				t.Errorf("stock  %q\ndirect %q", stock, sent[1])
			}
		})
	}
}

func TestOnlySmallPlainRequestsAreDirect(t *testing.T) {
	tcp := upstream{"tcp", "127.0.0.1:3000"}
	a := &app{network: tcp.network, address: tcp.address}
	for name, change := range map[string]func(*http.Request, *upstream){
		"https":              func(r *http.Request, _ *upstream) { r.URL.Scheme = "https" },
		"no address":         func(r *http.Request, _ *upstream) { r.URL.Host = "" },
		"another network":    func(_ *http.Request, to *upstream) { to.network = "udp" },
		"an upgrade":         func(r *http.Request, _ *upstream) { r.Header.Set("Upgrade", "websocket") },
		"Connection":         func(r *http.Request, _ *upstream) { r.Header.Set("Connection", "close") },
		"Close":              func(r *http.Request, _ *upstream) { r.Close = true },
		"Expect":             func(r *http.Request, _ *upstream) { r.Header.Set("Expect", "100-continue") },
		"trailers":           func(r *http.Request, _ *upstream) { r.Trailer = http.Header{"X-Sum": nil} },
		"no body":            func(r *http.Request, _ *upstream) { r.Body, r.ContentLength = nil, 0 },
		"unknown length":     func(r *http.Request, _ *upstream) { r.ContentLength = -1 },
		"chunked":            func(r *http.Request, _ *upstream) { r.TransferEncoding = []string{"chunked"} },
		"repeatable":         func(r *http.Request, _ *upstream) { r.GetBody = func() (io.ReadCloser, error) { return nil, nil } },
		"a large body":       func(r *http.Request, _ *upstream) { r.ContentLength = maxMessage },
		"a large head":       func(r *http.Request, _ *upstream) { r.Header.Set("X-A", strings.Repeat("a", maxMessage)) },
		"a long query":       func(r *http.Request, _ *upstream) { r.URL.RawQuery = strings.Repeat("a", maxMessage) },
		"an invalid method":  func(r *http.Request, _ *upstream) { r.Method = "PO ST" },
		"an invalid name":    func(r *http.Request, _ *upstream) { r.Header["X A"] = []string{"1"} },
		"a value of 2 lines": func(r *http.Request, _ *upstream) { r.Header["X-A"] = []string{"1\r\nX-B: 2"} },
	} {
		req, to := a.request(t.Context(), "{}"), tcp
		if !direct(req, to) {
			t.Fatal("the plain request is not direct")
		}
		if change(req, &to); direct(req, to) {
			t.Errorf("%s: direct", name)
		}
	}
}

// TestOtherRequestsTakeTheStockTransport: what it answers is reverse_proxy's business.
func TestOtherRequestsTakeTheStockTransport(t *testing.T) {
	tr := newDirect(t)
	big := strings.Repeat("b", 1<<20)
	a := newApp(t, answering(hello, false))
	for name, change := range map[string]func(*http.Request){
		"GET": func(r *http.Request) { r.Method, r.Body, r.ContentLength = "GET", nil, 0 },
		"a big body": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(big)), int64(len(big))
		},
		"chunked": func(r *http.Request) { r.ContentLength = -1 },
	} {
		req := a.request(t.Context(), "{}")
		change(req)
		if o := try(tr, req); o.Status != 200 || o.Body != "hello" {
			t.Errorf("%s: %+v", name, o)
		}
	}
	req := a.request(t.Context(), "{}")
	req.Header["X-A"] = []string{"1\r\nX-B: 2"}
	if _, err := tr.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "X-A") {
		t.Errorf("a header of two lines: %v", err)
	}
	if len(tr.idle) != 0 {
		t.Error("one was sent directly")
	}

	switching := newApp(t, answering("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", false))
	req = switching.request(t.Context(), "{}")
	req.Header["Connection"], req.Header["Upgrade"] = []string{"Upgrade"}, []string{"x"}
	resp, err := tr.RoundTrip(req)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("an upgrade: %v, %v", resp, err)
	}
	if _, both := resp.Body.(io.ReadWriteCloser); !both {
		t.Error("an upgrade's body cannot be written")
	}
	resp.Body.Close()
}

func TestSwitchedProtocolsAndStatusesBelow100AreErrors(t *testing.T) {
	for _, head := range []string{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 099 Odd\r\n\r\n"} {
		tr, a := newDirect(t), newApp(t, answering(head, false))
		if o := try(tr, a.request(t.Context(), "{}")); o.Err != "other" || len(tr.idle) != 0 {
			t.Errorf("%q: %+v, idle %v", head, o, tr.idle)
		}
	}
}

func TestErrorsHoldNothingOfTheAnswer(t *testing.T) {
	for _, text := range []string{"s3cret\r\n\r\n", "HTTP/1.1 s3cret\r\n\r\n", "HTTP/1.1 200 OK\r\ns3cret\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: s3cret\r\n\r\n", "s3cret"} {
		a := newApp(t, answering(text, true))
		_, err := newDirect(t).RoundTrip(a.request(t.Context(), "{}"))
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestSecondAnswerNeverAnswersAnotherRequest: it comes with the first, or before the
// next request.
func TestSecondAnswerNeverAnswersAnotherRequest(t *testing.T) {
	right := func(v *visit) string { return strings.Replace(hello, "hello", fmt.Sprintf("no. %d", v.n), 1) }
	wrong := strings.Replace(hello, "hello", "wrong", 1)
	t.Run("with the first", func(t *testing.T) {
		a := newApp(t, func(v *visit) {
			for v.request() != "" {
				io.WriteString(v, right(v)+wrong)
			}
		})
		tr := newDirect(t)
		for n := 1; n <= 9; n++ {
			if o := try(tr, a.request(t.Context(), "{}")); o.Body != fmt.Sprintf("no. %d", n) {
				t.Fatalf("request %d: %+v", n, o)
			}
		}
	})
	t.Run("before the next request", func(t *testing.T) {
		second := make(chan bool)
		a := newApp(t, func(v *visit) {
			for v.request() != "" {
				io.WriteString(v, right(v))
				if <-second {
					io.WriteString(v, wrong)
				}
			}
		})
		tr := newDirect(t)
		for n := 1; n <= 3; n++ {
			if o := try(tr, a.request(t.Context(), "{}")); o.Body != fmt.Sprintf("no. %d", n) {
				t.Fatalf("request %d: %+v", n, o)
			}
			second <- true
			awaitTouched(t, tr, a)
		}
		close(second)
	})
}

// awaitTouched returns when what the app did has reached the idle connection. It peeks,
// so that the transport itself finds it.
func awaitTouched(t *testing.T, tr *Transport, a *app) {
	t.Helper()
	conns := tr.idle[upstream{a.network, a.address}]
	if len(conns) != 1 {
		t.Fatalf("%d idle connections", len(conns))
	}
	if err := conns[0].raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return err != syscall.EAGAIN && err != syscall.EWOULDBLOCK
	}); err != nil {
		t.Fatal(err)
	}
}

// TestConnectionThatTheAppClosedFailsNoDelivery holds for a reset, too.
func TestConnectionThatTheAppClosedFailsNoDelivery(t *testing.T) {
	for _, linger := range []int{-1, 0} {
		end := make(chan bool)
		a := newApp(t, func(v *visit) {
			v.request()
			io.WriteString(v, hello)
			<-end
			v.Conn.(*net.TCPConn).SetLinger(linger)
		})
		tr := newDirect(t)
		for n := int32(1); n <= 3; n++ {
			if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" || a.conns.Load() != n {
				t.Fatalf("request %d of %d connections: %+v", n, a.conns.Load(), o)
			}
			end <- true
			awaitTouched(t, tr, a)
		}
	}
}

// TestAppThatIsGoneIsADialError: the body is unread then, so that reverse_proxy can send
// it to another upstream, also when an idle connection was left.
func TestAppThatIsGoneIsADialError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan bool)
	a := serve(t, l, func(v *visit) {
		v.request()
		io.WriteString(v, hello)
		<-end
	})
	tr := newDirect(t)
	if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" {
		t.Fatalf("%+v", o)
	}
	l.Close()
	end <- true
	awaitTouched(t, tr, a)
	for range 2 {
		body := &closing{Reader: strings.NewReader("whole")}
		req := a.request(t.Context(), "whole")
		req.Body = body
		if o := try(tr, req); o.Err != "dial" {
			t.Errorf("%+v", o)
		}
		if rest, _ := io.ReadAll(body.Reader); string(rest) != "whole" || !body.closed {
			t.Errorf("body %q is left, closed: %v", rest, body.closed)
		}
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// TestErrorOfTheBodyIsReturnedAsItIs: Caddy looks at its type. The app sees nothing of
// such a request.
func TestErrorOfTheBodyIsReturnedAsItIs(t *testing.T) {
	broken := errors.New("the sender hung up")
	for name, c := range map[string]struct {
		body io.Reader
		want func(error) bool
	}{
		"broken": {io.MultiReader(strings.NewReader("who"), &failing{broken}), func(err error) bool { return err == broken }},
		"short":  {strings.NewReader("who"), func(err error) bool { return err != nil }},
		"long":   {strings.NewReader("whole and more"), func(err error) bool { return err != nil }},
	} {
		a := newApp(t, func(v *visit) {
			if got := v.request(); got != "" {
				t.Errorf("%s: the app received %q", name, got)
			}
		})
		tr, body := newDirect(t), &closing{Reader: c.body}
		req := a.request(t.Context(), "whole")
		req.Body = body
		if _, err := tr.RoundTrip(req); !c.want(err) || !body.closed {
			t.Errorf("%s: %v, closed: %v", name, err, body.closed)
		}
		tr.Cleanup()
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestCancellationEndsTheWaitWithItsCause(t *testing.T) {
	cause := errors.New("upstream_timeout")
	for _, head := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "HTTP/1.1 200 OK\r\n\r\nhello"} {
		for name, tr := range map[string]http.RoundTripper{"stock": newStock(t), "direct": newDirect(t)} {
			for _, cause := range []error{context.Canceled, context.DeadlineExceeded, cause} {
				waiting, end := make(chan bool), make(chan bool)
				a := newApp(t, func(v *visit) {
					if v.request() == "" {
						return
					}
					io.WriteString(v, head)
					waiting <- true
					<-end
				})
				ctx, cancel := context.WithCancelCause(t.Context())
				stopped := make(chan bool)
				go func() {
					defer close(stopped)
					<-waiting
					if !strings.HasSuffix(head, "hello") {
						cancel(cause)
					}
				}()
				resp, err := tr.RoundTrip(a.request(ctx, "{}"))
				if err == nil {
					_, err = io.ReadFull(resp.Body, make([]byte, len("hello")))
					if err == nil {
						<-stopped
						cancel(cause)
						_, err = io.ReadAll(resp.Body)
					}
					resp.Body.Close()
				}
				if err != cause {
					t.Errorf("%s after %q: %v, want %v", name, head, err, cause)
				}
				<-stopped
				close(end)
				if ours, ok := tr.(*Transport); ok && len(ours.idle) != 0 {
					t.Errorf("after %q its connection is kept", head)
				}
				cancel(nil)
			}
		}
	}
}

func TestCanceledRequestIsNotSent(t *testing.T) {
	a := newApp(t, func(v *visit) { t.Error("connected") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := &closing{Reader: strings.NewReader("{}")}
	req := a.request(ctx, "{}")
	req.Body = body
	if o := try(newDirect(t), req); o.Err != "canceled" || !body.closed {
		t.Errorf("%+v, closed: %v", o, body.closed)
	}
}

// TestAnswerThatIsNotReadToItsEndClosesTheConnection, and so does one that is read later
// than its request is canceled.
func TestAnswerThatIsNotReadToItsEndClosesTheConnection(t *testing.T) {
	closed := make(chan bool, 2)
	a := newApp(t, func(v *visit) {
		v.request()
		io.WriteString(v, hello)
		v.request()
		closed <- true
	})
	tr := newDirect(t)
	resp, err := tr.RoundTrip(a.request(t.Context(), "{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	<-closed

	ctx, cancel := context.WithCancel(t.Context())
	if resp, err = tr.RoundTrip(a.request(ctx, "{}")); err != nil {
		t.Fatal(err)
	}
	cancel()
	io.ReadAll(resp.Body)
	<-closed
	resp.Body.Close()
	if len(tr.idle) != 0 {
		t.Error("it is kept")
	}
}

// TestBrokenAnswerClosesTheConnection, also if the app keeps it open.
func TestBrokenAnswerClosesTheConnection(t *testing.T) {
	a := newApp(t, answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", false))
	tr := newDirect(t)
	if o := try(tr, a.request(t.Context(), "{}")); o.BodyErr != "other" || len(tr.idle) != 0 {
		t.Errorf("%+v, idle: %v", o, tr.idle)
	}
}

// TestAnswerIsReadAlthoughTheWriteFailed: such a connection is not used again.
func TestAnswerIsReadAlthoughTheWriteFailed(t *testing.T) {
	broken := &net.OpError{Op: "write", Err: syscall.EPIPE}
	for answer, want := range map[string]outcome{
		"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n": {Status: 413},
		"": {Err: "other"},
	} {
		tr := newDirect(t)
		a := &app{network: "tcp", address: "127.0.0.1:1"}
		c := newConn(tr, upstream{a.network, a.address}, &brokenPipe{in: strings.NewReader(answer), err: broken})
		resp, err := c.roundTrip(a.request(t.Context(), "{}"))
		if want.Err != "" {
			if err != broken {
				t.Errorf("%v", err)
			}
		} else if err != nil || resp.StatusCode != want.Status {
			t.Errorf("%v, %v", resp, err)
		}
		if len(tr.idle) != 0 {
			t.Error("it is kept")
		}
	}
}

type brokenPipe struct {
	net.Conn
	in  io.Reader
	err error
}

func (b *brokenPipe) Read(p []byte) (int, error)  { return b.in.Read(p) }
func (b *brokenPipe) Write(p []byte) (int, error) { return 0, b.err }
func (b *brokenPipe) Close() error                { return nil }

func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "direct")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	a := serve(t, l, answering(hello, false))
	tr := newDirect(t)
	for range 2 {
		if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" {
			t.Errorf("%+v", o)
		}
	}
	if a.conns.Load() != 1 || len(tr.idle) != 1 {
		t.Errorf("%d connections, idle %v", a.conns.Load(), tr.idle)
	}
}

func TestAtMost32ConnectionsIdle(t *testing.T) {
	a := newApp(t, answering(hello, false))
	tr := newDirect(t)
	var bodies []io.ReadCloser
	for range maxIdlePerHost + 3 {
		resp, err := tr.RoundTrip(a.request(t.Context(), "{}"))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, resp.Body)
	}
	for _, b := range bodies {
		io.ReadAll(b)
		b.Close()
	}
	if n := len(tr.idle[upstream{a.network, a.address}]); n != maxIdlePerHost {
		t.Errorf("%d are idle", n)
	}
}

func TestIdleConnectionExpires(t *testing.T) {
	closed := make(chan bool)
	a := newApp(t, func(v *visit) {
		for v.request() != "" {
			io.WriteString(v, hello)
		}
		closed <- true
	})
	tr := newDirect(t)
	if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" {
		t.Fatalf("%+v", o)
	}
	c := tr.idle[upstream{a.network, a.address}][0]
	if !c.expiry.Reset(0) {
		t.Error("no timer ran")
	}
	<-closed
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.idle) != 0 {
		t.Errorf("idle: %v", tr.idle)
	}
}

// TestConnectionInUseDoesNotExpire: the timer may fire while it is taken.
func TestConnectionInUseDoesNotExpire(t *testing.T) {
	a := newApp(t, answering(hello, false))
	tr := newDirect(t)
	resp, err := tr.RoundTrip(a.request(t.Context(), "{}"))
	if err != nil {
		t.Fatal(err)
	}
	tr.expire(resp.Body.(*body).c)
	if text, err := io.ReadAll(resp.Body); string(text) != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

func TestCleanupClosesConnections(t *testing.T) {
	closed := make(chan int, 3)
	a := newApp(t, func(v *visit) {
		for v.request() != "" {
			io.WriteString(v, hello)
		}
		closed <- v.n
	})
	tr := newDirect(t)
	inFlight, err := tr.RoundTrip(a.request(t.Context(), "{}"))
	if err != nil {
		t.Fatal(err)
	}
	if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" {
		t.Fatalf("%+v", o)
	}
	if err := tr.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if n := <-closed; n != 2 {
		t.Errorf("connection %d is closed, want the idle one", n)
	}
	if text, err := io.ReadAll(inFlight.Body); string(text) != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	<-closed
	if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" {
		t.Errorf("afterwards: %+v", o)
	}
	<-closed
}

func TestTraceHooks(t *testing.T) {
	a := newApp(t, answering(hello, false))
	for name, tr := range map[string]http.RoundTripper{"stock": newStock(t), "direct": newDirect(t)} {
		var called []string
		var mu sync.Mutex
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			called = append(called, what)
		}
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GetConn:              func(at string) { note("get") },
			GotConn:              func(i httptrace.GotConnInfo) { note(fmt.Sprint("got, reused: ", i.Reused)) },
			ConnectStart:         func(string, string) { note("dial") },
			WroteHeaders:         func() { note("headers") },
			WroteRequest:         func(i httptrace.WroteRequestInfo) { note(fmt.Sprint("request: ", i.Err)) },
			GotFirstResponseByte: func() { note("answer") },
		})
		for range 2 {
			if o := try(tr, a.request(ctx, "{}")); o.Body != "hello" {
				t.Fatalf("%+v", o)
			}
		}
		want := []string{"get", "dial", "got, reused: false", "headers", "request: <nil>", "answer", "get", "got, reused: true", "headers", "request: <nil>", "answer"}
		if !slices.Equal(called, want) {
			t.Errorf("%s: %q", name, called)
		}
	}
}

// TestHookThatFailsEndsTheRequest is what net/http says of Got1xxResponse.
func TestHookThatFailsEndsTheRequest(t *testing.T) {
	failed := errors.New("no")
	a := newApp(t, answering("HTTP/1.1 103 Early Hints\r\n\r\n"+hello, false))
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { return failed }})
	if _, err := newDirect(t).RoundTrip(a.request(ctx, "{}")); err != failed {
		t.Error(err)
	}
}

// TestRequestIsLeftAsItWas: reverse_proxy may send it again.
func TestRequestIsLeftAsItWas(t *testing.T) {
	a := newApp(t, answering(hello, false))
	req := a.request(t.Context(), "{}")
	body, header, url := req.Body, req.Header.Clone(), *req.URL
	if o := try(newDirect(t), req); o.Body != "hello" {
		t.Fatalf("%+v", o)
	}
	if req.Body != body || !maps.EqualFunc(req.Header, header, slices.Equal) || *req.URL != url {
		t.Errorf("%+v", req)
	}
}

// TestConcurrentRequestsGetTheirOwnAnswers ends some of them early.
func TestConcurrentRequestsGetTheirOwnAnswers(t *testing.T) {
	a := newApp(t, func(v *visit) {
		for {
			text := v.request()
			if text == "" {
				return
			}
			_, body, _ := strings.Cut(text, "\r\n\r\n")
			fmt.Fprintf(v, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	tr := newDirect(t)
	var wg sync.WaitGroup
	for worker := range 4 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				want := fmt.Sprintf(`{"worker":%d,"n":%d}`, worker, n)
				resp, err := tr.RoundTrip(a.request(ctx, want))
				if err != nil {
					t.Error(err)
					cancel()
					return
				}
				switch n % 5 {
				case 0:
					cancel()
				case 1:
					resp.Body.Close()
				}
				if got, err := io.ReadAll(resp.Body); err == nil && string(got) != want {
					t.Errorf("got %s, want %s", got, want)
				}
				resp.Body.Close()
				cancel()
			}
		})
	}
	wg.Wait()
}

func BenchmarkDirect(b *testing.B) { benchmark(b, newDirect(b)) }
func BenchmarkStock(b *testing.B)  { benchmark(b, newStock(b)) }

func benchmark(b *testing.B, tr http.RoundTripper) {
	buf := strings.Repeat("b", 1024)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })}
	go server.Serve(l)
	b.Cleanup(func() { server.Close() })
	a := &app{network: "tcp", address: l.Addr().String()}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithCancel(context.Background())
		resp, err := tr.RoundTrip(a.request(ctx, buf))
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		cancel()
	}
}
