package dedupe

import (
	"context"
	"errors"
	"time"
)

// A Store knows who has seen which key. Four methods, one for each arrow in the
// life of a delivery; package storetest holds the suite that a store must pass.
//
// An error means that the store could not be asked or did not answer in time:
// whether the call had its effect is unknown. Repeating any call with the same
// arguments is safe.
type Store interface {
	// Claim takes key for token, for the time of lease, if nobody has it. The state
	// is Claimed if token has it now, also when it had it before (a repeated call
	// whose first answer was lost; the lease starts again). Otherwise it is InFlight
	// or Done, and nothing was changed.
	Claim(ctx context.Context, key Key, token Token, lease time.Duration) (State, error)

	// Renew starts the lease again if token still has key, and reports whether.
	Renew(ctx context.Context, key Key, token Token, lease time.Duration) (held bool, err error)

	// Done records for the time of ttl that the app took the delivery, and with which
	// status (100–999). It is written whoever has the key.
	Done(ctx context.Context, key Key, status int, ttl time.Duration) error

	// Release gives key back if token still has it. It never removes what is done.
	Release(ctx context.Context, key Key, token Token) error
}

// A Forgetter is a [Store] that can be made to forget, for a person who wants a
// delivery that was done to come through again.
type Forgetter interface {
	// Forget removes what is done and reports whether there was anything to remove.
	// The error is ErrInFlight, and nothing changes, while somebody has the key.
	Forget(ctx context.Context, key Key) (found bool, err error)
}

// State is what a store says about a key. The zero State is not an answer.
type State struct {
	Phase  Phase
	Status int // the app's status, where Phase is Done
}

// Phase is where in its life a delivery is, as seen by the one who claims it.
type Phase uint8

const (
	Claimed  Phase = iota + 1 // the caller has it now
	InFlight                  // another attempt has it
	Done                      // the app took it
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
