// Package inbox keeps deliveries that are accepted and not yet delivered.
//
// A sender gets a 2xx only if the app gave one, or if the delivery lies in the
// inbox: on a disk, synced. From then on the gateway owes it to the app:
//
//	             ┌───────────────────── a person replays it ────────────────────┐
//	             │                   a copy of it is received                   │
//	             ▼                                                              │
//	accept ─▶ pending ── take, when due ──▶ in attempt ── expired, dead_on ──▶ dead
//	             ▲                           │      │                           │
//	             ├── retry: not a 2xx ───────┘      └── 2xx ──▶ delivered       │
//	             └── the process dies                              │            │
//	                                                               ▼            ▼
//	                             after keep; at once without it: removed ◀── discard
//
// What is pending or dead is never removed but by a person: [Engine.Discard]. A
// delivery that is sealed with a key the gateway does not have is locked: it
// waits for the key.
//
// A delivery may reach the app more than once: when the process dies, or cannot
// write, between the app's 2xx and its mark, or when the app commits and does not
// answer in time. It may arrive after newer ones. It is lost only with the disk.
//
// What cannot be stored is refused at once with a [NotStoredError], and whoever
// receives it forwards the delivery as if there were no inbox. So a full disk or
// a locked file never loses a delivery, and rarely refuses one.
//
// The parts:
//
//   - [Delivery]: a verified request as received, with the results of verification,
//     stored as bytes: see [Delivery.AppendBinary].
//   - [Engine]: the contract of the storage. Package bolt implements it with a file, and
//     inboxtest holds the suite that every engine must pass.
//   - [Box]: decides when to make an attempt. It knows which apps are down, takes turns
//     between handlers and tenants, and settles attempts.
//
// The caller supplies the function that makes an attempt. The package knows neither
// Caddy nor HTTP, neither verification nor deduplication: two deliveries with the same
// [Key] are copies of each other.
package inbox
