// Package adminapi is the contract between a running gateway and those who ask
// it: the paths below /verify_webhook/ of Caddy's admin endpoint, and the JSON
// that they answer. Package caddymodule serves it, package command reads it.
//
// Fields are only added, never renamed or removed: monitoring reads them. No
// field ever holds a secret or a body.
//
// The package imports nothing but the standard library.
package adminapi

import "time"

// The paths, without scheme, host and query.
const (
	// DeliveriesPath answers a list of Delivery, newest first. ?name=, ?outcome=,
	// ?event= and ?id= (the sender's) select by exact value, ?limit= the newest so
	// many; without it, 256. With ?follow=1 or Accept: text/event-stream it answers
	// Server-Sent Events: those that are kept, oldest first, then each as it ends. An
	// event's data is a Delivery and its id the Cursor; with a header Last-Event-ID
	// the stream goes on after that one. An event named missed says that some before
	// the next one are no longer kept. The stream ends when the configuration changes.
	//
	// DELETE with ?name= and ?id= forgets that the deliveries of that sender's id are
	// done, and answers ForgottenByID. Followed by a slash and a delivery's key in
	// hex, DELETE forgets that one, and answers Forgotten.
	DeliveriesPath = "/verify_webhook/deliveries"
	// RejectionsPath answers a list of Rejection, newest first; followed by a
	// slash and an id, one RejectionDetail. ?name= selects one handler's.
	RejectionsPath = "/verify_webhook/rejections"
	// StatusPath answers Status. ?name= selects one handler.
	StatusPath = "/verify_webhook/status"
)

// Forgotten says which delivery is forgotten, and where.
type Forgotten struct {
	Key  string `json:"forgotten"` // the delivery's key in hex
	Note string `json:"note"`
}

// ForgottenByID says which deliveries of one sender's id are forgotten, and which
// are not. All are keys in hex.
type ForgottenByID struct {
	Keys     []string `json:"forgotten"`
	InFlight []string `json:"in_flight"` // to be forgotten once the app has answered
	NotDone  []string `json:"not_done"`  // not remembered as done: the next copy is forwarded anyway
	Note     string   `json:"note"`
}

// Delivery is a request whose signature was valid, and what became of it.
type Delivery struct {
	Cursor     string    `json:"cursor"` // the place in the order; see DeliveriesPath
	Time       time.Time `json:"time"`   // of its arrival
	Name       string    `json:"name"`
	Provider   string    `json:"provider"` // "" without one
	Outcome    string    `json:"outcome"`  // delivered, failed, duplicate, handshake, rejected
	Reason     string    `json:"reason"`   // "" where nothing was wrong
	Attempt    int       `json:"attempt"`  // which request of this delivery it is, from 1
	Status     int       `json:"status"`   // that the app answered; 0: none
	AppSeconds float64   `json:"app_seconds"`
	ID         string    `json:"id"` // the sender's id, "" without one
	Event      string    `json:"event"`
	Key        string    `json:"key"`      // the label of the key that verified it
	Delivery   string    `json:"delivery"` // the delivery's key in hex, "" if nothing identifies it
}

// Status describes the gateway and its handlers.
type Status struct {
	Since         time.Time `json:"since"` // the start of the process, from which everything is counted
	Store         Store     `json:"store"`
	BufferedBytes int64     `json:"buffered_bytes"`
	MaxBuffered   int64     `json:"max_buffered"`
	Kept          int       `json:"rejections_kept"`
	KeptBytes     int64     `json:"rejections_kept_bytes"`
	Handlers      []Handler `json:"handlers"` // in the order of their names
}

// Store describes the dedupe store.
type Store struct {
	Kind     string `json:"kind"` // memory, bolt, redis
	Degraded bool   `json:"degraded"`
	// What ails the store; absent while it is healthy.
	Problem string `json:"problem,omitempty"`
	// Deliveries remembered in this process.
	Entries int `json:"entries"`
	// Deliveries that are being forwarded, and dones that wait for the store.
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
	Observed   map[string]uint64 `json:"observed"` // let through all the same, by reason
	Rejected   map[string]uint64 `json:"rejected"` // by reason
	// When the app last answered 2xx; null: not since the process started.
	LastDelivered *time.Time `json:"last_delivered"`
	Keys          []Key      `json:"keys"`
	// Files that cannot be used now. Where keys is not empty, the last usable
	// ones stay in use.
	KeyProblems   []string `json:"key_problems"`
	BufferedBytes int64    `json:"buffered_bytes"`
}

// Key says when a key last verified a delivery.
type Key struct {
	Label    string     `json:"label"`
	LastUsed *time.Time `json:"last_used"` // null: not since the process started
}

// Rejection is what is shown of a refused delivery in a list.
type Rejection struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Name     string    `json:"name"`
	Provider string    `json:"provider"` // "" without one
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail"`
	Skew     string    `json:"skew,omitempty"` // now minus the delivery's timestamp
	Keys     []string  `json:"keys"`           // labels of those that were tried
	Observed bool      `json:"observed"`       // and let through
	Remote   string    `json:"remote"`
	Method   string    `json:"method"`
	Host     string    `json:"host"`
	URL      string    `json:"url"`
}

// RejectionDetail is all that is shown of one refused delivery.
type RejectionDetail struct {
	Rejection
	Headers map[string][]string `json:"headers"` // credentials redacted
	Body    Body                `json:"body"`
	Hint    string              `json:"hint"` // "" if no common mistake explains it
	Note    string              `json:"note,omitempty"`
}

// Body is what may be said of a body.
type Body struct {
	Read        bool   `json:"read"` // false: the delivery was refused before
	Bytes       int    `json:"bytes"`
	Declared    *int64 `json:"declared,omitempty"` // how many were announced, where it was not read
	SHA256      string `json:"sha256,omitempty"`
	ContentType string `json:"content_type"`
	Truncated   bool   `json:"truncated"` // less of it is kept
}
