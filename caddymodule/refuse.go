package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/logging"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A refusal is an outcome unrelated to authenticity, with its own status: a limit, or
// a gateway that cannot serve now.
type refusal struct {
	reason     string
	status     int
	retryAfter int // seconds; 0: no header
	allow      []string
	detail     string
	remedy     string // what the operator can write or do; "" if nothing
}

func (r *refusal) Error() string {
	if r.remedy == "" {
		return r.reason + ": " + r.detail
	}
	return r.reason + ": " + r.detail + ": " + r.remedy
}

var (
	errOverloaded = &refusal{reason: "overloaded", status: http.StatusServiceUnavailable, retryAfter: 2,
		detail: "the bodies in memory have reached max_buffered"}
	errManyInFlight = &refusal{reason: "overloaded", status: http.StatusServiceUnavailable, retryAfter: 2,
		detail: "the deliveries at the app and the bodies in memory have reached max_buffered"}
	errManyOfTenant = &refusal{reason: "overloaded", status: http.StatusServiceUnavailable, retryAfter: 2,
		detail: "the deliveries of this tenant at the app hold as much of max_buffered as is left for all others"}
	errKeyUnavailable = &refusal{reason: "key_unavailable", status: http.StatusServiceUnavailable, retryAfter: 10,
		detail: "no key could be read since the start: see the log for the file"}
	errBodyTimeout = &refusal{reason: "body_timeout", status: http.StatusRequestTimeout,
		detail: "the body did not arrive within body_timeout",
		remedy: "if the sender is that slow, raise body_timeout"}
	// With it, the app could answer 2xx to a captured delivery as another method, and
	// the sender's own attempt would be a duplicate.
	errMethodInQuery = &refusal{reason: "method_in_query", status: http.StatusBadRequest,
		detail: "the query has _method, which apps may use as the method, and the signature does not cover it: call the address without it"}
	errFieldInQuery = &refusal{reason: "field_in_query", status: http.StatusBadRequest,
		detail: "the query has a parameter with the name of a signed field of the form, which apps may read instead, and the signature does not cover it: rename it in the address at the sender"}
	errNoUpstream = &refusal{reason: "no_upstream", status: http.StatusBadGateway,
		detail: "no handler after verify_webhook answered: add a reverse_proxy below it"}
)

func methodNotAllowed(allowed []string, method string) *refusal {
	r := &refusal{reason: "method_not_allowed", status: http.StatusMethodNotAllowed, allow: allowed,
		detail: "deliveries come with " + strings.Join(allowed, ", ")}
	if len(method) <= 16 && strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
		r.remedy = fmt.Sprintf("if the sender uses %s, write: methods %s %s", method, strings.Join(allowed, " "), method)
	}
	return r
}

// bodyTooLarge refuses a body with this announced length, -1 if unknown.
func bodyTooLarge(limit, declared int64) *refusal {
	enough := 2 * limit
	if declared > limit && declared <= 256<<20 { // no sender documents a larger one
		enough = declared
	}
	size, unit := (enough+1<<10-1)>>10, "KiB"
	if size >= 1<<10 {
		size, unit = (enough+1<<20-1)>>20, "MiB"
	}
	return &refusal{reason: "body_too_large", status: http.StatusRequestEntityTooLarge,
		detail: fmt.Sprintf("larger than max_body, %d bytes", limit),
		remedy: fmt.Sprintf("if the sender's page says that this is normal, write: max_body %d%s", size, unit)}
}

// twoHandlers refuses a request that has already passed another handler.
func (h *Handler) twoHandlers(first string, w http.ResponseWriter, r *http.Request) error {
	err := fmt.Errorf("two verify_webhook handlers on one request, %q and %q: make their matchers exclude each other", first, h.Name)
	if ok, _ := h.warnings.Allow(h.now()); ok {
		h.logger.Error(err.Error())
	}
	return h.answerError(w, r, caddyhttp.Error(http.StatusInternalServerError, err))
}

