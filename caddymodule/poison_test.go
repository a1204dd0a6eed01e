package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// TestReplaysDoNotMakeAnAppDown: a captured delivery passes again under another id, where
// the signature does not cover that, with something unsigned that the app never answers.
// The inbox knows the copies by what is signed, and their clients.
func TestReplaysDoNotMakeAnAppDown(t *testing.T) {
	config, err := json.Marshal(map[string]any{"inbox": map[string]any{"inbox": "bolt", "path": filepath.Join(t.TempDir(), "inbox.db")}})
	if err != nil {
		t.Fatal(err)
	}
	g := running(t, string(config), `{"provider":"github","secret":["n9Wd4kTq2"],"inbox":{}}`)
	g.awaitInbox()
	sent := 0
	send := func(body, client string) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/github", strings.NewReader(body))
		r.RemoteAddr = client + ":1234"
		r.Header.Set("X-GitHub-Delivery", fmt.Sprint("id-", sent))
		r.Header.Set("X-Hub-Signature-256", "sha256="+sign("n9Wd4kTq2", body))
		sent++
		if o := g.send(r, answering(502)); o.header.Get("Webhook-Stored") != "true" {
			t.Fatalf("not stored: %q, %v", o.wire.events, o.header)
		}
	}
	down := func() bool { return g.box().Holds(inbox.Queue{Handler: "github"}) }
	for range 5 {
		send(`{"captured":1}`, "198.51.100.7")
	}
	if down() {
		t.Error("copies of one delivery make the app down")
	}
	for n := range 2 {
		send(fmt.Sprintf(`{"genuine":%d}`, n), "192.0.2.1")
	}
	if !down() {
		t.Error("three contents without an answer, and the app is not down")
	}
	list, err := g.box().Engine().List(t.Context(), inbox.Selection{}, 0, sent)
	if err != nil || len(list) != sent {
		t.Fatal(list, err)
	}
	a, copied, b, c := list[0].Trace, list[1].Trace, list[5].Trace, list[6].Trace
	if a != copied || a.Content == 0 || a.Content == b.Content || b.Content == c.Content || a.Client == b.Client || b.Client != c.Client {
		t.Errorf("traces: %v %v, %v %v", a, copied, b, c)
	}
}
