// Command caddy is Caddy with verify_webhook compiled in: the standard modules,
// this project's, and nothing else. Its dependencies are those of this
// repository's go.sum, so that two builds of one commit are the same program.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/verify-webhook/caddy-verify-webhook"
	_ "github.com/verify-webhook/caddy-verify-webhook/caddymodule/redis"
)

func main() {
	caddycmd.Main()
}
