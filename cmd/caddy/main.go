// Command caddy is Caddy with its standard modules and verify_webhook. It has the
// dependencies of this repository's go.sum, so that builds of a commit are identical.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/verify-webhook/caddy-verify-webhook"
	_ "github.com/verify-webhook/caddy-verify-webhook/caddymodule/nats"
	_ "github.com/verify-webhook/caddy-verify-webhook/caddymodule/redis"
)

func main() {
	caddycmd.Main()
}
