package dedupe

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Outcome is what a [Gate] decided about a delivery.
type Outcome uint8

const (
	Held       Outcome = iota + 1 // forward it, then settle Decision.Claim
	Duplicate                     // already accepted by the app, with Decision.Status
	Busy                          // a copy is in flight and did not end in time
	Overloaded                    // too many deliveries are in flight
	StoreDown                     // the store is down, and this process must not decide alone
)

func (o Outcome) String() string {
	switch o {
	case Held:
		return "held"
	case Duplicate:
		return "duplicate"
	case Busy:
		return "in_flight"
	case Overloaded:
		return "overloaded"
	case StoreDown:
		return "store_down"
	}
	return "unknown"
}

// A Decision is the result of [Gate.Claim].
type Decision struct {
	Outcome    Outcome
	Claim      *Claim        // set if Held
	Status     int           // if Duplicate: the app's original status, or one of which IsStored is true
	RetryAfter time.Duration // if Busy, Overloaded or StoreDown: 1 to 10 s
}

// A Gate lets one copy of each delivery through at a time. It is the local layer in
// front of a [Store]: deliveries that this process has in flight, or done but not yet
// written, are checked first, so that neither a slow store nor one that recovers
// makes this process forward a delivery twice at once.
//
// A gate may be shared by any number of handlers and survives a reload: it belongs to
// the store's identity (kind, address, namespace), not to a configuration. Its users
// count references, one for each configuration and one for each delivery in flight,
// and call Close after the last.
type Gate struct {
	store     Store
	local     *Memory
	reject    bool
	log       *slog.Logger
	newToken  func() Token
	maxFlight int
	maxQueued int
	breaker   breaker
	instant   bool // store neither waits nor fails: a LocalStore, alone

	mu         sync.Mutex
	flights    map[Key]*flight
	waiting    int
	unwritten  map[Key]*pendingWrite // dones that Store does not have yet
	queue      []*pendingWrite       // what is to be written to Store, oldest first
	queued     map[string]*roomQueue // how many of them each room has
	writerRuns bool                  // the goroutine of writeback.go runs
	closed     bool
	renewals   *time.Timer // of the claims; nil before the first
	nextDue    time.Time   // when it fires; zero: it does not

	ctx     context.Context // canceled by Close
	cancel  context.CancelFunc
	writers sync.WaitGroup

	alone, lost, dropped, restored atomic.Uint64
}

// A roomQueue counts the writes of a room, and those of its shares.
type roomQueue struct {
	sum    int
	shares map[Share]int
}

