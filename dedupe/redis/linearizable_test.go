package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// Three gates on one real server, used by eight deliveries at a time; some gates die
// silently. Porcupine then searches, for each key, an order of calls that a single
// register of claims allows.

type operation struct {
	op  string // claim, done, release, crash
	key int
	id  int64 // of the attempt
}

// The register of one key: its owner. A crashed attempt may lose it at any later
// moment; the model does not know whether the lease has ended, so it allows both.
type register struct {
	done    bool
	holder  int64 // 0: none
	crashed bool
}

func step(state, in, out any) []any {
	r, o := state.(register), in.(operation)
	switch o.op {
	case "claim":
		switch out.(dedupe.Outcome) {
		case dedupe.Held:
			if !r.done && (r.holder == 0 || r.crashed) {
				return []any{register{holder: o.id}}
			}
			return nil
		case dedupe.Duplicate:
			if r.done {
				return []any{r}
			}
			return nil
		}
		return []any{r} // "try later" is always allowed: a copy may be calling
	case "done":
		return []any{register{done: true}}
	case "release":
		if r.holder == o.id {
			return []any{register{done: r.done}}
		}
		return []any{r}
	default: // crash
		if r.holder == o.id {
			r.crashed = true
			return []any{r, register{}}
		}
		return []any{r}
	}
}

var model = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[int][]porcupine.Operation{}
		for _, op := range history {
			k := op.Input.(operation).key
			byKey[k] = append(byKey[k], op)
		}
		var parts [][]porcupine.Operation
		for _, ops := range byKey {
			parts = append(parts, ops)
		}
		return parts
	},
	Init:  func() []any { return []any{register{}} },
	Step:  step,
	Equal: func(a, b any) bool { return a == b },
}).ToModel()

// A mortal store stops answering when its gateway dies.
type mortal struct {
	*Store
	dead atomic.Bool
}

var errDead = errors.New("dead")

func (m *mortal) Claim(ctx context.Context, k dedupe.Key, t dedupe.Token, l time.Duration) (dedupe.State, error) {
	if m.dead.Load() {
		return dedupe.State{}, errDead
	}
	return m.Store.Claim(ctx, k, t, l)
}

func (m *mortal) Renew(ctx context.Context, k dedupe.Key, t dedupe.Token, l time.Duration) (bool, error) {
	if m.dead.Load() {
		return false, errDead
	}
	return m.Store.Renew(ctx, k, t, l)
}

func (m *mortal) Close() error { return nil } // the connections are shared

type history struct {
	mu    sync.Mutex
	start time.Time
	ops   []porcupine.Operation
	ids   atomic.Int64
}

// record runs one call and notes its start and end.
func (h *history) record(client int, in operation, call func() any) any {
	from := time.Since(h.start).Nanoseconds()
	out := call()
	to := time.Since(h.start).Nanoseconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: from, Output: out, Return: to})
	return out
}

func TestLinearizable(t *testing.T) {
	const clients, keys, rounds = 8, 120, 1500
	server := redistest.Start(t)
	store, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "lin"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()

	h := &history{start: time.Now()}
	terms := dedupe.Terms{Lease: 500 * time.Millisecond, Limit: 5 * time.Second, TTL: time.Hour}
	gates := make([]*dedupe.Gate, 3)
	for i := range gates {
		gates[i] = dedupe.NewGate(dedupe.Options{Store: &mortal{Store: store}})
	}
	claim := func(client int, g *dedupe.Gate, key int, wait time.Duration) (int64, dedupe.Decision) {
		id := h.ids.Add(1)
		var d dedupe.Decision
		terms := terms
		terms.Wait = wait
		h.record(client, operation{"claim", key, id}, func() any {
			d = g.Claim(t.Context(), dedupe.NewKey("lin", fmt.Sprint(key)), terms)
			return d.Outcome
		})
		return id, d
	}

	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(client)))
			for round := range rounds / clients {
				// All clients use the same few keys, which advance.
				key := (round*keys*clients/rounds + r.IntN(4)) % keys
				g, line := gates[r.IntN(3)], (*mortal)(nil)
				if r.IntN(40) == 0 {
					line = &mortal{Store: store}
					g = dedupe.NewGate(dedupe.Options{Store: line})
				}
				id, d := claim(client, g, key, time.Duration(r.IntN(3))*5*time.Millisecond)
				if d.Outcome != dedupe.Held {
					continue
				}
				for range r.IntN(4) { // meanwhile, copies
					claim(client, gates[r.IntN(3)], key, 0)
				}
				switch n := r.IntN(10); {
				case line != nil:
					h.record(client, operation{"crash", key, id}, func() any { line.dead.Store(true); return nil })
					id, d = claim(client, gates[0], key, 2*time.Second) // the next owner waits for the lease to end
					if d.Outcome == dedupe.Held {
						h.record(client, operation{"release", key, id}, func() any { d.Claim.Release(); return nil })
					}
				case n < 2:
					h.record(client, operation{"done", key, id}, func() any { d.Claim.Done(200); return nil })
				default:
					h.record(client, operation{"release", key, id}, func() any { d.Claim.Release(); return nil })
				}
			}
		})
	}
	wg.Wait()
	lost := uint64(0)
	for _, g := range gates {
		lost += g.Stats().LostLeases
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d operations on %d keys, %d leases lost", len(h.ops), keys, lost)
	check(t, h.ops, lost)
}

func check(t *testing.T, ops []porcupine.Operation, lost uint64) {
	t.Helper()
	switch porcupine.CheckOperationsTimeout(model, ops, 20*time.Second) {
	case porcupine.Illegal:
		if lost > 0 {
			t.Skipf("the machine stalled for longer than a lease (%d lost): the history proves nothing", lost)
		}
		t.Error("no order of these calls is one that a register could have given")
	case porcupine.Unknown:
		t.Error("too long to check")
	}
}

// The checker detects what it should: two owners, a duplicate of a delivery that was
// not done, a done delivery claimed again.
func TestTheCheckerBites(t *testing.T) {
	at := func(n int64, op string, id int64, out any) porcupine.Operation {
		return porcupine.Operation{Input: operation{op, 1, id}, Call: 2 * n, Output: out, Return: 2*n + 1}
	}
	for name, ops := range map[string][]porcupine.Operation{
		"two holders":           {at(0, "claim", 1, dedupe.Held), at(1, "claim", 2, dedupe.Held)},
		"duplicate of nothing":  {at(0, "claim", 1, dedupe.Duplicate)},
		"taken again":           {at(0, "claim", 1, dedupe.Held), at(1, "done", 1, nil), at(2, "claim", 2, dedupe.Held)},
		"release by a stranger": {at(0, "claim", 1, dedupe.Held), at(1, "release", 2, nil), at(2, "claim", 3, dedupe.Held)},
	} {
		if porcupine.CheckOperations(model, ops) {
			t.Errorf("%s: not noticed", name)
		}
	}
	if !porcupine.CheckOperations(model, []porcupine.Operation{
		at(0, "claim", 1, dedupe.Held), at(1, "crash", 1, nil), at(2, "claim", 2, dedupe.Held), at(3, "done", 1, nil),
		at(4, "claim", 3, dedupe.Duplicate),
	}) {
		t.Error("a legal history is refused")
	}
}
