// Package verifywebhook registers the verify_webhook directive with Caddy.
//
// It holds no code of its own: it exists so that the module path is all that a
// user hands to xcaddy (xcaddy build --with <module path>). The handler is in
// caddymodule, the "caddy webhook" commands are in caddymodule/command, what makes
// a delivery genuine is in verifier.
package verifywebhook

import (
	_ "github.com/verify-webhook/caddy-verify-webhook/caddymodule"
	_ "github.com/verify-webhook/caddy-verify-webhook/caddymodule/command"
)
