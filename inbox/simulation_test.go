package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

// The simulation: a gateway with an inbox in front of an app, in virtual time, for a
// week. Senders send copies and give up after a few attempts, the app is down, slow
// and refuses, the gateway is killed and restarted, and sometimes it cannot store.
// The promise is checked at the end.
//
// A test that never fails proves nothing, so TestInboxAblations removes one part of
// the protocol at a time and expects violations.
const (
	simDeliveries = 1500
	simSpan       = 6 * time.Hour // in which senders begin

	// Pauses grow to 14.4 hours, and the app fails one attempt in ten: one day leaves
	// a delivery two attempts, and one in 300 runs a delivery; a week leaves eleven.
	simAfter = 7 * 24 * time.Hour
)

// A variation is how the simulated gateway deviates from the protocol.
type variation struct {
	name         string
	answerFirst  bool // the sender is answered before the delivery is synced
	markFirst    bool // the mark is written before the app's 2xx
	keysInMemory bool // the key is not kept with the delivery
	attemptsFree bool // an attempt does not prevent others
	noReserve    bool // a full disk has no space for marks, which are not repeated
	oldConfig    bool // an attempt uses the configuration that the delivery was received with

	first bool // not an ablation: inbox first
}

func TestInboxSimulation(t *testing.T) {
	for seed, v := range []variation{{name: "the app is asked first"}, {name: "inbox first", first: true}} {
		t.Run(v.name, func(t *testing.T) {
			s := simulateInbox(t, uint64(seed), v)
			for i, v := range s.violations() {
				if t.Error(v); i > 10 {
					t.Fatal("and more")
				}
			}
			t.Log(s)
		})
	}
}

func TestInboxAblations(t *testing.T) {
	for _, v := range []variation{
		{name: "answer before sync", answerFirst: true},
		{name: "mark before the app's 2xx", markFirst: true},
		{name: "key not in the transaction", keysInMemory: true},
		{name: "one attempt a key not held", attemptsFree: true},
		{name: "no reserve for marks", noReserve: true},
		{name: "hand back to an old configuration", oldConfig: true},
	} {
		t.Run(v.name, func(t *testing.T) {
			for seed := range uint64(50) { // about one in four notices a missing reserve
				if found := simulateInbox(t, seed, v).violations(); len(found) > 0 {
					t.Logf("%d violations, such as: %s", len(found), found[0])
					return
				}
			}
			t.Fatal("the simulation did not notice")
		})
	}
}

type sim struct {
	v      variation
	start  time.Time
	disk   *inboxtest.Memory // survives the gateway
	events []*event

	mu    sync.Mutex
	gw    *gateway
	kills int
	rnd   *rand.Rand
	down  bool // the app
	full  bool // the disk

	configuration int // in force: each has another app
}

// A gateway is one process: a restart makes a new one.
type gateway struct {
	*inboxtest.Memory // its view of the disk
	sim               *sim
	box               *inbox.Box
	dead              chan struct{}
	killed            bool                    // the same, for the time after the bubble
	keys              map[inbox.Key]inbox.Key // of the ablation that keeps them in memory
}

type event struct {
	id     int
	key    inbox.Key
	acks   int
	stored time.Duration // when a copy was last accepted
	calls  []*call

	configuration int // with which it was received
}

func (g *gateway) isDead() bool {
	select {
	case <-g.dead:
		return true
	default:
		return false
	}
}

// Accept does not return once the gateway is dead. A commit takes some time.
func (g *gateway) Accept(ctx context.Context, d *inbox.Delivery, running bool) (inbox.Accepted, error) {
	lost := &inbox.NotStoredError{Why: inbox.WhyUnavailable, Err: errors.New("killed")}
	if g.sim.v.keysInMemory {
		g.sim.mu.Lock()
		private, known := g.keys[d.Key]
		if !known {
			private = inbox.Key{byte(len(g.keys)), byte(len(g.keys) >> 8), byte(g.sim.kills), 1}
			g.keys[d.Key] = private
		}
		g.sim.mu.Unlock()
		copied := *d
		copied.Key, d = private, &copied
	}
	commit := func() (inbox.Accepted, error) {
		time.Sleep(time.Millisecond)
		g.sim.mu.Lock() // a dead process does nothing
		defer g.sim.mu.Unlock()
		if g.isDead() {
			return inbox.Accepted{}, lost
		}
		return g.Memory.Accept(ctx, d, running)
	}
	if g.sim.v.answerFirst {
		go func() {
			time.Sleep(50 * time.Millisecond)
			commit()
		}()
		return inbox.Accepted{Copy: true}, nil
	}
	return commit()
}

func (g *gateway) Take(ctx context.Context, q inbox.Queue, w inbox.Which) (*inbox.Attempt, error) {
	g.sim.mu.Lock()
	defer g.sim.mu.Unlock()
	if g.isDead() {
		return nil, inbox.ErrUnavailable
	}
	a, err := g.Memory.Take(ctx, q, w)
	switch {
	case a == nil:
	case g.sim.v.markFirst:
		g.Memory.Settle(a, inbox.Settlement{To: inbox.Delivered})
	case g.sim.v.attemptsFree:
		g.Memory.Settle(a, inbox.Settlement{To: inbox.Pending, After: time.Second, Unspent: true})
	}
	return a, err
}

func (g *gateway) Settle(a *inbox.Attempt, s inbox.Settlement) {
	g.sim.mu.Lock()
	defer g.sim.mu.Unlock()
	if g.isDead() || g.sim.v.noReserve && g.sim.full {
		return
	}
	if g.sim.v.attemptsFree && s.To == inbox.Delivered {
		g.Memory.Discard(context.Background(), inbox.Selection{Keys: []inbox.Key{a.Entry.Key}})
	}
	g.Memory.Settle(a, s)
}

