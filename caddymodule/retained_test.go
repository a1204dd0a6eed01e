package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// succeeded starts a configuration with another inbox file and ends the one of g, as a
// reload does. When the test ends, nothing of either is open.
func (g *gateway) succeeded(t *testing.T, path, option string) *gateway {
	t.Helper()
	old := g.box()
	t.Cleanup(func() { awaitGone(old) })
	next := watched(t, fmt.Sprintf(`{"inbox":{"inbox":"bolt","path":%q}}`, path), once(option))
	if err := g.app.shut(); err != nil {
		t.Fatal(err)
	}
	return next
}

func isGone(b *boxes.Box) bool {
	_, _, err := b.Engine().Find(context.Background(), inbox.Key{})
	return err != nil
}

func awaitGone(b *boxes.Box) {
	for !isGone(b) {
		time.Sleep(time.Millisecond) // only limits the polling: an engine does not signal that it is closed
	}
}

// TestAnInboxIsRetained: while it holds deliveries, an inbox that is no longer configured
// stays open, and the operator reaches what it holds as before.
func TestAnInboxIsRetained(t *testing.T) {
	g := stocked(t, once(keepingInbox))
	old, oldPath := g.box(), g.app.inbox.Module.(*boxes.Bolt).Path
	g.send(post(), answering(200)).has(t, "false", theKey.String(), "")
	dead := &inbox.Delivery{Key: inbox.Key{9}, Queue: inbox.Queue{Handler: "gone"}, Label: "old", Received: clock}
	g.dead(t, dead)
	path := filepath.ToSlash(filepath.Join(t.TempDir(), "next.db"))
	next := g.succeeded(t, path, keepingInbox)
	next.awaitInbox()
	next.box().Pause("acme")
	if l := next.logs.FilterMessageSnippet("that this configuration does not use").All(); len(l) != 1 ||
		l[0].ContextMap()["deliveries"] != int64(2) || l[0].ContextMap()["dead"] != int64(1) || l[0].ContextMap()["inbox"] != "bolt "+oldPath {
		t.Errorf("warned: %+v", l)
	}
	if o := next.send(nth("evt_2"), answering(200)); o.header.Get("Webhook-Stored") != "true" || o.header.Get("Webhook-Duplicate") != "" {
		t.Errorf("another one: %v", o.header)
	}
	if o := next.send(post(), answering(500)); o.forward != nil || o.header.Get("Webhook-Stored") != "true" || o.header.Get("Webhook-Duplicate") != "true" {
		t.Errorf("a copy of what the old one has: %v, forwarded %t", o.header, o.forward != nil)
	}
	got := get[adminapi.Inbox](t, adminapi.InboxPath+"?limit=10")
	if len(got.Queues) != 1 || got.Queues[0].Pending != 1 || len(got.Retained) != 1 || len(got.Retained[0].Queues) != 2 || got.Retained[0].Inbox != "bolt "+oldPath {
		t.Errorf("the list: %+v", got)
	}
	var list []string
	for _, e := range got.Deliveries {
		list = append(list, fmt.Sprintf("%s %s %t", e.Name, e.State, e.Inbox != ""))
	}
	if want := []string{"acme pending false", "acme pending true", "gone dead true"}; !slices.Equal(list, want) {
		t.Errorf("the deliveries: %q, want %q", list, want)
	}
	var pages []string
	for after := uint64(0); ; {
		page := get[adminapi.Inbox](t, fmt.Sprint(adminapi.InboxPath, "?limit=1&after=", after)).Deliveries
		if len(page) == 0 {
			break
		}
		after = page[0].Position
		pages = append(pages, page[0].Key)
	}
	if len(pages) != 3 {
		t.Errorf("one a page: %q", pages)
	}
	if s := get[adminapi.Status](t, adminapi.StatusPath); s.Handlers[0].Inbox == nil || s.Handlers[0].Inbox.Pending != 2 {
		t.Errorf("status %+v", s.Handlers[0].Inbox)
	}
	if n := next.samples(t)[`inbox_deliveries{name="gone",state="dead"}`]; n != 1 {
		t.Errorf("the metric of its dead letters is %v", n)
	}
	if shown := get[adminapi.InboxDetail](t, adminapi.InboxPath+"/"+theKey.String()); shown.ID != "evt_1" || shown.Inbox == "" {
		t.Errorf("shown %+v", shown)
	}
	if _, err := ask(http.MethodDelete, adminapi.DeliveriesPath+"/"+theKey.String()); caddyStatus(err) != http.StatusConflict {
		t.Errorf("forget: %v", err)
	}
	if c := told[adminapi.InboxChanged](t, http.MethodPost, adminapi.InboxPath+"/replay?name=gone&as=acme"); c.Changed != 1 {
		t.Errorf("replayed %+v", c)
	}
	if isGone(old) {
		t.Error("it is closed, and holds deliveries")
	}
	if c := told[adminapi.InboxChanged](t, http.MethodDelete, adminapi.InboxPath+"?name=acme"); c.Changed != 3 {
		t.Errorf("discarded %+v", c)
	}
	awaitGone(old) // it is empty
	if got := get[adminapi.Inbox](t, adminapi.InboxPath); got.Retained != nil {
		t.Errorf("retained: %+v", got.Retained)
	}
}

