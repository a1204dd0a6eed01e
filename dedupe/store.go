package dedupe

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"
)

// A Store remembers the state of each key. It has four methods, one for each
// transition of a delivery, and Health; package storetest holds the suite that every
// store must pass. A store may also be a [Forgetter], a [SharedForgetter], a
// [LocalStore], and an io.Closer, which the gate calls after its last use.
//
// An error means that the store was not reached or did not respond in time: the call
// may or may not have had its effect. Any call may be repeated with the same
// arguments.
//
// A store of limited size shares its space by [Mark.Room], and that of a room by
// [Mark.Share]: when it is full, the oldest done of the largest share of the largest
// room is forgotten.
type Store interface {
	// Claim gives key to token for the time of lease, if it is free. The state is
	// Claimed if token has it now, even if it had it before (a repeated call whose
	// first response was lost; the lease starts again). Otherwise it is InFlight or
	// Done, and nothing has changed.
	Claim(ctx context.Context, key Key, token Token, lease time.Duration) (State, error)

	// Renew restarts the lease if token still has key, and reports whether it does.
	Renew(ctx context.Context, key Key, token Token, lease time.Duration) (held bool, err error)

	// Done records that the app accepted the delivery, whoever has the key.
	Done(ctx context.Context, key Key, m Mark) error

	// Release frees key if token still has it. It never removes a done.
	Release(ctx context.Context, key Key, token Token) error

	// Health reports why the store does not remember although its calls succeed; nil
	// if it does. It makes no call and does not wait. The text is for the operator.
	Health() error
}

// A Mark is the record of a done delivery.
type Mark struct {
	Status int           // the app's, 100–999, or that of an inbox: see StoredIn
	TTL    time.Duration // how long it counts; always positive

	// Room is whose space in the store it uses: the handler's name. A request must
	// not be able to choose it, or a flood could create rooms of its own.
	Room string

	// Share is whose part of the room it uses: the tenant's. A request must not be able
	// to choose it either, unless it proves to be that tenant's.
	Share Share
}

// A Share is a tenant's part of a room. The zero Share is that of deliveries without a
// tenant.
type Share uint64

// ShareOf returns the share of a tenant: a digest of its name, as there may be thousands
// of tenants. It does not change, since stores keep it. Two tenants with equal digests
// share, which takes 2^32 names to find on purpose.
func ShareOf(tenant string) Share {
	if tenant == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(tenant))
	return Share(binary.BigEndian.Uint64(sum[:]))
}

// A Forgetter is a [Store] that can forget a done delivery, so that an operator can
// have its next copy forwarded.
type Forgetter interface {
	// Forget removes a done and reports whether there was one. The error is
	// ErrInFlight, and nothing changes, while the key is claimed.
	Forget(ctx context.Context, key Key) (found bool, err error)

	// ForgetStatus removes all dones with a status and returns their keys, even if an
	// error prevents the rest: a repetition removes it. Claims are not affected. It
	// may take as long as reading everything that the store remembers.
	ForgetStatus(ctx context.Context, status int) ([]Key, error)
}

// A SharedForgetter tells other instances which deliveries were forgotten, so that
// none restores them from its own memory.
type SharedForgetter interface {
	Forgetter

	// Forgotten reports whether any instance called Forget for key, within the time
	// for which another may remember it.
	Forgotten(ctx context.Context, key Key) (bool, error)
}

// A LocalStore is a [Store] in this process. Its calls neither wait nor fail, except for
// ErrFull; its size follows the configuration, and it counts its entries.
type LocalStore interface {
	Store

	// Resize limits the deliveries remembered as done. 0: the default.
	Resize(maxEntries int)

	// Stats returns its figures.
	Stats() MemoryStats
}

// State is what a store says about a key. The zero State is not an answer.
type State struct {
	Phase  Phase
	Status int // of the mark, if Phase is Done
}

// Phase is the state of a delivery for the caller of Claim.
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

	// ErrFull refuses a claim because MaxInFlight is reached. The store is healthy:
	// later claims may succeed.
	ErrFull = errors.New("too many deliveries in flight")
)
