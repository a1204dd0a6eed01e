// Package adminhttp answers requests to Caddy's admin endpoint the way that every path
// of the gateway does.
package adminhttp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Answer answers 200 with v as JSON.
func Answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// Error is the error for Caddy to answer with a status.
func Error(status int, err error) error {
	return caddy.APIError{HTTPStatus: status, Err: err}
}

// Only returns an error for a request whose method is none of those that its path has.
func Only(w http.ResponseWriter, r *http.Request, methods ...string) error {
	if slices.Contains(methods, r.Method) {
		return nil
	}
	w.Header().Set("Allow", strings.Join(methods, ", ")) // RFC 9110 §15.5.6
	return Error(http.StatusMethodNotAllowed, fmt.Errorf("use %s", strings.Join(methods, " or ")))
}

// Moment is a time in UTC, or null in JSON for the zero time.
func Moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}
