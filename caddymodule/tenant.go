package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/tenants"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A tenancy is how a handler finds the keys of its tenants.
type tenancy struct {
	place    tenants.Place
	keepCase bool
	source   tenants.Source
	cache    *tenants.Cache
	written  string // the source, as configured
}

// errNoName says that a request names no tenant that could exist.
var errNoName = errors.New("the request names no tenant: a name has 1 to 128 letters, digits, dots, dashes and underscores, and does not begin with a dot")

// openTenants loads the source. It opens nothing, as caddy validate runs it too.
func (h *Handler) openTenants(ctx caddy.Context) error {
	if h.Tenant == "" {
		if len(h.TenantsRaw) > 0 || h.MaxTenants != nil || h.CaseSensitive {
			return errNoTenantLine
		}
		return nil
	}
	place, err := tenants.ParsePlace(h.Tenant)
	if err != nil {
		return err
	}
	if place.Header != "" {
		h.checked = append(h.checked, place.Header)
	}
	if n := h.MaxTenants; n != nil && *n <= 0 {
		return fmt.Errorf("max_tenants: %d: give a positive number, such as %d", *n, tenants.DefaultMax)
	}
	var written bytes.Buffer
	_ = json.Compact(&written, h.TenantsRaw) // which LoadModule clears, and refuses if it is not JSON
	source, err := h.loadTenants(ctx)
	if err != nil {
		return err
	}
	h.tenants = &tenancy{place: place, keepCase: h.CaseSensitive, source: source, written: written.String(), cache: tenants.NewCache(tenants.Options{
		Source: source, Base: h.keys.Snapshot, Max: orElse(h.MaxTenants, 0),
		Logger: h.logger.With(zap.String("name", h.Name)), Looked: h.lookedUp, Now: func() time.Time { return h.now() },
	})}
	if before := current().tenancyOf(h.Name, h.tenants.written); before != nil {
		h.tenants.cache.Adopt(before.cache)
	}
	return nil
}

// tenancyOf returns the tenancy of a handler with this name and source; nil if there is
// none, and for a nil App. A reload keeps what it knows: while the source is down, it is
// all that there is.
func (a *App) tenancyOf(name, source string) *tenancy {
	if a == nil {
		return nil
	}
	for _, h := range a.named(name) {
		if h.tenants != nil && h.tenants.written == source {
			return h.tenants
		}
	}
	return nil
}

// lookedUp counts a look-up of a tenant's keys.
func (h *Handler) lookedUp(r tenants.Result) {
	h.metrics.TenantLookup(string(r))
	if r == tenants.ResultFailed {
		h.metrics.KeyFailed()
	}
}

var (
	errNoTenantLine   = errors.New("tenant: missing: say where a request names its tenant: tenant {path.2}")
	errNoTenantSource = errors.New("tenant: no source of the tenants' keys: write secret {file./run/keys/{tenant}}, or secret from http https://app.internal/webhook-keys/{tenant}")
)

