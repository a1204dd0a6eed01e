// Package keys holds the keys of one handler: configured values, key files, which it
// rereads when they change, and published keys, which it fetches.
//
// A [Value] is a secret or key as a configuration writes it: the text itself,
// {env.NAME} or {file./path}. A placeholder for a secret, or one that is published or
// weak, which anyone could guess, is an error, and in a file a warning. A text of
// several lines is several keys.
//
// A [Set] is opened from a [Config] and holds at most one [Snapshot]: everything that
// a handler verifies and signs with at one time. A key change compiles a new snapshot
// and swaps it as a whole; a request loads one on arrival and keeps it. A damaged file
// or a sender that is down leaves the last snapshot in place.
//
// A [Fetcher] fetches published keys, each address once at a time, within a budget per
// client: forged deliveries can neither make the gateway hammer a sender nor use up
// the genuine sender's share.
//
// The package knows nothing of requests. It imports verifier, its providers and
// Caddy's core.
package keys
