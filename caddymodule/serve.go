package caddymodule

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/stores"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A delivery is one request in a handler.
type delivery struct {
	h    *Handler
	w    http.ResponseWriter
	r    *http.Request
	repl *caddy.Replacer

	req     verifier.Request
	keys    *keys.Snapshot // nil without keys; changed only by findTenant and newerKeys
	tenant  string         // that the request names; "" without tenants, or if it cannot be one
	known   bool           // keys are those of the tenant
	unknown error          // why the tenant has no keys
	check   verifier.Check
	body    []byte
	buffer  *buffer   // of the body, if it can be reused
	whole   bool      // the body has arrived, and is still held
	copies  *bodyCopy // the newest of those handed on
	kept    *bodyCopy // that of r

	room     [2]bodyCopy // for the usual copies, without allocations of their own
	roomUsed int
	charged  int64 // bytes charged to the budget
	portion  int64 // of them, at the app, charged to the tenant

	answer *verifier.Answer // to a handshake, which is not a delivery

	hash      dedupe.Key // of the delivery; zero if it has none
	key       string     // in hex; "" if it has none
	nameless  bool       // nothing identifies it: key is random, for the inbox
	claimed   *dedupe.Claim
	duplicate bool // the app or the inbox already has this delivery
	stored    bool // the inbox has it, or had it last
	gate      *dedupe.Gate
	store     stores.Module  // with a reference
	box       *boxes.Box     // with a reference; nil if it cannot be stored
	seen      *seen          // before the following handlers change it; nil: they have not
	left      bool           // an attempt continues, and frees the rest
	noted     atomic.Bool    // the store has a mark that the inbox has it
	attempt   *inbox.Attempt // the running one, if the delivery is stored
	loan      *inbox.Attempt // the running one of the stored delivery, of which this is a variant
	turn      *dedupe.Claim  // among the variants; set with loan
	attempts  int            // number of the attempt from the inbox, from 1; 0: on receipt
	trace     inbox.Trace    // if the handler has an inbox

	verifiedBy string    // the label of the key that verified it
	rejection  string    // the id of the kept rejection, if any
	id, event  string    // the sender's; set after verification
	signed     time.Time // by its timestamp; zero if it has none

	came    time.Time
	appTook time.Duration // 0: the app was not called
	status  int           // of the app's response; 0: none

	// Why it is not genuine, if observe forwards it nevertheless.
	unverified *verifier.Rejection
}

// ServeHTTP takes a request through the steps of every delivery. Each step refuses
// what it can as early as it can: before the body is read, before it is hashed. A
// sender can notice an early refusal, by a response before the body is sent; so
// checks that compare a secret respond late (see verifier.Open).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if back := attempt.Take(r.Context()); back != nil {
		return h.again(back, w, r, next)
	}
	h.leadsTo(r, next)
	d, first := h.arrive(w, r)
	if d == nil {
		return h.twoHandlers(first, w, r)
	}
	defer d.leave()
	for _, step := range []func() error{
		d.admit,  // method, declared length
		d.open,   // all that headers alone decide
		d.read,   // the body, whole or not at all
		d.verify, // the signature
		d.claim,  // one copy at a time, and none that the app has accepted
	} {
		if err := step(); err != nil {
			return d.refuse(err)
		}
		if d.answer != nil {
			return d.answerHandshake()
		}
	}
	switch {
	case d.duplicate:
		return d.answerDuplicate()
	case d.box != nil && d.loan == nil:
		return d.entrust(next)
	}
	return d.forward(next)
}

// The variables with the name of the handler that has had the request, and with the
// delivery.
const (
	handlerVar  = "verify_webhook"
	deliveryVar = "verify_webhook_delivery"
)

