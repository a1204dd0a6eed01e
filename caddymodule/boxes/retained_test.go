package boxes

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/bolt"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

// named is a module of its own storage.
type named struct {
	memory
	identity string
}

func (n named) Identity() string { return n.identity }

// started starts a configuration with an inbox that holds a dead letter. It is not in force.
func (g *gateway) started(t *testing.T, identity string, e inbox.Engine) *Configuration {
	t.Helper()
	c := &Configuration{Module: named{memory{e}, identity}, pool: g.Pool, logger: zap.NewNop(), configured: true}
	c.Open()
	ctx, cancel := context.WithCancel(t.Context())
	var polling sync.WaitGroup
	c.Follow(ctx, &polling)
	cancel()
	polling.Wait()
	return c
}

// owing is an engine that holds a dead letter.
func owing(t *testing.T) inbox.Engine {
	t.Helper()
	e := inboxtest.NewMemory(time.Now, 0)
	got, err := e.Accept(t.Context(), &inbox.Delivery{Key: inbox.Key{1}, Queue: inbox.Queue{Handler: "acme"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	e.Settle(got.Attempt, inbox.Settlement{To: inbox.Dead, Status: 410})
	return e
}

// TestWhatARefusedReloadNamesIsLeftAlone: it may be another gateway's. What a configuration
// named that has served requests, or that has stored one, is retained.
func TestWhatARefusedReloadNamesIsLeftAlone(t *testing.T) {
	g := running(t, with("acme"))
	refused := g.started(t, "refused", owing(t))
	left := refused.box
	refused.Close()
	if g.retains("refused") {
		t.Error("what a refused reload has named is retained")
	}
	silent := false
	if left.farewell.Do(func() { silent = true }); !silent {
		t.Error("the next start is told to name it")
	}
	stored := g.started(t, "stored", owing(t))
	stored.BoxFor("acme").Release() // a request
	stored.Close()
	if !g.retains("stored") {
		t.Error("what a request of a refused reload is stored in is not retained")
	}
	served := g.started(t, "served", owing(t))
	first := g.Configuration
	g.Configuration = served
	next := g.started(t, "next", owing(t))
	served.Close()
	g.Configuration = first
	if !g.retains("served") {
		t.Error("the inbox of a configuration that has served is not retained")
	}
	next.Close()
}

func (g *gateway) retains(identity string) bool {
	return g.AnyRetained(func(b *Box) bool { return b.identity == identity })
}

// A foreignFile is an engine whose file another process has.
type foreignFile struct{ inbox.Engine }

func (foreignFile) Status() inbox.Status { return inbox.Status{Health: bolt.ErrInUse} }
func (foreignFile) Queues(context.Context) ([]inbox.QueueStats, error) {
	return nil, bolt.ErrInUse
}

// TestAFileOfAnotherGatewayIsNotRetained: a reload named it by mistake, and its owner needs
// it at its next start. Of the first configuration it may be that of the process before,
// which ends soon.
func TestAFileOfAnotherGatewayIsNotRetained(t *testing.T) {
	g := running(t, with("acme"))
	file := func() inbox.Engine { return foreignFile{inboxtest.NewMemory(time.Now, 0)} }
	mistaken := g.started(t, "another gateway's", file())
	mistaken.BoxFor("acme").Release()
	mistaken.Close()
	if g.retains("another gateway's") {
		t.Error("one that a reload has named is retained")
	}
	serving := g.Configuration
	g.Configuration = nil
	first := g.started(t, "of the process before", file())
	g.Configuration = serving
	first.Close()
	if !g.retains("of the process before") {
		t.Error("one of the first configuration is not retained")
	}
}
