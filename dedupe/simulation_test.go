package dedupe_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// The simulation: thousands of deliveries, three instances of the gateway in front of
// one app, in virtual time. Senders are impatient and send concurrent copies, the app
// fails and is slow, gateways are killed, and the connection of one gateway to the
// store fails, hangs or loses replies. simulation_check_test.go lists what the
// promise allows; anything else is a violation.
//
// A test that never fails proves nothing, so TestAblations removes one part of the
// protocol at a time and expects violations.
const (
	simEvents  = 3000
	simSpan    = 20 * time.Minute // in which first attempts are made
	simLease   = 3 * time.Second
	simLimit   = 20 * time.Second
	simTimeout = 2 * time.Second // of the senders
)

// A variation is how a simulated gateway deviates from the protocol.
type variation struct {
	name           string
	noRenewal      bool // leases are not renewed
	noTokenCompare bool // a release by anyone releases the delivery
	doneFirst      bool // done is recorded before the app answered
	busyIsFine     bool // a copy of a delivery in flight is answered 200
	noSecondLook   bool // a gate's own memory is not consulted

	// Not ablations:
	flush  bool // the store loses its data now and then
	reject bool // the gates refuse while the store is down
	calm   bool // no gateway is killed and no connection cut
}

func TestSimulation(t *testing.T) {
	for seed, v := range []variation{
		{name: "calm", calm: true}, {name: "degrade"}, {name: "reject", reject: true},
		{name: "flush", calm: true, flush: true}, {name: "flush and kills", flush: true},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := simulate(t, uint64(seed), v)
			for i, v := range s.violations() {
				if t.Error(v); i > 10 {
					t.Fatal("and more")
				}
			}
			sum := s.summary()
			if v.calm && !v.flush && (sum.overlaps > 0 || sum.repeats > 0) {
				t.Error("nothing was disturbed, but a delivery came twice")
			}
			t.Log(sum)
		})
	}
}

func TestAblations(t *testing.T) {
	for _, v := range []variation{
		{name: "no renewal", noRenewal: true},
		{name: "no token compare", noTokenCompare: true},
		{name: "done before the app's answer", doneFirst: true},
		{name: "200 for a copy in flight", busyIsFine: true},
		{name: "no second opinion", noSecondLook: true, calm: true, flush: true},
	} {
		t.Run(v.name, func(t *testing.T) {
			for seed := range uint64(10) { // rare ones may need several seeds
				if found := simulate(t, seed, v).violations(); len(found) > 0 {
					t.Logf("%d violations, such as: %s", len(found), found[0])
					return
				}
			}
			t.Fatal("the simulation did not notice")
		})
	}
}

type sim struct {
	v     variation
	start time.Time
	store *forgetful

	mu        sync.Mutex
	flushes   []time.Duration
	instances []*instance // the living ones
	all       []*instance
	events    []*event
}

// An instance is one process of a gateway: a restart makes a new one.
type instance struct {
	sim     *sim
	line    *faulty
	gate    *dedupe.Gate
	dead    chan struct{}
	crashed time.Duration // 0: it did not crash
	cuts    []cut
}

// A cut is a time in which an instance and the store could not communicate.
type cut struct{ from, to time.Duration }

type event struct {
	id    int
	key   dedupe.Key
	calls []*call
	acks  []time.Duration
}

// A call is one attempt as the app saw it.
type call struct {
	by         *instance
	start, end time.Duration
	took       bool // the app answered 2xx
	settled    bool // the gateway lived to record it
}

func (s *sim) now() time.Duration { return time.Since(s.start) }

