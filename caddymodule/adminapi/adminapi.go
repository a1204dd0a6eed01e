// Package adminapi is the contract between a running gateway and its clients: the
// paths below /verify_webhook/ of Caddy's admin endpoint, and their JSON answers.
// Package caddymodule serves it, package command reads it.
//
// Fields are only added, never renamed or removed: monitoring reads them. No
// field ever holds a secret, and only InboxDetail.Content, on demand, a body.
//
// The package imports only the standard library.
package adminapi

import "time"

// The paths, without scheme, host and query.
const (
	// DeliveriesPath answers a list of Delivery, newest first. ?name=, ?tenant=, ?outcome=,
	// ?event= and ?id= (the sender's) select by exact value, ?limit= the newest so
	// many; without it, 256. With ?follow=1 or Accept: text/event-stream it answers
	// Server-Sent Events: those that are kept, oldest first, then each as it ends. An
	// event's data is a Delivery and its id the Cursor; with a Last-Event-ID header
	// the stream resumes after that one. An event named missed means that some before
	// the next one are no longer kept. The stream ends when the configuration changes.
	//
	// DELETE with ?name= and ?id=, and ?tenant= for a handler with tenants, forgets the
	// deliveries with that sender's id, and answers ForgottenByID. DELETE with ?inbox=, the ID of an InboxEngine that is lost,
	// forgets what it had, and answers ForgottenInbox. Followed by a slash and a
	// delivery's key in hex, DELETE forgets that delivery, and answers Forgotten.
	DeliveriesPath = "/verify_webhook/deliveries"
	// InboxPath answers Inbox. ?name=, ?tenant=, ?key= (the label of the key that signed)
	// and ?state= (pending, in_attempt, delivered, dead, locked; repeatable) select
	// deliveries by exact value; with one of them, or ?limit= (default 100, at most
	// 10000) or ?after= (a Position), the answer lists them, oldest first. DELETE with
	// at least one of them, except limit and after, discards a number of them, and
	// answers InboxChanged.
	//
	// Followed by a slash and a delivery's key in hex, GET answers InboxDetail, with
	// ?body=1 including the body, and DELETE discards that delivery. With /replay after
	// the key, POST makes it due now, even if it is dead or was accepted and kept.
	//
	// InboxPath/replay takes POST with ?name= and ?state= (default dead; delivered,
	// pending) and replays a number of them, with ?as= under the name of another handler.
	// InboxPath/pause and InboxPath/resume take POST with ?name= and answer InboxPaused.
	InboxPath = "/verify_webhook/inbox"
	// RejectionsPath answers a list of Rejection, newest first; followed by a
	// slash and an id, one RejectionDetail. ?name= selects one handler's.
	RejectionsPath = "/verify_webhook/rejections"
	// StatusPath answers Status. ?name= selects one handler, ?hour=1 adds Handler.Hour.
	StatusPath = "/verify_webhook/status"
)

// Forgotten says which delivery was forgotten, and by whom.
type Forgotten struct {
	Key  string `json:"forgotten"` // the delivery's key in hex
	Note string `json:"note"`
}

// ForgottenByID says which deliveries with one sender's id were forgotten and which
// were not. All are keys in hex.
type ForgottenByID struct {
	Keys     []string `json:"forgotten"`
	InFlight []string `json:"in_flight"` // not forgotten: try again after the app's answer
	NotDone  []string `json:"not_done"`  // not remembered: the next copy is forwarded anyway
	Stored   []string `json:"stored"`    // not forgotten: the inbox will deliver them
	Note     string   `json:"note"`
}

// ForgottenInbox says how many deliveries an inbox had that are now forgotten.
type ForgottenInbox struct {
	Inbox     string `json:"inbox"`
	Forgotten int    `json:"forgotten"`
	Note      string `json:"note"`
}

// Delivery is a request with a valid signature, and its outcome.
type Delivery struct {
	Cursor     string    `json:"cursor"` // position in the order; see DeliveriesPath
	Time       time.Time `json:"time"`   // of its arrival
	Name       string    `json:"name"`
	Provider   string    `json:"provider"`         // "" without one
	Tenant     string    `json:"tenant,omitempty"` // "" for a handler without tenants
	Outcome    string    `json:"outcome"`          // delivered, failed, stored, duplicate, handshake, rejected
	Reason     string    `json:"reason"`           // "" if nothing was wrong
	Attempt    int       `json:"attempt"`          // number of the request for this delivery, from 1
	Status     int       `json:"status"`           // the app's answer; 0: none
	AppSeconds float64   `json:"app_seconds"`
	ID         string    `json:"id"` // the sender's id, "" without one
	Event      string    `json:"event"`
	Key        string    `json:"key"`      // the label of the key that verified it
	Delivery   string    `json:"delivery"` // the delivery's key in hex, "" if nothing identifies it
}