// handsOver reports whether Caddy gets an error with this status, for handle_errors. If
// nothing around the handler acts on errors, the handler responds like Caddy, with the
// status and no body. For an error Caddy encodes the whole request for its log, logged
// or not: half of what a forgery costs. And it logs a 5xx with all headers, at ERROR and
// without a limit, so that anyone who can cause one could fill a disk. The sender sees
// no difference, and the log has our line, at most ten times a second.
//
// An intercept around the handler acts on responses, and may give the app what they
// refuse: it gets errors. If the place of the handler is unknown, only the log counts.
func (h *Handler) handsOver(r *http.Request, status int) bool {
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil || server.Errors != nil && len(server.Errors.Routes) > 0 {
		return true
	}
	places, known := h.app.places(h)
	return places.Watched || !known && status < 500
}

// answerError returns an error to Caddy or answers it itself: see handsOver.
func (h *Handler) answerError(w http.ResponseWriter, r *http.Request, err caddyhttp.HandlerError) error {
	if h.handsOver(r, err.StatusCode) {
		return err
	}
	w.WriteHeader(err.StatusCode)
	return nil
}

// challenge is the value of a header, never changed.
var challenge = []string{"Webhook"}

// refuse answers a delivery that is not forwarded. Every failed verification looks
// the same from outside; the reason is for the operator.
func (d *delivery) refuse(err error) error {
	header := d.w.Header()
	status, reason := http.StatusInternalServerError, ""
	if r, ok := errors.AsType[*refusal](err); ok {
		status, reason = r.status, r.reason
		if r.retryAfter > 0 {
			header.Set("Retry-After", strconv.Itoa(r.retryAfter))
		}
		if len(r.allow) > 0 {
			header.Set("Allow", strings.Join(r.allow, ", "))
		}
		if status < 500 { // about the request, not the gateway
			d.keepLimit(r)
		}
	} else if r, ok := errors.AsType[*verifier.Rejection](err); ok {
		status, reason = d.h.rejectStatus, string(r.Reason)
		d.keep(r, false)
		// RFC 9110 §15.5.2 requires a challenge in a 401, and §11.6.1 allows it in any
		// other answer, where it shows that the gateway refused, and not the app.
		header["Www-Authenticate"] = challenge
	}
	answers := !d.h.handsOver(d.r, status)
	// Without this an HTTP/1 server reads the rest first and may delay the response
	// by a minute. On HTTP/2 it would end the entire connection.
	if d.r.ProtoMajor == 1 && d.unread() && !(answers && d.skip()) {
		header.Set("Connection", "close")
	}
	d.repl.Set(prefix+"reason", reason)
	d.end(metrics.Rejected, reason)
	if reason == reasonBusy { // not an error: an earlier copy is at the app
		d.h.logger.Debug("a copy of this delivery is being forwarded",
			zap.String("name", d.h.Name), zap.String("reason", reason), zap.String("delivery", d.key))
		d.w.WriteHeader(status)
		return nil
	}
	if answers {
		d.warn("delivery refused", reason, err, zap.Int("status", status))
		d.w.WriteHeader(status)
		return nil
	}
	failure := caddyhttp.Error(status, err)
	d.warn("delivery refused", reason, err, zap.Int("status", status), zap.String("error_id", failure.ID))
	return failure
}

// skipping limits the time to read a small body of a request that is refused without it.
const skipping = 250 * time.Millisecond

// skip reads and discards a small body that nothing has read and nothing will, so that
// the next request can use the connection: a new one costs as much as all the rest. It
// reports whether the body has ended. A client that expects a 100 has sent none of it.
func (d *delivery) skip() bool {
	if d.body != nil || d.r.ContentLength < 0 || d.r.ContentLength > smallBody || d.r.Header["Expect"] != nil {
		return false
	}
	conn := http.NewResponseController(d.w)
	if conn.SetReadDeadline(time.Now().Add(skipping)) != nil {
		return false
	}
	n, err := io.Copy(io.Discard, d.r.Body)
	return err == nil && n == d.r.ContentLength && conn.SetReadDeadline(time.Time{}) == nil
}

