package direct

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
	"syscall"
	"time"
)

// A conn is a connection to the app. It has one owner: a request until the end of its
// answer, or the list of idle ones.
type conn struct {
	net.Conn
	t      *Transport
	to     upstream
	raw    syscall.RawConn
	expiry *time.Timer // runs only while idle

	out     http.Request
	body    recorder
	message bytes.Buffer // head and body of a request
	in      *bufio.Reader
	left    int64 // bytes that may still be read
	readErr error
}

// errMalformed does not quote the answer, which may hold what the app keeps to itself.
var errMalformed = errors.New("the app's answer is not HTTP/1")

func newConn(t *Transport, to upstream, nc net.Conn) *conn {
	c := &conn{Conn: nc, t: t, to: to}
	if sc, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn()
	}
	c.in = bufio.NewReader(c)
	c.expiry = time.AfterFunc(math.MaxInt64, func() { t.expire(c) })
	c.expiry.Stop()
	return c
}

func (c *conn) close() {
	c.expiry.Stop()
	c.Conn.Close()
}

// Read is the source of in.
func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.readErr = fmt.Errorf("the head of the app's answer exceeds %d bytes", maxHead)
		return 0, c.readErr
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.readErr = err
	return n, err
}

func (c *conn) roundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	resp, reusable, err := c.exchange(req)
	if err != nil {
		stop()
		c.close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	c.left = math.MaxInt64
	b := &body{ReadCloser: resp.Body, c: c, ctx: ctx, stop: stop, reusable: reusable && !resp.Close}
	if resp.Body == http.NoBody {
		b.end(true)
	} else {
		resp.Body = b
	}
	return resp, nil
}

func (c *conn) exchange(req *http.Request) (resp *http.Response, reusable bool, err error) {
	if err := c.compose(req); err != nil {
		return nil, false, err
	}
	_, writeErr := c.Write(c.message.Bytes())
	// An app may answer without reading the request, and close.
	resp, err = c.receive(req)
	if err != nil && writeErr != nil {
		err = writeErr
	}
	return resp, writeErr == nil, err
}

// compose writes head and body into memory, and closes the body.
func (c *conn) compose(req *http.Request) error {
	c.body = recorder{ReadCloser: req.Body}
	c.out = *req
	c.out.Body = &c.body
	c.message.Reset()
	err := c.out.Write(&c.message)
	if c.body.err != nil {
		err = c.body.err // without net/http's type around it, as Caddy looks for types
	}
	c.out, c.body = http.Request{}, recorder{}
	return err
}

// receive reads the head of the answer, and those of informational ones before it.
func (c *conn) receive(req *http.Request) (*http.Response, error) {
	c.left = maxHead
	trace := httptrace.ContextClientTrace(req.Context())
	if _, err := c.in.Peek(1); err != nil {
		return nil, err
	}
	if trace != nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	for {
		resp, err := http.ReadResponse(c.in, req)
		switch {
		case err != nil && c.readErr == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != nil && c.readErr != nil:
			return nil, c.readErr
		case err != nil || resp.StatusCode < 100:
			return nil, errMalformed
		case resp.StatusCode >= 200:
			return resp, nil
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errors.New("the app switched protocols, which the request did not ask for")
		case trace != nil && trace.Got1xxResponse != nil:
			if err := trace.Got1xxResponse(resp.StatusCode, textproto.MIMEHeader(resp.Header)); err != nil {
				return nil, err
			}
		}
	}
}

// A recorder keeps the error that ended a request's body.
type recorder struct {
	io.ReadCloser
	err error
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// A body is that of an answer. The connection is used again only after its end was
// read; a body that is closed before that closes the connection, so a read that is
// still going on never meets the next request's answer.
type body struct {
	io.ReadCloser // its Close would read on to the end
	c             *conn
	ctx           context.Context
	stop          func() bool
	reusable      bool
	ended         atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		if err != io.EOF && b.ctx.Err() != nil {
			err = context.Cause(b.ctx)
		}
		b.end(err == io.EOF)
	}
	return n, err
}

func (b *body) Close() error {
	b.end(false)
	return nil
}

func (b *body) end(complete bool) {
	if b.ended.Swap(true) {
		return
	}
	// A canceled request has set, or is about to set, a deadline on the connection.
	if b.stop() && complete && b.reusable && b.c.in.Buffered() == 0 {
		b.c.t.put(b.c)
	} else {
		b.c.close()
	}
}
