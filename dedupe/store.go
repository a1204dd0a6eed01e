package dedupe

import (
	"context"
	"errors"
	"time"
)

// A Store knows who has seen which key. Four methods, one for each arrow in the
// life of a delivery, and its health; package storetest holds the suite that a
// store must pass. A store may also be a [Forgetter], a [SharedForgetter], a
// [LocalStore], and an io.Closer, which the gate calls after its last use.
//
// An error means that the store could not be asked or did not answer in time:
// whether the call had its effect is unknown. Repeating any call with the same
// arguments is safe.
//
// A store that bounds how much it remembers shares its space by [Mark.Room]: when
// it is full, the oldest done of the room that holds most is forgotten.
type Store interface {
	// Claim takes key for token, for the time of lease, if nobody has it. The state
	// is Claimed if token has it now, also when it had it before (a repeated call
	// whose first answer was lost; the lease starts again). Otherwise it is InFlight
	// or Done, and nothing was changed.
	Claim(ctx context.Context, key Key, token Token, lease time.Duration) (State, error)

	// Renew starts the lease again if token still has key, and reports whether.
	Renew(ctx context.Context, key Key, token Token, lease time.Duration) (held bool, err error)

	// Done records that the app took the delivery. It is written whoever has the key.
	Done(ctx context.Context, key Key, m Mark) error

	// Release gives key back if token still has it. It never removes what is done.
	Release(ctx context.Context, key Key, token Token) error

	// Health returns what keeps the store from remembering although its calls succeed;
	// nil if nothing does. It makes no call and does not wait. The text is for the
	// operator.
	Health() error
}

// A Mark is the record of a done delivery.
type Mark struct {
	Status int           // the app's, 100–999
	TTL    time.Duration // how long it counts; nothing that is not positive

	// Room is whose space in the store it takes: the handler's name. Never anything
	// that a request chooses, or a flood could make rooms of its own.
	Room string
}

// A Forgetter is a [Store] that can forget a done delivery, so that an operator can
// have its next copy forwarded.
type Forgetter interface {
	// Forget removes what is done and reports whether there was anything to remove.
	// The error is ErrInFlight, and nothing changes, while somebody has the key.
	Forget(ctx context.Context, key Key) (found bool, err error)
}

// A SharedForgetter tells the other instances what was forgotten, so that none restores
// it from its own memory.
type SharedForgetter interface {
	Forgetter

	// Forgotten reports whether Forget was called for key, by any instance, within
	// the time in which another may remember it.
	Forgotten(ctx context.Context, key Key) (bool, error)
}

// A LocalStore is a [Store] that remembers in this process. Its size follows the
// configuration, and it counts what it holds.
type LocalStore interface {
	Store

	// Resize changes how many deliveries are remembered as done. 0: the default.
	Resize(maxEntries int)

	// Stats reads its figures.
	Stats() MemoryStats
}

// State is what a store says about a key. The zero State is not an answer.
type State struct {
	Phase  Phase
	Status int // the app's status, where Phase is Done
}

// Phase is where in its life a delivery is, as seen by the one who claims it.
type Phase uint8

const (
	Claimed  Phase = iota + 1 // the caller owns it now
	InFlight                  // another attempt has it
	Done                      // the app accepted it
)

func (p Phase) String() string {
	switch p {
	case Claimed:
		return "claimed"
	case InFlight:
		return "in flight"
	case Done:
		return "done"
	}
	return "unknown"
}

var (
	// ErrInFlight refuses to forget a delivery that is being forwarded.
	ErrInFlight = errors.New("the delivery is in flight")

	// ErrFull refuses a claim because as many as allowed are in flight. The store is
	// well: later claims may succeed.
	ErrFull = errors.New("too many deliveries in flight")
)
