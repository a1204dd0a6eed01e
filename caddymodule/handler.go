package caddymodule

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/logging"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler lets genuine webhook deliveries through to the handlers after it and
// refuses everything else. It reads the raw body once, verifies signature,
// timestamp and required headers, and hands on the bytes that were signed.
//
// On every request it sets these placeholders:
//
//	Placeholder                            | Meaning
//	---------------------------------------|--------
//	{http.verify_webhook.name}             | the handler's name
//	{http.verify_webhook.provider}         | the provider's id, empty without one
//	{http.verify_webhook.verified}         | true or false
//	{http.verify_webhook.reason}           | why it was refused (or would be, under observe), else empty
//	{http.verify_webhook.duplicate}        | true if the app had taken this delivery before
//	{http.verify_webhook.handshake}        | true if it was a handshake and is answered, else empty
//
// and after verification:
//
//	{http.verify_webhook.key}              | the label of the key that matched
//	{http.verify_webhook.tenant}           | the tenant whose key that is, if the handler has tenants
//	{http.verify_webhook.delivery}         | the delivery's key in hex, if something identifies it
//	{http.verify_webhook.event}            | what its header says the event is, where the provider's file names one
//	{http.verify_webhook.delivery_id}      | the sender's id of the delivery, if it has one
//	{http.verify_webhook.timestamp}        | the attempt's time as RFC 3339, if it has one
type Handler struct {
	// The handler's name in logs, metrics and Webhook-Verified: letters, digits, dot,
	// dash, underscore. Default: the provider's id. Required without a provider.
	Name string `json:"name,omitempty"`
	// The id of a provider of the catalogue, or a complete provider definition in the
	// language of the catalogue's files.
	Provider json.RawMessage `json:"provider,omitempty"`

	// Shared secrets. A signature by any of them is valid, for rotation.
	Secret []keys.Value `json:"secret,omitempty"`
	// The sender's public keys. A signature by any of them is valid. An address,
	// https://…, is that of a JSON Web Key Set, which is fetched. Default: those that
	// the sender publishes, if the provider's file says where.
	PublicKey []keys.Value `json:"public_key,omitempty"`
	// Where a request names its tenant, if each of your customers has keys of its own: a
	// segment of the path, a label of the host or a header, as a placeholder:
	// {http.request.uri.path.2}. Default: no tenants.
	Tenant string `json:"tenant,omitempty"`
	// The source of the tenants' keys, instead of secret and public_key.
	TenantsRaw json.RawMessage `json:"tenants,omitempty" caddy:"namespace=http.handlers.verify_webhook.tenants inline_key=source"`
	// How many tenants' keys are cached, those of the most recently used. Default: 10000.
	MaxTenants *int `json:"max_tenants,omitempty"`
	// Keep the case of a tenant's name. Default: it is lower-cased.
	CaseSensitive bool `json:"case_sensitive,omitempty"`
	// Values that the provider requires, by name.
	Param map[string]string `json:"param,omitempty"`

	// The scheme, or the replaced fields of the provider's scheme. Values of
	// require_header are resolved like secrets, {env.NAME} and {file./path} in
	// public_url when the configuration is loaded.
	verifier.Scheme

	// Methods of deliveries. Default: the provider's, else POST.
	Methods []string `json:"methods,omitempty"`
	// The largest body in bytes. Default: the provider's, else 1048576 (1 MiB).
	MaxBody *int64 `json:"max_body,omitempty"`
	// Time limit for reading the entire body. Default: 10s.
	BodyTimeout *caddy.Duration `json:"body_timeout,omitempty"`
	// Time limit for the app, whether or not the sender still waits. Default: 60s.
	UpstreamTimeout *caddy.Duration `json:"upstream_timeout,omitempty"`
	// Forward deliveries that fail verification, marked and counted. Limits still
	// apply.
	Observe bool `json:"observe,omitempty"`
	// How copies of a delivery are recognised and answered.
	Dedupe *Dedupe `json:"dedupe,omitempty"`
	// The status of a failed verification, 4xx or 5xx, not 410 (which tells senders
	// to stop permanently). Default: the provider's, else 401.
	RejectStatus *int `json:"reject_status,omitempty"`

	// Whether the gateway answers the handshakes in the provider's file. Default:
	// yes.
	Handshake *Handshake `json:"handshake,omitempty"`

	// A secret with which verified deliveries are signed again for the app, following
	// Standard Webhooks: the app verifies one scheme for all senders. Written like
	// secret, and different from the sender's. Default: none.
	SignUpstream string `json:"sign_upstream,omitempty"`

	// Keep deliveries that the app does not accept, and retry them until it does.
	// Default: the sender gets the app's response and retries.
	Inbox *Inbox `json:"inbox,omitempty"`

	provider     *providers.Provider // nil without one
	named        bool                // configured, not the provider's
	app          *App
	server       *caddyhttp.Server    // the server of the handler; nil outside of Caddy
	way          []any                // the places before it in the routes: see wayTo
	rest         atomic.Pointer[rest] // nil before the first delivery
	placed       placement.Handler
	rules        *verifier.Rules // with the configured values of params and headers
	keys         *keys.Set
	tenants      *tenancy   // nil without tenants
	secretFiles  [][]string // see listSecretFiles
	fetcher      keys.Fetcher
	visits       visitor
	recogniser   recogniser
	checked      []string // headers of which the app gets no twin
	confides     bool     // its requests carry a secret: a token, or the value of a required header
	methods      []string
	maxBody      int64
	rejectStatus int
	buffered     budget
	portions     portions
	warnings     logging.Limiter // of refusals, which strangers cause
	failures     logging.Limiter // of the app
	metrics      *metrics.Counters
	logger       *zap.Logger
	now          func() time.Time
}

