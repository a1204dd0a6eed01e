package caddymodule

import (
	"net/url"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A Sender is the resolved configuration of a handler: how deliveries are signed,
// with which keys, and what else the gateway accepts. It is for tools that verify or
// sign deliveries like the gateway, without running one.
type Sender struct {
	Name         string              // the handler's
	Provider     *providers.Provider // nil without one; read-only
	Scheme       verifier.Scheme     // with the values of params and required headers
	Keys         []verifier.Key      // empty if none is configured
	Methods      []string            // at least one
	MaxBody      int64               // bytes
	RejectStatus int                 // for a failed verification
}

// Sender resolves the handler's configuration and sets its defaults. tenant selects the
// keys of a handler with tenants, and is "" otherwise. The handler need
// not be provisioned and must not be in use. Unlike a running gateway, which waits
// for a missing key file, it requires every value to be readable now. Errors name the
// option, never a secret.
func (h *Handler) Sender(tenant string) (*Sender, error) {
	if err := h.setDefaults(); err != nil {
		return nil, err
	}
	if err := h.compose(); err != nil {
		return nil, err
	}
	var err error
	s := &Sender{Name: h.Name, Provider: h.provider, Methods: h.methods, MaxBody: h.maxBody, RejectStatus: h.rejectStatus}
	if s.Scheme, s.Keys, err = keys.Read(h.keyConfig()); err != nil {
		return nil, err
	}
	if h.Tenant != "" || tenant != "" {
		s.Keys, err = h.keysOf(tenant)
	}
	return s, err
}

// Limits returns why the gateway refuses a request with this method, to this target, and
// with a body of this size in bytes, even if it is genuine.
func (s *Sender) Limits(method, target string, size int64) (refusals []error) {
	if u, err := url.ParseRequestURI(target); err == nil && !appview.IsClean(u) {
		refusals = append(refusals, errUncleanPath)
	}
	if !slices.Contains(s.Methods, method) {
		refusals = append(refusals, methodNotAllowed(s.Methods, method))
	}
	if size > s.MaxBody {
		refusals = append(refusals, bodyTooLarge(s.MaxBody, size))
	}
	return refusals
}

// QueryLimits returns why the gateway refuses a genuine request for its query.
func QueryLimits(target string, v *verifier.Verifier, j verifier.Judgement) (refusals []error) {
	if namesMethod(target) && !v.SignsQuery() {
		refusals = append(refusals, errMethodInQuery)
	}
	if j.FieldInQuery {
		refusals = append(refusals, errFieldInQuery)
	}
	return refusals
}

// namesMethod reports whether the query of a target names a method.
func namesMethod(target string) bool {
	_, query, _ := strings.Cut(target, "?")
	return appview.NamesMethod(query)
}
