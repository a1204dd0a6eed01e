package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/tenants"
	"github.com/verify-webhook/caddy-verify-webhook/internal/configfile"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

func init() {
	httpcaddyfile.RegisterDirective("verify_webhook", parseDirective)
	httpcaddyfile.RegisterDirective("verify_webhooks", parseBlock)
	// After request_body and timeouts, before anything that rewrites: schemes may
	// sign the URL as called. The block is first: it owns its prefix.
	httpcaddyfile.RegisterDirectiveOrder("verify_webhook", httpcaddyfile.After, "timeouts")
	httpcaddyfile.RegisterDirectiveOrder("verify_webhooks", httpcaddyfile.After, "timeouts")
}

// parseDirective does what RegisterHandlerDirective would register, but keeps the
// matcher's text: Caddy reads the path of a provider file as a matcher.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // consume directive name
	matcher := ""
	if h.NextArg() {
		matcher = h.Val()
	}
	h.Reset()
	h.Next()
	matchers, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		if strings.HasPrefix(matcher, "/") && strings.HasSuffix(matcher, ".json") {
			err = fmt.Errorf("%w (Caddy reads %s as a path matcher: to name a provider file by its absolute path, write a matcher before it: verify_webhook * %s)", err, matcher, matcher)
		}
		return nil, err
	}
	return h.NewRoute(matchers, handler), nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens:
//
//	verify_webhook [<matcher>] [<provider> [<secret>...]] {
//		name        <name>
//		secret      <value>... [as <label>]
//		public_key  <value>... [as <label>]
//		param       <name> <value>
//		tenant      <placeholder> {
//			case_sensitive
//			max_tenants <n>
//		}
//		secret      {file./path/{tenant}}
//		secret      from http <url> {
//			bearer <value>
//			ttl    <duration>
//			stale  <duration>
//		}
//
//		algorithm       <algorithm>
//		secret_encoding utf8 | base64 | base64url | hex
//		signature       header <name>... [hex|base64|base64url] [prefix <text>]
//		signature       header <name> kv <key> [hex|base64|base64url]
//		signature       header <name> list <version> [hex|base64|base64url]
//		message         "<template>"
//		timestamp       header <name> | kv <key> | json <path> | form <name> [s|ms|us|rfc3339|iso8601_utc|http_date]
//		timestamp       off
//		tolerance       <duration>
//		delivery_id     header <name> | json <path> | form <name> | off
//		public_url      <origin>
//
//		methods          <method>...
//		require_header   <name> <value>...
//		max_body         <size>
//		body_timeout     <duration>
//		upstream_timeout <duration>
//		observe
//		reject_status    <status>
//		handshake        off
//		dedupe off
//		dedupe {
//			key    id | id+content | content
//			window <duration>
//			wait   <duration>
//			duplicate_response <2xx> [<body>]
//		}
//		sign_upstream <secret>
//	}
//
// The provider is an id of the catalogue or the path of a JSON file, relative to
// the Caddyfile; the file becomes part of the JSON configuration.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	p := &parser{Dispenser: d, h: h, directive: "verify_webhook"}
	return p.read()
}

// A parser parses one handler: verify_webhook, or sender in verify_webhooks.
type parser struct {
	*caddyfile.Dispenser
	h         *Handler
	directive string
	path      *string // of a sender
	file      string
	lines     map[string]int // option or directive → the line of its first use
	version   string         // of signature … list
	files     *tenants.File  // of tenants' keys
	resolved  *providers.Provider
}

func (p *parser) read() error {
	p.Next() // consume directive name
	p.file, p.lines = p.File(), map[string]int{p.directive: p.Line()}
	if p.NextArg() {
		if err := p.provider(p.Val()); err != nil {
			return err
		}
		if err := p.inlineSecrets(p.RemainingArgs()); err != nil {
			return err
		}
	}
	for nesting := p.Nesting(); p.NextBlock(nesting); {
		if err := p.option(p.Val()); err != nil {
			return err
		}
	}
	return p.finish()
}