// Status describes the gateway and its handlers.
type Status struct {
	Version       string       `json:"version"` // of verify_webhook; (devel): a build that records none
	Since         time.Time    `json:"since"`   // start of the process and of all counters
	Store         Store        `json:"store"`
	Inbox         *InboxEngine `json:"inbox"` // null without an inbox
	BufferedBytes int64        `json:"buffered_bytes"`
	MaxBuffered   int64        `json:"max_buffered"`
	Kept          int          `json:"rejections_kept"`
	KeptBytes     int64        `json:"rejections_kept_bytes"`
	Handlers      []Handler    `json:"handlers"` // sorted by name
}

// Store describes the dedupe store.
type Store struct {
	Kind     string `json:"kind"` // memory, bolt, redis
	Degraded bool   `json:"degraded"`
	// What is wrong with the store; absent while it is healthy.
	Problem string `json:"problem,omitempty"`
	// Deliveries remembered in this process.
	Entries int `json:"entries"`
	// Deliveries being forwarded, and dones not yet written to the store.
	InFlight  int `json:"in_flight"`
	Unwritten int `json:"unwritten"`
}

// Handler describes all handlers of one name.
type Handler struct {
	Name       string            `json:"name"`
	Provider   string            `json:"provider"` // "" without one
	Observe    bool              `json:"observe"`
	Delivered  uint64            `json:"delivered"` // the app answered 2xx
	Failed     map[string]uint64 `json:"failed"`    // the app did not, by reason
	Duplicates uint64            `json:"duplicates"`
	Handshakes uint64            `json:"handshakes"`
	Stored     map[string]uint64 `json:"stored"`   // in the inbox, answered 2xx, by reason
	Bypassed   map[string]uint64 `json:"bypassed"` // that the inbox could not store, by reason
	Observed   map[string]uint64 `json:"observed"` // forwarded although not genuine, by reason
	Rejected   map[string]uint64 `json:"rejected"` // by reason
	// When the app last answered 2xx; null: not since the process started.
	LastDelivered *time.Time `json:"last_delivered"`
	Keys          []Key      `json:"keys"`
	// Key files that cannot be used now, whose last usable content, if any, stays in use;
	// those whose secret may be guessed; and lines of equal length that may be one key.
	KeyProblems []string `json:"key_problems"`
	// Its tenants; null without any.
	Tenants       *Tenants `json:"tenants"`
	BufferedBytes int64    `json:"buffered_bytes"`
	// What the inbox holds, over all tenants; null without an inbox, or if that is
	// unknown.
	Inbox *InboxQueue `json:"inbox"`
	// Requests in each of the last 60 minutes by outcome, the oldest first; the last
	// minute is in progress. An outcome without any is absent. With ?hour=1.
	Hour map[string][]uint32 `json:"hour,omitempty"`
}

// Tenants describes the tenants of a handler whose keys are cached.
type Tenants struct {
	Cached int `json:"cached"` // tenants
	Max    int `json:"max"`    // of them: max_tenants
	// Names remembered that have no keys now.
	Unknown int `json:"unknown"`
	// Look-ups of keys, by result: found, unknown, failed, limited (the source may not be
	// asked yet).
	Lookups map[string]uint64 `json:"lookups"`
	// Cached tenants with a secret that may be guessed, at most 32.
	Guessable []string `json:"guessable"`
	// The newest failure to get a tenant's keys, until that tenant has some again; null:
	// none.
	Problem *TenantProblem `json:"problem"`
}

// TenantProblem says why a tenant's keys could not be had.
type TenantProblem struct {
	Tenant string    `json:"tenant"`
	Text   string    `json:"text"`
	Time   time.Time `json:"time"`
}

// Key says when a key last verified a delivery.
type Key struct {
	Label    string     `json:"label"`
	LastUsed *time.Time `json:"last_used"` // null: not since the process started
}

// Rejection describes a rejected delivery in a list.
type Rejection struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Name     string    `json:"name"`
	Provider string    `json:"provider"`         // "" without one
	Tenant   string    `json:"tenant,omitempty"` // "" for a handler without tenants, and for a name that cannot be one
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail"`
	Skew     string    `json:"skew,omitempty"` // now minus the delivery's timestamp
	Keys     []string  `json:"keys"`           // labels of the keys tried
	Observed bool      `json:"observed"`       // forwarded all the same
	Remote   string    `json:"remote"`         // the client as Caddy trusts it (trusted_proxies), with its port if no proxy is between
	Method   string    `json:"method"`
	Host     string    `json:"host"`
	URL      string    `json:"url"`
}

// RejectionDetail describes one rejected delivery in full.
type RejectionDetail struct {
	Rejection
	Headers map[string][]string `json:"headers"` // credentials redacted
	Body    Body                `json:"body"`
	Hint    string              `json:"hint"` // "" if no common mistake explains it
	Note    string              `json:"note,omitempty"`
}

// Body describes a body without its content.
type Body struct {
	Read        bool   `json:"read"` // false if the delivery was rejected before
	Bytes       int    `json:"bytes"`
	Declared    *int64 `json:"declared,omitempty"` // bytes announced, if it was not read
	SHA256      string `json:"sha256,omitempty"`   // of all of it; of at most ten truncated ones a second
	ContentType string `json:"content_type"`
	Truncated   bool   `json:"truncated"` // only a part is kept
}
