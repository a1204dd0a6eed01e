package redis

import (
	"errors"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// eventually waits for a condition that depends on the real clock.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(15 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: did not come about", what)
		}
	}
}

// A server is unreachable at start, comes up, dies, loses its data, is paused:
// deliveries continue all the time, and in the end the other instance knows those
// accepted meanwhile.
func TestAServerThatComesAndGoes(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	open := func() *dedupe.Gate {
		s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "x"})
		if err != nil {
			t.Fatal(err)
		}
		g := dedupe.NewGate(dedupe.Options{Store: s, Local: dedupe.NewMemory(dedupe.MemoryOptions{})})
		t.Cleanup(func() {
			if err := g.Close(t.Context()); err != nil && !errors.Is(err, t.Context().Err()) {
				t.Errorf("close: %v", err)
			}
		})
		return g
	}
	here, there := open(), open()
	n := 0
	take := func(g *dedupe.Gate) dedupe.Key {
		t.Helper()
		n++
		k := dedupe.NewKey("gate", string(rune(n)))
		d := g.Claim(t.Context(), k, dedupe.Terms{})
		if d.Outcome != dedupe.Held {
			t.Fatalf("delivery %d: got %v, want held", n, d.Outcome)
		}
		start := time.Now()
		d.Claim.Done(200)
		if took := time.Since(start); took > 800*time.Millisecond {
			t.Errorf("done took %v", took)
		}
		return k
	}
	known := func(g *dedupe.Gate, k dedupe.Key) {
		t.Helper()
		if d := g.Claim(t.Context(), k, dedupe.Terms{}); d.Outcome != dedupe.Duplicate {
			t.Errorf("got %v, want duplicate", d.Outcome)
		}
	}
	well := func(g *dedupe.Gate) func() bool {
		return func() bool { st := g.Stats(); return !st.Degraded && st.Unwritten == 0 }
	}

	var keys []dedupe.Key
	for range 6 {
		keys = append(keys, take(here))
	}
	if !here.Stats().Degraded {
		t.Error("an unreachable server was not noticed")
	}
	known(here, keys[0])

	server.Restart()
	eventually(t, "recovery", well(here))
	for _, k := range keys {
		known(there, k)
	}

	k := take(here)
	server.Kill() // with all its data
	known(here, k)
	for range 6 {
		keys = append(keys, take(here))
	}
	server.Restart()
	eventually(t, "recovery", well(here))
	known(there, keys[len(keys)-1])
}

func TestAPausedServer(t *testing.T) {
	server := redistest.Start(t)
	s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "x"})
	if err != nil {
		t.Fatal(err)
	}
	g := dedupe.NewGate(dedupe.Options{Store: s, Local: dedupe.NewMemory(dedupe.MemoryOptions{})})
	defer g.Close(t.Context())
	d := g.Claim(t.Context(), dedupe.NewKey("before"), dedupe.Terms{})
	if err := s.client.Do(t.Context(), "CLIENT", "PAUSE", 3000, "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	d.Claim.Done(200)
	if d := g.Claim(t.Context(), dedupe.NewKey("meanwhile"), dedupe.Terms{}); d.Outcome != dedupe.Held {
		t.Errorf("got %v, want held", d.Outcome)
	} else {
		d.Claim.Release()
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("a done, a claim and a release took %v", took)
	}
	eventually(t, "writing", func() bool { return g.Stats().Unwritten == 0 })
	if st, err := s.Claim(t.Context(), dedupe.NewKey("before"), dedupe.NewToken(), time.Minute); err != nil || st.Phase != dedupe.Done {
		t.Errorf("the store says %v %v, want done", st, err)
	}
}