func (p *parser) provider(word string) error {
	if strings.HasSuffix(word, ".json") {
		path := word
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(p.File()), path)
		}
		data, err := configfile.Read(path)
		if err != nil {
			return p.Errf("provider file: %v: the path is relative to the Caddyfile", err)
		}
		if p.resolved, err = providers.Parse(word, data); err != nil {
			return p.Errf("%v", err)
		}
		p.h.Provider = json.RawMessage(data)
		return nil
	}
	var err error
	p.resolved, err = providers.Get(word)
	if e, ok := errors.AsType[*providers.UnknownError](err); ok && e.Near == "" {
		return p.Errf("the first argument is not a provider of the catalogue (not repeated here, as it may be a secret): write %s <provider> <secret>; another scheme is written out in the block, or in a file whose name ends in .json (%s ./acme.json <secret>)", p.directive, p.directive)
	}
	if err != nil {
		return p.Errf("%v", err)
	}
	p.h.Provider, err = json.Marshal(word)
	return err
}

// inlineSecrets reads the values after the provider. They have no labels there, or as
// would become a secret that anyone can guess.
func (p *parser) inlineSecrets(args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case slices.Contains(args, "as"):
		return p.Errf("secret: write a label in the block: secret <value> as <label>")
	case args[0] == "from" && len(args) > 1:
		return p.Errf("secret: write the source of tenants' keys in the block: secret from http <url>")
	}
	return p.keys("secret", args, &p.h.Secret)
}

// repeatable are the options that may be repeated.
var repeatable = map[string]bool{"secret": true, "public_key": true, "param": true, "require_header": true}

func (p *parser) option(name string) error {
	parse, ok := options[name]
	if name == "path" {
		parse, ok = one((*parser).setPath), true
	}
	if !ok {
		return p.Errf("%v", option.Unknown(name, p.optionNames()...))
	}
	if line, again := p.lines[name]; again && !repeatable[name] {
		return p.Errf("%s is already set on line %d: remove one", name, line)
	}
	p.lines[name] = p.Line()
	var args []string
	for _, token := range p.RemainingArgsAsTokens() {
		if token.Text == "}" && !token.Quoted() { // Caddy passes it on as an argument: a secret, here
			return p.Errf("%s: the closing } must be on its own line", name)
		}
		args = append(args, token.Text)
	}
	// Errors below never use ArgErr, which repeats the previous token: it may be a
	// secret.
	if err := parse(p, name, args); err != nil {
		return err
	}
	if p.NextBlock(p.Nesting()) {
		return p.Errf("%s takes no block", name)
	}
	return nil
}

// value undoes a shorthand of the Caddyfile: {file.name} without a slash or dot
// arrives as the placeholder of a URL's file name.
func (p *parser) value(text string) string {
	return strings.ReplaceAll(text, "{http.request.uri.path.file.", "{file.")
}

// finish checks the complete block, so that errors have a line.
func (p *parser) finish() error {
	h := p.h
	scheme := h.Scheme
	if p.resolved != nil {
		scheme = p.resolved.Scheme.With(scheme)
	}
	if p.version != "" {
		h.Signature.Accept = acceptVersion(p.version, scheme.Algorithm)
	}
	scheme.Handshakes = h.handshakes(p.resolved)
	if h.Signature == nil && p.resolved == nil {
		return p.at(p.directive, "neither a provider nor a scheme: write %s <provider> <secret>, or say at least: signature header <name>", p.directive)
	}
	if h.Name == "" && p.resolved == nil {
		return p.at(p.directive, "%v", checkName(""))
	}
	scheme, _, err := keys.WithAddress(scheme, h.PublicKey)
	if err != nil {
		return p.at("public_key", "%v", err)
	}
	if err := p.finishTenants(); err != nil {
		return err
	}
	if name, err := p.resolved.CheckParams(scheme, h.Param); err != nil {
		return p.at("param "+name, "%v", err)
	}
	if h.Tenant == "" && len(h.Secret)+len(h.PublicKey) == 0 && !scheme.SelfKeyed() {
		return p.at(p.directive, "%v", keys.ErrNoKey)
	}
	return p.checkScheme(scheme)
}

// at returns an error with an option's line, like Errf for the current one.
func (p *parser) at(option, format string, args ...any) error {
	line, ok := p.lines[option]
	if !ok {
		line = p.lines[p.directive]
	}
	return fmt.Errorf("%s, at %s:%d", fmt.Sprintf(format, args...), p.file, line)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
