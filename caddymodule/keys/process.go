package keys

import (
	"github.com/caddyserver/caddy/v2"
)

// This file holds what belongs to the process and outlives a configuration.

// publishedPool holds what senders publish, by handler and source, while any
// configuration uses it: a reload while the sender's server is down loses no key.
var publishedPool = caddy.NewUsagePool()
