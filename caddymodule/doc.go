// Package caddymodule is the gateway as Caddy modules: the handlers verify_webhook and
// verify_webhooks, their Caddyfile, the app that handlers share, the dedupe stores and
// the admin API. Package verifier decides what makes a delivery genuine, package dedupe
// whether it was seen before; this package connects both to HTTP.
//
// # One delivery
//
// Handler.ServeHTTP takes a request through steps; each refuses what it can as early as
// it can. A delivery holds their results:
//
//	arrive   serve.go   delete forged marks, record the request, load the keys once
//	admit    serve.go   path, method, declared length
//	open     serve.go   all that headers alone decide
//	read     body.go    the body, whole or not at all, charged to a budget (budget.go)
//	verify   serve.go   the signature; a key that is missing is fetched (fetchkey.go)
//	claim    dedupe.go  one copy at a time, and none that the app has accepted
//	forward  serve.go   the headers that the app sees (upstream.go); the app's answer is held
//	                    until the delivery is settled (response.go)
//
// A request that open or verify recognizes as a handshake is answered in handshake.go
// and never forwarded. refuse.go answers what is refused, and report.go reports each
// outcome to the counters, the access log and the trace. A doubt about a signature
// rejects; a doubt about a duplicate forwards.
//
// A handler with an inbox entrusts the delivery instead of forwarding it: entrust.go
// stores what the app does not accept, firstattempt.go asks the app while the sender
// waits. Later attempts return through handback.go to again.go.
//
// # Configuration
//
// The Caddyfile (caddyfile.go, options.go; the block in blockcaddyfile.go, the global
// option in globaloption.go) becomes the JSON of Handler, Block and App; handler.go
// provisions a Handler (openkeys.go its scheme and keys), block.go a Block, app.go an App.
// The guards of error routes are in guard.go.
// Provisioning has no side effects: caddy validate and a reload provision while the old
// configuration runs. State that outlives a configuration is in process.go.
//
// # Rooms
//
// Packages below this one do not import it:
//
//	keys        values, key files, published keys: a snapshot that a request loads once
//	stores      the dedupe stores as modules
//	boxes       the open inboxes, over configurations, and what the operator does with them
//	attempt     requests that no sender waits for
//	metrics     the counters
//	history     the newest genuine deliveries
//	rejected    refused requests, redacted and explained
//	placement   warnings at start about the placement of handlers
//	adminapi    the admin API's paths and types; adminhttp answers
//	direct      a transport for reverse_proxy that sends small requests itself
//	option      how options of Caddyfile blocks are read
//	logging     log lines that outlive a configuration, and their limit
//
// Package command, the caddy webhook commands, imports this one through
// [Handler.Sender].
package caddymodule

// A transport that a Caddyfile names must be compiled in wherever the directive is.
import _ "github.com/verify-webhook/caddy-verify-webhook/caddymodule/direct"