// arrive records the request as received, without marks that it may carry, and the
// keys for it. It returns the name of another handler that has had the request, which
// is a configuration error: the second would refuse or duplicate what the first let
// through, depending on their order.
func (h *Handler) arrive(w http.ResponseWriter, r *http.Request) (d *delivery, first string) {
	deleteMarks(r)
	if first, ok := caddyhttp.GetVar(r.Context(), handlerVar).(string); ok {
		return nil, first
	}
	caddyhttp.SetVar(r.Context(), handlerVar, h.Name)

	d = &delivery{h: h, w: w, r: r, keys: h.keys.Snapshot(), came: h.now(), repl: r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)}
	caddyhttp.SetVar(r.Context(), deliveryVar, d)
	called := received(r)
	d.req = verifier.Request{Method: called.Method, Header: r.Header, Target: called.RequestURI, Host: r.Host, TLS: r.TLS != nil}
	if !strings.HasPrefix(d.req.Target, "/") && called.URL != nil { // absolute form, RFC 9112 §3.2.2
		d.req.Target = called.URL.RequestURI()
	}
	d.repl.Map(h.placeholder)
	d.nameTenant()
	return d, ""
}

func (d *delivery) admit() error {
	if !appview.IsClean(received(d.r).URL) {
		return errUncleanPath
	}
	if namesMethod(d.req.Target) && !d.h.rules.SignsQuery() {
		return errMethodInQuery
	}
	if !d.delivers() && (d.keys == nil || !d.keys.Verifier.Greets(&d.req)) {
		return methodNotAllowed(d.h.methods, d.req.Method)
	}
	if d.r.ContentLength > d.h.maxBody {
		return bodyTooLarge(d.h.maxBody, d.r.ContentLength)
	}
	if d.keys == nil {
		return errKeyUnavailable
	}
	return nil
}

// delivers reports whether the request's method is one of deliveries.
func (d *delivery) delivers() bool { return slices.Contains(d.h.methods, d.req.Method) }

// open checks the headers. A handshake with a method that no delivery has is refused
// even with observe: methods are a limit, not verification.
func (d *delivery) open() error {
	err := d.begin()
	if err == nil && d.h.tenants != nil {
		err = d.findTenant()
	}
	if !d.delivers() {
		return err
	}
	return d.observed(err)
}

func (d *delivery) begin() (err error) {
	d.check, d.answer, err = d.keys.Verifier.Open(&d.req, d.h.now())
	return err
}

func (d *delivery) verify() error {
	if d.unverified != nil {
		return nil
	}
	began := time.Now()
	verdict, answer, err := d.check.Verify(d.body)
	tries := 1
	if d.h.tenants != nil {
		tries = 2 // the first newer keys may be those of a question from before the delivery
	}
	for range tries {
		newer := d.newerKeys(err)
		if newer == nil {
			break
		}
		if err = newer(); err != nil {
			break
		}
		verdict, answer, err = d.check.Verify(d.body)
	}
	err = d.ofUnknownTenant(verdict, err)
	d.took(metrics.Verify, began)
	if d.answer = answer; err != nil {
		return d.observed(err)
	}
	if verdict == (verifier.Verdict{}) { // an unsigned handshake
		return nil
	}
	if answer == nil && d.check.FieldInQuery(d.body) {
		return errFieldInQuery
	}
	d.noteVerified(verdict)
	return nil
}

func (d *delivery) noteVerified(verdict verifier.Verdict) {
	d.repl.Set(prefix+"verified", true)
	d.repl.Set(prefix+"key", verdict.Key)
	if d.tenant != "" {
		d.repl.Set(prefix+"tenant", d.tenant)
		d.h.tenants.cache.Verified(clientOf(d.r))
	}
	d.verifiedBy = verdict.Key
	d.h.metrics.KeyUsed(d.h.keys.NoteUse(verdict, clientOf(d.r)), d.h.now())
	if d.signed = verdict.Timestamp; !d.signed.IsZero() {
		d.noteSkew(verdict.Timestamp)
		d.repl.Set(prefix+"timestamp", verdict.Timestamp.UTC().Format(time.RFC3339))
	}
}

// observed lets a failed verification pass, recorded, if the handler only observes.
// Every other refusal applies: limits are not verification.
func (d *delivery) observed(err error) error {
	rejection, ok := err.(*verifier.Rejection)
	if !ok || !d.h.Observe {
		return err
	}
	d.unverified = rejection
	d.repl.Set(prefix+"reason", string(rejection.Reason))
	return nil
}