// keep keeps a refused request for the operator, if configured.
func (d *delivery) keep(r *verifier.Rejection, observed bool) {
	d.keepRequest(rejected.Request{Reason: r.Reason, Detail: r.Detail, Skew: r.Skew, Observed: observed})
}

// keepLimit keeps a request that a limit refused.
func (d *delivery) keepLimit(r *refusal) {
	d.keepRequest(rejected.Request{Reason: verifier.Reason(r.reason), Detail: r.detail, Remedy: r.remedy, Limit: true})
}

func (d *delivery) keepRequest(r rejected.Request) {
	most := d.h.app.keptPerHandler()
	if most == 0 {
		return
	}
	r.Request, r.Remote, r.Time, r.Handler, r.Tenant = d.req, remoteOf(d.r), d.h.now(), d.h.seen(d.keys), d.tenant
	r.Body, r.Read, r.Declared = d.body, !d.unread(), d.r.ContentLength
	r.Known, r.Tried = d.known, d.h.app.keysNow()
	d.rejection = kept.Add(r, most)
}

// seen describes the handler with these keys for what is kept.
func (h *Handler) seen(k *keys.Snapshot) rejected.Handler {
	return rejected.Handler{Name: h.Name, Provider: h.providerID(), Place: h.placed.Place, Keys: k, Tenant: h.tenants.keysOf(), Cached: h.tenants.cachedKeys()}
}

// reasonBusy is the reason for asking the sender of a copy to retry.
var reasonBusy = dedupe.Busy.String()

// appFailed handles an error of the following handlers. Caddy logs it with the URL and
// all headers and, from 500 on, without a limit, although anyone with one captured
// delivery can cause it again and again: our own log line replaces that.
func (d *delivery) appFailed(err error) error {
	d.arrived() // the app may have read a part, and handle_errors may ask another one
	if errorStatus(err) < 500 && !d.h.confides && d.unverified == nil {
		return err // Caddy's line is for debugging
	}
	return d.h.answerError(d.w, d.r, d.unanswered(err, zapcore.ErrorLevel))
}

// unanswered logs an error of the following handlers, without the request, within a
// limit that forgeries do not use up.
func (d *delivery) unanswered(err error, level zapcore.Level) caddyhttp.HandlerError {
	failure := caddyhttp.Error(http.StatusInternalServerError, err) // keeps the status of err
	if failure.StatusCode < 300 || failure.StatusCode > 999 {
		failure.StatusCode = http.StatusInternalServerError // an error, whatever its status
	}
	_, reason := outcomeOf(0, failure)
	d.log(&d.h.failures, level, "the app did not answer", reason, err,
		zap.Int("status", failure.StatusCode), zap.String("error_id", failure.ID), zap.String("delivery", d.key))
	return failure
}

// unread reports whether part of the body may still be on the connection.
func (d *delivery) unread() bool {
	return d.r.ContentLength != int64(len(d.body))
}

// warn logs a refusal or observed failure, within a limit.
func (d *delivery) warn(message, reason string, err error, more ...zap.Field) {
	d.log(&d.h.warnings, zapcore.WarnLevel, message, reason, err, more...)
}

func (d *delivery) log(limit *logging.Limiter, level zapcore.Level, message, reason string, err error, more ...zap.Field) {
	ok, suppressed := limit.Allow(d.h.now())
	if !ok {
		return
	}
	fields := append([]zap.Field{
		zap.String("name", d.h.Name),
		zap.String("reason", reason),
		zap.String("detail", strings.TrimPrefix(err.Error(), reason+": ")),
		zap.Strings("keys", d.keys.Labels()),
		zap.Int("body_bytes", len(d.body)),
	}, more...)
	if r, ok := errors.AsType[*verifier.Rejection](err); ok && r.Skew != 0 {
		fields = append(fields, zap.Duration("skew", r.Skew))
	}
	if d.tenant != "" {
		fields = append(fields, zap.String("tenant", d.tenant))
	}
	if d.rejection != "" { // for the admin API and caddy webhook rejections
		fields = append(fields, zap.String("rejection", d.rejection))
	}
	d.h.logger.Log(level, message, append(fields, suppressed...)...)
}
