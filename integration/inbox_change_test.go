package integration

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// inboxKey is an encryption key, another one for each text.
func inboxKey(b string) string {
	sum := sha256.Sum256([]byte(b))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// failing makes the app answer 503 to a case until it is well; then it counts it.
func (g *gateway) failing(id string, well *atomic.Bool, taken *atomic.Int64) {
	g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) {
		if well.Load() {
			taken.Add(1)
			return
		}
		http.Error(w, "not now", http.StatusInternalServerError)
	})
}

// TestInboxOptionsChange: reloads rotate the encryption key and change the limits while
// an attempt runs, and another is refused. What arrives at any time is stored, what the
// keys open is delivered, and what they do not open waits.
func TestInboxOptionsChange(t *testing.T) {
	t.Parallel()
	site := inboxSite("inbox", "APP", "upstream_timeout 1m")
	first, both, second := "encrypt "+inboxKey("1"), "encrypt "+inboxKey("2")+" "+inboxKey("1"), "encrypt "+inboxKey("2")
	g := startInbox(t, setup{global: boltInbox("DIR/inbox.db", first), site: site})
	var well atomic.Bool
	var taken atomic.Int64
	sent := int64(0)
	store := func(when string) {
		t.Helper()
		id, m := newCase(), at("/").message(t)
		g.failing(id, &well, &taken)
		wantStored(t, when, g.do(t, g.h1, g.request(t, id, m)))
		sent++
	}
	store("with the first key")

	slow, m := newCase(), at("/").message(t)
	finish, attempts := make(chan struct{}), newDesk()
	g.app.answer(slow, attempts.serve(func(int, http.ResponseWriter, *http.Request) { <-finish }))
	wantStored(t, "while the app works", g.do(t, g.h1, g.request(t, slow, m)))
	for _, options := range []string{both, both + "\nmax_size 10MiB\nconcurrency 3"} {
		g.setup.global = boltInbox("DIR/inbox.db", options)
		g.reload(t, site)
		store("right after a reload")
	}
	if q := g.inbox(t).Queues; len(q) != 1 || q[0].InAttempt < 1 || q[0].Locked != 0 || q[0].Dead != 0 {
		t.Errorf("while the attempt runs: %+v", q)
	}
	g.setup.global = boltInbox("DIR/inbox.db", second)
	g.refusesReload(t, site+"\nverify_webhook /other github {env.NOT_SET_ANYWHERE}")
	store("after a refused reload")
	g.reload(t, site)
	locked := int64(0) // what arrives right after a reload may have the key of before
	eventually(t, "what the second key does not open is locked", func() bool {
		q := g.inbox(t).Queues
		locked = int64(q[0].Locked)
		return locked > 0 && locked < sent && q[0].Dead == 0
	})
	close(finish)
	well.Store(true)
	eventually(t, "what it opens is delivered", func() bool { return taken.Load() == sent-locked })
	g.setup.global = boltInbox("DIR/inbox.db", both)
	g.reload(t, site)
	eventually(t, "the rest is delivered", func() bool { return taken.Load() == sent })
	g.settled(t)
	if n, _ := attempts.seen(); n != 1 {
		t.Errorf("%d attempts of what the app worked on, want 1", n)
	}
}

