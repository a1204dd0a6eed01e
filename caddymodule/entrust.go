package caddymodule

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// storeBudget limits storing, well below a lease. If it takes longer, the app is called.
const storeBudget = 2 * time.Second

// inInbox reports whether the inbox has the delivery, or one that is retained. A variant
// of the stored delivery is not in it, and takes over its attempt: see borrow.
func (d *delivery) inInbox() (has bool, err error) {
	e, found := d.box.Find(d.r.Context(), inbox.Key(d.hash))
	found = found && e.State != inbox.Delivered
	differs := false
	if found {
		differs, err = d.isVariant(e)
	}
	switch {
	case err != nil:
	case differs:
		err = d.borrow()
	default:
		has = found && d.isOwed(d.box, e) || inboxes.AnyRetained(d.isIn)
	}
	d.duplicate, d.stored = has, has
	return has, err
}

func (d *delivery) isIn(b *boxes.Box) bool {
	e, found := b.Find(d.r.Context(), inbox.Key(d.hash))
	return found && e.State != inbox.Delivered && d.isOwed(b, e)
}

// isStuck reports whether an inbox of this process has, or may have, the delivery that the
// store says is stored, and this copy changes nothing: a dead letter that cannot be made
// pending again, or another request whose attempt it cannot take over. Besides the own
// inbox, which was asked, a configuration that ends still has one.
func (d *delivery) isStuck(status int) bool {
	others := func(b *boxes.Box) bool { return b != d.box && d.isIn(b) }
	return !inboxes.Any(others) && inboxes.Any(func(b *boxes.Box) bool {
		e, found, err := b.Engine().Find(d.r.Context(), inbox.Key(d.hash))
		if err != nil { // such as a file that is being opened, or lacks its key
			id := b.Engine().Status().ID
			return id == "" || status == dedupe.StoredIn(id) || status == dedupe.Stored
		}
		return found && e.State != inbox.Delivered
	})
}

// isOwed reports whether b delivers the stored delivery. A dead one becomes pending
// again, since its sender sends it again.
func (d *delivery) isOwed(b *boxes.Box, e inbox.Entry) bool {
	if e.State != inbox.Dead {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), storeBudget)
	defer cancel()
	_, err := b.Accept(ctx, d.record(), false)
	if err != nil {
		d.bypass(err)
	}
	return err == nil
}

// entrust calls the app, and stores the delivery if the app does not accept it. The
// sender gets a 2xx only if the app gave one or the delivery is stored; if it cannot
// be stored, it is answered as without an inbox.
func (d *delivery) entrust(next caddyhttp.Handler) error {
	if d.h.Inbox.First || d.box.Holds(d.queue()) {
		reason := "held"
		if d.h.Inbox.First {
			reason = "first"
		}
		if d.put(false) {
			return d.answerStored(reason)
		}
		return d.forward(next)
	}
	if err := d.chargeForward(); err != nil { // no memory for a call to the app: store it
		if d.put(false) {
			return d.answerStored("held")
		}
		return d.refuse(err)
	}
	if d.r.ProtoMajor == 1 {
		return d.inHandler(next)
	}
	return d.inBackground(next)
}

// concluded settles a delivery by the app's response, and passes that to the sender
// unless the delivery is stored.
func (d *delivery) concluded(a *firstAttempt) error {
	d.appTook, d.status = a.took, a.status
	outcome, reason := a.outcome()
	stored := d.attempt != nil
	if a.owed() && !stored {
		stored = d.put(true)
	}
	if stored && outcome == metrics.Delivered { // first: see concludeAlone
		d.accepted(a.status)
	}
	d.hear(a.result())
	switch {
	case stored && !a.passing && outcome != metrics.Delivered: // also if it was stored while the app answered
		a.reset()
		return d.answerStored(reason)
	case a.panicked != nil:
		d.count(outcome, reason)
		panic(a.panicked)
	case a.err == nil && a.status == 0:
		a.reset()
		return d.refuse(errNoUpstream)
	}
	d.count(outcome, reason)
	if a.err != nil {
		a.reset()
		return d.appFailed(a.err)
	}
	a.finish()
	return nil
}

