// Package keys holds the keys of one handler: the values that a configuration
// names, the key files, which it reads again while they change, and the keys that
// a sender publishes, which it fetches.
//
// A [Value] is a secret or key as a configuration writes it: the text itself,
// {env.NAME} or {file./path}. Text that only stands in for a secret, which anyone
// could guess, is an error.
//
// A [Set] is opened from a [Config] and holds at most one [Snapshot]: all that a
// handler verifies and signs with at one time. A change compiles a new snapshot
// and swaps it whole; a request loads one on arrival and keeps it. What cannot be
// used, a damaged file or a sender that is down, leaves the last snapshot in place.
//
// A [Fetcher] asks for what senders publish, each address once at a time, within a
// budget by client: whoever forges deliveries neither makes the gateway hammer a
// sender nor uses up what the genuine sender needs.
//
// The package knows no requests. It imports verifier, its providers, and what Caddy
// offers to every module.
package keys
