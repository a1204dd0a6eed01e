package caddymodule

import (
	"path/filepath"
	"testing"
)

// TestWhatArrivesWhileItsConfigurationEnds: at a reload, Caddy ends a configuration while
// requests of it still arrive. The inbox in force keeps its promises.
func TestWhatArrivesWhileItsConfigurationEnds(t *testing.T) {
	for name, file := range map[string]string{"the same inbox": "inbox.db", "another inbox": "next.db"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.ToSlash(t.TempDir())
			g := boxed(t, dir+"/inbox.db", `{}`)
			next := g.succeeded(t, dir+"/"+file, keepingInbox)
			next.awaitInbox()
			if o := g.send(post(), answering(503)); o.header.Get("Webhook-Stored") != "true" || next.entry(t).Since.IsZero() {
				t.Errorf("the app refuses it: %q, %v; the inbox has %+v", o.wire.events, o.header, next.entry(t))
			}
			next.box().Pause("acme")
			if o := g.send(nth("evt_2"), answering(200)); o.forward != nil || o.header.Get("Webhook-Stored") != "true" {
				t.Errorf("its handler is paused: %q, %v", o.wire.events, o.header)
			}
		})
	}
}

// TestAVariantWhileItsConfigurationEnds goes to the app, as before.
func TestAVariantWhileItsConfigurationEnds(t *testing.T) {
	path := filepath.ToSlash(filepath.Join(t.TempDir(), "inbox.db"))
	g := boxed(t, path, `{}`)
	g.storeVariant(t)
	next := g.succeeded(t, path, keepingInbox)
	if o := g.send(post(), answering(503)); o.forward == nil || o.header.Get("Webhook-Stored") != "" {
		t.Errorf("the app refuses it: %q, %v", o.wire.events, o.header)
	}
	if o := g.send(post(), answering(204)); o.forward == nil || o.wire.events[0] != "204" {
		t.Errorf("the app accepts it: %q, %v", o.wire.events, o.header)
	}
	next.send(post(), answering(500)).isDuplicate(t)
}

// TestWhatArrivesWhileItsInboxOrHandlerIsRemoved: its sender gets the app's answer.
func TestWhatArrivesWhileItsInboxOrHandlerIsRemoved(t *testing.T) {
	for name, next := range map[string]func(t *testing.T, path string){
		"inbox":   func(t *testing.T, _ string) { watched(t, "", once()) },
		"handler": func(t *testing.T, path string) { boxed(t, path, `{},"name":"bravo"`) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.ToSlash(filepath.Join(t.TempDir(), "inbox.db"))
			g := boxed(t, path, `{"first":true}`)
			next(t, path)
			if err := g.app.shut(); err != nil {
				t.Fatal(err)
			}
			if o := g.send(post(), answering(503)); o.wire.events[0] != "503" || o.header.Get("Webhook-Stored") != "" {
				t.Errorf("%q, %v", o.wire.events, o.header)
			}
		})
	}
}
