package caddymodule

import (
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

// A firstAttempt is the first attempt of a delivery of a handler with an inbox. It may
// outlast its sender's patience: then the delivery is stored and the sender answered
// while the attempt goes on.
//
// It is the ResponseWriter of the following handlers. Like heldResponse it holds the
// response until the delivery is settled; if the delivery is stored, the response
// never reaches the sender.
type firstAttempt struct {
	d *delivery

	// Set when it has ended.
	err      error
	panicked any
	took     time.Duration

	before headerLines // the response's, for an answer that is not the app's
	seen   seen        // the request, for the inbox

	// For the usual headers and for the timer, without allocations of their own.
	beforeRoom [2]headerLine
	seenRoom   [10]headerLine
	overdue    sync.WaitGroup

	mu     sync.Mutex
	header http.Header
	own    bool // header is not the response's
	appStatus
	body    []byte
	cut     bool // the body was too long to hold, and is dropped
	passing bool // to the sender
	ended   bool
	alone   bool // the sender was answered
}

// inHandler makes the first attempt in the handler's goroutine, with the sender's
// request: all that HTTP/1 needs. When the sender has waited long enough, a timer
// answers it on the connection itself, because the handlers around this one belong to
// the goroutine of the attempt.
func (d *delivery) inHandler(next caddyhttp.Handler) error {
	ctx, cancel := d.appContext()
	defer cancel()
	a := &firstAttempt{d: d, header: d.w.Header()}
	a.before = linesOf(d.w.Header(), a.beforeRoom[:0])
	a.seen = seenIn(d.r, a.seenRoom[:0])
	d.seen = &a.seen
	if err := d.setUpstreamHeaders(d.r.Header); err != nil {
		return d.refuse(err)
	}
	a.overdue.Add(1)
	timer := time.AfterFunc(d.h.patience(), a.late)
	alone := a.call(next, d.forApp(ctx))
	if !timer.Stop() {
		a.overdue.Wait()
	}
	if !alone {
		return d.concluded(a)
	}
	a.concludeAlone()
	a.reset()
	d.w.WriteHeader(d.h.recogniser.status) // only for the access log: the connection is closed
	d.report(metrics.Stored, "late")
	return nil
}

// late stores the delivery and answers its sender, who has waited long enough.
func (a *firstAttempt) late() {
	defer a.overdue.Done()
	if a.d.put(true) {
		a.answerLate()
	}
}

// answerLate tells the sender that the delivery is stored, unless the app has answered
// by now. A connection that cannot be taken from the server waits for the app.
func (a *firstAttempt) answerLate() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || a.passing {
		return
	}
	d := a.d
	conn, _, err := http.NewResponseController(d.w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	a.alone = true
	d.note(metrics.Stored, "late")
	_ = conn.SetWriteDeadline(time.Now().Add(answerPatience))
	_ = d.storedResponse(a.before.header()).Write(conn) // a sender that is gone does not matter
}

// answerPatience limits the time to send the answer.
const answerPatience = 5 * time.Second

// inBackground makes the first attempt with a request and a goroutine of its own:
// HTTP/2 and HTTP/3 end a response only when the handler returns.
func (d *delivery) inBackground(next caddyhttp.Handler) error {
	ctx, cancel := d.appContext()
	a := &firstAttempt{d: d, header: d.w.Header().Clone(), own: true, before: linesOf(d.w.Header(), nil)}
	own := attempt.Apart(ctx, d.r, a)
	d.giveTo(own.Request)
	if err := d.setUpstreamHeaders(own.Header); err != nil {
		cancel()
		return d.refuse(err)
	}
	ended := make(chan struct{})
	background(func() {
		defer cancel()
		if a.call(next, own.Request) {
			a.concludeAlone()
			d.free()
		}
		close(ended)
	})
	timer := time.NewTimer(d.h.patience())
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		if d.put(true) && a.goesOn() {
			d.left = true
			return d.answerStored("late")
		}
		<-ended
	}
	own.Join()
	return d.concluded(a)
}

// idle hands work to goroutines that have done some before: their stacks are as large
// as a proxy needs, where a new one is copied several times while it grows.
var idle = make(chan func())

// idleTime is how long such a goroutine waits for more.
const idleTime = 10 * time.Second

func background(work func()) {
	select {
	case idle <- work:
	default:
		go func() {
			work()
			over := time.NewTimer(idleTime)
			for {
				select {
				case work := <-idle:
					work()
					over.Reset(idleTime)
				case <-over.C:
					return
				}
			}
		}()
	}
}

// call calls the app. It reports whether the sender was answered meanwhile.
func (a *firstAttempt) call(next caddyhttp.Handler, r *http.Request) (alone bool) {
	began := time.Now()
	func() {
		defer func() {
			a.panicked = recover() // a proxy aborts a broken response so
			if a.panicked != nil && a.panicked != http.ErrAbortHandler {
				a.d.h.logger.Error("a handler panicked: it counts as no answer",
					zap.String("name", a.d.h.Name), zap.Any("panic", a.panicked), zap.ByteString("stack", debug.Stack()))
			}
		}()
		a.err = answerOf(next.ServeHTTP(a, r))
	}()
	a.took = time.Since(began)
	a.d.h.metrics.Observe(metrics.Upstream, a.took)

	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	a.d.warnUnfit(&a.appStatus)
	return a.alone
}

// goesOn reports whether the attempt continues without the sender, who is answered
// now: none of the app's response has reached it, or will.
func (a *firstAttempt) goesOn() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alone = !a.ended && !a.passing
	return a.alone
}

// concludeAlone settles a stored delivery by its first attempt.
func (a *firstAttempt) concludeAlone() {
	d, r := a.d, a.result()
	outcome, reason := a.outcome()
	if outcome == metrics.Delivered { // first, or a copy that comes in between is forwarded
		d.accepted(r.Status)
	}
	if d.attempt != nil {
		d.box.Finish(d.attempt, r)
	}
	d.remember(outcome, reason, a.status, a.took)
	d.h.metrics.Count(outcome, reason, d.h.now())
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
	if text == "" {
		return 0
	}
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// Status returns the status of the answer, 0 if there is none.
func (a *firstAttempt) Status() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// Header implements http.ResponseWriter. It becomes the sender's only when the
// response passes.
func (a *firstAttempt) Header() http.Header { return a.header }

// WriteHeader records the final status. Informational responses promise nothing.
func (a *firstAttempt) WriteHeader(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(status, a.header)
}

func (a *firstAttempt) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begin(a.header)
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
	if a.own {
		clear(header)
		maps.Copy(header, a.header)
	}
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

// reset removes what the app has set in the header of a response that is not its own.
func (a *firstAttempt) reset() {
	header := a.d.w.Header()
	clear(header)
	maps.Copy(header, a.before.header())
}

// headerLines are a header as it was: cheaper to make than a copy, which only a
// delivery that is stored needs.
type headerLines []headerLine

type headerLine struct{ name, value string }

// linesOf appends the lines of h to room.
func linesOf(h http.Header, room headerLines) headerLines {
	for name, values := range h {
		for _, value := range values {
			room = append(room, headerLine{name, value})
		}
	}
	return room
}

func (l headerLines) header() http.Header {
	h := make(http.Header, len(l))
	for _, line := range l {
		h[line.name] = append(h[line.name], line.value)
	}
	return h
}