const (
	defaultMaxBody         = 1 << 20
	defaultBodyTimeout     = caddy.Duration(10 * time.Second)
	defaultUpstreamTimeout = caddy.Duration(60 * time.Second)
)

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.verify_webhook", New: func() caddy.Module { return new(Handler) }}
}

// UnmarshalJSON decodes a handler as strictly as Caddy does, and refuses empty texts:
// see [option.NoEmptyText].
func (h *Handler) UnmarshalJSON(data []byte) error {
	type plain Handler
	if err := caddy.StrictUnmarshalJSON(data, (*plain)(h)); err != nil {
		return err
	}
	if err := option.NoEmptyText(data); err != nil {
		return h.fail(err)
	}
	return nil
}

// Provision resolves the provider and the keys, compiles the scheme, and guards the
// error routes.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.now = time.Now
	if err := h.setDefaults(); err != nil {
		return h.fail(err)
	}
	h.metrics = metrics.Of(h.Name)
	if err := metrics.Register(ctx.GetMetricsRegistry(), gauges); err != nil {
		return err
	}
	if err := h.openKeys(); err != nil {
		return h.fail(err)
	}
	if err := h.openTenants(ctx); err != nil {
		return h.fail(err)
	}
	h.secretFiles = h.listSecretFiles()
	h.metrics.Join(h.keys)
	h.warnAboutHeaders()
	if h.Observe {
		h.logger.Warn("observe: deliveries that fail verification are forwarded", zap.String("name", h.Name))
	}
	app, err := ctx.App("verify_webhook")
	if err != nil {
		return err
	}
	h.placed = placement.Handler{
		Name: h.Name, Named: h.named, Provider: h.providerID(), Method: h.methods[0], Keys: h.keysAsWritten(),
		PathSigned: h.rules.SignsPath(), NoDedupe: h.recogniser.off, Greets: len(h.handshakes(h.provider)) > 0, Inbox: h.Inbox != nil, Timeout: time.Duration(*h.UpstreamTimeout),
		Refuses: h.rejectStatus, Options: h.Inbox.options(),
	}
	h.app = app.(*App)
	h.server, _ = ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	h.app.register(h)
	h.app.inbox.Add(h.seenByInbox())
	h.way = wayTo(ctx)
	h.app.forFollowing(ctx)
	return guardErrorRoutes(ctx, "")
}

// Placed describes the handler for placement.
func (h *Handler) Placed() *placement.Handler { return &h.placed }

