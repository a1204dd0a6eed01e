package caddymodule

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

// dies makes the stored delivery of post a dead letter.
func dies(t *testing.T, b *boxes.Box) {
	t.Helper()
	got, err := b.Accept(t.Context(), &inbox.Delivery{Key: inbox.Key(theKey), Queue: inbox.Queue{Handler: "acme"}, Received: clock}, true)
	if err != nil {
		t.Fatal(err)
	}
	b.Engine().Settle(got.Attempt, inbox.Settlement{To: inbox.Dead, Status: 410})
	if at := in(t, b.Engine()); at.State != inbox.Dead {
		t.Fatalf("it is %s", at.State)
	}
}

// TestACopyOfADeadLetterWithoutAnInbox: a reload without the word inbox leaves the inbox
// open, and a copy makes a dead letter in it pending again, at any time of the reload.
func TestACopyOfADeadLetterWithoutAnInbox(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	g := watched(t, "", once(keepingInbox))
	g.awaitInbox()
	b := g.box()
	t.Cleanup(func() { awaitGone(b) })
	b.Pause("acme")
	g.send(post(), answering(200)).has(t, "false", theKey.String(), "")
	next := watched(t, "", once(`"name":"acme"`))
	if own := next.app.box("acme"); own != nil {
		t.Fatal("the next configuration has an inbox")
	}
	for _, when := range []string{"both run", "the former has ended"} {
		dies(t, b)
		for range 2 {
			o := next.send(post(), answering(500))
			o.isDuplicate(t)
			if at := in(t, b.Engine()); at.State != inbox.Pending || o.header.Get("Webhook-Stored") != "true" {
				t.Errorf("%s: it is %s, %v", when, at.State, o.header)
			}
		}
		if err := g.app.shut(); err != nil {
			t.Fatal(err)
		}
	}
}

// A readOnly engine stores nothing while it is so.
type readOnly struct {
	*inboxtest.Memory
	yes atomic.Bool
}

func (e *readOnly) Accept(ctx context.Context, d *inbox.Delivery, running bool) (inbox.Accepted, error) {
	if e.yes.Load() {
		return inbox.Accepted{}, &inbox.NotStoredError{Why: inbox.WhyUnavailable, Err: errors.New("the file was deleted")}
	}
	return e.Memory.Accept(ctx, d, running)
}

// TestACopyOfWhatIsStuck: its sender is not told that it is stored where that may be its
// end: the inbox cannot be read, or a dead letter in it or another request's attempt cannot
// be begun. What is pending is delivered, and so is what another instance has stored.
func TestACopyOfWhatIsStuck(t *testing.T) {
	e := &readOnly{Memory: inboxtest.NewMemory(time.Now, 0)}
	g := mustProvision(t, "", once(keepingInbox))
	g.app.inbox.Module = &memoryInbox{e}
	g.run(t)
	g.box().Pause("acme")
	g.send(post(), answering(200)).has(t, "false", theKey.String(), "")
	here := dedupe.StoredIn(e.Status().ID)
	for _, test := range []struct {
		name    string
		dead    bool
		ails    error
		mark    int
		variant bool
		stuck   bool
	}{
		{name: "pending", mark: here},
		{name: "another request of it", mark: here, variant: true, stuck: true},
		{name: "unreadable", ails: errors.New("it is being opened"), mark: here, stuck: true},
		{name: "unreadable, and in some inbox", ails: errors.New("it is being opened"), mark: dedupe.Stored, stuck: true},
		{name: "in another's", ails: errors.New("it is being opened"), mark: dedupe.StoredIn("another")},
		{name: "dead", dead: true, mark: here, stuck: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			gate, err := g.app.gate()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = release(g.app.store) }()
			gate.Record(theKey, dedupe.Mark{Status: test.mark, TTL: time.Hour})
			if test.dead {
				dies(t, g.box())
			}
			e.yes.Store(true)
			e.Ail(test.ails)
			defer func() {
				e.Ail(nil)
				e.yes.Store(false)
			}()
			copied := post()
			if test.variant {
				copied.Header.Set("X-Other", "yes")
				g.box().Resume("acme")
				defer g.box().Pause("acme")
			}
			o := g.send(copied, answering(200))
			if test.stuck {
				o.isRefused(t, "in_flight", "5")
				return
			}
			o.isDuplicate(t)
			if o.header.Get("Webhook-Stored") != "true" {
				t.Errorf("%v", o.header)
			}
		})
	}
	g.send(post(), answering(500)).isDuplicate(t)
	if at := in(t, e); at.State != inbox.Pending {
		t.Errorf("with the inbox well, a copy leaves it %s", at.State)
	}
}
