package inbox

import (
	"context"
	"errors"
	"time"
)

// An Engine stores deliveries. Package inboxtest holds the suite that every engine
// must pass.
//
// There is one record per key. While an engine is not open (see [Status.Health]),
// Accept returns a [NotStoredError], and other methods with an error return
// [ErrUnavailable]. All methods are safe for concurrent use.
//
// What is pending since a time in the future was stored by a clock that was ahead, and is
// due when the engine opens, and when the clock is set back while it is open.
type Engine interface {
	// Accept stores d with its key, and returns when it is durable: synced, or
	// acknowledged by the replicas. If the key is pending or in attempt, it stores
	// nothing and sets [Accepted.Copy]. A copy of a dead or delivered one makes it
	// pending again, in a new generation; d replaces a delivered one that is kept.
	//
	// With running, the caller is already making an attempt: the record is in attempt
	// at once, and the caller settles [Accepted.Attempt]. That is nil for a copy if
	// another attempt is running: the result of the caller's attempt then changes
	// nothing.
	//
	// An error means that d is not stored and will never be attempted: if ctx ends
	// before the outcome is known, the engine removes what it may have stored.
	Accept(ctx context.Context, d *Delivery, running bool) (Accepted, error)

	// Find returns the record of a key, if there is one. It does not read the body:
	// it is called for each received delivery.
	Find(ctx context.Context, key Key) (e Entry, found bool, err error)

	// Take begins an attempt of a delivery of q, chosen by which: nil if there is
	// none. No other attempt of it begins before this one is settled or its process
	// has died. Locked deliveries are skipped.
	Take(ctx context.Context, q Queue, which Which) (*Attempt, error)

	// Settle ends an attempt, once. It neither waits nor fails: this process sees the
	// result immediately, and it is written as soon as possible, before Close returns
	// if possible. It does nothing if the record was discarded meanwhile.
	Settle(a *Attempt, s Settlement)

	// Hasten makes pending deliveries of q that are held for the app (h is HoldApp) due
	// now, in order of acceptance, or those held for a route (HoldRoute) when they were
	// due before. Opening the engine does the same for both reasons. One in attempt is so
	// if that is undone.
	Hasten(ctx context.Context, q Queue, h Hold) error

	// Get reads a delivery with its body. The error is ErrNotFound, ErrLocked or
	// ErrUnavailable.
	Get(ctx context.Context, key Key) (*Delivery, Entry, error)

	// List returns up to limit records of s after the position after (0: from the
	// start), in order of acceptance.
	List(ctx context.Context, s Selection, after uint64, limit int) ([]Entry, error)

	// Replay makes dead or kept delivered records pending and due now, in a new
	// generation, with no attempts counted. If handler is set, they move to that
	// handler. It returns the number of records of s changed, when that is durable.
	// Pending records become due now, but keep their generation. All wait with HoldTurn.
	Replay(ctx context.Context, s Selection, handler string) (int, error)

	// Discard removes the records of s, including those in attempt or locked, and
	// returns their keys when that is durable.
	Discard(ctx context.Context, s Selection) ([]Key, error)

	// Queues counts the records of each queue that is not empty.
	Queues(ctx context.Context) ([]QueueStats, error)

	// Status returns immediately, without I/O.
	Status() Status

	// Changed receives when something may have become due other than by the caller's
	// Accept or Settle: after opening, after Replay. It serves one listener.
	Changed() <-chan struct{}

	// Close writes what is unwritten, until ctx ends. Attempts that are not settled
	// will be pending at the next start.
	Close(ctx context.Context) error
}

// State is the state of a delivery.
type State uint8

// The states. Locked records count neither as pending nor as dead.
const (
	Pending   State = iota + 1 // waiting for an attempt
	InAttempt                  // an attempt is running
	Delivered                  // the app accepted it; it is kept for replay
	Dead                       // given up, until an operator replays or discards it
	Locked                     // unreadable: its key is missing, or it is damaged
)

func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case InAttempt:
		return "in_attempt"
	case Delivered:
		return "delivered"
	case Dead:
		return "dead"
	case Locked:
		return "locked"
	}
	return "unknown"
}

// Which selects a delivery of a queue for an attempt.
type Which uint8

const (
	// NextDue is the one that has been due longest. Those with HoldTurn come after all
	// others.
	NextDue Which = iota + 1

	// Probe is the newest without any attempt; if there is none, the one due first, even
	// if it is not due yet, of those with HoldTurn, then of those with HoldApp, and then
	// the one due longest of the others. Every second time those come first whose
	// content, and then whose client, has not been probed for longest, and of those
	// without any attempt the oldest: so many deliveries with one content or of one
	// client leave turns to others.
	Probe

	// Oldest is the one whose generation began first, due or not.
	Oldest
)

// Hold says why a pending delivery is not due yet.
type Hold uint8

const (
	HoldTime    Hold = iota // until its time
	HoldApp                 // the app did not answer; its next answer makes it due
	HoldRoute               // it did not reach its handler; a new configuration of this process makes it due, not time
	HoldTurn                // it is replayed: what else is due in its queue comes first
	HoldRefused             // until its time, or a new configuration: a route above the handler has refused it, with Status
)

// Timed reports whether what is held has its own time, which no answer of the app brings
// forward.
func (h Hold) Timed() bool { return h == HoldTime || h == HoldRefused }