// fail prefixes err with the handler's name.
func (h *Handler) fail(err error) error {
	if checkName(h.Name) != nil {
		return fmt.Errorf("verify_webhook: %w", err)
	}
	return fmt.Errorf("verify_webhook %s: %w", h.Name, err)
}

// setDefaults resolves the provider and fills in unset fields.
func (h *Handler) setDefaults() error {
	var err error
	if h.provider, err = providers.Read(h.Provider); err != nil {
		return err
	}
	if err := h.checkLiterals(h.provider); err != nil {
		return err
	}
	p := h.provider
	if p == nil {
		p = new(providers.Provider)
	}
	if h.named = h.Name != ""; !h.named {
		h.Name = p.ID
	}
	if err := checkName(h.Name); err != nil {
		return err
	}
	h.methods = firstOf(h.Methods, p.Methods, []string{http.MethodPost})
	h.maxBody = orElse(h.MaxBody, cmp.Or(p.MaxBody, defaultMaxBody))
	h.rejectStatus = orElse(h.RejectStatus, cmp.Or(p.RejectStatus, http.StatusUnauthorized))
	if h.BodyTimeout == nil {
		h.BodyTimeout = new(defaultBodyTimeout)
	}
	if h.UpstreamTimeout == nil {
		h.UpstreamTimeout = new(defaultUpstreamTimeout)
	}
	return h.checkLimits()
}

func (h *Handler) checkLimits() error {
	if err := checkMethods(h.methods); err != nil {
		return err
	}
	switch {
	case h.maxBody <= 0:
		return fmt.Errorf("max_body: %d: give a positive size, such as 1MiB", h.maxBody)
	case *h.BodyTimeout <= 0:
		return fmt.Errorf("body_timeout: %s: give a positive duration, such as 10s", time.Duration(*h.BodyTimeout))
	case *h.UpstreamTimeout <= 0:
		return fmt.Errorf("upstream_timeout: %s: give a positive duration, such as 60s", time.Duration(*h.UpstreamTimeout))
	case h.rejectStatus < 400 || h.rejectStatus > 599:
		return fmt.Errorf("reject_status: %d: give a 4xx or 5xx status", h.rejectStatus)
	case h.rejectStatus == http.StatusGone:
		return errors.New("reject_status: 410 tells senders to stop permanently: use another 4xx or a 5xx")
	}
	return nil
}

// knownMethods are those of IANA's HTTP Method Registry, and two of UPnP and caches.
var knownMethods = strings.Fields("GET HEAD POST PUT PATCH DELETE OPTIONS QUERY CONNECT TRACE PRI ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT " +
	"COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND REPORT SEARCH " +
	"UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL M-SEARCH PURGE")

func checkMethods(methods []string) error {
	for _, m := range methods {
		if slices.Contains(knownMethods, m) {
			continue
		}
		if near := nearest.Of(strings.ToUpper(m), knownMethods); near != "" && !strings.ContainsAny(m, " \t,/") {
			return fmt.Errorf("methods: %s is not a method of HTTP: did you mean %s?", m, near)
		}
		return errors.New("methods: not a method of HTTP: write them separately in capitals, such as POST PUT")
	}
	return nil
}

func checkName(name string) error {
	if name == "" {
		return errors.New("name: missing: a handler without a provider needs one for logs and metrics (name billing)")
	}
	if len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return errors.New("name: write at most 64 letters, digits, dots, dashes and underscores")
	}
	return nil
}

// Cleanup removes the handler from counters and kept lists, and releases fetched
// keys, unless another configuration uses them.
func (h *Handler) Cleanup() error {
	if h.metrics != nil {
		h.metrics.Leave(h.keys)
	}
	if h.keys == nil {
		return nil
	}
	return h.keys.Close()
}

// providerID returns "" without a provider.
func (h *Handler) providerID() string {
	if h.provider == nil {
		return ""
	}
	return h.provider.ID
}

func firstOf[T any](lists ...[]T) []T {
	for _, l := range lists {
		if len(l) > 0 {
			return l
		}
	}
	return nil
}

func orElse[T any](p *T, def T) T {
	if p != nil {
		return *p
	}
	return def
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ placement.Verifier          = (*Handler)(nil)
)
