package integration

import (
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// TestInboxAsksTheGuard: what a guard above the handler refuses stays in the inbox,
// although the app is back and the handler known, also after a restart. It is delivered
// as soon as the guard lets it pass.
func TestInboxAsksTheGuard(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"inbox", "inbox first"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			site := func(guard string) string {
				return "route {\n@strangers header X-Client stranger\n" + guard + inboxSite(mode, "APP", "name shop") + "\n}"
			}
			g := startInbox(t, setup{site: site("")})
			var well atomic.Bool
			var taken atomic.Int64
			id, m := newCase(), at("/").message(t)
			m.header.Set("X-Client", "stranger")
			g.failing(id, &well, &taken)
			wantStored(t, "before the guard", g.do(t, g.h1, g.request(t, id, m)))

			g.setup.site = site("error @strangers 403\n")
			g.reload(t, g.setup.site)
			well.Store(true)
			for _, start := range []string{"", "restart"} {
				if start != "" {
					g.quit(t)
					restart(t, g)
					g.awaitInbox(t)
				}
				if a := g.do(t, g.h1, g.request(t, newCase(), at("/").message(t))); a.status != http.StatusOK {
					t.Errorf("the sender is answered %d", a.status)
				}
				g.wantLog(t, "a route above the handler refused a stored delivery", `"name":"shop"`, `"status":403`)
				g.wantLog(t, "a route above the handler refused a stored delivery", `"attempt":4`)
				shown := g.inboxCommand(t, "shop")
				if !strings.Contains(shown, "403 of a route") {
					t.Errorf("the command prints\n%s", shown)
				}
			}
			if n := taken.Load(); n > 0 {
				t.Errorf("the app got it %d times while the guard refused it", n)
			}
			g.reload(t, site(""))
			g.settled(t)
			if n := taken.Load(); n != 1 {
				t.Errorf("the app got it %d times without the guard", n)
			}
		})
	}
}

// inboxCommand is caddy webhook inbox.
func (g *gateway) inboxCommand(t testing.TB, args ...string) string {
	t.Helper()
	binary, err := caddyBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"webhook", "inbox", "--address", g.admin}, args...)...)
	cmd.Env = caddyEnv(g.dir, nil)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
