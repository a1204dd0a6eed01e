// Package caddymodule is Caddy's face of the gateway: the handler, its
// Caddyfile, the app that holds what handlers share, and the key files.
package caddymodule