func simulate(t *testing.T, seed uint64, v variation) *sim {
	s := &sim{v: v, store: new(forgetful)}
	s.store.flush()
	synctest.Test(t, func(t *testing.T) {
		s.start = time.Now()
		for range 3 {
			s.boot()
		}
		s.store.flush() // begins its clock in the bubble
		stop := make(chan struct{})
		var chaos, senders sync.WaitGroup
		if !v.calm {
			chaos.Go(func() { s.killGateways(rand.New(rand.NewPCG(seed, 1)), stop) })
			chaos.Go(func() { s.cutLines(rand.New(rand.NewPCG(seed, 2)), stop) })
		}
		if v.flush {
			chaos.Go(func() { s.flushStore(rand.New(rand.NewPCG(seed, 3)), stop) })
		}
		for i := range simEvents {
			e := &event{id: i, key: dedupe.NewKey("sim", fmt.Sprint(i))}
			s.events = append(s.events, e)
			senders.Go(func() { s.send(e, rand.New(rand.NewPCG(seed, uint64(100+i)))) })
		}
		senders.Wait()
		close(stop)
		chaos.Wait()
		time.Sleep(simLimit + simLease) // the last attempts end
		for _, i := range s.all {
			i.gate.Close(context.Background())
		}
	})
	return s
}

func (s *sim) boot() *instance {
	i := &instance{sim: s, dead: make(chan struct{})}
	i.line = &faulty{Store: s.store}
	i.line.set(jitter)
	i.gate = dedupe.NewGate(dedupe.Options{
		Store: ablated{i.line, s}, Local: dedupe.NewMemory(dedupe.MemoryOptions{}), Reject: s.v.reject,
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances = append(s.instances, i)
	s.all = append(s.all, i)
	return i
}

func jitter(string) fault { return fault{delay: time.Duration(rand.IntN(3000)) * time.Microsecond} }

// ablated removes parts of the protocol.
type ablated struct {
	*faulty
	s *sim
}

func (a ablated) Renew(ctx context.Context, k dedupe.Key, t dedupe.Token, l time.Duration) (bool, error) {
	if a.s.v.noRenewal {
		return true, nil
	}
	return a.faulty.Renew(ctx, k, t, l)
}

func (a ablated) Release(ctx context.Context, k dedupe.Key, t dedupe.Token) error {
	if a.s.v.noTokenCompare {
		return a.faulty.Done(ctx, k, dedupe.Mark{Status: 0, TTL: 0}) // a done without a window deletes
	}
	return a.faulty.Release(ctx, k, t)
}

// Forgotten: an operator made the store forget, so local memory is not consulted.
func (a ablated) Forgotten(context.Context, dedupe.Key) (bool, error) { return a.s.v.noSecondLook, nil }

// send is a sender: it retries until it reads a 2xx, with one or more copies.
func (s *sim) send(e *event, r *rand.Rand) {
	time.Sleep(time.Duration(r.Int64N(int64(simSpan))))
	for attempt := 0; attempt < 60; attempt++ {
		copies := 1
		if r.IntN(10) < 3 {
			copies = 3
		}
		ctx, cancel := context.WithTimeout(context.Background(), simTimeout)
		ok := make(chan bool, copies)
		for range copies {
			s.mu.Lock()
			i := s.instances[r.IntN(len(s.instances))]
			s.mu.Unlock()
			app := appPlan(r)
			go func() { ok <- i.serve(ctx, e, app) }()
		}
		acked := false
		for range copies {
			select {
			case a := <-ok:
				acked = acked || a
			case <-ctx.Done():
			}
		}
		cancel()
		if acked {
			return
		}
		backoff := min(2*time.Second<<min(attempt, 6), 90*time.Second)
		time.Sleep(backoff/2 + time.Duration(r.Int64N(int64(backoff))))
	}
}

type plan struct {
	lasts time.Duration
	takes bool
}

// appPlan: two calls in ten fail. One in five takes longer than the senders' timeout
// and two leases; of those, every second fails.
func appPlan(r *rand.Rand) plan {
	p := plan{lasts: time.Duration(5+r.IntN(45)) * time.Millisecond, takes: r.IntN(10) >= 2}
	if r.IntN(5) == 0 {
		p.lasts = 2*simLease + time.Duration(r.IntN(4000))*time.Millisecond
		p.takes = r.IntN(2) == 0
	}
	return p
}

// serve does what the handler does, and reports whether the sender got a 2xx. The
// result is meaningless once its instance is dead.
func (i *instance) serve(ctx context.Context, e *event, p plan) bool {
	answer := make(chan bool, 1)
	go func() { answer <- i.handle(ctx, e, p) }()
	select {
	case ok := <-answer:
		if ok && ctx.Err() == nil {
			i.sim.mu.Lock()
			e.acks = append(e.acks, i.sim.now())
			i.sim.mu.Unlock()
			return true
		}
	case <-i.dead:
	}
	return false
}

func (i *instance) handle(ctx context.Context, e *event, p plan) bool {
	terms := dedupe.Terms{Wait: 10 * time.Second, Limit: simLimit, Lease: simLease, TTL: time.Hour}
	if i.sim.v.busyIsFine {
		terms.Wait = 0
	}
	d := i.gate.Claim(ctx, e.key, terms)
	switch d.Outcome {
	case dedupe.Held:
	case dedupe.Duplicate:
		return true
	default:
		return i.sim.v.busyIsFine && d.Outcome == dedupe.Busy
	}
	if i.sim.v.doneFirst {
		d.Claim.Done(200)
	}
	c := i.sim.app(i, e, p)
	select {
	case <-i.dead:
		return false // killed: not settled
	default:
	}
	if c.took {
		d.Claim.Done(200)
	} else {
		d.Claim.Release()
	}
	select {
	case <-i.dead:
	default:
		i.sim.mu.Lock()
		c.settled = true
		i.sim.mu.Unlock()
	}
	return c.took
}

// app is the app behind the gateways. It finishes every call.
func (s *sim) app(by *instance, e *event, p plan) *call {
	s.mu.Lock()
	select {
	case <-by.dead:
		s.mu.Unlock()
		return &call{} // killed before it could forward
	default:
	}
	c := &call{by: by, start: s.now(), end: -1}
	e.calls = append(e.calls, c)
	s.mu.Unlock()
	time.Sleep(p.lasts)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.end, c.took = s.now(), p.takes
	return c
}

// killGateways ends an instance as kill -9 does, and starts another.
func (s *sim) killGateways(r *rand.Rand, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(10+r.IntN(30)) * time.Second):
		}
		s.mu.Lock()
		n := r.IntN(len(s.instances))
		i := s.instances[n]
		s.instances = append(s.instances[:n:n], s.instances[n+1:]...)
		i.crashed = s.now()
		close(i.dead)
		s.mu.Unlock()
		i.line.down()
		i.gate.Close(context.Background())
		s.boot()
	}
}

