package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// refusesReload loads a site that must not come into force.
func (g *gateway) refusesReload(t testing.TB, site string) {
	t.Helper()
	if err := g.write(site); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(g.caddyfile())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+g.admin+"/load", "text/caddyfile", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, _ = io.Copy(io.Discard, resp.Body); resp.StatusCode == http.StatusOK {
		t.Fatal("the reload was accepted")
	}
	g.redial(t)
}

// TestInboxReloads changes the configuration under load, in front of an app that fails
// and hangs. Nothing is lost, and nothing is taken twice.
func TestInboxReloads(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"inbox", "inbox first"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBrittleApp(t)
			site := func(n int) string {
				return fmt.Sprintf("header X-Generation %d\n", n) + inboxSite(mode, b.address, "upstream_timeout 5s")
			}
			g := start(t, setup{level: "INFO", site: site(0)})
			stop, progress := make(chan struct{}), make(chan struct{}, 1)
			var senders sync.WaitGroup
			for i := range 4 {
				senders.Go(func() { b.sender(t.Context(), t, g, i, stop, progress) })
			}
			for n := range 22 {
				for range 3 {
					next(t, "an acknowledgement", progress)
				}
				if n%10 == 5 {
					g.refusesReload(t, site(n)+"\nverify_webhook /other github {env.NOT_SET_ANYWHERE}")
				} else {
					g.reload(t, site(n))
				}
			}
			close(stop)
			senders.Wait()
			b.well.Store(true)
			eventually(t, "everything is taken", func() bool { return len(b.owed()) == 0 })
			g.settled(t)
			b.check(t)
			g.quit(t)
			if left := stored(t, g.inboxFile()); len(left) != 0 {
				t.Errorf("%d are left in the inbox: %+v", len(left), left[0])
			}
		})
	}
}

// wantStored fails unless the gateway has the delivery.
func wantStored(t testing.TB, what string, a answer) {
	t.Helper()
	if a.status != http.StatusOK || a.body != "" || a.header.Get("Webhook-Stored") != "true" {
		t.Errorf("%s: answered %d %q, Webhook-Stored %q; want 200, empty, true", what, a.status, a.body, a.header.Get("Webhook-Stored"))
	}
}

// TestInboxFollowsItsHandler: a stored delivery waits while no route leads to the
// handler of its name, and is delivered as soon as one does, with an inbox or without.
func TestInboxFollowsItsHandler(t *testing.T) {
	t.Parallel()
	route := func(path, option string) string {
		return "handle " + path + " {\nverify_webhook github {env.GITHUB_KEY} {\nname shop\n" + option + "}\nreverse_proxy APP\n}\n" +
			"handle {\nrespond 404\n}"
	}
	before := route("/a", inboxOption("inbox"))
	for name, c := range map[string]struct {
		sites []string // in none of which it is delivered but in the last
	}{
		"the handler is removed and comes back":    {sites: []string{"respond 404", before}},
		"all handlers but another one are removed": {sites: []string{strings.Replace(route("/c", ""), "shop", "other", 1), before}},
		"its path changes and changes back":        {sites: []string{route("/b", inboxOption("inbox")), before}},
		"another handler has its path": {sites: []string{
			"verify_webhook github {env.GITHUB_KEY} {\nname other\n" + inboxOption("inbox") + "}\nreverse_proxy APP\n", before}},
		"the inbox is removed": {sites: []string{route("/a", "")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startInbox(t, setup{site: before})
			id, m, d := newCase(), at("/a").message(t), newDesk()
			down := make(chan struct{})
			var taken atomic.Int64
			g.app.answer(id, d.serve(func(_ int, w http.ResponseWriter, _ *http.Request) {
				select {
				case <-down:
					taken.Add(1)
				default:
					http.Error(w, "not now", http.StatusInternalServerError)
				}
			}))
			wantStored(t, "while the app fails", g.do(t, g.h1, g.request(t, id, m)))
			next(t, "the first attempt", d.arrived)
			for _, site := range c.sites[:len(c.sites)-1] {
				g.reload(t, site)
				switch {
				case site == "respond 404": // nothing of ours is configured
				case strings.Contains(site, "name shop"):
					g.wantLog(t, "did not reach its handler", `"name":"shop"`)
				default:
					g.wantLog(t, "the configuration has no handler of their name", `"handler":"shop"`)
				}
			}
			close(down)
			if strings.HasPrefix(c.sites[0], "handle /b") { // another request of the same delivery
				if a := g.do(t, g.h1, g.request(t, id, m.to("", "/b"))); a.status != http.StatusOK || taken.Load() != 1 {
					t.Errorf("a copy at the new path: answered %d, taken %d times; want the app's 200", a.status, taken.Load())
				}
			}
			g.reload(t, c.sites[len(c.sites)-1])
			eventually(t, "it is delivered", func() bool { return taken.Load() > 0 })
			g.quit(t)
			if left := stored(t, g.inboxFile()); len(left) != 0 {
				t.Errorf("left in the inbox: %+v", left)
			}
			if n := taken.Load(); n != 1 {
				t.Errorf("%d attempts after the app came back, want 1", n)
			}
		})
	}
}

