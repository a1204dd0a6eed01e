package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/history"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// A failingApp does not start, as http does not if its port is in use.
type failingApp struct{}

func init() { caddy.RegisterModule(failingApp{}) }

func (failingApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "verify_webhook_fails", New: func() caddy.Module { return new(failingApp) }}
}

func (failingApp) Start() error { return errors.New("it never starts") }
func (failingApp) Stop() error  { return nil }

// TestARejectedReloadChangesNothing: not even if Caddy has started this app, and gives the
// configuration up for another app of it.
func TestARejectedReloadChangesNothing(t *testing.T) {
	limit := buffered.limit.Load()
	t.Cleanup(func() {
		buffered.limit.Store(limit)
		nothingKept()
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	load := func(more string, entries, maxBuffered, keep int) error {
		logging, _ := json.Marshal(silent())
		return caddy.Load(fmt.Appendf(nil, `{"admin":{"disabled":true,"config":{"persist":false}},"logging":%s,"apps":{%s
			"verify_webhook":{"store":{"store":"memory","max_entries":%d},"max_buffered":%d,"keep_rejected":%d,"keep_deliveries":%d}}}`, logging, more, entries, maxBuffered, keep, keep), true)
	}
	if err := load("", 1000, 64<<20, 9); err != nil {
		t.Fatal(err)
	}
	app := serving()
	app.register(&Handler{Name: "acme"})
	gate, err := app.gate()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release(app.store) }()
	for i := range 9 {
		gate.Record(dedupe.NewKey(fmt.Sprint(i)), dedupe.Mark{Status: 200, TTL: time.Hour})
		kept.Add(rejected.Request{Handler: rejected.Handler{Name: "acme"}}, 9)
		recent.Add(history.Delivery{Name: "acme"}, 9)
	}
	state := func() string {
		rejections, _ := kept.Totals()
		deliveries, _ := recent.Totals()
		return fmt.Sprintln(gate.Stats().Entries, buffered.limit.Load(), rejections, deliveries)
	}
	before := state()
	for range 20 { // Caddy starts apps in random order
		if err := load(`"verify_webhook_fails":{},`, 1, 1<<20, 1); err == nil {
			t.Fatal("it is accepted")
		}
	}
	if after := state(); after != before {
		t.Errorf("entries, max_buffered, rejections, deliveries:\nbefore %safter  %s", before, after)
	}
	if err := load("", 1, 1<<20, 0); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintln(1, 1<<20, 0, 0)
	for until := time.Now().Add(10 * time.Second); state() != want && time.Now().Before(until); {
		time.Sleep(time.Millisecond) // only limits the polling: Caddy does not tell
	}
	if after := state(); after != want {
		t.Errorf("an accepted one: %swant %s", after, want)
	}
}
