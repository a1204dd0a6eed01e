package adminapi

import "time"

// InboxEngine describes the storage of the inbox.
type InboxEngine struct {
	Kind string `json:"kind"` // bolt, nats
	// Identifies the file or stream, as long as it exists; "" until that is open.
	ID string `json:"id"`
	// Why deliveries are not stored, and go to the app immediately; absent while they
	// are stored.
	Problem   string `json:"problem,omitempty"`
	Bytes     int64  `json:"bytes"`     // used
	Limit     int64  `json:"limit"`     // max_size
	Unwritten int    `json:"unwritten"` // results of attempts not yet written
	Damaged   int    `json:"damaged"`   // records that cannot be read
}

// Inbox describes the inbox and lists deliveries.
type Inbox struct {
	InboxEngine
	Queues []InboxQueue `json:"queues"` // sorted by name and tenant

	// Inboxes that no configuration names any more, and that still hold deliveries.
	// They are delivered until the process ends.
	Retained []InboxRetained `json:"retained,omitempty"`

	Deliveries []InboxEntry `json:"deliveries,omitempty"` // see InboxPath
	More       bool         `json:"more"`                 // there may be more than listed: continue after the last Position
}

// InboxRetained describes an inbox that the configuration does not name, oldest first.
type InboxRetained struct {
	Inbox string `json:"inbox"` // its kind, and its file or stream
	InboxEngine
	Queues []InboxQueue `json:"queues"`
}

// InboxQueue describes what the inbox holds for the handlers of one name, and how their app
// is.
type InboxQueue struct {
	Name       string     `json:"name"`
	Tenant     string     `json:"tenant,omitempty"`
	Configured bool       `json:"configured"` // the configuration has a handler of that name
	Pending    int        `json:"pending"`    // waiting for an attempt
	InAttempt  int        `json:"in_attempt"`
	Delivered  int        `json:"delivered"` // accepted by the app and kept for replay
	Dead       int        `json:"dead"`      // given up
	Locked     int        `json:"locked"`    // their encryption key is missing, or they are damaged
	Bytes      int64      `json:"bytes"`
	Oldest     *time.Time `json:"oldest"`     // since when the oldest pending one waits; null: none
	Due        *time.Time `json:"due"`        // when the next attempt is due; null: none by time
	DownSince  *time.Time `json:"down_since"` // the app does not answer; null: it does
	Paused     bool       `json:"paused"`
}

// InboxEntry describes a delivery in the inbox.
type InboxEntry struct {
	Key        string     `json:"delivery"` // the delivery's key in hex
	Name       string     `json:"name"`
	Tenant     string     `json:"tenant,omitempty"`
	State      string     `json:"state"`           // pending, in_attempt, delivered, dead, locked
	Waits      string     `json:"waits"`           // why it is pending: time, app (does not answer), handler (this instance has none of its name), route (a configuration in which it reaches its handler), turn (it is replayed: what else is due is sent first)
	Inbox      string     `json:"inbox,omitempty"` // that has it, if the configuration names another one
	Position   uint64     `json:"position"`        // in order of acceptance; those of other inboxes come last
	Received   time.Time  `json:"received"`
	Since      time.Time  `json:"since"`             // when the gateway began to try, or a replay began
	Due        *time.Time `json:"due"`               // pending: the next attempt; delivered: the removal
	Attempts   int        `json:"attempts"`          // since then
	Status     int        `json:"status"`            // the app's last, or that of the route which refused it; 0: none
	Refused    bool       `json:"refused,omitempty"` // the last attempt, by a route above the handler
	Replayed   bool       `json:"replayed"`          // by an operator
	Generation int        `json:"generation"`
	Label      string     `json:"key"` // of the key that signed it
	Bytes      int        `json:"bytes"`
}

// InboxDetail describes one delivery in the inbox in full.
type InboxDetail struct {
	InboxEntry
	ID        string              `json:"id"` // the sender's id, "" without one
	Event     string              `json:"event"`
	Timestamp *time.Time          `json:"timestamp"` // the sender's; null without one
	Remote    string              `json:"remote"`
	Method    string              `json:"method"`
	Host      string              `json:"host"`
	URL       string              `json:"url"`
	Headers   map[string][]string `json:"headers"` // credentials redacted
	Body      Body                `json:"body"`
	Content   []byte              `json:"content,omitempty"` // the body, with ?body=1
	Note      string              `json:"note,omitempty"`    // what is not shown, and why
}

// InboxChanged says how many deliveries a request replayed or discarded. A request
// changes a number of them; with More, there may be others: repeat it with ?after=.
type InboxChanged struct {
	Changed int    `json:"changed"`
	More    bool   `json:"more"`
	After   uint64 `json:"after"`
	Note    string `json:"note,omitempty"`
}

// InboxPaused says whether attempts of a handler are paused.
type InboxPaused struct {
	Name   string `json:"name"`
	Paused bool   `json:"paused"`
}