// forward passes the delivery, as signed, to the following handlers, and settles it
// by their response.
func (d *delivery) forward(next caddyhttp.Handler) error {
	if d.unverified != nil {
		d.keep(d.unverified, true) // as received, before its headers change
	}
	if err := d.chargeForward(); err != nil {
		return d.refuse(err)
	}
	if err := d.setUpstreamHeaders(d.r.Header); err != nil {
		return d.refuse(err)
	}
	ctx, cancel := d.appContext()
	defer cancel()

	settles := d.claimed != nil || d.loan != nil
	held := &heldResponse{ResponseWriter: d.w, settle: d.settle, passing: !settles}
	returned := false
	defer func() {
		switch {
		case returned:
		case settles && held.passing: // settled before the panic
			d.count(outcomeOf(held.status, nil))
		default: // the app broke off its response
			d.count(metrics.Failed, "aborted")
		}
	}()
	err := d.ask(next, held, d.forApp(ctx))
	returned = true
	if d.box != nil && err == nil {
		d.box.Heard(d.queue(), inbox.Key(d.hash), d.trace, inbox.Result{Status: held.status})
	}
	if err == nil && held.status == 0 {
		return d.refuse(errNoUpstream)
	}
	d.count(outcomeOf(held.status, err))
	if err != nil {
		held.discard()
		return d.appFailed(err)
	}
	if d.buffer != nil && held.status/100 == 2 {
		d.kept.end()
	}
	held.finish()
	return nil
}

// appContext limits the app's time. It does not depend on the sender's: senders
// disconnect after seconds, and an app cut off then has done half of its work, and a
// retry could not get its response.
func (d *delivery) appContext() (context.Context, context.CancelFunc) {
	ctx := d.r.Context()
	if d.unverified == nil && (!d.h.recogniser.off || d.box != nil) {
		ctx = context.WithoutCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(*d.h.UpstreamTimeout))
}

// ask measures the app's part of a delivery's time.
func (d *delivery) ask(next caddyhttp.Handler, w *heldResponse, r *http.Request) error {
	began := time.Now()
	defer func() {
		d.took(metrics.Upstream, began)
		d.appTook, d.status = time.Since(began), w.status
		d.warnUnfit(&w.appStatus)
	}()
	return answerOf(next.ServeHTTP(w, r))
}

// settle marks the delivery as done if the app accepted it, or releases it so that the
// next copy is forwarded, before its client reads the answer. After an error or a panic
// of the following handlers, free releases it.
func (d *delivery) settle(status int) {
	if status >= 200 && status < 300 {
		d.accepted(status)
		d.repay(inbox.Result{Status: status})
		return
	}
	if d.claimed != nil {
		d.claimed.Release()
	}
	d.giveBack()
}

// leave frees what the delivery holds, unless an attempt continues.
func (d *delivery) leave() {
	if !d.left {
		d.free()
	}
}

// free releases what the delivery holds: its claim unless it is done, its references
// to store and inbox, its body, its part of the budget.
func (d *delivery) free() {
	if d.claimed != nil {
		d.claimed.Release() // does nothing once settled
	}
	if d.store != nil {
		_ = release(d.store)
	}
	if d.box != nil {
		d.giveBack()
		d.box.Release()
	}
	d.reuse()
	d.uncharge()
}

// count records the outcome of a forwarded delivery.
func (d *delivery) count(o metrics.Outcome, reason string) {
	if d.unverified == nil {
		d.end(o, reason)
		return
	}
	d.end(metrics.Observed, string(d.unverified.Reason))
	d.warn("delivery is not genuine and was let through (observe)", string(d.unverified.Reason), d.unverified)
}

// prefix of the placeholders' names.
const prefix = "http.verify_webhook."

// placeholder returns those that every request has, unless a later step sets them.
func (h *Handler) placeholder(key string) (any, bool) {
	switch key {
	case prefix + "name":
		return h.Name, true
	case prefix + "provider":
		return h.providerID(), true
	case prefix + "verified", prefix + "duplicate":
		return false, true
	case prefix + "reason":
		return "", true
	}
	return nil, false
}
