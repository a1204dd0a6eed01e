package command

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/bolt"
)

// TestListenLeavesTheGatewaysInboxAlone: whether the handler has an inbox or not, what the
// gateway of this user has stored stays, and nothing that listen receives joins it.
func TestListenLeavesTheGatewaysInboxAlone(t *testing.T) {
	data := t.TempDir()
	t.Setenv("XDG_DATA_HOME", data)
	t.Setenv("TEST_STRIPE", stripeSecret)
	path := filepath.Join(caddy.AppDataDir(), "verify_webhook", "inbox.db")
	engine, err := bolt.Open(bolt.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	<-engine.Changed() // it is open
	if _, err := engine.Accept(t.Context(), &inbox.Delivery{Key: inbox.Key{1}, Queue: inbox.Queue{Handler: "stripe"}, Received: time.Now(), Method: http.MethodPost}, false); err != nil {
		t.Fatal(err)
	}
	if err := engine.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	defer app.Close()
	config := file(t, "Caddyfile", `:8080 {
		verify_webhook stripe {env.TEST_STRIPE} {
			inbox first
		}
	}`)
	for name, args := range map[string][]string{
		"a provider":              {"stripe", "--secret", "{env.TEST_STRIPE}"},
		"a handler with an inbox": {"--config", config},
	} {
		url, lines, end := listening(t, append(args, "--to", app.URL)...)
		go func() {
			for lines.Scan() {
			}
		}()
		r, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(stripeBody))
		r.Header.Set("Stripe-Signature", signatureOf(t, time.Now()))
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusInternalServerError || answer.Header.Get("Webhook-Stored") != "" {
			t.Errorf("%s: %s, stored %q; want the app's answer", name, answer.Status, answer.Header.Get("Webhook-Stored"))
		}
		if n, _ := bolt.Owed(path); n["stripe"] != 1 {
			t.Errorf("%s: the file is in use, or owes %d deliveries, want 1", name, n["stripe"])
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	}
	if n, _ := bolt.Owed(path); n["stripe"] != 1 {
		t.Errorf("in the end the file owes %d deliveries, want 1", n["stripe"])
	}
	_ = filepath.WalkDir(data, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && name != path {
			t.Errorf("listen wrote %s (%v)", name, err)
		}
		return nil
	})
}
