package integration

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestInboxCommands is an operator's day with the inbox, by the commands alone.
func TestInboxCommands(t *testing.T) {
	t.Parallel()
	g := startInbox(t, setup{site: "verify_webhook github {env.GITHUB_KEY} {\ninbox\n}\nreverse_proxy APP"})
	run := func(code int, want string, args ...string) string {
		t.Helper()
		out, got := g.webhook(t, append([]string{"inbox"}, args...)...)
		if got != code || !strings.Contains(out, want) {
			t.Errorf("caddy webhook inbox %s: exit %d, want %d and %q:\n%s", strings.Join(args, " "), got, code, want, out)
		}
		return out
	}
	// store sends a delivery while its handler is paused, and returns its key.
	store := func(id string, m message) string {
		t.Helper()
		a := g.do(t, g.h1, g.request(t, id, m))
		if a.status != http.StatusOK || a.header.Get("Webhook-Stored") != "true" || a.header.Get("Webhook-Duplicate") != "" || len(g.app.got(id)) != 0 {
			t.Fatalf("answered %s, app called %d times, want it stored", a.outside(), len(g.app.got(id)))
		}
		return a.header.Get("Webhook-Delivery")
	}
	run(0, "Nothing is stored.")
	run(2, "the handlers are: github", "pause", "gitub")
	run(0, "Paused: deliveries of github", "pause", "github")

	// One that is held back, and delivered when the operator says so.
	id, m := newCase(), at("/").message(t)
	m.header.Set("Authorization", "Bearer "+redactedToken)
	key := store(id, m)
	if out := run(0, "paused"); strings.Contains(out, key) {
		t.Errorf("without a name it lists deliveries:\n%s", out)
	}
	run(0, key, "github", "--state", "pending")
	run(0, key, "list", "github", "--json")
	out := run(0, "Authorization: (redacted)", "show", key)
	if strings.Contains(out, redactedToken) || strings.Contains(out, string(m.body)) {
		t.Errorf("show tells a secret or the body:\n%s", out)
	}
	run(0, string(m.body), "show", key, "--body")
	if out, code := g.webhook(t, "forget", key); code != 1 || !strings.Contains(out, "in the inbox (pending)") || !strings.Contains(out, "caddy webhook inbox discard "+key) {
		t.Errorf("forget: exit %d:\n%s", code, out)
	}
	run(0, "Resumed: deliveries of github", "resume", "github")
	eventually(t, "the app gets what was held back", func() bool { return len(g.app.got(id)) == 1 })
	eventually(t, "nothing is stored", func() bool { return strings.Contains(run(0, ""), "Nothing is stored.") })
	wantDuplicate(t, "its copy", g.do(t, g.h1, g.request(t, id, m)))

	// One that the app gives up, and takes when it is replayed.
	run(0, "Paused", "pause", "github")
	id, m = newCase(), at("/").message(t)
	key = store(id, m)
	g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	run(0, "Resumed", "resume", "github")
	eventually(t, "it is dead", func() bool {
		out, _ := g.webhook(t, "inbox", "github", "--state", "dead")
		return strings.Contains(out, key)
	})
	g.wantLog(t, `"level":"error"`, "dead letter", key)
	run(0, "410", "show", key)
	g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "taken") })
	run(0, "Replayed: 1", "replay", "--dead", "github")
	eventually(t, "the app has it", func() bool { return len(g.app.got(id)) == 2 })
	eventually(t, "nothing is stored", func() bool { return strings.Contains(run(0, ""), "Nothing is stored.") })
	run(1, "no such delivery", "replay", "--dead", "github")
	run(1, "no such delivery", "replay", key)

	// Some that the app must not get.
	run(0, "Paused", "pause", "github")
	id, m = newCase(), at("/").message(t)
	key = store(id, m)
	run(0, "Discarded: 1", "discard", key)
	run(1, "no such delivery", "show", key)
	if again := store(id, m); again != key { // not a duplicate: it is forgotten too
		t.Errorf("the next copy has the key %s, was %s", again, key)
	}
	other := newCase()
	store(other, at("/").message(t))
	run(2, "add --yes", "discard", "--name", "github")
	run(1, "no such delivery", "discard", "--key", "another", "--yes")
	run(0, "Discarded: 2", "discard", "--key", "1", "--yes")
	run(0, "Resumed", "resume", "github")
	run(0, "Nothing is stored.")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.admin+"/verify_webhook/inbox/pause?name=github", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://evil.example")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if a := read(t, resp); a.status != http.StatusForbidden {
		t.Errorf("a page of another origin pauses a handler: %d %s", a.status, a.body)
	}
	if n := len(g.app.got(id)) + len(g.app.got(other)); n != 0 {
		t.Errorf("the app got %d of what was discarded", n)
	}
}
