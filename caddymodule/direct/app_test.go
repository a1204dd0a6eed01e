//go:build unix

package direct

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
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
