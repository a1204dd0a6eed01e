package caddymodule

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/history"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/stores"
	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
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
			if app.StoreRaw, err = stores.Parse(d); err != nil {
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
			if near := nearest.Of(d.Val(), []string{"max_buffered", "keep_rejected", "keep_deliveries", "store", "inbox"}); near != "" {
				return nil, d.Errf("unknown option %s of the global verify_webhook: did you mean %s?", d.Val(), near)
			}
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
