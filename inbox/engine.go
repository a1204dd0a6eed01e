package inbox

import (
	"context"
	"errors"
	"time"
)

// An Engine keeps deliveries. Package inboxtest holds the suite that an engine
// must pass.
//
// There is one record a key. While an engine is not open (see [Status.Health]),
// Accept refuses with a [NotStoredError], and the methods that return an error
// return [ErrUnavailable]. All methods are safe for concurrent use.
type Engine interface {
	// Accept stores d, and returns once it is kept: synced, or acknowledged by the
	// replicas. The key is kept in the same step. If the key is pending or in attempt
	// already, nothing is stored, and [Accepted.Copy] says so. A copy of what is dead
	// or was delivered makes it pending again, in a new generation; what was delivered
	// and is kept is replaced by d.
	//
	// With running, the caller makes an attempt already: the record is in attempt at
	// once, and the caller settles [Accepted.Attempt]. It is nil for a copy if another
	// attempt runs: then what the caller's comes to changes nothing.
	//
	// An error means that d is not stored, and never will be attempted: if ctx ends
	// while the outcome is unknown, the engine removes what it may have stored.
	Accept(ctx context.Context, d *Delivery, running bool) (Accepted, error)

	// Find tells what is known of a key, and whether anything is. It reads no body:
	// it is asked for each delivery that is received.
	Find(ctx context.Context, key Key) (e Entry, found bool, err error)

	// Take begins an attempt at a delivery of q, chosen as which says: nil if there is
	// none. No other attempt of it begins before this one is settled or its process
	// has died. What is locked is passed over.
	Take(ctx context.Context, q Queue, which Which) (*Attempt, error)

	// Settle ends an attempt, once. It neither waits nor fails: this process knows at
	// once, and what cannot be written is written as soon as possible, before Close
	// returns if possible. It changes nothing if the record was discarded meanwhile.
	Settle(a *Attempt, s Settlement)

	// Hasten makes pending deliveries of q that are held for the reason h (HoldApp or
	// HoldRoute) due now, those that were accepted first before others. What is held
	// for one of these is due at once when the engine is opened the next time.
	Hasten(ctx context.Context, q Queue, h Hold) error

	// Get reads a delivery with its body. The error is ErrNotFound, ErrLocked or
	// ErrUnavailable.
	Get(ctx context.Context, key Key) (*Delivery, Entry, error)

	// List returns up to limit records of s that were accepted after the one at
	// position after (0: from the first), in the order in which they were accepted.
	List(ctx context.Context, s Selection, after uint64, limit int) ([]Entry, error)

	// Replay makes what is dead, or delivered and kept, pending again, due now, in a
	// new generation, and counts its attempts anew. With a handler, it belongs to that
	// one from then on. It returns how many of s it changed, once that is kept. What
	// is pending becomes due now, but stays in its generation.
	Replay(ctx context.Context, s Selection, handler string) (int, error)

	// Discard removes the records of s, also those in attempt or locked, and returns
	// their keys once that is kept.
	Discard(ctx context.Context, s Selection) ([]Key, error)

	// Queues counts what each queue holds. A queue that holds nothing is left out.
	Queues(ctx context.Context) ([]QueueStats, error)

	// Status asks nobody and does not wait.
	Status() Status

	// Changed receives when something may have become due that the caller did not
	// bring about by Accept or Settle: after opening, after Replay. It is for one
	// listener.
	Changed() <-chan struct{}

	// Close writes what is not yet written, until ctx ends. Attempts that are not
	// settled are pending when the engine is opened the next time.
	Close(ctx context.Context) error
}

// State is where in its life a delivery is.
type State uint8

