package caddymodule

import (
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
)

// firstRead is the initial size of a body's buffer.
const firstRead = 4 << 10

// read reads the complete body, within the handler's time limit. Memory is charged as
// it is used, never by the announced length: connections that declare a megabyte and
// send nothing cost next to nothing.
func (d *delivery) read() error {
	if d.r.ContentLength == 0 {
		d.arrived()
		return nil
	}
	defer d.took(metrics.Read, time.Now())
	// The deadline is absolute. Caddy's idle timeouts stay below it. A writer without
	// deadlines (a test's recorder) is read without one.
	conn := http.NewResponseController(d.w)
	deadline := time.Now().Add(time.Duration(*d.h.BodyTimeout))
	if conn.SetReadDeadline(deadline) == nil {
		defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	}
	most := d.h.maxBody
	if n := d.r.ContentLength; n >= 0 {
		most = n
	}
	for {
		if len(d.body) == cap(d.body) {
			if err := d.grow(most); err != nil {
				d.linger(conn, deadline)
				return err
			}
		}
		n, err := d.r.Body.Read(d.body[len(d.body):cap(d.body)])
		d.body = d.body[:len(d.body)+n]
		switch {
		case int64(len(d.body)) > d.h.maxBody:
			d.linger(conn, deadline)
			return bodyTooLarge(d.h.maxBody, d.r.ContentLength)
		case errors.Is(err, io.EOF):
			d.arrived()
			return nil
		case err != nil:
			return bodyError(err)
		}
	}
}

// lingering limits the time to read the rest of a refused body.
const lingering = time.Second

// linger reads and discards the rest of a body. On HTTP/1 Caddy closes a connection
// with more than 256 KiB unread immediately (net/http would wait, but does not
// recognise the body that Caddy has wrapped), and the resulting reset overtakes the
// response: the sender would see no status and no Retry-After.
func (d *delivery) linger(conn *http.ResponseController, deadline time.Time) {
	if d.r.ProtoMajor != 1 {
		return
	}
	if end := time.Now().Add(lingering); end.Before(deadline) {
		deadline = end
	}
	d.reuse()
	d.body = []byte{} // begun: see skip
	d.uncharge()      // the next delivery need not wait for the rest of this one
	if conn.SetReadDeadline(deadline) == nil {
		_, _ = io.Copy(io.Discard, d.r.Body)
	}
}

// grow enlarges the buffer, fourfold, twofold from 64 KiB on, up to one byte more
// than the limit: that byte shows whether the body has ended. To occupy a budget with
// large bodies an attacker must send half of it.
func (d *delivery) grow(most int64) error {
	factor := int64(4)
	if cap(d.body) >= 64<<10 {
		factor = 2
	}
	room := max(int64(cap(d.body))*factor, firstRead)
	if room >= most {
		room = max(most, int64(cap(d.body))) + 1
	}
	purpose := forLargeBody
	if room <= smallBody {
		purpose = forSmallBody
	}
	if !d.charge(room-d.charged, purpose) {
		return errOverloaded
	}
	larger, buffer := newBuffer(room)
	larger = append(larger, d.body...)
	d.reuse()
	d.body, d.buffer = larger, buffer
	return nil
}

// arrived replaces the request's body by the one read, with its length.
func (d *delivery) arrived() {
	d.body = slices.Clip(d.body)
	d.whole = true
	d.giveTo(d.r)
	d.kept = d.copies
}

// bodyError returns why a body did not arrive completely.
func bodyError(err error) error {
	if e, ok := errors.AsType[caddyhttp.HandlerError](err); ok && e.StatusCode == http.StatusRequestEntityTooLarge {
		return &refusal{reason: "body_too_large", status: e.StatusCode, detail: "larger than a request_body directive allows",
			remedy: "raise its max_size"}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errBodyTimeout
	}
	return &refusal{reason: "body_incomplete", status: http.StatusBadRequest, detail: "the body ended early",
		remedy: "the sender was cut off or gave up, and will retry; if it is always the same one, look at its proxy"}
}
