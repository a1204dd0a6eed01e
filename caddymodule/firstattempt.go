package caddymodule

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A firstAttempt is the first attempt of a delivery of a handler with an inbox. It
// has its own request and goroutine, so that it can continue after its sender was
// answered: HTTP/2 and HTTP/3 end a response only when the handler returns.
//
// It is the ResponseWriter of the following handlers. Like heldResponse it holds the
// response until the delivery is settled; if the delivery is stored, the response
// never reaches the sender.
type firstAttempt struct {
	*attempt.Request
	d     *delivery
	ended chan struct{}

	// Set before ended is closed.
	err      error
	panicked any
	took     time.Duration

	mu      sync.Mutex
	header  http.Header
	status  int // 0 until the app has answered
	body    []byte
	cut     bool // the body was too long to hold, and is dropped
	passing bool // to the sender
	done    bool
	alone   bool // the sender was answered
}

// start calls the app.
func (d *delivery) start(next caddyhttp.Handler) (*firstAttempt, error) {
	a := &firstAttempt{d: d, ended: make(chan struct{}), header: d.w.Header().Clone()}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), time.Duration(*d.h.UpstreamTimeout))
	a.Request = attempt.Apart(ctx, d.r, a)
	a.Request.Body = io.NopCloser(bytes.NewReader(d.body))
	if err := d.setUpstreamHeaders(a.Request.Header); err != nil {
		cancel()
		return nil, err
	}
	inBackground(func() {
		defer cancel()
		a.run(next)
	})
	return a, nil
}

// background hands work to goroutines that have done some before: their stacks are as
// large as a proxy needs, where a new one is copied several times while it grows.
var background = make(chan func())

// backgroundIdle is how long such a goroutine waits for more.
const backgroundIdle = 10 * time.Second

func inBackground(work func()) {
	select {
	case background <- work:
	default:
		go func() {
			work()
			idle := time.NewTimer(backgroundIdle)
			for {
				select {
				case work := <-background:
					work()
					idle.Reset(backgroundIdle)
				case <-idle.C:
					return
				}
			}
		}()
	}
}

func (a *firstAttempt) run(next caddyhttp.Handler) {
	began := time.Now()
	func() {
		defer func() {
			a.panicked = recover() // a proxy aborts a broken response so
			if a.panicked != nil && a.panicked != http.ErrAbortHandler {
				a.d.h.logger.Error("a handler panicked: it counts as no answer",
					zap.String("name", a.d.h.Name), zap.Any("panic", a.panicked), zap.ByteString("stack", debug.Stack()))
			}
		}()
		a.err = next.ServeHTTP(a, a.Request.Request)
	}()
	a.took = time.Since(began)
	a.d.h.metrics.Observe(metrics.Upstream, a.took)

	a.mu.Lock()
	a.done = true
	alone := a.alone
	a.mu.Unlock()
	if alone {
		a.concludeAlone()
	}
	close(a.ended)
}

// goesOn reports whether the attempt continues without the sender, who is answered
// now: none of the app's response has reached it, or will.
func (a *firstAttempt) goesOn() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alone = !a.done && !a.passing
	return a.alone
}

// concludeAlone settles a stored delivery by its first attempt.
func (a *firstAttempt) concludeAlone() {
	d, r := a.d, a.result()
	if d.attempt != nil {
		d.box.Finish(d.attempt, r)
	}
	outcome, reason := a.outcome()
	if outcome == metrics.Delivered {
		d.accepted(r.Status)
	}
	d.remember(outcome, reason, a.status, a.took)
	d.h.metrics.Count(outcome, reason, d.h.now())
	d.free()
}

// outcome is the app's result for the delivery.
func (a *firstAttempt) outcome() (metrics.Outcome, string) {
	switch {
	case a.panicked != nil && !a.passing:
		return metrics.Failed, "aborted"
	case a.err == nil && a.status == 0:
		return metrics.Failed, errNoUpstream.reason
	}
	return outcomeOf(a.status, a.err)
}

// owed reports whether the app did not accept the delivery.
func (a *firstAttempt) owed() bool {
	if a.passing {
		return false
	}
	return a.panicked != nil || owes(a.result().Status)
}

// result is the response as the inbox counts it.
func (a *firstAttempt) result() inbox.Result {
	r := inbox.Result{Status: a.status, RetryAfter: retryAfter(a.header, a.d.h.now())}
	switch {
	case a.panicked != nil && !a.passing:
		r.Status = 0
	case a.err != nil:
		r.Status = errorStatus(a.err)
	case a.status == 0:
		r.Status = errNoUpstream.status
	}
	return r
}

// retryAfter parses the app's Retry-After: RFC 9110 §10.2.3.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// Header implements http.ResponseWriter. It becomes the sender's only when the
// response passes.
func (a *firstAttempt) Header() http.Header { return a.header }

// WriteHeader records the final status. Informational responses promise nothing.
func (a *firstAttempt) WriteHeader(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if status >= 200 && a.status == 0 {
		a.status = status
	}
}

func (a *firstAttempt) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status == 0 {
		a.status = http.StatusOK
	}
	switch {
	case a.passing:
		return a.d.w.Write(p)
	case a.alone || a.cut:
	case len(a.body)+len(p) <= maxHeld:
		a.body = append(a.body, p...)
	case owes(a.status):
		a.body, a.cut = nil, true
	default:
		a.pass()
		return a.d.w.Write(p)
	}
	return len(p), nil
}

// FlushError does nothing while the response is held.
func (a *firstAttempt) FlushError() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.passing {
		return nil
	}
	return http.NewResponseController(a.d.w).Flush()
}

// pass settles the delivery and sends what was held. mu is held.
func (a *firstAttempt) pass() {
	a.passing = true
	a.d.settle(a.status)
	header := a.d.w.Header()
	clear(header)
	maps.Copy(header, a.header)
	if a.cut {
		header.Del("Content-Length")
		header.Del("Content-Encoding")
	}
	a.d.w.WriteHeader(a.status)
	_, _ = a.d.w.Write(a.body) // a sender that is gone does not matter
	a.body = nil
}

// finish passes a response that fitted.
func (a *firstAttempt) finish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.passing {
		a.pass()
	}
}
