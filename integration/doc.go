// Package integration contains only tests: they build the real Caddy of cmd/caddy, start
// it as a process with a Caddyfile, send real HTTP/1.1 and HTTP/2 requests, and check
// what an app behind it gets.
//
// Where things are:
//
//	main_test.go          builds the binary on first use, stops what tests share
//	gateway_test.go       one Caddy process: start, stop
//	process_test.go       kill it, start it again, reload it; copies sent at once
//	stores_test.go        the stores that tests run with, and a look into Redis
//	logbook_test.go       its log: wait for a line, search it for secrets
//	app_test.go           the app behind it: what arrived, what it answers
//	request_test.go       how the tests send: client, HTTP/2, raw sockets
//	senders_test.go       the senders, signed by openssl and crypto/hmac
//	shared_test.go        the gateway that the tests of requests share
//	genuine_test.go       each sender: genuine passes, altered does not
//	framing_test.go       bodies: chunked, huge, slow, half, compressed
//	headers_test.go       header lines: repeated, forged, hop-by-hop
//	connections_test.go   what happens to a connection after a refusal
//	routes_test.go        ways around the matchers, handlers that collide
//	upstream_test.go      what the app answers, or does not
//	observe_test.go       observe: let through, unmarked
//	handshake_test.go     what senders ask before they deliver, and what abuses it
//	keyfiles_test.go      keys in files: rotated, damaged, late
//	operator_test.go      handle_errors, metrics, the admin API, start-up errors
//	secrets_test.go       nothing secret in logs, errors and /config/
//	load_test.go          memory under load
//	duplicates_test.go    50 copies at once, one after another, waiting
//	settle_test.go        which deliveries are done, and which are forwarded again
//	identity_test.go      what makes two requests copies of one delivery
//	reload_test.go        reloads with deliveries in flight
//	forget_test.go        DELETE /verify_webhook/deliveries/KEY
//	resign_test.go        sign_upstream
//	store_bolt_test.go    the file: restarts, kill -9, damage
//	store_redis_test.go   the server: two gateways, killed, paused, full, flushed
//	crash_test.go         kill -9 in a loop, under a ledger
//	conformance_test.go   the scenarios of webhook-receiver-conformance
//	bench/                a command: what a delivery costs, beside plain Caddy
//	lost_inbox_test.go    an inbox that is lost with its disk: forget --inbox
//	inbox_commands_test.go caddy webhook inbox: list, show, replay, discard, pause
//	command_test.go       caddy webhook: exit codes, completion, providers
//	command_sign_test.go  caddy webhook: sign, verify, send, listen
//	docs_test.go          the Caddyfiles of the documentation, the README's commands
//	docs_*_test.go        its other commands, options, defaults, links, programs
//	deploy_*_test.go      dashboard, alerts, Kubernetes, systemd
//
// A signature here is never made by package verifier: it would agree with its
// own mistakes.
//
// INTEGRATION_RACE=1 builds the gateway with the race detector. CI=true makes a
// missing openssl, curl or redis-server an error instead of a skipped test.
// INTEGRATION_KILLS=3000 and INTEGRATION_RELOADS=1000 make the loops longer.
package integration