// TestInboxOfTwoHosts: two hosts share a handler's name, as they do when they import one
// snippet. A delivery goes back to the host that it was sent to.
func TestInboxOfTwoHosts(t *testing.T) {
	t.Parallel()
	site := ""
	for _, host := range []string{"one", "two"} {
		site += "@" + host + " host " + host + ".test\nhandle @" + host + " {\nverify_webhook github {env.GITHUB_KEY} {\nname shop\n" + inboxOption("inbox") + "}\n" +
			"reverse_proxy APP {\nheader_up X-Site " + host + "\n}\n}\n"
	}
	g := startInbox(t, setup{site: site})
	for _, host := range []string{"one", "two"} {
		id, m := newCase(), at("/").message(t).to(host+".test", "")
		failsOnce(g, id)
		a, err := g.post(t.Context(), g.h1, id, m)
		if err != nil {
			t.Fatal(err)
		}
		wantStored(t, host, a)
		eventually(t, "the second attempt", func() bool { return len(g.app.got(id)) == 2 })
		if got := g.app.got(id)[1].Header.Get("X-Site"); got != host {
			t.Errorf("the delivery to %s goes to %s", host, got)
		}
	}
}

// failsOnce lets the app answer 500 to the first attempt at a case, and accept the next.
func failsOnce(g *gateway, id string) {
	g.app.answer(id, newDesk().serve(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.Header().Set("X-App", "failed")
			http.Error(w, "the app's own page", http.StatusInternalServerError)
		}
	}))
}

// TestInboxReachesItsHandler: handlers above may remove or replace what their routes
// decide by, and add to what the app gets. Retries reach the handler all the same, and
// the app gets what it got the first time.
func TestInboxReachesItsHandler(t *testing.T) {
	t.Parallel()
	verified := "verify_webhook github {env.GITHUB_KEY} {\nname shop\n" + inboxOption("inbox") + "}\nreverse_proxy APP\n"
	group := "@hooks path /*\nhandle @hooks {\n" + strings.TrimSuffix(verified, "reverse_proxy APP\n") + "}\nhandle {\nrespond 404\n}\nreverse_proxy APP\n"
	for name, site := range map[string]string{
		"a token is checked and removed":             "@edge header X-Edge token\nroute @edge {\nrequest_header -X-Edge\n" + verified + "}\nrespond 403",
		"a token is checked and removed, in a group": "@edge header X-Edge token\nroute @edge {\nrequest_header -X-Edge\n" + group + "}\nrespond 403",
		"a token is removed, and the path rewritten": "@edge header X-Edge token\nroute @edge {\nrequest_header -X-Edge\nrewrite * /rewritten\n" + verified + "}\nrespond 403",
		"the host is replaced":                       "@here not host app.internal\nroute @here {\nrequest_header Host app.internal\n" + verified + "}\nrespond 403",
		"a header is added":                          "route {\nrequest_header +X-Env prod\n" + verified + "}",
		"a header is rewritten":                      "route {\nrequest_header X-Edge ^ \"Bearer \"\n" + verified + "}",
		"nothing":                                    "route {\n" + verified + "}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startInbox(t, setup{site: site})
			id, m := newCase(), at("/").message(t)
			m.header.Set("X-Edge", "token")
			failsOnce(g, id)
			wantStored(t, "while the app fails", g.do(t, g.h1, g.request(t, id, m)))
			eventually(t, "the second attempt", func() bool { return len(g.app.got(id)) == 2 })
			first, second := g.app.got(id)[0], g.app.got(id)[1]
			for _, header := range []string{"X-Edge", "X-Env", "X-Hub-Signature-256", "Webhook-Verified"} {
				if !slices.Equal(first.Header[header], second.Header[header]) {
					t.Errorf("%s: %q, then %q", header, first.Header[header], second.Header[header])
				}
			}
			if first.Method != second.Method || first.Target != second.Target || first.Host != second.Host {
				t.Errorf("%s %s of %s, then %s %s of %s", first.Method, first.Target, first.Host, second.Method, second.Target, second.Host)
			}
		})
	}
}

