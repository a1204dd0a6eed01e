package caddymodule

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/history"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("verify_webhook", parseGlobalOption)
}

// parseGlobalOption sets up the app:
//
//	verify_webhook {
//		store memory { max_entries <n> }
//		store bolt   { path <file>   max_entries <n> }
//		store redis  { … }
//		inbox bolt { path <file>   max_size <size>   concurrency <n>   encrypt <value>... }
//		max_buffered <size>
//		keep_rejected <n> | off
//		keep_deliveries <n> | off
//	}
func parseGlobalOption(d *caddyfile.Dispenser, earlier any) (any, error) {
	d.Next() // consume option name
	app := new(App)
	if earlier != nil {
		return nil, d.Errf("verify_webhook appears twice in the global options: merge the blocks")
	}
	if d.NextArg() {
		return nil, d.Errf("verify_webhook takes a block: verify_webhook { max_buffered 256MiB }")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "max_buffered":
			if app.MaxBuffered != nil {
				return nil, d.Errf("max_buffered is already set: remove one")
			}
			size, err := option.Size(d.RemainingArgs())
			if err != nil {
				return nil, d.Errf("max_buffered: %v", err)
			}
			app.MaxBuffered = &size
		case "keep_rejected":
			if app.KeepRejected != nil {
				return nil, d.Errf("keep_rejected is already set: remove one")
			}
			n, err := parseKept(d.RemainingArgs(), "rejections", rejected.PerHandler)
			if err != nil {
				return nil, d.Errf("keep_rejected: %v", err)
			}
			app.KeepRejected = &n
		case "keep_deliveries":
			if app.KeepDeliveries != nil {
				return nil, d.Errf("keep_deliveries is already set; remove one")
			}
			n, err := parseKept(d.RemainingArgs(), "deliveries", history.PerHandler)
			if err != nil {
				return nil, d.Errf("keep_deliveries: %v", err)
			}
			app.KeepDeliveries = &n
		case "store":
			if app.StoreRaw != nil {
				return nil, d.Errf("store is already set: remove one")
			}
			var err error
			if app.StoreRaw, err = parseStore(d); err != nil {
				return nil, err
			}
		case "inbox":
			if app.InboxRaw != nil {
				return nil, d.Errf("inbox is already set: remove one")
			}
			var err error
			if app.InboxRaw, err = boxes.Parse(d); err != nil {
				return nil, err
			}
		default:
			return nil, d.Errf("unknown option of the global verify_webhook: known are max_buffered <size>, keep_rejected <n>, keep_deliveries <n>, store <kind>, inbox <engine>")
		}
	}
	value, err := json.Marshal(app)
	return httpcaddyfile.App{Name: "verify_webhook", Value: value}, err
}

// parseKept parses a positive number, or off.
func parseKept(args []string, what string, usual int) (int, error) {
	if len(args) == 1 && args[0] == "off" {
		return 0, nil
	}
	if len(args) == 1 {
		if n, err := strconv.Atoi(args[0]); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("write how many %s to keep for each handler, such as %d, or off", what, usual)
}

func parseStore(d *caddyfile.Dispenser) (json.RawMessage, error) {
	if !d.NextArg() {
		return nil, d.Errf("store: name one: memory, bolt or redis")
	}
	name := d.Val()
	if _, err := caddy.GetModule(storeNamespace + "." + name); err != nil {
		return nil, d.Errf("%v", notCompiledIn(name))
	}
	module, err := caddyfile.UnmarshalModule(d, storeNamespace+"."+name)
	if err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(module, "store", name, nil), nil
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens:
//
//	memory {
//		max_entries <n>
//	}
func (s *MemoryStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return parseStoreBlock(d, map[string]func(string) error{"max_entries": entries(d, &s.MaxEntries)})
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens:
//
//	bolt {
//		path        <file>
//		max_entries <n>
//	}
func (s *BoltStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return parseStoreBlock(d, map[string]func(string) error{
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

// parseStoreBlock parses a block of options with one argument each.
func parseStoreBlock(d *caddyfile.Dispenser, options map[string]func(string) error) error {
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

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
	_ caddyfile.Unmarshaler = (*BoltStore)(nil)
)