// TestInboxPathChanges: a reload that names another inbox, or none, leaves what the
// former one holds to this process, which delivers it with an attempt running
// throughout, and keeps its dead letters within the operator's reach.
func TestInboxPathChanges(t *testing.T) {
	t.Parallel()
	with, without := inboxSite("inbox", "APP", "upstream_timeout 1m"), "verify_webhook github {env.GITHUB_KEY}\nreverse_proxy APP"
	for name, c := range map[string]struct{ before, after, site string }{
		"another path":                  {boltInbox("DIR/one.db", ""), boltInbox("DIR/two.db", ""), with},
		"the option is added":           {"", boltInbox("DIR/two.db", ""), with},
		"the option is removed":         {boltInbox("DIR/one.db", ""), "", with},
		"option and word are removed":   {boltInbox("DIR/one.db", ""), "", without},
		"the former one is named again": {boltInbox("DIR/one.db", ""), boltInbox("DIR/two.db", ""), with},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startInbox(t, setup{global: c.before, site: with})
			var well atomic.Bool
			var taken atomic.Int64
			store := func(answer http.HandlerFunc) (id string, m message) {
				t.Helper()
				id, m = newCase(), at("/").message(t)
				g.app.answer(id, answer)
				wantStored(t, "a delivery", g.do(t, g.h1, g.request(t, id, m)))
				return id, m
			}
			reloaded := make(chan struct{})
			goOn := sync.OnceFunc(func() { close(reloaded) })
			t.Cleanup(goOn)
			id, m := store(newDesk().serve(func(n int, w http.ResponseWriter, _ *http.Request) {
				if c.site == without && n == 1 { // the default pause after one attempt is 5 s, after more too long
					<-reloaded
				} else if well.Load() {
					taken.Add(1)
					return
				}
				http.Error(w, "not now", http.StatusInternalServerError)
			}))
			store(newDesk().serve(func(n int, w http.ResponseWriter, _ *http.Request) { // 500, then 410, then it takes it
				status := map[int]int{1: 500, 2: 410}[n]
				if status == 0 {
					taken.Add(1)
					return
				}
				w.WriteHeader(status)
			}))
			dead := func() int {
				return int(g.metric(t, `caddy_verify_webhook_inbox_deliveries{name="github",state="dead"}`))
			}
			eventually(t, "a dead letter", func() bool { return dead() == 1 })
			finish, attempts := make(chan struct{}), newDesk()
			end := sync.OnceFunc(func() { close(finish) })
			t.Cleanup(end)
			store(attempts.serve(func(int, http.ResponseWriter, *http.Request) {
				<-finish
				taken.Add(1)
			}))
			g.setup.global = c.after
			g.refusesReload(t, c.site+"\nverify_webhook /other github {env.NOT_SET_ANYWHERE}")
			g.reload(t, c.site)
			g.wantLog(t, "an inbox that this configuration does not use holds deliveries", `"deliveries":3`)
			if strings.Contains(name, "again") {
				g.setup.global = c.before
				g.reload(t, c.site)
			}
			a := g.do(t, g.h1, g.request(t, id, m))
			wantStored(t, "a copy", a)
			wantDuplicate(t, "a copy", a)
			well.Store(true)
			goOn()
			eventually(t, "it is delivered", func() bool { return taken.Load() == 1 })
			end()
			eventually(t, "the attempt ends", func() bool { return taken.Load() == 2 })
			if n := dead(); n != 1 {
				t.Errorf("%d dead letters, want 1", n)
			}
			resp, err := http.Post("http://"+g.admin+"/verify_webhook/inbox/replay?name=github", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			eventually(t, "the dead letter is delivered", func() bool { return taken.Load() == 3 })
			if !strings.Contains(name, "again") {
				g.wantLog(t, "an inbox that is no longer configured is closed")
			}
			if n, _ := attempts.seen(); n != 1 {
				t.Errorf("%d attempts of what the app worked on, want 1", n)
			}
		})
	}
}

// TestInboxIsLeftByARestart: what a retained inbox holds when the process ends is in its
// file, and delivered once a configuration names that.
func TestInboxIsLeftByARestart(t *testing.T) {
	t.Parallel()
	site := inboxSite("inbox", "APP", "")
	g := startInbox(t, setup{site: site})
	id, m := newCase(), at("/").message(t)
	var well atomic.Bool
	var taken atomic.Int64
	g.failing(id, &well, &taken)
	wantStored(t, "while the app fails", g.do(t, g.h1, g.request(t, id, m)))
	g.setup.global = boltInbox("DIR/two.db", "")
	g.reload(t, site)
	g.quit(t)
	restart(t, g)
	g.wantLog(t, "the default inbox file holds deliveries", `"deliveries":1`)
	well.Store(true)
	g.setup.global = ""
	g.reload(t, site)
	eventually(t, "it is delivered", func() bool { return taken.Load() == 1 })
}

// TestInboxThatIsLeftInAnAttempt: the end of the process does not wait for an app for long,
// and says what the file still holds also then, once.
func TestInboxThatIsLeftInAnAttempt(t *testing.T) {
	t.Parallel()
	g := startInbox(t, setup{site: inboxSite("inbox", "APP", "upstream_timeout 1m")})
	id, release := newCase(), make(chan struct{})
	defer close(release)
	g.app.answer(id, func(http.ResponseWriter, *http.Request) { <-release })
	wantStored(t, "while the app works", g.do(t, g.h1, g.request(t, id, at("/").message(t))))
	g.quit(t)
	const closed = "the inbox is closed and holds deliveries"
	g.wantLog(t, closed, `"deliveries":1`)
	if n := strings.Count(g.log.String(), closed); n != 1 {
		t.Errorf("said %d times", n)
	}
}
