package caddymodule

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A bodyCopy hands out the body of a delivery to one reader, once. What reads it beyond
// its end, or after it was closed, took it for unread, and would give an app no body or
// the rest of one: that is an error. A transport may go on reading after its response, so
// each of several readers has a copy of its own; they share the bytes.
type bodyCopy struct {
	mu      sync.Mutex
	rest    []byte
	begun   bool
	over    bool // its end was read, or it was closed
	earlier *bodyCopy
}

var errBodyRead = errors.New("another handler has read this body already")

func (c *bodyCopy) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over:
		return 0, errBodyRead
	case len(c.rest) == 0:
		c.over = true
		return 0, io.EOF
	}
	n := copy(p, c.rest)
	c.rest, c.begun = c.rest[n:], true
	return n, nil
}

// Close ends a copy of which something was read. A transport closes it also if it cannot
// reach an app; then another gets it.
func (c *bodyCopy) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun {
		c.rest, c.over = nil, true
	}
	return nil
}

// end ends a copy that has no reader.
func (c *bodyCopy) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest, c.over = nil, true
}

// ended reports whether nobody can read any more of the body from it.
func (c *bodyCopy) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.rest) == 0
}

// giveTo makes the whole body, with its length, that of r.
func (d *delivery) giveTo(r *http.Request) {
	r.ContentLength = int64(len(d.body))
	r.Header["Content-Length"] = []string{strconv.Itoa(len(d.body))}
	r.TransferEncoding = nil
	d.copyTo(r)
}

func (d *delivery) copyTo(r *http.Request) {
	if len(d.body) == 0 {
		r.Body = http.NoBody
		return
	}
	var c *bodyCopy
	if d.roomUsed < len(d.room) {
		c = &d.room[d.roomUsed]
		d.roomUsed++
	} else {
		c = new(bodyCopy)
	}
	c.rest, c.earlier = d.body, d.copies
	d.copies, r.Body = c, c
}

// forApp returns the request for the following handlers, with a copy of the body that
// placeholders do not read: {http.request.body} reads that of the request as received.
func (d *delivery) forApp(ctx context.Context) *http.Request {
	r := d.r.WithContext(ctx)
	d.copyTo(r)
	return r
}

// String is what a placeholder of the variable shows.
func (d *delivery) String() string { return d.key }

func deliveryOf(r *http.Request) *delivery {
	d, _ := caddyhttp.GetVar(r.Context(), deliveryVar).(*delivery)
	return d
}
