package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// refuseAll makes the app of a gateway answer 503 to a case.
func refuseAll(g *gateway, id string) {
	g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
}

// wantForgotten runs caddy webhook forget --inbox.
func (g *gateway) wantForgotten(t testing.TB, inbox string, code int, want string) {
	t.Helper()
	if out, got := g.webhook(t, "forget", "--inbox", inbox); got != code || !strings.Contains(out, want) {
		t.Errorf("caddy webhook forget --inbox: exit %d, want %d and %q:\n%s", got, code, want, out)
	}
}

// TestALostInbox: the file of the inbox is lost with what it owed, and the dedupe store
// is not. Copies of what was stored are answered until the operator says that it is
// lost. Then they are new deliveries.
func TestALostInbox(t *testing.T) {
	t.Parallel()
	store := filepath.Join(t.TempDir(), "dedupe.db")
	g := startInbox(t, setup{global: boltStore(store), site: "verify_webhook github {env.GITHUB_KEY} {\ninbox {\nafter 150ms\nretry 10m\n}\n}\nreverse_proxy APP"})
	id, m := newCase(), at("/").message(t)
	refuseAll(g, id)
	a := g.do(t, g.h1, g.request(t, id, m))
	wantStored(t, "a delivery", a)
	taken, _ := g.done(t)
	lost := g.wantLog(t, "the inbox file is open").text("id")
	if out, _ := g.webhook(t, "inbox"); lost == "" || !strings.Contains(out, "id "+lost) {
		t.Errorf("the id in the log is %q; caddy webhook inbox:\n%s", lost, out)
	}
	if out, _ := g.webhook(t, "status"); !strings.Contains(out, "id "+lost) {
		t.Errorf("caddy webhook status:\n%s", out)
	}
	g.wantForgotten(t, lost, 1, "still has deliveries (1)")
	eventually(t, "the mark is in the file", func() bool { return inFile(t, store, a.header.Get("Webhook-Delivery")) })

	g.kill()
	if err := os.Remove(g.inboxFile()); err != nil {
		t.Fatal(err)
	}
	restart(t, g)
	g.awaitInbox(t)
	if another := g.wantLog(t, "the inbox file is open").text("id"); another == lost {
		t.Error("the new file has the id of the lost one")
	}
	calls := len(g.app.got(id))
	a = g.do(t, g.h1, g.request(t, id, m))
	wantDuplicate(t, "a copy of what was lost", a)
	wantStored(t, "a copy of what was lost", a)
	if n := len(g.app.got(id)); n != calls {
		t.Errorf("the app got %d copies of what was lost", n-calls)
	}
	g.wantForgotten(t, "0123456789abcdef", 1, "no delivery of that inbox is remembered")
	g.wantForgotten(t, lost, 0, "Forgotten: 1 of the inbox "+lost)
	g.wantForgotten(t, lost, 1, "no delivery of that inbox is remembered")

	a = g.do(t, g.h1, g.request(t, id, m))
	wantStored(t, "a copy of what is forgotten", a)
	if a.header.Get("Webhook-Duplicate") != "" || len(g.app.got(id)) != calls+1 {
		t.Errorf("a copy of what is forgotten: Webhook-Duplicate %q, the app got it %d times", a.header.Get("Webhook-Duplicate"), len(g.app.got(id))-calls)
	}
	wantDuplicate(t, "a copy of what the app took", g.once(t, taken))
	g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	if out, code := g.webhook(t, "inbox", "replay", a.header.Get("Webhook-Delivery")); code != 0 {
		t.Errorf("replay: exit %d:\n%s", code, out)
	}
	eventually(t, "the app has it", func() bool { return len(g.app.got(id)) == calls+2 })
	g.settled(t)
}

// TestALostInstance: a machine is lost with its inbox, and the store of all instances is
// a Redis. Another instance, asked by the operator, lets the copies through.
func TestALostInstance(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	g := startInbox(t, setup{global: redisStore(server.Addr, ""), site: "verify_webhook github {env.GITHUB_KEY} {\ninbox {\nafter 150ms\nretry 10m\n}\n}\nreverse_proxy APP"})
	other := g.beside(t, g.setup)
	other.awaitInbox(t)
	id, m := newCase(), at("/").message(t)
	refuseAll(g, id)
	wantStored(t, "a delivery", g.do(t, g.h1, g.request(t, id, m)))
	lost := g.wantLog(t, "the inbox file is open").text("id")
	g.kill()

	g.app.answer(id, nil)
	wantDuplicate(t, "a copy at the other instance", other.do(t, other.h1, other.request(t, id, m)))
	other.wantForgotten(t, lost, 0, "Forgotten: 1 of the inbox "+lost)
	wantForwarded(t, "a copy of what is forgotten", other.do(t, other.h1, other.request(t, id, m)))
	wantDuplicate(t, "one more", other.do(t, other.h1, other.request(t, id, m)))
}