// An Entry is what an engine knows about a delivery without reading its body.
type Entry struct {
	Key Key
	Queue
	Label      string // of the key that signed it
	State      State
	Position   uint64 // in order of acceptance; never 0
	Received   time.Time
	Since      time.Time // when this generation began; it determines the expiry
	Due        time.Time // if pending; if kept: when it is removed
	Hold       Hold
	Attempts   int  // spent in this generation: the next is number Attempts+1
	Status     int  // the app's last, or with HoldRefused the route's; 0: no answer or no attempt
	Generation int  // from 0; each replay, and each copy of a dead one, adds one
	Replayed   bool // an operator began this generation: it is not a duplicate for the app
	Size       int  // bytes of space used
	Trace      Trace
}

// blame is the hold of e if that is what its status belongs to, or else HoldTime.
func (e Entry) blame() Hold {
	if e.Hold == HoldRefused {
		return HoldRefused
	}
	return HoldTime
}

// Accepted is the result of [Engine.Accept].
type Accepted struct {
	Entry   Entry
	Copy    bool     // its key already existed
	Attempt *Attempt // the caller's, if it is already running one
}

// An Attempt is a delivery reserved for its caller until it is settled.
type Attempt struct {
	Entry    Entry
	Delivery *Delivery
	Handle   any // for the engine
}

// A Settlement is the result of an attempt.
type Settlement struct {
	To      State         // Delivered, Dead, or Pending for a retry; otherwise see Undoes
	Status  int           // the app's, or with HoldRefused the route's; 0: no answer
	After   time.Duration // for Pending: when it is due, from now
	Hold    Hold          // for Pending: what may make it due sooner; HoldRoute is for this process alone, and ignores After
	Unspent bool          // for Pending: it does not count as an attempt
	Keep    time.Duration // for Delivered: how long to keep it for replay; 0: remove it
}

// Undoes reports whether s leaves the delivery pending as if there had been no attempt:
// due when it was, held for what it was. The zero Settlement does. So does one to a state
// in which no attempt ends, which would leave the delivery there for ever.
func (s Settlement) Undoes() bool { return s.To != Pending && s.To != Delivered && s.To != Dead }

// A Selection selects records that match all fields that are set; Keys matches any of
// its keys. An empty one selects everything in List; Replay and Discard refuse it.
type Selection struct {
	Keys    []Key
	Handler string
	Tenant  string
	Label   string
	States  []State
}

// Empty reports whether s selects everything.
func (s Selection) Empty() bool {
	return len(s.Keys)+len(s.States) == 0 && s.Handler+s.Tenant+s.Label == ""
}

// Includes reports whether e matches s, except for Keys.
func (s Selection) Includes(e Entry) bool {
	if s.Handler != "" && s.Handler != e.Handler || s.Tenant != "" && s.Tenant != e.Tenant || s.Label != "" && s.Label != e.Label {
		return false
	}
	for _, state := range s.States {
		if state == e.State {
			return true
		}
	}
	return len(s.States) == 0
}

// QueueStats counts the records of one queue.
type QueueStats struct {
	Queue
	Pending, InAttempt, Delivered, Dead, Locked int

	Bytes  int64     // of all records
	Oldest time.Time // the beginning of the oldest pending generation; zero: none is pending
	Due    time.Time // when the next is due; zero: none is pending, or none is due by time
}

// Status is the state of an engine.
type Status struct {
	// ID identifies the storage: a file, a stream. It is stored with the deliveries,
	// unique, and the same for all gateways that share it. "" until it is known.
	ID string

	// Health is nil while deliveries are stored; otherwise it tells the operator why
	// not. Stored deliveries may still be delivered.
	Health error

	// Shared means that other processes deliver from the same storage, and may have
	// handlers that this one does not have.
	Shared bool

	Bytes, Limit int64 // space used, and max_size
	LargestBody  int64 // bytes of the largest body that can be stored; 0: no limit, or unknown until it is open
	Unwritten    int   // settlements not yet written
	Damaged      int   // records without a readable state; they are left alone
}

// Why says why a delivery was not stored. It is a metric label.
type Why string

const (
	WhyUnavailable Why = "unavailable" // the engine is not open: see Status.Health
	WhyTimeout     Why = "timeout"     // the engine did not answer in time
	WhyFull        Why = "full"        // max_size is reached
	WhyShare       Why = "share"       // the queue has used its share of max_size
	WhyDisk        Why = "disk"        // the remaining disk space is reserved for marks
	WhyTooLarge    Why = "too_large"   // it is larger than the engine can keep
)

// A NotStoredError refuses a delivery, which is then forwarded immediately.
type NotStoredError struct {
	Why Why
	Err error // for the operator; may be nil
}

func (e *NotStoredError) Error() string {
	text := "the delivery is not stored: " + string(e.Why)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *NotStoredError) Unwrap() error { return e.Err }

var (
	// ErrUnavailable reports that the engine is not open.
	ErrUnavailable = errors.New("the inbox is not open")

	// ErrNotFound reports an unknown key.
	ErrNotFound = errors.New("the inbox has no such delivery")

	// ErrLocked reports a delivery that exists but cannot be read.
	ErrLocked = errors.New("the delivery cannot be read: its encryption key is missing, or it is damaged")

	// ErrEmptySelection refuses to replay or discard everything.
	ErrEmptySelection = errors.New("select deliveries by key, handler, tenant, label or state")
)
