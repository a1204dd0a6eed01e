// Package stores holds the dedupe stores as modules of Caddy: memory, bolt, and what a
// guest module of another store implements.
package stores

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe/bolt"
	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
)

func init() {
	caddy.RegisterModule(new(Memory))
	caddy.RegisterModule(new(Bolt))
}

// namespace is the namespace of store modules.
const namespace = "http.handlers.verify_webhook.stores"

// A Module is a guest module of the namespace
// http.handlers.verify_webhook.stores that opens a store. Its Provision must not
// connect to or open anything, as caddy validate runs it too.
type Module interface {
	// Identity determines which configurations share a store: its kind, its address
	// or absolute path, its namespace.
	Identity() string
	// Gate opens the store behind a gate. It is called when the configuration starts,
	// unless one of the same Identity is open. An unreachable store is not an error:
	// deliveries continue.
	Gate(logger *slog.Logger) (*dedupe.Gate, error)
}

// A Resizer is a store module whose open store takes its size from the configuration that
// serves requests.
type Resizer interface {
	Resize(*dedupe.Gate)
}

// Memory remembers deliveries in this process, across reloads but not across
// restarts.
type Memory struct {
	// How many deliveries are remembered as done; beyond it the oldest of the handler
	// with the most, and in it of the tenant with the most, is forgotten early. 131072 take about 6 MB. Default: 131072.
	MaxEntries *int `json:"max_entries,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Memory) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: namespace + ".memory", New: func() caddy.Module { return new(Memory) }}
}

// Provision checks the options.
func (s *Memory) Provision(caddy.Context) error { return checkEntries(s.MaxEntries) }

// Identity implements Module.
func (s *Memory) Identity() string { return "memory" }

// Gate implements Module.
func (s *Memory) Gate(logger *slog.Logger) (*dedupe.Gate, error) {
	m := dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: orZero(s.MaxEntries)})
	return dedupe.NewGate(dedupe.Options{Store: m, Logger: logger}), nil
}

// Resize implements Resizer.
func (s *Memory) Resize(g *dedupe.Gate) { g.Resize(orZero(s.MaxEntries)) }

// Bolt remembers deliveries in this process and in a file that survives a
// restart. Only one process can open the file at a time.
type Bolt struct {
	// The file; {env.NAME} and {file./path} in it are resolved when the configuration is
	// loaded. Default: verify_webhook/dedupe.db in Caddy's data directory.
	Path string `json:"path,omitempty"`
	// As for the memory store. Default: 131072.
	MaxEntries *int `json:"max_entries,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Bolt) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: namespace + ".bolt", New: func() caddy.Module { return new(Bolt) }}
}

// Provision checks the options, and resolves the path and makes it absolute.
func (s *Bolt) Provision(caddy.Context) error {
	if err := keys.DataFile("path", &s.Path, "dedupe.db"); err != nil {
		return fmt.Errorf("store bolt: %w", err)
	}
	return checkEntries(s.MaxEntries)
}

// Identity implements Module.
func (s *Bolt) Identity() string { return "bolt\x00" + s.Path }

// Gate implements Module.
func (s *Bolt) Gate(logger *slog.Logger) (*dedupe.Gate, error) {
	store, err := bolt.Open(bolt.Options{Path: s.Path, MaxEntries: orZero(s.MaxEntries), Logger: logger})
	if err != nil {
		return nil, err
	}
	return dedupe.NewGate(dedupe.Options{Store: store, Logger: logger}), nil
}

// Resize implements Resizer.
func (s *Bolt) Resize(g *dedupe.Gate) { g.Resize(orZero(s.MaxEntries)) }

func checkEntries(n *int) error {
	if n != nil && *n <= 0 {
		return fmt.Errorf("max_entries: %d: give a positive number", *n)
	}
	return nil
}

// Load returns the store that an app has, as JSON, in a field with Caddy's tag. Without
// one, it is the memory store.
func Load(ctx caddy.Context, app any, field string, raw json.RawMessage) (Module, error) {
	if len(raw) == 0 {
		s := new(Memory)
		return s, s.Provision(ctx)
	}
	if name, missing := option.Missing(raw, namespace, "store"); missing {
		return nil, notCompiledIn(name)
	}
	module, err := ctx.LoadModule(app, field)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	store, ok := module.(Module)
	if !ok {
		return nil, fmt.Errorf("store: %T is not a dedupe store", module)
	}
	return store, nil
}

