package dedupe_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

var (
	key   = dedupe.NewKey("a delivery")
	terms = dedupe.Terms{Wait: 10 * time.Second}
)

// A world is two instances of the gateway with separate connections to one store.
type world struct {
	t            *testing.T
	store        *server
	lineA, lineB *faulty
	a, b         *dedupe.Gate
}

// inWorld runs f in a bubble with virtual time. degrade gives the gates local memory.
func inWorld(t *testing.T, degrade bool, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: newServer()}
		open := func() (*faulty, *dedupe.Gate) {
			line := &faulty{Store: w.store}
			o := dedupe.Options{Store: line}
			if degrade {
				o.Local = dedupe.NewMemory(dedupe.MemoryOptions{})
			}
			return line, dedupe.NewGate(o)
		}
		w.lineA, w.a = open()
		w.lineB, w.b = open()
		f(w)
		w.lineA.up()
		w.lineB.up()
		if err := errors.Join(w.a.Close(t.Context()), w.b.Close(t.Context())); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func (w *world) claim(g *dedupe.Gate, t dedupe.Terms, want dedupe.Outcome) dedupe.Decision {
	w.t.Helper()
	d := g.Claim(w.t.Context(), key, t)
	if d.Outcome != want {
		w.t.Fatalf("claim: got %v, want %v", d.Outcome, want)
	}
	return d
}

// later claims in the background and returns when the claim waits or is decided.
func (w *world) later(ctx context.Context, g *dedupe.Gate, t dedupe.Terms) <-chan dedupe.Decision {
	c := make(chan dedupe.Decision, 1)
	go func() { c <- g.Claim(ctx, key, t) }()
	synctest.Wait()
	return c
}

func (w *world) decided(c <-chan dedupe.Decision, want dedupe.Outcome) dedupe.Decision {
	w.t.Helper()
	synctest.Wait()
	select {
	case d := <-c:
		if d.Outcome != want {
			w.t.Fatalf("decision: got %v, want %v", d.Outcome, want)
		}
		return d
	default:
		w.t.Fatalf("no decision, want %v", want)
		return dedupe.Decision{}
	}
}

func (w *world) undecided(c <-chan dedupe.Decision) {
	w.t.Helper()
	synctest.Wait()
	select {
	case d := <-c:
		w.t.Fatalf("decided %v, want to wait", d.Outcome)
	default:
	}
}
