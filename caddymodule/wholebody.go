package caddymodule

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(WholeBody{})
	caddy.RegisterModule(MatchWholeBody{})
	caddy.RegisterModule(Answered{})
}

// Names of what forEachProxy inserts.
const (
	wholeBodyName = "verify_webhook_body"
	answeredName  = "verify_webhook_answered"
	retryName     = "verify_webhook_body"
)

// WholeBody gives the handlers after it the whole body of a verified delivery, which
// another handler has read. The gateway puts it into the routes for an app's response, so
// that a second app gets the delivery too; there is no need to configure it.
type WholeBody struct{}

// CaddyModule returns the Caddy module information.
func (WholeBody) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers." + wholeBodyName, New: func() caddy.Module { return new(WholeBody) }}
}

func (WholeBody) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if d := deliveryOf(r); d != nil && d.whole {
		d.giveTo(r)
	}
	return next.ServeHTTP(w, r)
}

// MatchWholeBody gives a proxy that retries a verified delivery the whole body again, and
// matches. It does not match if the body cannot be given again. The gateway adds it to the
// retry_match of proxies; there is no need to configure it.
type MatchWholeBody struct{}

// CaddyModule returns the Caddy module information.
func (MatchWholeBody) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers." + retryName, New: func() caddy.Module { return new(MatchWholeBody) }}
}

// MatchWithError gets the request of the proxy, or a copy of it if the proxy asks whether
// to retry after a response. What is set in a copy is lost, so that only a body that the
// proxy has in its own buffer can be sent again then.
func (MatchWholeBody) MatchWithError(r *http.Request) (bool, error) {
	d := deliveryOf(r)
	if d == nil || r.Body == nil || reflect.TypeOf(r.Body) == inBuffer {
		return true, nil
	}
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if repl == nil || !d.whole || r.ContentLength != int64(len(d.body)) { // another handler has changed it
		return false, nil
	}
	if failed, _ := repl.Get("http.reverse_proxy.is_transport_error"); failed != true {
		return false, nil
	}
	d.copyTo(r)
	return true, nil
}

// inBuffer is the type of a body in the buffer of reverse_proxy, which it sends again.
var inBuffer = reflect.TypeOf(io.NopCloser(bytes.NewReader(nil)))

// Answered turns no answer to a verified delivery into an error, where the handler before
// it would make an empty 200 of none. The gateway puts it behind templates; there is no
// need to configure it.
type Answered struct{}

// CaddyModule returns the Caddy module information.
func (Answered) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers." + answeredName, New: func() caddy.Module { return new(Answered) }}
}

func (Answered) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if err := next.ServeHTTP(w, r); err != nil || deliveryOf(r) == nil || isAnswered(w) {
		return err
	}
	return errUnanswered
}

// unanswered ends the routes of a block.
func unanswered(w http.ResponseWriter, _ *http.Request) error {
	if isAnswered(w) {
		return nil
	}
	return errUnanswered
}

// answerOf is the error of the following handlers, unless it says that none of them has
// answered, which the status says as well.
func answerOf(err error) error {
	if errors.Is(err, errNoUpstream) {
		return nil
	}
	return err
}

// errUnanswered is an error, where no answer would do, for what records answers around
// these handlers.
var errUnanswered = caddyhttp.Error(errNoUpstream.status, errNoUpstream)

// isAnswered reports whether a handler has answered.
func isAnswered(w http.ResponseWriter) bool {
	for {
		if recorder, ok := w.(interface{ Status() int }); ok && recorder.Status() != 0 {
			return true
		}
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = outer.Unwrap()
	}
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler       = WholeBody{}
	_ caddyhttp.MiddlewareHandler       = Answered{}
	_ caddyhttp.RequestMatcherWithError = MatchWholeBody{}
)