// NewGate returns a gate in front of o.Store. It does not call the store: a store
// that is down does not keep a server from starting.
func NewGate(o Options) *Gate {
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = defaultMaxInFlight
	}
	if o.MaxUnwritten <= 0 {
		o.MaxUnwritten = defaultMaxUnwritten
	}
	if o.NewToken == nil {
		o.NewToken = NewToken
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gate{
		store:     o.Store,
		local:     o.Local,
		reject:    o.Reject,
		log:       o.Logger,
		newToken:  o.NewToken,
		maxFlight: o.MaxInFlight,
		maxQueued: o.MaxUnwritten,
		flights:   make(map[Key]*flight),
		unwritten: make(map[Key]*pendingWrite),
		queued:    make(map[string]*roomQueue),
	}
	_, instant := o.Store.(LocalStore)
	g.instant = instant && o.Local == nil
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// Claim decides about one verified delivery. Copies of a delivery in flight wait up to
// t.Wait, at most 8 per key (shared among clients: [From]), and no longer than ctx.
// Nothing else depends on ctx, so that a client that disconnects leaves no claim
// undecided.
//
// If the outcome is Held, the caller forwards the delivery and settles the claim:
//
//	d := gate.Claim(ctx, key, terms)
//	if d.Outcome != dedupe.Held { … }
//	defer d.Claim.Release() // does nothing after Done; is right after a panic
//	if status := forward(); status is 2xx {
//		d.Claim.Done(status)
//	}
func (g *Gate) Claim(ctx context.Context, key Key, t Terms) Decision {
	t = t.withDefaults()
	deadline := time.Now().Add(t.Wait)

	e := g.enter(key, t)
	if e.waiter != nil {
		e = g.await(ctx, e.flight, e.waiter, t)
	}
	if e.flight == nil {
		return e.decision
	}
	return g.ask(ctx, e.flight, t, deadline)
}

// ask is run by the leader of a key. It calls the store until it has the claim, the
// delivery is done, or the time to wait has passed; every return hands the flight on
// or keeps it.
func (g *Gate) ask(ctx context.Context, f *flight, t Terms, deadline time.Time) Decision {
	token := g.newToken()
	for poll := 0; ; poll++ {
		state, err := g.claimStore(f.key, token, t.Lease)
		switch {
		case errors.Is(err, ErrFull):
			g.pass(f)
			return Decision{Outcome: Overloaded, RetryAfter: time.Second}
		case err != nil:
			return g.decideAlone(f, token, t, err)
		case state.Phase == Claimed:
			if m, ok := g.secondOpinion(f.key); ok {
				g.record(f, f.key, m) // replaces our claim
				return Decision{Outcome: Duplicate, Status: m.Status}
			}
			return Decision{Outcome: Held, Claim: g.newClaim(f, token, t, true, true)}
		case state.Phase == Done:
			g.conclude(f, state.Status)
			return Decision{Outcome: Duplicate, Status: state.Status}
		}
		// In flight at another instance, possibly a dead one: poll by claiming.
		g.mu.Lock()
		g.found(f)
		g.mu.Unlock()
		f.remoteUntil = time.Now().Add(t.Lease)
		pause := pollPause(poll, token)
		if time.Until(deadline) < pause || !sleep(ctx, pause) {
			g.pass(f)
			return busy(t)
		}
	}
}

// decideAlone decides a delivery whose claim the store did not answer. The claim may
// still have arrived: it is renewed if we forward, and released if we do not. We do
// not forward if another instance owned the delivery when last heard: its attempt is
// probably still running.
func (g *Gate) decideAlone(f *flight, token Token, t Terms, err error) Decision {
	asked := !errors.Is(err, errStoreDown)
	var m Mark
	done := false
	if g.local != nil {
		m, done = g.local.Lookup(f.key)
	}
	remote := time.Now().Before(f.remoteUntil)
	if !done && !remote && g.decidesAlone() {
		g.alone.Add(1)
		return Decision{Outcome: Held, Claim: g.newClaim(f, token, t, false, asked)}
	}
	if asked {
		g.queueRelease(f.key, token, t)
	}
	switch {
	case done:
		g.conclude(f, m.Status)
		return Decision{Outcome: Duplicate, Status: m.Status}
	case remote && g.decidesAlone():
		g.pass(f)
		return busy(t)
	}
	g.pass(f)
	return Decision{Outcome: StoreDown, RetryAfter: breakerPause}
}

// decidesAlone reports whether deliveries continue while the store is down.
func (g *Gate) decidesAlone() bool { return g.local != nil && !g.reject }

// secondOpinion consults local memory about a delivery that the store does not know:
// it may have been flushed, or failed over to a lagging replica. What an operator
// made the store forget stays forgotten.
func (g *Gate) secondOpinion(key Key) (Mark, bool) {
	if g.local == nil {
		return Mark{}, false
	}
	m, done := g.local.Lookup(key)
	if !done {
		return Mark{}, false
	}
	if s, ok := g.store.(SharedForgetter); ok {
		ctx, cancel := context.WithTimeout(g.ctx, callBudget)
		defer cancel()
		if forgotten, err := s.Forgotten(ctx, key); err == nil && forgotten {
			_, _ = g.local.Forget(ctx, key)
			return Mark{}, false
		}
	}
	if g.restored.Add(1) == 1 {
		g.log.Warn("the dedupe store has forgotten deliveries that were done; what this instance remembers is written again")
	}
	return m, true
}

// busy tells a sender when to retry: a claim with a live owner is renewed every third
// of the lease, one whose owner died ends within a lease.
func busy(t Terms) Decision {
	return Decision{Outcome: Busy, RetryAfter: min(max(t.Lease/3, time.Second), 10*time.Second)}
}

// pollPause grows from 50 to 250 ms with a jitter of ±20 %, so that instances do not
// poll in step. The token, new for each attempt, is the source of randomness.
func pollPause(n int, token Token) time.Duration {
	pause := min(pollFirst<<min(n, 8), pollLast)
	chance := time.Duration(token[n%len(token)]) // 0 to 255
	return pause*4/5 + pause*2/5*chance/255
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Forget forgets a done delivery, so that its next copy is forwarded, and reports
// whether there was anything to forget. It returns ErrInFlight while the delivery is
// being forwarded or its done is being written. Other instances learn of it from the
// store; while the store is down, they keep what they remember.
func (g *Gate) Forget(ctx context.Context, key Key) (found bool, err error) {
	g.mu.Lock()
	d := g.unwritten[key]
	if g.flights[key] != nil || d != nil && d.writing {
		g.mu.Unlock()
		return false, ErrInFlight
	}
	if d != nil {
		d.cancelled = true
		delete(g.unwritten, key)
		found = true
	}
	g.mu.Unlock()

	if g.local != nil {
		local, _ := g.local.Forget(ctx, key) // nothing is in flight in it
		found = found || local
	}
	s, ok := g.store.(Forgetter)
	if !ok {
		return found, errors.New("this store cannot forget")
	}
	ctx, cancel := context.WithTimeout(ctx, renewBudget)
	defer cancel()
	shared, err := s.Forget(ctx, key)
	return found || shared, err
}

// Resize changes how many deliveries a [LocalStore] remembers; 0 means its default.
// It does nothing for other stores.
func (g *Gate) Resize(maxEntries int) {
	if m, ok := g.store.(LocalStore); ok {
		m.Resize(maxEntries)
	}
}

// Close tries to write all unwritten dones, until ctx ends or a write fails, and
// closes the store. Call it once, when no handler or delivery uses the gate.
func (g *Gate) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.writers.Wait()

	err := g.writeAll(ctx)
	if c, ok := g.store.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}