// keysOf asks the source for the keys of one tenant, outside of a running gateway, and
// reads them as one does.
func (h *Handler) keysOf(tenant string) ([]verifier.Key, error) {
	switch {
	case h.Tenant == "":
		return nil, errors.New("tenant: the handler has no tenants, and so one set of keys for all deliveries")
	case tenant == "":
		return nil, errors.New("tenant: the handler has one set of keys for each tenant: name one")
	}
	name, ok := tenants.Name(tenant, h.CaseSensitive)
	if !ok {
		return nil, errNoName
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	written := h.TenantsRaw // LoadModule clears it
	source, err := h.loadTenants(ctx)
	h.TenantsRaw = written
	if err != nil {
		return nil, err
	}
	found, err := source.Find(ctx, name, nil)
	if err != nil {
		return nil, fmt.Errorf("tenant %s: %w", name, err)
	}
	set, err := keys.Open(h.keyConfig())
	if err != nil {
		return nil, err
	}
	defer set.Close()
	base := set.Snapshot()
	if base == nil {
		return nil, errors.New("tenant: a value of the handler is missing")
	}
	of, err := base.With(found.Keys, found.Texts)
	if err != nil {
		return nil, fmt.Errorf("tenant %s: %w", name, err)
	}
	return of.Keys, nil
}

// loadTenants returns the configured source.
func (h *Handler) loadTenants(ctx caddy.Context) (tenants.Source, error) {
	if len(h.TenantsRaw) == 0 {
		return nil, errNoTenantSource
	}
	if _, missing := option.Missing(h.TenantsRaw, tenants.Namespace, "source"); missing {
		return nil, errUnknownSource
	}
	module, err := ctx.LoadModule(h, "TenantsRaw")
	if err != nil {
		return nil, err
	}
	source, ok := module.(tenants.Source)
	if !ok {
		return nil, fmt.Errorf("tenants: %T is not a source of tenants' keys", module)
	}
	return source, nil
}

var errUnknownSource = errors.New("tenants: an unknown source (not repeated here, as it may be a secret): file and http are built in; another is one more --with")

// checkCase refuses files whose names differ in case alone, where that cannot be.
func (t *tenancy) checkCase() error {
	if t == nil || !t.keepCase {
		return nil
	}
	if files, ok := t.source.(*tenants.File); ok {
		return files.CheckCase()
	}
	return nil
}

// sharesSecrets reports whether two handlers may have a secret in common because the
// tenants of one, or of both, have theirs where the other has its own.
func (h *Handler) sharesSecrets(other *Handler) bool {
	return h.tenants.holds(other) || other.tenants.holds(h)
}

// holds reports whether a tenant may have a secret of the handler. t may be nil.
func (t *tenancy) holds(h *Handler) bool {
	if t == nil {
		return false
	}
	switch source := t.source.(type) {
	case *tenants.File:
		return slices.ContainsFunc(h.secretFiles, t.holdsFile)
	case *tenants.HTTP:
		if h.tenants == nil {
			return false
		}
		other, ok := h.tenants.source.(*tenants.HTTP)
		return ok && source.URL == other.URL
	}
	return h.tenants != nil && t.written == h.tenants.written
}

// holdsFile reports whether a tenant may have its secret in a file, or in one of a folder,
// of these elements. t may be nil.
func (t *tenancy) holdsFile(path []string) bool {
	if t == nil {
		return false
	}
	files, ok := t.source.(*tenants.File)
	return ok && files.Holds(path)
}

// isFolder reports whether these are the elements of the folder of all tenants' secrets. t
// may be nil.
func (t *tenancy) isFolder(path []string) bool {
	if t == nil {
		return false
	}
	files, ok := t.source.(*tenants.File)
	return ok && files.IsFolder(path)
}

// signFor reports whether every tenant may sign for the handler, since its key files are
// theirs. t may be nil.
func (t *tenancy) signFor(h *Handler) bool {
	return t != nil && h.tenants == nil && slices.ContainsFunc(h.secretFiles, t.isFolder)
}

// mixes returns a path of each where one file may hold the keys of two tenants, of one in
// each. Both may be nil.
func (t *tenancy) mixes(other *tenancy) (path, others string, found bool) {
	if t == nil || other == nil {
		return "", "", false
	}
	files, ok := t.source.(*tenants.File)
	beside, also := other.source.(*tenants.File)
	if !ok || !also {
		return "", "", false
	}
	return files.Mixes(beside)
}

// listSecretFiles lists the files and folders that a handler's secrets are read from, of
// tenants each with the name of one, as elements: the start compares each two handlers.
func (h *Handler) listSecretFiles() (paths [][]string) {
	for _, v := range h.Secret {
		if path, ok := keys.FilePath(v.Value); ok {
			paths = append(paths, tenants.Elements(path))
		}
	}
	if h.tenants != nil {
		if files, ok := h.tenants.source.(*tenants.File); ok {
			for _, path := range files.Secret {
				paths = append(paths, tenants.Elements(strings.Replace(path, "{tenant}", "acme", 1)))
			}
		}
	}
	return paths
}

// keysOf returns a function that finds the current keys of a tenant, or nil.
func (t *tenancy) keysOf() func(name string) *keys.Snapshot {
	if t == nil {
		return nil
	}
	return func(name string) *keys.Snapshot {
		if name == "" {
			return nil
		}
		s, _ := t.cache.Find(context.Background(), name, netip.Prefix{}) // nil with an error
		return s
	}
}

// cachedKeys returns a function that finds the cached keys of a tenant, or nil.
func (t *tenancy) cachedKeys() func(name string) *keys.Snapshot {
	if t == nil {
		return nil
	}
	return t.cache.Peek
}

// nameTenant records the tenant that a request names, and uses its keys if they are
// cached. Otherwise the delivery is opened with stand-ins: the source is asked only
// about a request that could be genuine.
func (d *delivery) nameTenant() {
	t := d.h.tenants
	if t == nil {
		return
	}
	var ok bool
	if d.tenant, ok = tenants.Name(t.place.In(d.r), t.keepCase); !ok {
		d.unknown = errNoName
		return
	}
	d.tenant = strings.Clone(d.tenant) // what remembers it must not keep the whole address
	if d.keys == nil {
		return
	}
	if cached := t.cache.Cached(d.r.Context(), d.tenant, d.came); cached != nil {
		d.keys, d.known = cached, true
	}
}

// tenantCached returns the tenant's keys if they are cached.
func (d *delivery) tenantCached() *keys.Snapshot {
	if d.h.tenants == nil { // when it was stored, the handler had tenants
		return nil
	}
	return d.h.tenants.cache.Cached(d.r.Context(), d.tenant, d.h.now())
}

// findTenant asks for the keys of a tenant that were not cached, and opens the headers
// again with them. The delivery of an unknown tenant goes on with stand-ins: its body is
// read and its signature verified, as with a wrong key.
func (d *delivery) findTenant() error {
	if d.known || d.unknown != nil {
		return nil
	}
	found, err := d.h.tenants.cache.Find(d.r.Context(), d.tenant, clientOf(d.r))
	if errors.Is(err, tenants.ErrUnknown) {
		d.unknown = err
		return nil
	}
	if err != nil {
		return tenantNotFound("the tenant's keys cannot be told now: ", err)
	}
	return d.useTenant(found)
}

func (d *delivery) useTenant(found *keys.Snapshot) error {
	d.keys, d.known, d.unknown = found, true, nil
	return d.begin()
}

func tenantNotFound(what string, err error) *refusal {
	r := *errKeyUnavailable
	r.detail = what + err.Error()
	if e, ok := errors.AsType[*tenants.NotNow](err); ok {
		r.retryAfter = seconds(e.After)
	}
	return &r
}

// rotated returns a function that opens the headers again, if the tenant has other keys
// than those that did not match; nil if it has none. If that cannot be told now, the
// function returns an error: the sender is asked to retry. Under observe this is a failed
// verification like another.
func (d *delivery) rotated() func() error {
	if d.tenant == "" {
		return nil
	}
	newer, err := d.h.tenants.cache.Mismatch(d.r.Context(), d.tenant, d.keys, d.came, clientOf(d.r))
	switch {
	case err != nil && !d.h.Observe:
		return func() error { return tenantNotFound("no key matches, and newer ones cannot be told now: ", err) }
	case newer == nil:
		return nil
	}
	return func() error { return d.useTenant(newer) }
}

// mismatches reports whether a delivery was refused because no key matches.
func mismatches(err error) bool {
	rej, ok := errors.AsType[*verifier.Rejection](err)
	return ok && rej.Reason == verifier.SignatureMismatch
}

// ofUnknownTenant returns the error for a delivery verified with stand-ins. They verify
// nothing, and if they did it would not count.
func (d *delivery) ofUnknownTenant(verdict verifier.Verdict, err error) error {
	if d.unknown == nil || err != nil && !mismatches(err) || err == nil && verdict == (verifier.Verdict{}) { // an unsigned handshake
		return err
	}
	return &verifier.Rejection{Reason: verifier.UnknownTenant, Detail: d.unknown.Error()}
}
