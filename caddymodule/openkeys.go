package caddymodule

import (
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// openKeys reads every configured key and compiles the verifier.
func (h *Handler) openKeys() error {
	err := h.compose()
	if err != nil {
		return err
	}
	if err := h.checkHeaders(); err != nil {
		return err
	}
	scheme := h.rules.Scheme()
	h.confides = scheme.UsesToken() || slices.ContainsFunc(h.Scheme.RequireHeader, hasSecret)
	if s := scheme.Signature; s != nil && s.Query != "" && scheme.UsesToken() {
		h.logger.Warn("the secret is part of the URL, which access logs and error logs show: filter it out of the log, see docs/operating.md#logs",
			zap.String("name", h.Name), zap.String("filter", "request>uri query { replace "+s.Query+" REDACTED }"))
	}
	if err := h.provisionDedupe(); err != nil {
		return err
	}
	if err := h.checkInbox(); err != nil {
		return err
	}
	config := h.keyConfig()
	config.Fetcher, config.Logger = &h.fetcher, h.logger.With(zap.String("name", h.Name))
	config.Failed, config.Changed = h.metrics.KeyFailed, h.keysChanged
	h.keys, err = keys.Open(config)
	return err
}

// keyConfig configures the keys.
func (h *Handler) keyConfig() keys.Config {
	var sender providers.Key
	if h.provider != nil {
		sender = h.provider.Key
	}
	return keys.Config{
		Name: h.Name, Rules: h.rules, RequireHeader: h.Scheme.RequireHeader, // the provider's are literal
		Secret: h.Secret, PublicKey: h.PublicKey, Sender: sender, Tenants: h.Tenant != "", SignUpstream: h.SignUpstream,
	}
}

// compose compiles the scheme with the configured values unresolved: errors show now,
// not when a missing file appears, and a header without a value is kept.
func (h *Handler) compose() error {
	if err := keys.URL("public_url", &h.PublicURL); err != nil {
		return err
	}
	scheme := h.Scheme
	if h.provider != nil {
		scheme = h.provider.Scheme.With(scheme)
	}
	scheme.Handshakes = h.handshakes(h.provider)
	scheme, _, err := keys.WithAddress(scheme, h.PublicKey)
	if err != nil {
		return err
	}
	if _, err := h.provider.CheckParams(scheme, h.Param); err != nil {
		return err
	}
	scheme.Params = h.Param
	h.rules, err = verifier.Compile(scheme)
	return err
}

// hasSecret reports whether a required header may hold a secret: * accepts any value.
func hasSecret(h verifier.RequiredHeader) bool {
	return slices.ContainsFunc(h.Values, func(value string) bool { return value != "*" })
}

// warnAboutHeaders warns of headers that never arrive: since 2.11.4 Caddy's server
// drops names with an underscore, since 2.11.5 those with a dot.
func (h *Handler) warnAboutHeaders() {
	for _, name := range h.rules.Scheme().HeaderNames() {
		option := ""
		if strings.Contains(name, "_") {
			option = "expected_underscore_headers"
		} else if strings.Contains(name, ".") {
			option = "expected_dot_headers"
		} else {
			continue
		}
		h.logger.Warn("the server drops this header before any handler sees it, unless its name is listed in a server option",
			zap.String("name", h.Name), zap.String("header", name), zap.String("option", "servers { "+option+" "+name+" }"))
	}
}
