package boxes

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A Module is a guest module of the namespace http.handlers.verify_webhook.inboxes that
// opens an engine. Its Provision must not connect to or open anything, as caddy validate
// runs it too.
//
// The operator sees its last name; with a method Keeps() string, also the words that
// returns, which say where it keeps deliveries and may be logged.
type Module interface {
	// Identity determines which configurations share an engine: the place where it
	// keeps deliveries.
	Identity() string
	// Engine opens the engine in the background. It is called when the configuration
	// starts, unless one of the same Identity is open.
	Engine(logger *slog.Logger) (inbox.Engine, error)
	// Adjust applies all other options to the open inbox, whose engine is one of this
	// Identity. It is called when the configuration is in force. With an error, the
	// inbox keeps the options that it has, and it is called again every second.
	Adjust(*inbox.Box) error
}

// namespace is the namespace of modules.
const namespace = "http.handlers.verify_webhook.inboxes"

// Load returns the configuration whose app has the module, as JSON, in a field with
// Caddy's tag. Without one, the inbox is the default file.
func (p *Pool) Load(ctx caddy.Context, app any, field string, raw json.RawMessage) (*Configuration, error) {
	c := &Configuration{pool: p, configured: len(raw) > 0, logger: ctx.Logger()}
	if !c.configured {
		file := new(Bolt)
		c.Module = file
		return c, file.Provision(ctx)
	}
	if name, missing := option.Missing(raw, namespace, "inbox"); missing {
		return nil, notCompiledIn(name)
	}
	loaded, err := ctx.LoadModule(app, field)
	if err != nil {
		return nil, err
	}
	var ok bool
	if c.Module, ok = loaded.(Module); !ok {
		return nil, fmt.Errorf("inbox: %T is not an inbox engine", loaded)
	}
	return c, nil
}

// Parse reads the engine's name and options, and returns the module's JSON.
func Parse(d *caddyfile.Dispenser) (json.RawMessage, error) {
	if !d.NextArg() {
		return nil, d.Errf("inbox: name an engine: bolt or nats; handlers with an inbox use it")
	}
	return option.Guest(d, namespace, "inbox", notCompiledIn)
}

func notCompiledIn(name string) error {
	if name == "nats" {
		const repository = "github.com/verify-webhook/caddy-verify-webhook"
		return errors.New("inbox nats is not in this Caddy: build one with it: xcaddy build --with " + repository + " --with " + repository + "/caddymodule/nats")
	}
	return errors.New("inbox: an unknown engine (not repeated here, as it may be a secret): bolt is built in, nats is one more --with")
}

// kindOf returns the last name of a module.
func kindOf(m Module) string {
	if m, ok := m.(caddy.Module); ok {
		return m.CaddyModule().ID.Name()
	}
	return ""
}

// describe names an inbox for the operator. An Identity may contain a password.
func describe(m Module) string {
	switch m := m.(type) {
	case *Bolt:
		return kindOf(m) + " " + m.Path
	case interface {
		Module
		Keeps() string
	}:
		return kindOf(m) + " " + m.Keeps()
	}
	return kindOf(m)
}