// hear tells the inbox how the app answered.
func (d *delivery) hear(r inbox.Result) {
	if d.attempt != nil {
		d.box.Finish(d.attempt, r)
	} else {
		d.box.Heard(d.queue(), inbox.Key(d.hash), d.trace, r)
	}
}

func (d *delivery) queue() inbox.Queue { return inbox.Queue{Handler: d.h.Name, Tenant: d.tenant} }

// put stores the delivery, and informs the dedupe store. With running, an attempt is
// running: see [inbox.Box.Accept]. It reports whether the delivery is stored.
func (d *delivery) put(running bool) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), storeBudget)
	defer cancel()
	got, err := d.box.Accept(ctx, d.record(), running)
	if err != nil {
		d.bypass(err)
		return false
	}
	d.attempt = got.Attempt
	if d.claimed != nil {
		d.noted.Store(true)
		d.claimed.Done(dedupe.StoredIn(d.box.Engine().Status().ID))
	}
	return true
}

// bypass counts a delivery that cannot be stored.
func (d *delivery) bypass(err error) {
	why := "error"
	if e, ok := errors.AsType[*inbox.NotStoredError](err); ok {
		why = string(e.Why)
	}
	d.h.metrics.Bypassed(why)
	d.warn("delivery not stored in the inbox: its sender gets the app's answer", why, err)
}

// record returns the delivery for storage: the request as received, without the marks
// it came with, and the results of verification.
func (d *delivery) record() *inbox.Delivery {
	record := attempt.Record(d.r, d.req.Method, received(d.r).RequestURI, d.body)
	if d.seen == nil {
		now := seenIn(d.r, nil)
		d.seen = &now
	}
	record.Header, record.Seen = d.seen.header.header(), d.seen.Seen
	if record.Seen.Method == record.Method {
		record.Seen.Method = ""
	}
	if record.Seen.Target == record.Target {
		record.Seen.Target = ""
	}
	record.Site, record.Provider, record.Place = d.h.app.siteFor(d.h, d.req.Host), d.h.providerID(), d.h.place(d.req.Host)
	record.Key, record.Queue, record.Trace = inbox.Key(d.hash), d.queue(), d.trace
	record.Received, record.Label, record.ID, record.Event, record.Timestamp = d.came, d.verifiedBy, d.id, d.event, d.signed
	return &record
}

// seen is the part of a request that following handlers change in place.
type seen struct {
	header headerLines
	inbox.Seen
}

// seenIn copies that part of r, the header lines to room.
func seenIn(r *http.Request, room headerLines) seen {
	return seen{linesOf(r.Header, room), inbox.Seen{Method: r.Method, Target: r.URL.RequestURI()}}
}

// answerStored tells the sender that the gateway has the delivery.
func (d *delivery) answerStored(reason string) error {
	d.end(metrics.Stored, reason)
	d.w.Header().Set("Webhook-Stored", "true")
	return d.answerTaken()
}

// storedResponse is the same answer, for an HTTP/1 connection that closes with it.
func (d *delivery) storedResponse(header http.Header) *http.Response {
	status, body := d.h.recogniser.status, d.h.recogniser.body
	header.Set("Webhook-Stored", "true")
	header.Set("Date", d.h.now().UTC().Format(http.TimeFormat))
	if body != "" {
		header.Set("Content-Type", http.DetectContentType([]byte(body)))
	}
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: header, Close: true, Request: d.r,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// owes reports whether this status means that the app has not accepted the delivery.
// Other 4xx are about the delivery, and go to the sender.
func owes(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusRequestTimeout,
		http.StatusTooEarly, http.StatusTooManyRequests: // a wrong deploy, or a temporary refusal
		return true
	}
	return status < 200 || status >= 300 && status < 400 || status >= 500
}

// errorStatus is the status of an error of the following handlers.
func errorStatus(err error) int {
	if errors.Is(err, context.DeadlineExceeded) {
		return http.StatusGatewayTimeout
	}
	if e, ok := errors.AsType[caddyhttp.HandlerError](err); ok && e.StatusCode >= 300 && e.StatusCode <= 999 {
		return e.StatusCode
	}
	return http.StatusInternalServerError // an error, whatever its status
}