// The states. What is locked counts neither as pending nor as dead.
const (
	Pending   State = iota + 1 // waits for an attempt
	InAttempt                  // an attempt runs
	Delivered                  // the app took it; it is kept for replay
	Dead                       // given up, until a person replays or discards it
	Locked                     // it cannot be read: its key is missing, or it is damaged
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

// Which says which delivery of a queue an attempt is for.
type Which uint8

const (
	// NextDue is the one that has been due for longest.
	NextDue Which = iota + 1

	// Probe is the one that is due first, though it may not be due yet, among those
	// that HoldApp holds or that were never attempted.
	Probe

	// Oldest is the one whose generation began first, due or not.
	Oldest
)

// Hold is why a pending delivery is not due yet.
type Hold uint8

const (
	HoldTime  Hold = iota // its time: nothing else makes it due
	HoldApp               // the app did not answer; its next answer makes it due
	HoldRoute             // it did not reach its handler; a configuration makes it due, and time does not
)

// An Entry is what an engine knows of a delivery without reading its body.
type Entry struct {
	Key Key
	Queue
	Label      string // of the key that signed it
	State      State
	Position   uint64 // in the order of acceptance; never 0
	Received   time.Time
	Since      time.Time // when this generation began: it expires by that
	Due        time.Time // of what is pending; of what is kept: when it is removed
	Hold       Hold
	Attempts   int  // that were spent in this generation: the next is number Attempts+1
	Status     int  // the app's last; 0: no answer, or no attempt
	Generation int  // 0 at first; each replay, and each copy of what was dead, adds one
	Replayed   bool // a person began this generation: it is no duplicate of what the app took
	Size       int  // bytes of room that it takes
}

// Accepted is the answer of [Engine.Accept].
type Accepted struct {
	Entry   Entry
	Copy    bool     // its key was there already
	Attempt *Attempt // the caller's, where it said that one runs
}

// An Attempt is a delivery that its caller has alone, until it is settled.
type Attempt struct {
	Entry    Entry
	Delivery *Delivery
	Handle   any // the engine's own
}

// A Settlement is what an attempt came to.
type Settlement struct {
	To      State         // Delivered, Dead, or Pending for another attempt
	Status  int           // the app's; 0: no answer
	After   time.Duration // to Pending: when it is due, from now
	Hold    Hold          // to Pending: what may make it due sooner
	Unspent bool          // to Pending: it does not count as an attempt
	Keep    time.Duration // to Delivered: how long it is kept for replay; 0: it is removed
}

// A Selection selects records: those with one of Keys, if there are any, and with
// each of the other fields that is set. An empty one selects all in List, and is
// refused by Replay and Discard.
type Selection struct {
	Keys    []Key
	Handler string
	Tenant  string
	Label   string
	States  []State
}

// Empty reports whether s selects all.
func (s Selection) Empty() bool {
	return len(s.Keys)+len(s.States) == 0 && s.Handler+s.Tenant+s.Label == ""
}

// Includes reports whether e has what s asks for, Keys aside.
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

// QueueStats counts what one queue holds.
type QueueStats struct {
	Queue
	Pending, InAttempt, Delivered, Dead, Locked int

	Bytes  int64     // of all of them
	Oldest time.Time // the beginning of the oldest generation that is pending; zero: none is
	Due    time.Time // when the next is due; zero: none is pending, or none by time
}

// Status is how an engine does.
type Status struct {
	// ID names what keeps the deliveries: a file, a stream. It stays the same over
	// restarts, and another one has another. "" until it is known.
	ID string

	// Health is nil while deliveries are stored, and else says why not, for the
	// operator. What was stored before may still be delivered meanwhile.
	Health error

	Bytes, Limit int64 // the room that is taken, and max_size
	Unwritten    int   // settlements that only this process knows
	Damaged      int   // records of which not even the state can be read; they are left alone
}

// Why is why a delivery was not stored: the value of a metric's label.
type Why string

const (
	WhyUnavailable Why = "unavailable" // the engine is not open: Status.Health says why
	WhyTimeout     Why = "timeout"     // it did not answer in time
	WhyFull        Why = "full"        // max_size is reached
	WhyShare       Why = "share"       // the queue has its share of max_size
	WhyDisk        Why = "disk"        // what is left of the disk is reserved for marks
)

// A NotStoredError refuses a delivery, which then is forwarded at once.
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
	// ErrUnavailable: the engine is not open.
	ErrUnavailable = errors.New("the inbox is not open")

	// ErrNotFound: nothing is known of the key.
	ErrNotFound = errors.New("the inbox has no such delivery")

	// ErrLocked: the delivery is there, but cannot be read.
	ErrLocked = errors.New("the delivery cannot be read: its encryption key is missing, or it is damaged")

	// ErrEmptySelection refuses to replay or discard all there is.
	ErrEmptySelection = errors.New("select deliveries by key, handler, tenant, label or state")
)