func notCompiledIn(name string) error {
	if name == "redis" {
		const repository = "github.com/verify-webhook/caddy-verify-webhook"
		return errors.New("store redis is not in this Caddy: build one with it: xcaddy build --with " + repository + " --with " + repository + "/caddymodule/redis")
	}
	if near := nearest.Of(name, []string{"memory", "bolt", "redis"}); near != "" { // otherwise it may be a secret
		return fmt.Errorf("store %s: did you mean %s?", name, near)
	}
	return errors.New("store: an unknown one (not repeated here, as it may be a secret): memory and bolt are built in, redis is one more --with")
}

// Parse reads the store's name and options, and returns the module's JSON.
func Parse(d *caddyfile.Dispenser) (json.RawMessage, error) {
	if !d.NextArg() {
		return nil, d.Errf("store: name one: memory, bolt or redis")
	}
	return option.Guest(d, namespace, "store", notCompiledIn)
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens:
//
//	memory {
//		max_entries <n>
//	}
func (s *Memory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return parseBlock(d, map[string]func(string) error{"max_entries": entries(d, &s.MaxEntries)})
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens:
//
//	bolt {
//		path        <file>
//		max_entries <n>
//	}
func (s *Bolt) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return parseBlock(d, map[string]func(string) error{
		"path":        func(arg string) error { s.Path = arg; return nil },
		"max_entries": entries(d, &s.MaxEntries),
	})
}

func entries(d *caddyfile.Dispenser, into **int) func(string) error {
	return func(arg string) error {
		n, err := strconv.Atoi(arg)
		if err != nil || n <= 0 {
			return d.Errf("max_entries: write a positive number")
		}
		*into = &n
		return nil
	}
}

// parseBlock parses a block of options with one argument each.
func parseBlock(d *caddyfile.Dispenser, options map[string]func(string) error) error {
	d.Next() // consume the store's name
	store := d.Val()
	seen := make(map[string]bool)
	if d.NextArg() {
		return d.Errf("store %s: write the options in a block", store)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		set, ok := options[word]
		if !ok {
			return d.Errf("store %s: %v", store, option.Unknown(word, slices.Sorted(maps.Keys(options))...))
		}
		args := d.RemainingArgs()
		if seen[word] || len(args) != 1 {
			return d.Errf("store %s: %s takes one argument and must not be repeated", store, word)
		}
		if args[0] == "" {
			return d.Errf("store %s: %s is empty: an unset {$VARIABLE} vanishes", store, word)
		}
		seen[word] = true
		if err := set(args[0]); err != nil {
			return err
		}
	}
	return nil
}

// Kind returns the last name of a module: memory, bolt or redis.
func Kind(m Module) string {
	if m, ok := m.(caddy.Module); ok {
		return m.CaddyModule().ID.Name()
	}
	return ""
}

// A movable is a module whose address or password, and so Identity, may change without
// losing its deliveries. Keeps describes, in words that may be logged, what must stay
// the same.
type movable interface{ Keeps() string }

// Same reports whether two modules keep the same deliveries.
func Same(a, b Module) bool { return kept(a) == kept(b) }

func kept(m Module) string {
	if movable, ok := m.(movable); ok {
		return Kind(m) + "\x00" + movable.Keeps()
	}
	return m.Identity()
}

// Describe names a store for the operator.
func Describe(m Module) string {
	switch store := m.(type) {
	case *Bolt:
		return Kind(m) + " " + store.Path
	case movable:
		return Kind(m) + " " + store.Keeps()
	}
	return Kind(m) // an Identity may contain a password
}

func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// Interface guards
var (
	_ Module                = (*Memory)(nil)
	_ Module                = (*Bolt)(nil)
	_ caddy.Provisioner     = (*Memory)(nil)
	_ caddy.Provisioner     = (*Bolt)(nil)
	_ caddyfile.Unmarshaler = (*Memory)(nil)
	_ caddyfile.Unmarshaler = (*Bolt)(nil)
)
