// Package dedupe answers one question: has this delivery been seen before?
//
// Senders of webhooks retry until they read a 2xx, so the same delivery comes
// more than once: because an answer was lost, because the app was slow, because
// two copies were sent at the same time. A delivery goes through three states:
//
//	absent ── claim ──▶ in flight ── done ──▶ done ── its window ends ──▶ absent
//	   ▲                   │   ▲
//	   └── release, or ────┘   └── renew, every third of the lease
//	       the lease ends
//
// A claim is owned by a random [Token], one an attempt. Renewing and releasing
// compare the token, so that an owner who lost its lease cannot disturb the
// next one. Done is written without comparing: that the app took a delivery is
// a fact, and stays one even if the lease was lost meanwhile.
//
// The parts, in the order in which a delivery meets them:
//
//   - [Identity] and [Key]: what tells one delivery from another.
//   - [Gate]: what an HTTP handler talks to. It knows what this process has in
//     flight, lets copies wait, renews leases, and carries on while the store is
//     down. [Gate.Claim] decides; [Claim.Done] or [Claim.Release] settles.
//   - [Store]: four methods; who has seen which key. [Memory] is the one without
//     a network or a file; the packages bolt and redis hold two more, and
//     storetest the suite that every store must pass.
//
// The promise is at least once: a delivery may be handed on twice, never lost,
// when the process dies between the app's 2xx and its mark, or when the store
// forgets. Nothing here can promise more.
//
// The package knows neither Caddy nor HTTP.
package dedupe
