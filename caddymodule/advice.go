package caddymodule

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/tenants"
)

// advise warns of probable mistakes, and refuses handlers that would treat each
// other's deliveries as copies. It runs before the configuration is in force;
// previous is the app still in force, nil at the start of the process.
func (a *App) advise(previous *App) error {
	findings, err := a.survey()
	if err != nil {
		return err
	}
	findings = slices.Concat(a.unrecognised(), a.touching(), a.anyHost(), a.documented(), a.sharedSecrets(), a.oracles(), a.oneSecret(), a.tenantsSign(), a.mixedTenants(), findings)
	if previous != nil {
		findings = append(findings, a.forgets(previous)...)
	}
	for _, f := range findings {
		a.logger.Warn(f.Message, f.Fields...)
	}
	a.inbox.WarnAboutOthers()
	return nil
}

// survey checks the routes. They include modules of others: if one fails on an
// imagined request, the start continues.
func (a *App) survey() (findings []placement.Finding, err error) {
	if a.http == nil {
		return nil, nil
	}
	app := a.http()
	if app == nil {
		return nil, nil
	}
	defer func() {
		if e := recover(); e != nil {
			a.logger.Debug("the routes cannot be surveyed", zap.Any("panic", e))
			findings, err = nil, nil
		}
	}()
	return placement.Survey(app)
}

// site returns what the configuration says about the hosts of a handler's requests;
// nil if nothing. The first delivery may call it before Start, since Caddy starts
// apps in no particular order.
func (a *App) site(h *Handler) *placement.Site {
	a.locate()
	return a.siteOf[&h.placed]
}

// isInvoked reports whether several routes lead to a handler, each with something else
// behind it.
func (a *App) isInvoked(h *Handler) bool {
	places, _ := a.places(h)
	return places.Count > 1
}

// places returns the places of a handler in the routes; known is false if they are
// unknown.
func (a *App) places(h *Handler) (at placement.Places, known bool) {
	a.locate()
	at, known = a.placesOf[&h.placed]
	return at, known
}

func (a *App) locate() {
	a.located.Do(func() {
		if a.http == nil {
			return
		}
		if app := a.http(); app != nil {
			a.siteOf, a.placesOf = placement.SitesOf(app)
		}
	})
}

// httpApp returns a function for the app whose routes hold the handlers. It is
// complete only after its provisioning, which includes this one's.
func httpApp(ctx caddy.Context) func() *caddyhttp.App {
	return func() *caddyhttp.App {
		app, err := ctx.AppIfConfigured("http")
		if err != nil {
			return nil
		}
		found, _ := app.(*caddyhttp.App)
		return found
	}
}

