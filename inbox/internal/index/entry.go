package index

import (
	"math"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// An Entry is the state of one delivery. There may be a million, so it is small: times
// are nanoseconds, and shared fields are in a group. An engine embeds it in a type of
// its own, which then implements [Holder].
//
// While an entry is in an index, fields that its place depends on (State, Since, Due,
// Seq, Size) are changed by methods of the index only.
type Entry struct {
	Key      inbox.Key
	Seq      uint64 // position in the storage, in order of acceptance
	Received int64
	Since    int64
	Due      int64
	Group    *Group
	Size     uint32
	places   [2]int32 // in the heaps of its queue
	Attempt  uint32   // serial of the attempt that this process makes; 0: none

	Attempts, Status, Generation uint16

	client  uint16 // of the trace
	content uint32

	State    inbox.State
	Hold     inbox.Hold // as it is written: never HoldRoute
	Replayed bool
	Astray   bool // held for HoldRoute: not written, because another process may route it
}

// A Group holds what entries share: queue and key label.
type Group struct {
	Label string
	queue *queue
}

// Queue returns the queue of the entries of g.
func (g *Group) Queue() inbox.Queue { return g.queue.Queue }

// never is the due time of an entry that time does not make due.
const never = math.MaxInt64

// Base implements [Holder].
func (e *Entry) Base() *Entry { return e }

// View returns the entry as callers of an engine see it.
func (e *Entry) View() inbox.Entry {
	v := inbox.Entry{
		Key: e.Key, Queue: e.Group.Queue(), Label: e.Group.Label, State: e.State, Position: e.Seq,
		Received: time.Unix(0, e.Received), Since: time.Unix(0, e.Since), Hold: e.Hold,
		Attempts: int(e.Attempts), Status: int(e.Status), Generation: int(e.Generation),
		Replayed: e.Replayed, Size: int(e.Size), Trace: e.trace(),
	}
	if e.Astray {
		v.Hold = inbox.HoldRoute
	}
	if due := e.due(); (e.State == inbox.Pending || e.State == inbox.Delivered) && due != never {
		v.Due = time.Unix(0, due)
	}
	return v
}

func (e *Entry) trace() inbox.Trace { return inbox.Trace{Content: e.content, Client: e.client} }

// due is when time makes e due in this process.
func (e *Entry) due() int64 {
	if e.Astray {
		return never
	}
	return e.Due
}

// Wake makes a pending entry due that waits for something other than its time, or whose
// time is of a clock that was ahead. Opening an engine does that.
func (e *Entry) Wake(now int64) {
	if e.State == inbox.Pending && (e.Hold != inbox.HoldTime || e.IsAhead(now)) {
		e.Due = now
	}
}

// clockSlack is less than what matters to a retry, and more than clocks of gateways differ.
const clockSlack = int64(time.Minute)

// IsAhead reports whether the generation of e began in the future: the clock was ahead
// then, or it is behind now, as before a machine without a battery asks for the time. So
// Since remains: counted from a wrong now, the entry would expire when the clock is right.
func (e *Entry) IsAhead(now int64) bool { return e.Since > now+clockSlack }

// Revive makes a dead or delivered entry pending in its next generation. replayed means
// that an operator asked for it.
func (e *Entry) Revive(now int64, replayed bool) {
	e.Since, e.Due = now, now
	e.Generation++
	e.Attempts, e.Status, e.State, e.Hold, e.Replayed = 0, 0, inbox.Pending, inbox.HoldTime, replayed
	e.Astray = false
	if replayed {
		e.Hold = inbox.HoldTurn
	}
}

// Replayable reports whether Replay may change the entry: it is neither in attempt nor
// locked.
func (e *Entry) Replayable() bool { return e.State != inbox.InAttempt && e.State != inbox.Locked }

// Replay makes a replayable entry due now, after what else is due, in a new generation
// unless it is pending.
func (e *Entry) Replay(now int64) {
	if e.State == inbox.Pending {
		if e.Hold == inbox.HoldRefused { // the status is not the app's
			e.Status = 0
		}
		e.Due, e.Hold, e.Astray = now, inbox.HoldTurn, false
	} else {
		e.Revive(now, true)
	}
}

// settle applies the result of an attempt. One that is undone, or did not reach its
// handler, leaves due time and reason as they were.
func (e *Entry) settle(s inbox.Settlement, now int64) {
	if e.Attempt = 0; s.Undoes() {
		e.State = inbox.Pending
		return
	}
	e.State = s.To
	e.Astray = s.To == inbox.Pending && s.Hold == inbox.HoldRoute
	switch {
	case s.To == inbox.Delivered:
		e.Hold, e.Due = inbox.HoldTime, now+int64(s.Keep)
	case !e.Astray:
		e.Hold, e.Due = s.Hold, now+int64(s.After)
	}
	if !s.Unspent {
		e.Attempts = uint16(min(int(e.Attempts)+1, math.MaxUint16))
		e.Status = uint16(max(0, min(s.Status, math.MaxUint16)))
	}
}

func (e *Entry) before(f *Entry) bool {
	return e.due() < f.due() || e.due() == f.due() && e.Seq < f.Seq
}
