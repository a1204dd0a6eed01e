package dedupe

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Stored is the status of a done delivery that an unknown inbox has: its copies are
// duplicates, although the app may not have it yet.
const Stored = 1

// What a store keeps of a status has 16 bits, and the app's end at 999.
const (
	firstInbox = 1000
	lastInbox  = 1<<statusBits - 1
)

// StoredIn returns the status of a done delivery that the inbox of an id has; for ""
// it is Stored. Two inboxes have the same status with a probability of 1 in 64 536:
// forgetting what one of them had then lets through copies of what the other one has.
func StoredIn(inbox string) int {
	if inbox == "" {
		return Stored
	}
	sum := sha256.Sum256([]byte(inbox))
	return firstInbox + int(binary.BigEndian.Uint64(sum[:])%(lastInbox-firstInbox+1))
}

// IsStored reports whether a status says that an inbox has the delivery, and not that
// the app accepted it.
func IsStored(status int) bool { return status == Stored || status >= firstInbox }

// ForgetStored forgets the deliveries that the inbox of an id has not handed to the
// app, and returns how many there were: their next copies are forwarded. It is for an
// inbox that is lost; the app may get what another one still has twice. Deliveries in
// flight are not affected, nor is a mark that is being written at this moment.
//
// An error says that the store did not forget all of them, and n counts those that it
// did: repeat the call. Otherwise it is as for [Gate.Forget] at other instances.
func (g *Gate) ForgetStored(ctx context.Context, inbox string) (n int, err error) {
	status := StoredIn(inbox)
	gone := make(map[Key]bool)
	g.mu.Lock()
	for key, d := range g.unwritten {
		if d.mark.Status == status && !d.writing {
			d.cancelled = true
			delete(g.unwritten, key)
			gone[key] = true
		}
	}
	g.mu.Unlock()
	add := func(keys []Key) {
		for _, key := range keys {
			gone[key] = true
		}
	}
	if g.local != nil {
		local, _ := g.local.ForgetStatus(ctx, status) // does not fail
		add(local)
	}
	s, ok := g.store.(Forgetter)
	if !ok {
		return len(gone), errors.New("this store cannot forget")
	}
	shared, err := s.ForgetStatus(ctx, status)
	add(shared)
	return len(gone), err
}
