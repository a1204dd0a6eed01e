package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe/bolt"
)

func init() {
	caddy.RegisterModule(new(MemoryStore))
	caddy.RegisterModule(new(BoltStore))
}

// storeNamespace is the namespace of store modules.
const storeNamespace = "http.handlers.verify_webhook.stores"

// A StoreModule is a guest module of the namespace
// http.handlers.verify_webhook.stores that opens a store. Its Provision must not
// connect to or open anything, as caddy validate runs it too.
type StoreModule interface {
	// Identity determines which configurations share a store: its kind, its address
	// or absolute path, its namespace.
	Identity() string
	// Gate opens the store behind a gate. It is called when the configuration starts,
	// unless one of the same Identity is open. An unreachable store is not an error:
	// deliveries continue.
	Gate(logger *slog.Logger) (*dedupe.Gate, error)
}

// A Resizer is a store module whose open store takes its size from the most recently
// started configuration.
type Resizer interface {
	Resize(*dedupe.Gate)
}

// MemoryStore remembers deliveries in this process, across reloads but not across
// restarts.
type MemoryStore struct {
	// How many deliveries are remembered as done; beyond it the oldest of the handler
	// with the most is forgotten early. 131072 take about 11 MB. Default: 131072.
	MaxEntries *int `json:"max_entries,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*MemoryStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: storeNamespace + ".memory", New: func() caddy.Module { return new(MemoryStore) }}
}

// Provision checks the options.
func (s *MemoryStore) Provision(caddy.Context) error { return checkEntries(s.MaxEntries) }

// Identity implements StoreModule.
func (s *MemoryStore) Identity() string { return "memory" }

// Gate implements StoreModule.
func (s *MemoryStore) Gate(logger *slog.Logger) (*dedupe.Gate, error) {
	m := dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: orElse(s.MaxEntries, 0)})
	return dedupe.NewGate(dedupe.Options{Store: m, Logger: logger}), nil
}

// Resize implements Resizer.
func (s *MemoryStore) Resize(g *dedupe.Gate) { g.Resize(orElse(s.MaxEntries, 0)) }

// BoltStore remembers deliveries in this process and in a file that survives a
// restart. Only one process can open the file at a time.
type BoltStore struct {
	// The file. Default: verify_webhook/dedupe.db in Caddy's data directory.
	Path string `json:"path,omitempty"`
	// As for the memory store. Default: 131072.
	MaxEntries *int `json:"max_entries,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*BoltStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: storeNamespace + ".bolt", New: func() caddy.Module { return new(BoltStore) }}
}

// Provision checks the options and makes the path absolute.
func (s *BoltStore) Provision(caddy.Context) error {
	if s.Path == "" {
		s.Path = filepath.Join(caddy.AppDataDir(), "verify_webhook", "dedupe.db")
	}
	path, err := filepath.Abs(s.Path)
	if err != nil {
		return fmt.Errorf("store bolt: path %s: %w", s.Path, err)
	}
	s.Path = path
	return checkEntries(s.MaxEntries)
}

// Identity implements StoreModule.
func (s *BoltStore) Identity() string { return "bolt\x00" + s.Path }

// Gate implements StoreModule.
func (s *BoltStore) Gate(logger *slog.Logger) (*dedupe.Gate, error) {
	store, err := bolt.Open(bolt.Options{Path: s.Path, MaxEntries: orElse(s.MaxEntries, 0), Logger: logger})
	if err != nil {
		return nil, err
	}
	return dedupe.NewGate(dedupe.Options{Store: store, Logger: logger}), nil
}

// Resize implements Resizer.
func (s *BoltStore) Resize(g *dedupe.Gate) { g.Resize(orElse(s.MaxEntries, 0)) }

func checkEntries(n *int) error {
	if n != nil && *n <= 0 {
		return fmt.Errorf("max_entries: %d: give a positive number", *n)
	}
	return nil
}

// loadStore returns the configured store's module, by default the memory store.
func loadStore(ctx caddy.Context, a *App) (StoreModule, error) {
	if len(a.StoreRaw) == 0 {
		s := new(MemoryStore)
		return s, s.Provision(ctx)
	}
	module, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		var named struct {
			Store string `json:"store"`
		}
		if json.Unmarshal(a.StoreRaw, &named) == nil {
			if _, missing := caddy.GetModule(storeNamespace + "." + named.Store); missing != nil {
				return nil, notCompiledIn(named.Store)
			}
		}
		return nil, fmt.Errorf("store: %w", err)
	}
	store, ok := module.(StoreModule)
	if !ok {
		return nil, fmt.Errorf("store: %T is not a dedupe store", module)
	}
	return store, nil
}

const modulePath = "github.com/verify-webhook/caddy-verify-webhook"

func notCompiledIn(name string) error {
	if name == "redis" {
		return errors.New("store redis is not in this Caddy: build one with it: xcaddy build --with " + modulePath + " --with " + modulePath + "/caddymodule/redis")
	}
	return errors.New("store: an unknown one (not repeated here, as it may be a secret): memory and bolt are built in, redis is one more --with")
}

// Interface guards
var (
	_ StoreModule       = (*MemoryStore)(nil)
	_ StoreModule       = (*BoltStore)(nil)
	_ caddy.Provisioner = (*MemoryStore)(nil)
	_ caddy.Provisioner = (*BoltStore)(nil)
	_ caddy.Destructor  = (*pooledGate)(nil)
)
