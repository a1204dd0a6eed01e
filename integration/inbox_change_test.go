package integration

import (
	"encoding/base64"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// inboxKey is an encryption key of 32 equal bytes.
func inboxKey(b string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(b, 32)))
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
