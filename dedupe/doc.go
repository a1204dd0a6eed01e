// Package dedupe answers one question: has this delivery been seen before?
//
// Senders of webhooks retry until they read a 2xx, so the same delivery arrives more
// than once: because a response was lost, the app was slow, or two copies were sent at
// the same time. A delivery goes through three states:
//
//	absent ── claim ──▶ in flight ── done ──▶ done ── its window ends ──▶ absent
//	   ▲                   │   ▲
//	   └── release, or ────┘   └── renew, every third of the lease
//	       the lease ends
//
// A claim is owned by a random [Token], one for each attempt. Renewing and releasing
// compare the token, so that an owner that lost its lease cannot disturb the next one.
// Done is written without comparing: that the app accepted the delivery remains true
// even if the lease was lost.
//
// Done also covers deliveries that an inbox has and the app may not have yet: their
// status is [StoredIn]. If the inbox is lost, [Gate.ForgetStored] lets copies through.
//
// The parts, in the order a delivery meets them:
//
//   - [Identity] and [Key]: how copies of a delivery are recognised.
//   - [Gate]: the interface for an HTTP handler. It tracks the deliveries that this
//     process has in flight, lets copies wait, renews leases, and carries on while the
//     store is down. [Gate.Claim] decides; [Claim.Done] or [Claim.Release] settles.
//   - [Store]: remembers the state of each key. [Memory] needs neither network nor
//     file; the packages bolt and redis hold two more, and storetest the suite that
//     every store must pass.
//
// The promise is at least once: a delivery may be handed on twice, never lost,
// when the process dies between the app's 2xx and its mark, or when the store
// forgets. Nothing here can promise more.
//
// The package imports neither Caddy nor net/http.
package dedupe
