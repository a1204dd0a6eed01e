// Package attempt makes the requests to the app for which no sender waits.
//
// [Record] converts a verified request to an [inbox.Delivery]. [Send] rebuilds the
// request and sends it through a Caddy server, in this process: through the same
// routes, proxy, logs and metrics as on receipt. The handler that verified it finds
// it with [Take], skips verification, and reports the app's answer with
// [Return.Ends]. A request from outside cannot pass as one: it is marked by a value
// in its context.
//
// [Apart] makes an independent request for the first attempt, so that it can continue
// after the server has answered the sender and reclaimed the connection's resources.
//
// The package verifies nothing and decides nothing about retries.
package attempt

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A Return is a stored delivery on its way back to its handler.
type Return struct {
	*inbox.Attempt

	taken  atomic.Bool
	result inbox.Result
	course Course
}

// Ends reports the result of the attempt. A delivery for which it is not called did
// not reach its handler.
func (b *Return) Ends(r inbox.Result) { b.result = r }

type returnKey struct{}

// Take returns the stored delivery of a request to the first handler that calls it;
// nil for a request from outside.
func Take(ctx context.Context) *Return {
	b, _ := ctx.Value(returnKey{}).(*Return)
	if b == nil || !b.taken.CompareAndSwap(false, true) {
		return nil
	}
	return b
}

// Is reports whether a request with this context is an attempt of [Send].
func Is(ctx context.Context) bool { return ctx.Value(returnKey{}) != nil }

// Unread returns a ResponseWriter that discards a response.
func Unread() http.ResponseWriter { return &sink{header: make(http.Header)} }

// Send makes one attempt through server. The result is what the handler reported with
// [Return.Ends], whatever the response is: handle_errors may answer 200 for an app
// that failed.
func Send(ctx context.Context, server http.Handler, a *inbox.Attempt) inbox.Result {
	r, _ := Follow(ctx, server, a)
	return r
}

// Follow is [Send], and returns the course of an attempt that no handler took; nil
// otherwise.
func Follow(ctx context.Context, server http.Handler, a *inbox.Attempt) (result inbox.Result, course *Course) {
	b := &Return{Attempt: a, result: inbox.Result{Unreached: true}}
	r, err := request(context.WithValue(ctx, returnKey{}, b), a.Delivery)
	if err != nil { // only a damaged record is not a request
		return b.result, nil
	}
	w := &sink{header: make(http.Header), course: &b.course}
	defer func() {
		// A proxy aborts a broken response with this panic, which no server above
		// would recover.
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			panic(v)
		} else if v != nil {
			b.course.answer(0)
		}
		result = b.result
		if !b.taken.Load() {
			b.course.header, course = w.header, &b.course
		}
	}()
	server.ServeHTTP(w, r)
	return b.result, nil
}

// Record returns the parts of a request from which an attempt rebuilds it: target and
// method as received, the headers as they are now. It shares header and body with the
// request.
func Record(r *http.Request, method, target string, body []byte) inbox.Delivery {
	d := inbox.Delivery{
		Method: method, Target: target, Host: r.Host, Proto: r.Proto, Remote: r.RemoteAddr,
		Header: r.Header, Body: body,
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		d.Local = local.String()
	}
	if t := r.TLS; t != nil {
		d.TLS = &inbox.TLS{Version: t.Version, CipherSuite: t.CipherSuite, ServerName: t.ServerName, Protocol: t.NegotiatedProtocol}
		for _, c := range t.PeerCertificates {
			d.TLS.Peers = append(d.TLS.Peers, c.Raw)
		}
	}
	return d
}

// request rebuilds the request of a delivery as Caddy's server expects it.
func request(ctx context.Context, d *inbox.Delivery) (*http.Request, error) {
	u, err := url.ParseRequestURI(d.Target)
	if err != nil {
		return nil, err
	}
	// Placeholders of the local address require it.
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, localAddr(d.Local))
	r := (&http.Request{
		Method: d.Method, URL: u, RequestURI: d.Target, Host: d.Host, Proto: d.Proto, RemoteAddr: d.Remote,
		Header: http.Header(d.Header).Clone(),
		Body:   io.NopCloser(bytes.NewReader(d.Body)), ContentLength: int64(len(d.Body)),
	}).WithContext(ctx)
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	r.Header.Set("Content-Length", strconv.Itoa(len(d.Body)))
	var ok bool
	if r.ProtoMajor, r.ProtoMinor, ok = http.ParseHTTPVersion(d.Proto); !ok {
		return nil, fmt.Errorf("protocol: %q", d.Proto)
	}
	if t := d.TLS; t != nil {
		r.TLS = &tls.ConnectionState{
			HandshakeComplete: true, Version: t.Version, CipherSuite: t.CipherSuite,
			ServerName: t.ServerName, NegotiatedProtocol: t.Protocol,
		}
		for _, der := range t.Peers {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, err
			}
			r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, c)
		}
	}
	return r, nil
}

// ShowAsSeen rewrites the method and the target of a request as the routes that led to
// its handler did.
func ShowAsSeen(r *http.Request, d *inbox.Delivery) {
	if d.Seen.Method != "" {
		r.Method = d.Seen.Method
	}
	if u, err := url.ParseRequestURI(d.Seen.Target); err == nil {
		r.URL, r.RequestURI = u, d.Seen.Target
	}
}

func localAddr(text string) net.Addr {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return net.TCPAddrFromAddrPort(a)
	}
	return &net.UnixAddr{Name: text, Net: "unix"}
}

// A sink is the ResponseWriter for an attempt. It supports what a connection does, or
// Caddy would log that it does not.
type sink struct {
	header http.Header
	course *Course // nil: nobody asks
}

func (w *sink) Header() http.Header { return w.header }

func (w *sink) WriteHeader(status int) {
	if w.course != nil && status >= 200 {
		w.course.answer(status)
	}
}

func (w *sink) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(p), nil
}

func (w *sink) FlushError() error       { return nil }
func (w *sink) EnableFullDuplex() error { return nil }

func (w *sink) SetReadDeadline(time.Time) error  { return nil }
func (w *sink) SetWriteDeadline(time.Time) error { return nil }