// TestInboxStaysAtItsAddress: after a reload that adds a site with a handler of the same
// name on another port, whatever Caddy calls its server now, a stored delivery goes to
// the app through the site that received it.
func TestInboxStaysAtItsAddress(t *testing.T) {
	t.Parallel()
	g := startInbox(t, setup{site: "verify_webhook github {env.GITHUB_KEY} {\nname shop\n" + inboxOption("inbox") + "}\nreverse_proxy APP\n"})
	id, m, d := newCase(), at("/").message(t), newDesk()
	well := make(chan struct{})
	g.app.answer(id, d.serve(func(_ int, w http.ResponseWriter, _ *http.Request) {
		select {
		case <-well:
		default:
			http.Error(w, "not now", http.StatusInternalServerError)
		}
	}))
	wantStored(t, "while the app fails", g.do(t, g.h1, g.request(t, id, m)))
	address := freeAddress()
	for address > g.address { // the first server in Caddy's order
		address = freeAddress()
	}
	g.reload(t, g.setup.site+"}\nhttp://"+address+" {\nbind 127.0.0.1\nverify_webhook github "+"other-key-77c1d9"+" {\nname shop\n"+inboxOption("inbox")+"}\nreverse_proxy APP {\nheader_up X-Site other\n}\n")
	close(well)
	g.settled(t)
	if n, _ := d.seen(); n < 2 {
		t.Errorf("its app got %d attempts, and the inbox owes nothing", n)
	}
	for _, got := range g.app.got(id) {
		if got.Header.Get("X-Site") != "" {
			t.Error("it was delivered through the other site")
		}
	}
}

// TestInboxStaysAtItsHost: a handler of the same name at another host, or for another
// sender, does not get a delivery whose own handler is gone from the configuration, not
// even once its route is known.
func TestInboxStaysAtItsHost(t *testing.T) {
	t.Parallel()
	own, other := newApp(), newApp()
	defer own.Close()
	defer other.Close()
	at1 := func(host string, app *app) string {
		return "@" + host + " host " + host + ".test\nhandle @" + host + " {\nverify_webhook github {env.GITHUB_KEY} {\nname shop\n" + inboxOption("inbox") + "}\nreverse_proxy " + app.address + "\n}\n"
	}
	for name, rest := range map[string]string{
		"another host":   at1("staging", other),
		"another sender": strings.Replace(at1("prod", other), "github", "gitea", 1),
		"any host":       "verify_webhook github {env.GITHUB_KEY} {\nname shop\n" + inboxOption("inbox") + "}\nreverse_proxy " + other.address + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			g := startInbox(t, setup{site: at1("prod", own)})
			id, m := newCase(), at("/").message(t).to("prod.test", "")
			down := newDesk()
			own.answer(id, down.serve(func(n int, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					http.Error(w, "not now", http.StatusInternalServerError)
				}
			}))
			stored, err := g.post(t.Context(), g.h1, id, m)
			if err != nil {
				t.Fatal(err)
			}
			wantStored(t, "while the app fails", stored)
			g.reload(t, rest)
			g.wantLog(t, "did not reach its handler", `"name":"shop"`)
			for _, host := range []string{"staging.test", "prod.test"} { // the handler gets a request
				if _, err := g.post(t.Context(), g.h1, newCase(), at("/").message(t).to(host, "")); err != nil {
					t.Fatal(err)
				}
			}
			g.reload(t, at1("prod", own))
			eventually(t, "it is delivered", func() bool { n, _ := down.seen(); return n > 1 })
			if got := other.got(id); len(got) > 0 {
				t.Errorf("another site's app got it %d times", len(got))
			}
		})
	}
}