// unrecognised warns of senders whose copies cannot be recognised.
func (a *App) unrecognised() []placement.Finding {
	var names []string
	for _, h := range a.named("") {
		if h.recogniser.off && (h.Dedupe == nil || !h.Dedupe.Off) {
			names = append(names, h.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return []placement.Finding{{
		Message: "copies of these senders' deliveries cannot be recognised, so every copy is forwarded: add delivery_id …, or dedupe { key content } if two events never share a body, or dedupe off",
		Fields:  []zap.Field{zap.Strings("names", slices.Compact(names))},
	}}
}

// touching warns of messages of the operator's own that may be split in several ways. The
// catalogue's have texts of known forms.
func (a *App) touching() (findings []placement.Finding) {
	told := make(map[[3]string]bool)
	for _, h := range a.named("") {
		if !h.hasOwnMessage() {
			continue
		}
		first, second := h.rules.Touching()
		of := [3]string{h.Name, first, second}
		if first == "" || told[of] {
			continue
		}
		told[of] = true
		findings = append(findings, placement.Finding{
			Message: "no text of the message separates these two slots, so whoever captured a delivery can move bytes from one to the other, and the app gets the altered delivery as verified: write the text that the sender signs between them, {timestamp} where one is the time, or body_format in a provider file if every body is JSON or XML",
			Fields:  []zap.Field{zap.String("name", h.Name), zap.String("first", first), zap.String("second", second)},
		})
	}
	return findings
}

// hasOwnMessage reports whether the message is not one of the catalogue.
func (h *Handler) hasOwnMessage() bool {
	return len(h.Scheme.Message) > 0 || bytes.HasPrefix(bytes.TrimSpace(h.Provider), []byte("{"))
}

// anyHost warns of handlers for every host whose senders sign the host: the client then
// chooses for which address a signature counts.
func (a *App) anyHost() []placement.Finding {
	if a.http == nil || a.http() == nil {
		return nil
	}
	sites, _ := placement.SitesOf(a.http())
	var names []string
	for _, h := range a.named("") {
		if site := sites[&h.placed]; site != nil && site.AnyHost() && h.rules.SignsHost() && h.PublicURL == "" {
			names = append(names, h.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return []placement.Finding{{
		Message: "these senders sign the host of the URL, and the site is for every host, so what was signed for another address is genuine here under that one's host: name the host in the site's address, or write public_url https://…",
		Fields:  []zap.Field{zap.Strings("names", slices.Compact(names))},
	}}
}

// documented warns of secrets that the documentation prints, for the examples.
func (a *App) documented() []placement.Finding {
	var names []string
	for _, h := range a.named("") {
		if h.keys.Documented() {
			names = append(names, h.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return []placement.Finding{{
		Message: "these handlers have a secret that the gateway's documentation prints, so anyone can sign with it: except to try it out, use the one that the sender shows, or make one (openssl rand -base64 32) and enter it at the sender",
		Fields:  []zap.Field{zap.Strings("names", slices.Compact(names))},
	}}
}

// sharedSecrets warns of handlers that sign for the app with another sender's secret.
func (a *App) sharedSecrets() (findings []placement.Finding) {
	handlers := a.named("")
	for _, h := range handlers {
		signer := h.keys.Current()
		var file []string
		path, isFile := keys.FilePath(h.SignUpstream)
		if isFile {
			file = tenants.Elements(path)
		}
		i := slices.IndexFunc(handlers, func(other *Handler) bool {
			return signer.SignsAs(other.keys.Current()) || isFile && other.tenants.holdsFile(file)
		})
		if i < 0 {
			continue
		}
		findings = append(findings, betweenHandlers(h, handlers[i], "sign_upstream is the secret of another handler's sender, which can then sign for the gateway: use a separate secret for the app"))
	}
	return findings
}

// oracles warns of handlers whose answers to strangers could sign another handler's
// deliveries, since the two have a key in common, or may have: from one source of tenants'
// keys.
func (a *App) oracles() (findings []placement.Finding) {
	handlers := a.named("")
	for _, h := range handlers {
		signs := h.keys.Current()
		if signs == nil {
			continue
		}
		i := slices.IndexFunc(handlers, func(other *Handler) bool {
			verifies := other.keys.Current()
			if verifies == nil || !signs.Verifier.MayBeOracleFor(verifies.Verifier) {
				return false
			}
			of := verifies.Verifier
			if h.sharesSecrets(other) { // as if the two had a key in common
				of, _ = of.Verifier(signs.Keys)
			}
			return of != nil && signs.Verifier.IsOracleFor(of)
		})
		if i < 0 {
			continue
		}
		findings = append(findings, betweenHandlers(h, handlers[i], "two handlers share a key, and one answers unsigned challenges with an HMAC, so anyone can have it sign deliveries of the other: give each a key of its own"))
	}
	return findings
}

// oneSecret warns of handlers of different senders with a secret in common: whoever
// captured a delivery of one may turn it into one of the other.
func (a *App) oneSecret() (findings []placement.Finding) {
	handlers := a.named("")
	for i, h := range handlers {
		for _, other := range handlers[:i] {
			message := ""
			switch {
			case h.isOneSender(other):
			case h.keys.Current().SharesSecret(other.keys.Current()):
				message = "two senders have one secret, so a delivery of one may be turned into one of the other: give each a secret of its own"
			case h.sharesPlace(other):
				message = "two senders take secrets from one place, a tenant's or not, so a delivery of one may be turned into one of the other: give each a folder or an address of its own"
			}
			if message != "" {
				findings = append(findings, betweenHandlers(h, other, message))
				break
			}
		}
	}
	return findings
}

// sharesPlace reports whether a tenant's secret may be one of the other handler's. Other
// warnings tell of tenants that sign for others.
func (h *Handler) sharesPlace(other *Handler) bool {
	if h.tenants == nil && other.tenants == nil {
		return false
	}
	if !h.sharesSecrets(other) || h.tenants.signFor(other) || other.tenants.signFor(h) {
		return false
	}
	_, _, mixed := h.tenants.mixes(other.tenants)
	return !mixed && h.keys.Current().UsesSecrets() && other.keys.Current().UsesSecrets()
}

// tenantsSign warns of handlers whose folder of keys is that of another handler's tenants.
func (a *App) tenantsSign() (findings []placement.Finding) {
	handlers := a.named("")
	withTenants := slices.DeleteFunc(slices.Clone(handlers), func(h *Handler) bool { return h.tenants == nil })
	for _, h := range handlers {
		i := slices.IndexFunc(withTenants, func(other *Handler) bool { return other.tenants.signFor(h) })
		if i < 0 {
			continue
		}
		findings = append(findings, betweenHandlers(h, withTenants[i], "the folder of this handler's keys is that of another handler's tenants, so each of them may sign for it: move its keys into a folder that is not in the tenants', nor around it"))
	}
	return findings
}

// mixedTenants warns of handlers whose tenants' keys may be in one file, of another tenant
// for each: whoever has it signs as both. One path for both may be meant.
func (a *App) mixedTenants() (findings []placement.Finding) {
	handlers := slices.DeleteFunc(a.named(""), func(h *Handler) bool { return h.tenants == nil })
	told := make(map[[2]string]bool) // paths
	for i, h := range handlers {
		for _, other := range handlers[:i] {
			path, others, found := h.tenants.mixes(other.tenants)
			pair := [2]string{min(path, others), max(path, others)}
			if !found || told[pair] {
				continue
			}
			told[pair] = true
			f := betweenHandlers(h, other, "a tenant of one handler may sign as another tenant of the other, whose keys may be in the same file: use two folders, neither of which is in the other, such as /run/keys/shop/{tenant} and /run/keys/billing/{tenant}")
			f.Fields = append(f.Fields, zap.String("path", path), zap.String("other_path", others))
			findings = append(findings, f)
		}
	}
	return findings
}

func betweenHandlers(h, other *Handler, message string) placement.Finding {
	return placement.Finding{Message: message, Fields: []zap.Field{zap.String("name", h.Name), zap.String("other", other.Name)}}
}

// isOneSender reports whether two handlers seem to be for one sender, which may have one
// secret for all its endpoints: by name, by scheme, or as products of one vendor.
func (h *Handler) isOneSender(other *Handler) bool {
	vendor := h.vendor()
	return h.Name == other.Name || h.recogniser.scheme == other.recogniser.scheme || vendor != "" && vendor == other.vendor()
}

// vendor is the first word of the provider's id: of gitlab and gitlab_token. In x_signature
// it is anybody's "X-".
func (h *Handler) vendor() string {
	id := h.providerID()
	vendor, _, _ := strings.Cut(id, "_")
	if vendor == "x" {
		return id
	}
	return vendor
}

// keysAsWritten returns the handler's configured keys in one string.
func (h *Handler) keysAsWritten() string {
	var values []string
	for _, v := range slices.Concat(h.Secret, h.PublicKey) {
		values = append(values, v.Value)
	}
	slices.Sort(values)
	all := []any{values, h.Param}
	if h.tenants != nil {
		all = append(all, h.Tenant, h.tenants.written)
	}
	text, _ := json.Marshal(all)
	return string(text)
}
