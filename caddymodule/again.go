package caddymodule

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

const (
	markAttempt  = "Webhook-Attempt"  // the number of the attempt
	markReceived = "Webhook-Received" // when the delivery was received, RFC 3339
)

// notNowPause is the delay of an attempt that the gateway cannot make now.
const notNowPause = 5 * time.Second

// again makes an attempt of a stored delivery. Nobody waits for the response, so it ends
// here: an app that handle_errors, or an intercept around the handler, asks in the place
// of one that fails would get the delivery at each attempt, to no effect.
func (h *Handler) again(back *attempt.Return, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if at, _ := h.app.places(h); at.Watched {
		w = attempt.Unread()
	}
	if err := h.redo(back, w, r, next); err != nil {
		w.WriteHeader(errorStatus(err))
	}
	return nil
}

// redo passes a stored delivery to the app. It was verified on receipt: its timestamp
// may be stale now, and its key gone.
func (h *Handler) redo(back *attempt.Return, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if back.Entry.Handler != h.Name {
		return caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("a stored delivery of %s reached verify_webhook %s: its route has changed", back.Entry.Handler, h.Name))
	}
	d, first := h.arrive(w, r)
	if d == nil {
		return h.twoHandlers(first, w, r)
	}
	defer d.free()
	d.recall(back)
	back.Ends(inbox.Result{}) // the handler is reached; a panic gives no answer
	if h.SignUpstream != "" && (d.keys == nil || d.keys.Signer == nil) {
		back.Ends(inbox.Result{Later: notNowPause})
		return caddyhttp.Error(http.StatusServiceUnavailable, errKeyUnavailable)
	}
	if !d.charge(int64(len(d.body))+atTheApp, forTheApp) {
		back.Ends(inbox.Result{Later: notNowPause})
		return caddyhttp.Error(http.StatusServiceUnavailable, errManyInFlight)
	}
	switch d.claimAgain(r.Context(), back) {
	case dedupe.Duplicate:
		back.Ends(inbox.Result{Taken: true})
		return d.answerDuplicate()
	case dedupe.Busy, dedupe.Overloaded:
		back.Ends(inbox.Result{Later: notNowPause})
		d.w.WriteHeader(http.StatusServiceUnavailable)
		return nil
	}
	if err := d.setUpstreamHeaders(r.Header); err != nil {
		return err
	}
	r.Header.Set(markAttempt, strconv.Itoa(back.Entry.Attempts+1))
	r.Header.Set(markReceived, d.came.UTC().Format(time.RFC3339))
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(*h.UpstreamTimeout))
	defer cancel()
	return d.try(back, next, d.forApp(ctx))
}

// try calls the app.
func (d *delivery) try(back *attempt.Return, next caddyhttp.Handler, r *http.Request) error {
	held := &heldResponse{ResponseWriter: d.w, settle: func(int) {}, passing: true}
	returned := false
	defer func() {
		if !returned { // the app broke off its response
			d.end(metrics.Failed, "aborted")
		}
	}()
	err := d.ask(next, held, r)
	returned = true
	result := inbox.Result{Status: held.status, RetryAfter: retryAfter(held.Header(), d.h.now())}
	outcome, reason := outcomeOf(held.status, err)
	switch {
	case err != nil:
		result.Status = errorStatus(err)
	case held.status == 0:
		result.Status, reason = errNoUpstream.status, errNoUpstream.reason
	}
	if outcome == metrics.Delivered {
		d.accepted(held.status)
	}
	back.Ends(result)
	d.end(outcome, reason)
	if err != nil {
		return d.unanswered(err, zapcore.WarnLevel) // it is tried again
	}
	return nil
}

// recall restores the results of verification from the inbox.
func (d *delivery) recall(back *attempt.Return) {
	stored := back.Delivery
	restoreHeaders(d.r, stored)
	d.body, d.came = stored.Body, stored.Received
	d.arrived()
	d.tenant = back.Entry.Tenant // what was verified is delivered, whether or not the tenant still exists
	d.id, d.event, d.verifiedBy, d.signed = stored.ID, stored.Event, stored.Label, stored.Timestamp
	d.hash, d.key, d.attempts = dedupe.Key(stored.Key), stored.Key.String(), back.Entry.Attempts+1
	identity := d.h.recogniser.identity
	d.nameless = !identity.Content && (d.id == "" || identity.ID == dedupe.NoID)
	d.repl.Set(prefix+"verified", true)
	d.repl.Set(prefix+"key", d.verifiedBy)
	d.repl.Set(prefix+"delivery", d.key)
	d.repl.Set(prefix+"attempt", d.attempts)
	d.repl.Set(prefix+"received", d.came.UTC().Format(time.RFC3339))
	for name, value := range map[string]string{"delivery_id": d.id, "event": d.event, "tenant": d.tenant} {
		if value != "" {
			d.repl.Set(prefix+name, value)
		}
	}
	if !d.signed.IsZero() {
		d.repl.Set(prefix+"timestamp", d.signed.UTC().Format(time.RFC3339))
	}
}

// restoreHeaders restores the headers, and the host, that the handler saw on receipt.
// The handlers above had changed them by then, and have now done so again.
func restoreHeaders(r *http.Request, stored *inbox.Delivery) {
	header := http.Header(stored.Header).Clone()
	for _, name := range traceHeaders {
		if value := r.Header[name]; value != nil {
			header[name] = value
		}
	}
	clear(r.Header)
	maps.Copy(r.Header, header)
	r.Host = stored.Host
}

// traceHeaders belong to the attempt: W3C Trace Context, Baggage.
var traceHeaders = []string{"Traceparent", "Tracestate", "Baggage"}

// claimAgain asks the dedupe store whether another instance has delivered it to the
// app, or is doing so. The inbox's own record of it says nothing about the app, and
// an operator who replays it means the app to get it again, whatever the store has.
// Either way, what the app accepts is recorded: see accepted.
func (d *delivery) claimAgain(ctx context.Context, back *attempt.Return) dedupe.Outcome {
	if d.h.recogniser.off {
		return dedupe.Held
	}
	gate, err := d.h.app.gate()
	if err != nil {
		d.h.logger.Error("the dedupe store cannot be opened; forwarding without it", zap.String("name", d.h.Name), zap.Error(err))
		return dedupe.Held
	}
	d.store, d.gate = d.h.app.store, gate
	terms := d.terms()
	terms.Wait = storeBudget // the delivery may have been stored just now, and not yet be marked so
	decision := gate.Claim(ctx, d.hash, terms)
	switch {
	case decision.Outcome == dedupe.Held:
		d.claimed = decision.Claim
	case decision.Outcome == dedupe.Duplicate && (dedupe.IsStored(decision.Status) || back.Entry.Replayed), decision.Outcome == dedupe.StoreDown:
		return dedupe.Held
	}
	return decision.Outcome
}

// accepted records that the app accepted the delivery.
func (d *delivery) accepted(status int) {
	switch {
	case d.claimed != nil && !d.noted.Load():
		d.claimed.Done(status)
	case d.gate != nil:
		terms := d.terms()
		d.gate.Record(d.hash, dedupe.Mark{Status: status, TTL: terms.TTL, Room: terms.Room, Share: terms.Share})
	}
}
