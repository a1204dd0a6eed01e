package dedupe

import (
	"log/slog"
	"net/netip"
	"time"
)

// Options configure a [Gate]. Only Store is required.
type Options struct {
	// Store is shared by all instances of the gateway, or belongs to this one. The
	// gate closes it if it is an io.Closer.
	Store Store

	// Local remembers what this process did. It is consulted if Store does not know a
	// delivery, since a server may lose data, and it decides while Store is down
	// ("down degrade"): deliveries continue, and the dones are written to Store
	// later. A store inside this process (memory, bolt) does not need it.
	Local *Memory

	// Reject refuses deliveries unknown to Local while Store is down ("down reject"), as
	// without Local.
	Reject bool

	// MaxInFlight limits the keys in flight in this process. Default: 10 000.
	MaxInFlight int

	// MaxUnwritten limits the dones waiting for Store, at about 200 bytes each.
	// Beyond it the oldest of the largest share of the largest room is dropped.
	// Default: 65 536.
	MaxUnwritten int

	// NewToken is the source of randomness for claims and for the jitter of polling.
	// It must be safe for concurrent use. Default: NewToken.
	NewToken func() Token

	// Logger reports outages of the store, lost leases and dropped dones. It gets keys,
	// which are digests, but never ids or bodies. Default: no logs.
	Logger *slog.Logger
}

// Terms are one handler's parameters of a claim. Zero means the default, except for
// Wait.
type Terms struct {
	TTL   time.Duration // how long a delivery stays done. Default: 7 days
	Wait  time.Duration // how long a copy waits for the one in flight. 0: it does not
	Limit time.Duration // how long an attempt may take (upstream_timeout). Default: 60 s
	Lease time.Duration // how long a claim outlives its process. Default: 9 s
	Room  string        // whose space in the store the delivery takes once done; see Mark
	Share Share         // whose part of the room; see Mark
	From  From          // who sent this copy: clients share the places of those that wait
}

// From is who sent a copy: copies of one client, and of these the equal requests, do not
// take all the places of copies that wait.
type From struct {
	Client  netip.Prefix
	Request uint64 // equal for equal requests
}

// Defaults of [Terms] and limits of a [Gate].
const (
	DefaultTTL   = 7 * 24 * time.Hour // the longest known gap between two attempts is 6.2 days
	DefaultLimit = time.Minute

	// Some senders make three attempts in 15 s, so the deliveries of a killed
	// instance must be free sooner. A longer lease would save renewals (one every 3
	// s, only for longer attempts) and tolerate longer pauses of the process.
	DefaultLease = 9 * time.Second

	maxWaiters          = 8
	defaultMaxInFlight  = 10_000
	defaultMaxUnwritten = 65_536

	// A claim, done or release delays the response to the sender; a renewal delays
	// nothing.
	callBudget  = 500 * time.Millisecond
	renewBudget = time.Second

	// How often a copy polls a delivery in flight at another instance.
	pollFirst = 50 * time.Millisecond
	pollLast  = 250 * time.Millisecond
)

func (t Terms) withDefaults() Terms {
	if t.TTL <= 0 {
		t.TTL = DefaultTTL
	}
	if t.Limit <= 0 {
		t.Limit = DefaultLimit
	}
	if t.Lease <= 0 {
		t.Lease = DefaultLease
	}
	return t
}
