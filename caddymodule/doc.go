// Package caddymodule is the gateway as Caddy modules: the handlers
// verify_webhook and verify_webhooks, their Caddyfile, the app that handlers
// share, the dedupe stores and the admin API. What makes a delivery genuine is
// decided in package verifier, whether it has been seen before in package dedupe;
// this package connects both to HTTP.
//
// # One delivery
//
// Handler.ServeHTTP takes a request through steps; each refuses what it can as
// early as it can. A delivery holds what the steps find out:
//
//	arrive   serve.go   delete forged marks, note the request as received, load the keys once
//	admit    serve.go   path, method, declared length
//	open     serve.go   all that headers alone decide
//	read     body.go    the body, whole or not at all, charged to a budget (budget.go)
//	verify   serve.go   the signature; a key that is missing is fetched (fetchkey.go)
//	claim    dedupe.go  one copy at a time, and none that the app has taken
//	forward  serve.go   the headers that the app sees (upstream.go); the app's answer is held
//	                    until the delivery is settled (response.go)
//
// A request that open or verify recognizes as a handshake is answered in
// handshake.go (visit.go, where the sender asks for a visit) and never forwarded.
// What is refused is answered in refuse.go, and each end is reported in report.go:
// to the counters, the access log and the trace. A doubt about a signature
// rejects; a doubt about a duplicate forwards.
//
// # Configuration
//
// The Caddyfile (caddyfile.go, options.go; the block in block.go and sender.go,
// the global option in globaloption.go) becomes the JSON of Handler, Guard and
// App; handler.go provisions a Handler, app.go an App, store.go the stores. The
// guard of the block is in guard.go. Provisioning has no side effects: caddy
// validate and a reload provision while the old configuration runs. What outlives
// a configuration is in process.go.
//
// # Rooms
//
// Packages below this one know nothing of it: keys (values, key files, published
// keys: one immutable snapshot that a request loads once), metrics (the counters),
// history (what became of the newest genuine deliveries), rejected (what is kept of
// refused requests, redacted and explained), placement (warnings at start about where
// handlers are), adminapi (paths and types of the admin API). Package command, the caddy webhook commands, imports this one
// through [Handler.Sender].
package caddymodule