// flushStore makes the store lose its data, like FLUSHALL.
func (s *sim) flushStore(r *rand.Rand, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(20+r.IntN(40)) * time.Second):
		}
		s.mu.Lock()
		s.flushes = append(s.flushes, s.now())
		s.store.flush()
		s.mu.Unlock()
	}
}

// cutLines disturbs one connection at a time, for more or less than a lease.
func (s *sim) cutLines(r *rand.Rand, stop chan struct{}) {
	faults := []func(string) fault{
		func(string) fault { return fault{before: errBroken} },
		func(string) fault { return fault{after: errBroken} },
		func(string) fault { return fault{delay: time.Hour} },
		func(string) fault { return fault{after: errBroken, delay: 400 * time.Millisecond} },
	}
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(5+r.IntN(10)) * time.Second):
		}
		s.mu.Lock()
		i := s.instances[r.IntN(len(s.instances))]
		from := s.now()
		i.cuts = append(i.cuts, cut{from, -1})
		s.mu.Unlock()
		i.line.set(faults[r.IntN(len(faults))])
		time.Sleep(time.Duration(200+r.IntN(9000)) * time.Millisecond)
		select {
		case <-i.dead: // stays down
		default:
			i.line.set(jitter)
		}
		s.mu.Lock()
		i.cuts[len(i.cuts)-1].to = s.now()
		s.mu.Unlock()
	}
}