func simulateInbox(t *testing.T, seed uint64, v variation) *sim {
	s := &sim{v: v, rnd: rand.New(rand.NewPCG(seed, 1))}
	synctest.Test(t, func(t *testing.T) {
		s.start = time.Now()
		s.disk = inboxtest.NewMemory(time.Now, 0)
		s.boot()
		var chaos, senders sync.WaitGroup
		stop := make(chan struct{})
		chaos.Go(func() { s.every(stop, 4*time.Minute, s.kill) })
		chaos.Go(func() { s.every(stop, 9*time.Minute, s.outage) })
		chaos.Go(func() { s.every(stop, 17*time.Minute, s.ail) })
		chaos.Go(func() { s.every(stop, 13*time.Minute, s.reload) })
		for i := range simDeliveries {
			s.events = append(s.events, &event{id: i, key: inbox.Key{byte(i), byte(i >> 8), 7}})
		}
		for i, e := range s.events {
			senders.Go(func() { s.send(e, rand.New(rand.NewPCG(seed, uint64(100+i)))) })
		}
		senders.Wait()
		close(stop)
		chaos.Wait()
		time.Sleep(simAfter) // the time to deliver what is stored
		s.gw.box.Close(context.Background())
	})
	return s
}

func (s *sim) now() time.Duration { return time.Since(s.start) }

func (s *sim) random(d time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.rnd.Int64N(int64(d)))
}

func (s *sim) every(stop chan struct{}, mean time.Duration, do func()) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(s.random(2 * mean)):
			do()
		}
	}
}

func (s *sim) boot() {
	g := &gateway{Memory: s.disk, sim: s, dead: make(chan struct{}), keys: make(map[inbox.Key]inbox.Key)}
	g.box = inbox.NewBox(inbox.Options{Engine: g, Concurrency: 4, Deliver: g.attempt})
	g.configure()
	s.mu.Lock()
	s.gw = g
	s.mu.Unlock()
}

func (g *gateway) configure() {
	g.box.Configure(map[string]inbox.Policy{"shop": {Expire: 365 * 24 * time.Hour}})
}

// reload brings a configuration with another app into force. The previous app still
// answers 200, but is not the app any more.
func (s *sim) reload() {
	s.mu.Lock()
	g := s.gw
	s.configuration++
	s.mu.Unlock()
	g.configure()
}

// kill ends the gateway like kill -9, and restarts it.
func (s *sim) kill() {
	s.mu.Lock()
	g := s.gw
	s.kills++
	g.killed = true
	close(g.dead)
	s.disk.Restart()
	s.mu.Unlock()
	s.boot()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g.box.Close(ctx)
}

// outage takes the app down for up to twenty minutes.
func (s *sim) outage() {
	s.set(true)
	time.Sleep(s.random(20 * time.Minute))
	s.set(false)
}

func (s *sim) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// ail keeps the disk from storing for up to two minutes.
func (s *sim) ail() {
	s.fill(errors.New("the disk is full"))
	time.Sleep(s.random(2 * time.Minute))
	s.fill(nil)
}

func (s *sim) fill(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = why != nil
	s.disk.Ail(why)
}

// send is a sender: three attempts in two minutes, some in two copies.
func (s *sim) send(e *event, r *rand.Rand) {
	time.Sleep(time.Duration(r.Int64N(int64(simSpan))))
	for range 3 {
		s.mu.Lock()
		g := s.gw
		s.mu.Unlock()
		ack := make(chan bool, 2)
		for range 1 + r.IntN(2) {
			go func() { ack <- g.serve(e) }()
		}
		select {
		case ok := <-ack:
			if ok {
				s.mu.Lock()
				e.acks++
				s.mu.Unlock()
				if r.IntN(10) > 0 { // one in ten retries anyway, because its response was lost
					return
				}
			}
		case <-time.After(10 * time.Second):
		}
		time.Sleep(time.Duration(30+r.IntN(60)) * time.Second)
	}
}

// serve does what the handler does, and reports whether the sender reads a 2xx. A
// dead gateway does not answer.
func (g *gateway) serve(e *event) bool {
	if entry, found, _ := g.find(e.key); found && entry.State != inbox.Dead {
		return !g.isDead() // a copy of a stored delivery
	}
	d := &inbox.Delivery{Key: e.key, Queue: shop, Received: time.Now(), ID: fmt.Sprint(e.id)}
	if g.sim.v.first || g.box.Holds(shop) {
		if g.accept(e, d) {
			return !g.isDead()
		}
	}
	c := g.sim.app(g, e, false)
	g.box.Heard(shop, e.key, inbox.Trace{}, result(c))
	return (c.took || g.accept(e, d)) && !g.isDead()
}

// accept stores a copy.
func (g *gateway) accept(e *event, d *inbox.Delivery) bool {
	g.sim.mu.Lock()
	e.configuration = g.sim.configuration
	g.sim.mu.Unlock()
	_, err := g.box.Accept(context.Background(), d, false)
	g.sim.mu.Lock()
	defer g.sim.mu.Unlock()
	e.stored = g.sim.now()
	return err == nil
}

func (g *gateway) find(key inbox.Key) (inbox.Entry, bool, error) {
	if g.sim.v.keysInMemory {
		g.sim.mu.Lock()
		private, known := g.keys[key]
		g.sim.mu.Unlock()
		if !known {
			return inbox.Entry{}, false, nil
		}
		key = private
	}
	return g.Memory.Find(context.Background(), key)
}

// attempt is one from the inbox.
func (g *gateway) attempt(_ context.Context, a *inbox.Attempt) inbox.Result {
	var id int
	fmt.Sscan(a.Delivery.ID, &id)
	return result(g.sim.app(g, g.sim.events[id], true))
}