// TestARetainedInboxIsConfiguredAgain: it is the same, open throughout.
func TestARetainedInboxIsConfiguredAgain(t *testing.T) {
	g := stocked(t, once(keepingInbox))
	old := g.box()
	g.send(post(), answering(200)).has(t, "false", theKey.String(), "")
	next := g.succeeded(t, filepath.ToSlash(filepath.Join(t.TempDir(), "next.db")), keepingInbox)
	other := next.box()
	again := next.succeeded(t, filepath.ToSlash(g.app.inbox.Module.(*boxes.Bolt).Path), keepingInbox)
	if again.box() != old || isGone(old) {
		t.Errorf("another one: %t; closed %t", again.box() != old, isGone(old))
	}
	if got := get[adminapi.Inbox](t, adminapi.InboxPath); len(got.Retained) > 0 {
		t.Errorf("retained: %+v", got.Retained)
	}
	awaitGone(other) // it held nothing
	again.send(post(), answering(500)).isDuplicate(t)
	if err := again.app.shut(); err != nil || !isGone(old) {
		t.Errorf("in the end it is closed: %t; %v", isGone(old), err)
	}
}

// TestTheSameInboxByAnotherPath: a reload that names it through a link goes on with it.
func TestTheSameInboxByAnotherPath(t *testing.T) {
	g := stocked(t, once(keepingInbox))
	g.send(post(), answering(200)).has(t, "false", theKey.String(), "")
	old, path := g.box(), g.app.inbox.Module.(*boxes.Bolt).Path
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(path), link); err != nil {
		t.Skip(err)
	}
	next := g.succeeded(t, filepath.ToSlash(filepath.Join(link, filepath.Base(path))), keepingInbox)
	if next.box() != old || isGone(old) {
		t.Errorf("another one: %t; closed %t", next.box() != old, isGone(old))
	}
	if o := next.send(nth("evt_2"), answering(200)); o.header.Get("Webhook-Stored") != "true" {
		t.Errorf("it stores nothing: %v", o.header)
	}
	if err := next.app.shut(); err != nil {
		t.Error(err)
	}
}

// TestOthersAreNotRetained: those that are empty, and all without a configuration to
// deliver through.
func TestOthersAreNotRetained(t *testing.T) {
	empty := stocked(t, once(keepingInbox))
	box := empty.box()
	next := empty.succeeded(t, filepath.ToSlash(filepath.Join(t.TempDir(), "next.db")), keepingInbox)
	if !isGone(box) {
		t.Error("an empty one is open")
	}
	next.awaitInbox()
	box = next.box()
	box.Pause("acme")
	next.send(post(), answering(200)).has(t, "false", theKey.String(), "")
	if err := next.app.shut(); err != nil {
		t.Fatal(err)
	}
	if !isGone(box) {
		t.Error("without a configuration one is open")
	}
}

// TestTheDefaultFileIsLookedAt: a configuration without an inbox still delivers what the
// file holds for its handlers. One that names another inbox, or has none of the handlers,
// is warned, and leaves it there: it may be another Caddy's. The option alone gets it
// delivered.
func TestTheDefaultFileIsLookedAt(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	other := fmt.Sprintf(`{"inbox":{"inbox":"bolt","path":%q}}`, filepath.ToSlash(filepath.Join(t.TempDir(), "inbox.db")))
	look := func(config, handler string) (opened string, warned int) {
		t.Helper()
		g := watched(t, config, handler)
		defer func() {
			if err := g.app.shut(); err != nil {
				t.Error(err)
			}
		}()
		if b := g.app.box("acme"); b != nil {
			opened = g.app.inbox.Module.(*boxes.Bolt).Path
			b.Release()
		}
		return opened, g.logs.FilterMessageSnippet("the default inbox file holds deliveries").Len()
	}
	if _, n := look(other, once(keepingInbox)); n != 0 {
		t.Errorf("%d warnings without a file", n)
	}
	g := watched(t, "", once(keepingInbox))
	g.awaitInbox()
	g.box().Pause("acme")
	path := g.app.inbox.Module.(*boxes.Bolt).Path
	if data, err := filepath.EvalSymlinks(caddy.AppDataDir()); err != nil || !strings.HasPrefix(path, data) {
		t.Fatalf("not the default: %s", path)
	}
	for range 2 {
		g.send(post(), answering(200))
	}
	if err := g.app.shut(); err != nil {
		t.Fatal(err)
	}
	if opened, n := look(other, once(keepingInbox)); n != 1 || opened == path {
		t.Errorf("with another one: %d warnings, and %q is open", n, opened)
	}
	if opened, n := look("", once(`"name":"other"`)); n != 1 || opened != "" {
		t.Errorf("without an inbox: %d warnings, and %q is open", n, opened)
	}
	if opened, n := look("", once(`"name":"acme"`)); n != 0 || opened != path {
		t.Errorf("with its handler: %d warnings, and %q is open", n, opened)
	}
	if opened, n := look(`{"inbox":{"inbox":"bolt"}}`, once(`"name":"other"`)); n != 0 || opened != path {
		t.Errorf("with the option alone: %d warnings, and %q is open", n, opened)
	}
}
