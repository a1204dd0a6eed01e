package caddymodule

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

const forgetInboxPath = adminapi.DeliveriesPath + "?inbox="

// TestForgetInbox: what a lost inbox had is forgotten, and what one that is in use owes
// to the app is not.
func TestForgetInbox(t *testing.T) {
	g := stocked(t, once(keepingInbox))
	g.send(post(), answering(200)).has(t, "false", theKey.String(), "")
	gate, err := g.app.gate()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release(g.app.store) }()
	id := get[adminapi.Inbox](t, adminapi.InboxPath).ID
	if d := gate.Claim(t.Context(), theKey, dedupe.Terms{}); id == "" || d.Status != dedupe.StoredIn(id) {
		t.Errorf("the mark has the status %d, want that of the inbox %q", d.Status, id)
	}
	_, err = ask(http.MethodDelete, forgetInboxPath+id)
	if caddyStatus(err) != http.StatusConflict || !strings.Contains(err.Error(), id+" is in use here and still has deliveries (1)") {
		t.Errorf("of an inbox in use: %v", err)
	}
	if d := gate.Claim(t.Context(), theKey, dedupe.Terms{}); d.Outcome != dedupe.Duplicate {
		t.Errorf("it is forgotten all the same: %v", d.Outcome)
	}

	key := dedupe.NewKey("another")
	gate.Claim(t.Context(), key, dedupe.Terms{}).Claim.Done(dedupe.StoredIn("lost"))
	for _, want := range []int{1, 0} {
		if got := told[adminapi.ForgottenInbox](t, http.MethodDelete, forgetInboxPath+"lost"); got.Forgotten != want || got.Inbox != "lost" || got.Note != forgottenWhere() {
			t.Errorf("of a lost inbox: %+v, want %d", got, want)
		}
	}
	if d := gate.Claim(t.Context(), key, dedupe.Terms{}); d.Outcome != dedupe.Held {
		t.Errorf("a copy of what it had: %v", d.Outcome)
	}

	gate.Record(key, dedupe.Mark{Status: dedupe.StoredIn(id), TTL: time.Hour}) // of before a backup was restored
	if _, err := g.box().Engine().Discard(t.Context(), inbox.Selection{Keys: []inbox.Key{inbox.Key(theKey)}}); err != nil {
		t.Fatal(err)
	}
	if got := told[adminapi.ForgottenInbox](t, http.MethodDelete, forgetInboxPath+id); got.Forgotten != 2 {
		t.Errorf("of an inbox that owes nothing: %+v", got)
	}
	for _, query := range []string{"", "lost&name=acme", "lost&id=evt_1"} {
		if _, err := ask(http.MethodDelete, forgetInboxPath+query); caddyStatus(err) != http.StatusBadRequest {
			t.Errorf("inbox=%s: %v, want 400", query, err)
		}
	}
}

// anInbox starts a gateway with an engine.
func anInbox(t *testing.T, e inbox.Engine) {
	t.Helper()
	g := mustProvision(t, "", once(keepingInbox))
	g.app.inbox.Module = &memoryInbox{e}
	g.run(t)
}

// TestForgetInboxThatDoesNotAnswer: nothing is forgotten, because it may have deliveries.
func TestForgetInboxThatDoesNotAnswer(t *testing.T) {
	e := inboxtest.NewMemory(time.Now, 0)
	anInbox(t, e)
	id := e.Status().ID
	e.Ail(errors.New("the disk is gone"))
	_, err := ask(http.MethodDelete, forgetInboxPath+id)
	if caddyStatus(err) != http.StatusConflict || !strings.Contains(err.Error(), "unknown (the disk is gone)") {
		t.Errorf("%v", err)
	}
	if got := told[adminapi.ForgottenInbox](t, http.MethodDelete, forgetInboxPath+"another"); got.Forgotten != 0 {
		t.Errorf("another: %+v", got)
	}
}

// unopened is an engine whose id is not known yet.
type unopened struct{ inbox.Engine }

func (unopened) Status() inbox.Status { return inbox.Status{Health: errors.New("it is opening")} }

// TestForgetInboxThatMayBeHere: one that is not open may be the one. The operator, who
// says that it is lost, is told so.
func TestForgetInboxThatMayBeHere(t *testing.T) {
	anInbox(t, unopened{inboxtest.NewMemory(time.Now, 0)})
	if got := told[adminapi.ForgottenInbox](t, http.MethodDelete, forgetInboxPath+"lost"); !strings.Contains(got.Note, "not open here may be the one") {
		t.Errorf("%+v", got)
	}
}

// TestForgetInboxInPart: a store that fails says so.
func TestForgetInboxInPart(t *testing.T) {
	openBrokenStore(t)
	_, err := ask(http.MethodDelete, forgetInboxPath+"lost")
	if caddyStatus(err) != http.StatusServiceUnavailable || !strings.Contains(err.Error(), "not all are forgotten, but 0") {
		t.Errorf("%v", err)
	}
}
