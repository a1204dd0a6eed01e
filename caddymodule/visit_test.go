package caddymodule

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// TestVisitingBlocksNobody: an operator's request to a store that hangs must not
// hold up the deliveries of all.
func TestVisitingBlocksNobody(t *testing.T) {
	g := running(t, "", once())
	asked, answer := make(chan struct{}), make(chan struct{})
	hanging := &fakeStore{id: "hanging", gate: func() (*dedupe.Gate, error) {
		return dedupe.NewGate(dedupe.Options{Store: hangingStore{dedupe.NewMemory(dedupe.MemoryOptions{}), asked, answer}}), nil
	}}
	if _, err := acquire(hanging); err != nil {
		t.Fatal(err)
	}
	visited := make(chan error)
	go func() { visited <- remove(theKey.String()) }()
	<-asked
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		g.send(post(), answering(200)).isForwarded(t)
	}()
	select {
	case <-delivered:
	case <-time.After(5 * time.Second):
		t.Error("a delivery waits for a store that is not its own")
	}
	close(answer)
	if err := <-visited; err != nil { // the delivery's done is forgotten, too, or not yet there
		if caddyStatus(err) != 404 {
			t.Errorf("got %v", err)
		}
	}
	<-delivered
	if err := release(hanging); err != nil {
		t.Error(err)
	}
}

// TestVisitedStaysOpen: the last user of a store waits for who visits it.
func TestVisitedStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, answer := make(chan struct{}), make(chan struct{})
		store := &fakeStore{id: "hanging", gate: func() (*dedupe.Gate, error) {
			return dedupe.NewGate(dedupe.Options{Store: hangingStore{dedupe.NewMemory(dedupe.MemoryOptions{}), asked, answer}}), nil
		}}
		if _, err := acquire(store); err != nil {
			t.Fatal(err)
		}
		go func() { _ = remove(theKey.String()) }()
		<-asked
		released := make(chan error, 1)
		go func() { released <- release(store) }()
		synctest.Wait()
		if len(released) != 0 {
			t.Error("closed under its visitor")
		}
		close(answer)
		if err := <-released; err != nil {
			t.Error(err)
		}
	})
}

// hangingStore answers Forget when it is told to.
type hangingStore struct {
	*dedupe.Memory
	asked, answer chan struct{}
}

func (s hangingStore) Forget(ctx context.Context, k dedupe.Key) (bool, error) {
	close(s.asked)
	<-s.answer
	return s.Memory.Forget(ctx, k)
}
