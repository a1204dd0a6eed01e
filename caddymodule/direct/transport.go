// Package direct is a transport for Caddy's reverse_proxy that sends a small request
// and reads its answer in the goroutine of the request.
//
// net/http's Transport hands each request to a goroutine that writes and to one that
// reads, because a request may be long and its answer may come before its end. A
// delivery is short and lies in memory: one write sends it, and the answer follows. So
// Transport takes the requests for which that is safe (direct says which), and leaves
// all others to Caddy's own HTTPTransport. Requests are written and answers parsed by
// the same functions of net/http in both: the framing is the same.
package direct

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"golang.org/x/net/http/httpguts"
)

// The values of Caddy's HTTPTransport.
const (
	dialTimeout    = 3 * time.Second
	probeInterval  = 30 * time.Second
	maxIdlePerHost = 32
	idleTimeout    = 2 * time.Minute
	maxHead        = 10 << 20
)

// maxMessage bounds a request that is written before its answer is read. Where it fits
// the buffers of the sockets, an app that answers before it reads cannot block the
// write: 8 KiB at either end in the smallest (unix sockets of macOS).
const maxMessage = 16 << 10

func init() { caddy.RegisterModule(new(Transport)) }

// Transport is the module http.reverse_proxy.transport.verify_webhook. It speaks plain
// HTTP/1.1 to the app, has no options, and does not ask for a compressed answer.
type Transport struct {
	stock reverseproxy.HTTPTransport

	mu     sync.Mutex
	closed bool
	idle   map[upstream][]*conn // the last was used last
}

type upstream struct{ network, address string }

// CaddyModule returns the Caddy module information.
func (*Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.verify_webhook", New: func() caddy.Module { return new(Transport) }}
}

// UnmarshalCaddyfile accepts the name of the transport alone.
func (*Transport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() || d.NextBlock(0) {
		return d.Errf("transport verify_webhook has no options, but got %s; use transport http for a transport with options", d.Val())
	}
	return nil
}

// TLSEnabled, EnableTLS and EnableH2C refuse upstreams with https:// and h2c://, which
// would be sent plain HTTP/1.1 otherwise.
func (*Transport) TLSEnabled() bool { return false }

func (*Transport) EnableTLS(*reverseproxy.TLSConfig) error {
	return errors.New("transport verify_webhook does not speak TLS; use transport http for an https:// upstream")
}

func (*Transport) EnableH2C() error {
	return errors.New("transport verify_webhook does not speak HTTP/2; use transport http for an h2c:// upstream")
}

// Provision sets up the transport for all other requests.
func (t *Transport) Provision(ctx caddy.Context) error { return t.stock.Provision(ctx) }

// Cleanup closes the idle connections. Those in use are closed at the end of their answers.
func (t *Transport) Cleanup() error {
	t.mu.Lock()
	idle := t.idle
	t.closed, t.idle = true, nil
	t.mu.Unlock()
	for _, conns := range idle {
		for _, c := range conns {
			c.close()
		}
	}
	return t.stock.Cleanup()
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.stock.SetScheme(req)
	info, ok := reverseproxy.GetDialInfo(req.Context())
	to := upstream{info.Network, info.Address}
	if !ok || !direct(req, to) {
		return t.stock.RoundTrip(req)
	}
	// The body is read only after this: reverse_proxy sends it to another upstream if
	// this one cannot be dialed.
	c, err := t.connect(req.Context(), to)
	if err != nil {
		req.Body.Close()
		return nil, err
	}
	return c.roundTrip(req)
}

// direct says whether a request is small, has its body's length, and asks for nothing
// but an answer. What net/http refuses, repeats or sends through HTTP_PROXY is not direct.
func direct(req *http.Request, to upstream) bool {
	switch to.network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return false
	}
	if !canProbe || req.URL.Scheme != "http" || req.URL.Host == "" || !httpguts.ValidHeaderFieldName(req.Method) ||
		req.Body == nil || req.ContentLength <= 0 || len(req.TransferEncoding) > 0 || len(req.Trailer) > 0 || req.Close ||
		req.GetBody != nil {
		return false
	}
	size := req.ContentLength + int64(len(req.Host)+len("%00")*len(req.URL.Path)+len(req.URL.RawQuery))
	for name, values := range req.Header {
		switch name {
		case "Connection", "Expect", "Upgrade":
			return false
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return false
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return false
			}
			size += int64(len(name) + len(": \r\n") + len(value))
		}
	}
	if size > maxMessage {
		return false
	}
	proxy, err := http.ProxyFromEnvironment(req)
	return proxy == nil && err == nil
}

// connect returns an idle connection that the app has neither closed nor written to, or
// a new one.
func (t *Transport) connect(ctx context.Context, to upstream) (*conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(to.address)
	}
	c := t.take(to)
	reused := c != nil
	if !reused {
		dialer := net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Interval: probeInterval}}
		nc, err := dialer.DialContext(ctx, to.network, to.address)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, reverseproxy.NewDialError(err)
		}
		c = newConn(t, to, nc)
	}
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: c.Conn, Reused: reused, WasIdle: reused})
	}
	return c, nil
}

func (t *Transport) take(to upstream) *conn {
	for {
		t.mu.Lock()
		conns := t.idle[to]
		if len(conns) == 0 {
			t.mu.Unlock()
			return nil
		}
		c := conns[len(conns)-1]
		t.removeLocked(to, len(conns)-1)
		t.mu.Unlock()
		c.expiry.Stop()
		if c.untouched() {
			return c
		}
		c.close()
	}
}

func (t *Transport) put(c *conn) {
	t.mu.Lock()
	kept := !t.closed && len(t.idle[c.to]) < maxIdlePerHost
	if kept {
		if t.idle == nil {
			t.idle = make(map[upstream][]*conn)
		}
		t.idle[c.to] = append(t.idle[c.to], c)
		c.expiry.Reset(idleTimeout)
	}
	t.mu.Unlock()
	if !kept {
		c.close()
	}
}

// expire closes a connection that is still idle.
func (t *Transport) expire(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, idle := range t.idle[c.to] {
		if idle == c {
			t.removeLocked(c.to, i)
			c.close()
			return
		}
	}
}

func (t *Transport) removeLocked(to upstream, i int) {
	conns := t.idle[to]
	copy(conns[i:], conns[i+1:])
	conns[len(conns)-1] = nil
	if t.idle[to] = conns[:len(conns)-1]; len(conns) == 1 {
		delete(t.idle, to)
	}
}

// Interface guards
var (
	_ caddy.Provisioner         = (*Transport)(nil)
	_ caddy.CleanerUpper        = (*Transport)(nil)
	_ caddyfile.Unmarshaler     = (*Transport)(nil)
	_ http.RoundTripper         = (*Transport)(nil)
	_ reverseproxy.TLSTransport = (*Transport)(nil)
	_ reverseproxy.H2CTransport = (*Transport)(nil)
)
