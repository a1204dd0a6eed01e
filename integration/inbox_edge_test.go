package integration

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// boltInbox is the global option for a file, with further lines.
func boltInbox(path, more string) string {
	return "verify_webhook {\ninbox bolt {\npath " + path + "\n" + more + "\n}\n}"
}

// patientInbox is for tests in which the app answers in time, however busy the machine.
const patientInbox = "inbox {\nafter 1m\n}\n"

// attempts waits until the app has got n requests of a case, and returns them.
func (g *gateway) attempts(t testing.TB, id string, n int) []arrival {
	t.Helper()
	eventually(t, "the attempts", func() bool { return len(g.app.got(id)) >= n })
	return g.app.got(id)
}

// TestInboxAttempt: what a stored delivery is when it reaches the app again.
func TestInboxAttempt(t *testing.T) {
	t.Parallel()
	g := startInbox(t, setup{env: []string{"UPSTREAM_KEY=" + upstreamKey}, site: `log {
		output discard
	}
	verify_webhook github {env.GITHUB_KEY} {
		sign_upstream {env.UPSTREAM_KEY}
		inbox {
			after 150ms
			retry 1300ms # less a fifth: still in another second
		}
	}
	rewrite * /in{uri}
	reverse_proxy APP {
		header_up X-Local {http.request.local.host}
	}
	handle_errors {
		respond 200
	}`})
	id, m := newCase(), at("/hooks").message(t)
	g.app.answer(id, newDesk().serve(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 { // dies in its answer
			w.Header().Set("Content-Length", "100")
			w.Header().Set("X-App", "died")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	a := g.do(t, g.h1, g.request(t, id, m))
	wantStored(t, "the app dies in its answer", a)
	if a.header.Get("X-App") != "" {
		t.Errorf("a header of the app's answer reaches the sender: %v", a.header)
	}
	got := g.attempts(t, id, 2)
	for i, r := range got {
		if !bytes.Equal(r.Body, m.body) || r.Header.Get("X-Local") != "127.0.0.1" || !strings.HasPrefix(r.Target, "/in/hooks") {
			t.Errorf("attempt %d: %s, local %q, %d bytes", i+1, r.Target, r.Header.Get("X-Local"), len(r.Body))
		}
		if !standardCheck(t, upstreamKey, r.Header, r.Body) {
			t.Errorf("attempt %d: the gateway's signature is wrong: %v", i+1, r.Header)
		}
	}
	first, second := got[0].Header, got[1].Header
	if first.Get("Webhook-Id") != second.Get("Webhook-Id") || first.Get("Webhook-Timestamp") == second.Get("Webhook-Timestamp") {
		t.Errorf("signed at %s and %s, as %s and %s; want two times and one id",
			first.Get("Webhook-Timestamp"), second.Get("Webhook-Timestamp"), first.Get("Webhook-Id"), second.Get("Webhook-Id"))
	}
	if first.Get("Webhook-Attempt") != "" || second.Get("Webhook-Attempt") != "2" || second.Get("Webhook-Received") == "" {
		t.Errorf("marks of the attempts: %v and %v", first, second)
	}
}

// TestInboxAndHandleErrors: an error page that answers 200 for an app that is down is
// not the app's answer.
func TestInboxAndHandleErrors(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"inbox", "inbox first"} {
		b := newBrittleApp(t)
		b.well.Store(true)
		b.close()
		g := startInbox(t, setup{site: inboxSite(mode, b.address, "") + "\nhandle_errors {\nrespond 200\n}"})
		m := at("/").message(t)
		m.header.Set("X-Github-Delivery", "one")
		wantStored(t, mode, g.once(t, m))
		g.log.await(t, "an attempt fails", func(l logLine) bool { return strings.Contains(l.raw, "connection refused") })
		b.open(t)
		eventually(t, "it is delivered", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return len(b.entry("one").takes) == 1
		})
	}
}

// TestInboxAnswersInTime: over HTTP/1.1, HTTP/2 and HTTP/3 with TLS, the sender gets the
// whole answer while the app works on; and the app's 2xx counts.
func TestInboxAnswersInTime(t *testing.T) {
	t.Parallel()
	const whole = `{
	admin ADMIN
	skip_install_trust
	persist_config off
	log default {
		output stderr
		format json
	}
}
https://localhost:PORT {
	bind 127.0.0.1
	tls internal
	verify_webhook github {env.GITHUB_KEY} {
		inbox {
			after 150ms
		}
	}
	reverse_proxy APP
}
`
	g := startInbox(t, setup{whole: whole})
	_, port, _ := strings.Cut(g.address, ":")
	eventually(t, "it has a certificate", func() bool {
		c, err := tls.Dial("tcp", g.address, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	trust := func() *tls.Config { // each transport adds its protocols to its own
		return &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}
	}
	overQUIC := &http3.Transport{TLSClientConfig: trust()}
	defer overQUIC.Close()
	for proto, transport := range map[string]http.RoundTripper{
		"HTTP/1.1": &http.Transport{TLSClientConfig: trust()},
		"HTTP/2.0": &http.Transport{TLSClientConfig: trust(), ForceAttemptHTTP2: true},
		"HTTP/3.0": overQUIC,
	} {
		client := &http.Client{Timeout: patience, Transport: transport}
		defer client.CloseIdleConnections()
		id, m, d, finish := newCase(), at("/").message(t), newDesk(), make(chan struct{})
		g.app.answer(id, d.serve(func(_ int, _ http.ResponseWriter, _ *http.Request) { g.app.until(finish) }))
		send := func() answer {
			r := g.request(t, id, m)
			r.URL.Scheme, r.URL.Host = "https", "127.0.0.1:"+port
			r.Host = "localhost:" + port
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Proto != proto {
				t.Errorf("spoke %s, want %s", resp.Proto, proto)
			}
			return read(t, resp)
		}
		wantStored(t, proto, send())
		wantDuplicate(t, proto+", a copy while the app works", send())
		close(finish)
		eventually(t, "the app has answered", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.working == 0 })
		wantDuplicate(t, proto+", a copy afterwards", send())
		if n, _ := d.seen(); n != 1 {
			t.Errorf("%s: the app was called %d times, want once", proto, n)
		}
	}
	g.quit(t)
	if left := stored(t, g.inboxFile()); len(left) != 0 {
		t.Errorf("left in the inbox: %+v", left)
	}
}

// TestInboxAtTheEnd: an attempt that outlasts its sender ends before the process does,
// so that the app is not asked again.
func TestInboxAtTheEnd(t *testing.T) {
	t.Parallel()
	g := startInbox(t, setup{site: inboxSite("inbox", "APP", "")})
	id, m, d, finish := newCase(), at("/").message(t), newDesk(), make(chan struct{})
	g.app.answer(id, d.serve(func(_ int, _ http.ResponseWriter, _ *http.Request) { g.app.until(finish) }))
	wantStored(t, "a slow app", g.do(t, g.h1, g.request(t, id, m)))
	if err := g.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Skip("this system has no signal for it")
	}
	g.log.await(t, "the end begins", saying("shutting down"))
	close(finish)
	next(t, "the process", (<-chan struct{})(g.exited))
	if left := stored(t, g.inboxFile()); len(left) != 0 {
		t.Errorf("left in the inbox: %+v", left)
	}
}

// TestInboxStoresNothingElse: a handshake, what is not genuine, and what the app
// refuses for what it is.
func TestInboxStoresNothingElse(t *testing.T) {
	t.Parallel()
	g := startInbox(t, setup{site: "verify_webhook /slack slack {env.SLACK_KEY} {\ninbox\n}\n" +
		"verify_webhook /observe github {env.GITHUB_KEY} {\nobserve\n" + patientInbox + "}\nreverse_proxy APP"})
	greeting := `{"type":"url_verification","token":"x","challenge":"ch-1"}`
	a, err := g.post(t.Context(), g.h1, newCase(), message{path: "/slack", header: signedAsSlack(slackKey, "X-Slack", "X-Slack", greeting), body: []byte(greeting)})
	if err != nil || a.header.Get("Webhook-Stored") != "" {
		t.Errorf("a handshake: %v, %v", a, err)
	}
	for status, forged := range map[int]bool{http.StatusInternalServerError: true, http.StatusUnprocessableEntity: false} {
		id, m := newCase(), at("/observe").message(t)
		if forged {
			m.body = append(bytes.Clone(m.body), ' ')
		}
		g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if a := g.do(t, g.h1, g.request(t, id, m)); a.status != status || a.header.Get("Webhook-Stored") != "" {
			t.Errorf("forged %t: answered %d %v, want the app's %d", forged, a.status, a.header, status)
		}
	}
	g.quit(t)
	if left := stored(t, g.inboxFile()); len(left) != 0 {
		t.Errorf("in the inbox: %+v", left)
	}
}

// TestInboxEncrypted: bodies are not readable in the file; without the key they wait.
func TestInboxEncrypted(t *testing.T) {
	t.Parallel()
	const one, two = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed", "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"
	confide(one, two)
	site := inboxSite("inbox", "APP", "")
	g := startInbox(t, setup{global: boltInbox("DIR/inbox.db", "encrypt {env.INBOX_KEY}"), site: site, env: []string{"INBOX_KEY=" + one}})
	path := filepath.Join(g.dir, "inbox.db")
	id, m, well := newCase(), at("/").message(t), make(chan struct{})
	answer := func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-well:
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	g.app.answer(id, answer)
	wantStored(t, "the first", g.do(t, g.h1, g.request(t, id, m)))
	g.quit(t)
	if !strings.Contains(g.log.String(), "the next start needs the same file") {
		t.Errorf("the end does not say that a delivery stays:\n%s", g.log)
	}
	text, err := os.ReadFile(path)
	if err != nil || bytes.Contains(text, []byte(bodyMark)) {
		t.Errorf("the file: %v, has the body: %t", err, bytes.Contains(text, []byte(bodyMark)))
	}
	g.setup.env = []string{"INBOX_KEY=" + two}
	restart(t, g)
	g.awaitInbox(t)
	other := newCase()
	g.app.answer(other, answer)
	before := len(g.app.got(id))
	wantStored(t, "with another key", g.do(t, g.h1, g.request(t, other, at("/").message(t))))
	close(well)
	g.attempts(t, other, 2)
	if len(g.app.got(id)) != before {
		t.Error("an attempt was made without the key")
	}
	g.quit(t)
	g.setup.env = []string{"INBOX_KEY=" + one}
	restart(t, g)
	got := g.attempts(t, id, before+1)
	if !bytes.Equal(got[before].Body, m.body) {
		t.Error("with its key back, the body differs")
	}
}

// TestInboxUnusable: whatever is wrong with the file, the start goes on, deliveries go
// to the app as without an inbox, and the log says so.
func TestInboxUnusable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged.db")
	if err := os.WriteFile(damaged, []byte(strings.Repeat("somebody's notes\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	first := startInbox(t, setup{global: boltInbox("DIR/inbox.db", ""), site: inboxSite("inbox", "APP", "")})
	paths := map[string]string{
		"a directory":     dir,
		"another file":    damaged,
		"another process": filepath.Join(first.dir, "inbox.db"),
	}
	if os.Getuid() == 0 { // to whom modes mean nothing
		paths["read-only"] = "/proc/self/inbox.db"
	}
	for what, path := range paths {
		{
			g := first.beside(t, setup{global: boltInbox(filepath.ToSlash(path), ""), site: inboxSite("inbox", "APP", "")})
			g.wantLog(t, `"level":"error"`, "the inbox does not store deliveries")
			id, m := newCase(), at("/").message(t)
			failsOnce(g, id)
			if a := g.do(t, g.h1, g.request(t, id, m)); a.status != http.StatusInternalServerError || a.header.Get("Webhook-Stored") != "" {
				t.Errorf("%s, while the app fails: %d %v, want its 500", what, a.status, a.header)
			}
			g.wantLog(t, "not stored in the inbox", "unavailable")
			if a := g.do(t, g.h1, g.request(t, id, m)); a.status != http.StatusOK || a.header.Get("Webhook-Duplicate") != "" {
				t.Errorf("%s, when it works: %d %v", what, a.status, a.header)
			}
		}
	}
	if text, err := os.ReadFile(damaged); err != nil || !strings.HasPrefix(string(text), "somebody's notes") {
		t.Errorf("the other file was changed: %v", err)
	}
}

// TestInboxFull: what does not fit goes to the app as without an inbox; what is stored
// is delivered, once, also after a restart.
func TestInboxFull(t *testing.T) {
	t.Parallel()
	b := newBrittleApp(t)
	b.well.Store(true)
	b.close()
	g := startInbox(t, setup{global: boltInbox("DIR/inbox.db", "max_size 1MiB"), site: inboxSite("inbox", b.address, "")})
	var kept, refused []message
	for len(refused) < 5 {
		m := signedBy(t, github, "/", []byte(newID()+bodyMark+strings.Repeat("x", 64<<10)))
		m.header.Set("X-Github-Delivery", newID())
		switch a := g.once(t, m); a.status {
		case http.StatusOK:
			kept = append(kept, m)
		case http.StatusBadGateway:
			refused = append(refused, m)
		default:
			t.Fatalf("answered %d", a.status)
		}
	}
	if len(kept) < 8 {
		t.Errorf("%d deliveries fill the inbox", len(kept))
	}
	g.wantLog(t, "not stored in the inbox", "full")
	g.quit(t)
	restart(t, g)
	b.open(t)
	taken := func(m message) int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.entry(m.header.Get("X-Github-Delivery")).takes)
	}
	for _, m := range refused {
		eventually(t, "the sender's retry is accepted", func() bool { return g.once(t, m).status == http.StatusOK })
	}
	for _, m := range append(kept, refused...) {
		eventually(t, "everything is taken", func() bool { return taken(m) > 0 })
	}
	g.quit(t)
	if left := stored(t, filepath.Join(g.dir, "inbox.db")); len(left) != 0 {
		t.Errorf("left in the inbox: %d", len(left))
	}
	for _, m := range append(kept, refused...) {
		if n := taken(m); n != 1 {
			t.Errorf("taken %d times", n)
		}
	}
	t.Logf("%d stored, then %d refused; each taken once", len(kept), len(refused))
}

// TestInboxesOfTwoGateways share a Redis: a copy at the other gateway is a duplicate,
// and nothing is delivered twice.
func TestInboxesOfTwoGateways(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	one := startInbox(t, setup{global: redisStore(s.Addr, ""), site: inboxSite("inbox", "APP", "")})
	two := one.beside(t, setup{global: redisStore(s.Addr, ""), site: inboxSite("inbox", "APP", "")})
	two.awaitInbox(t)
	for range 5 {
		id, m := newCase(), at("/").message(t)
		failsOnce(one, id)
		wantStored(t, "at one gateway", one.do(t, one.h1, one.request(t, id, m)))
		wantDuplicate(t, "at the other", two.do(t, two.h1, two.request(t, id, m)))
		one.attempts(t, id, 2)
		wantDuplicate(t, "at the other, afterwards", two.do(t, two.h1, two.request(t, id, m)))
		if n := len(one.app.got(id)); n != 2 {
			t.Errorf("%d attempts, want 2", n)
		}
	}
	for _, g := range []*gateway{one, two} {
		g.quit(t)
		if left := stored(t, g.inboxFile()); len(left) != 0 {
			t.Errorf("left in the inbox: %+v", left)
		}
	}
}

// TestInboxAndAccessLog: what handlers below set is seen above, where the app answers
// in time.
func TestInboxAndAccessLog(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "log\nroute {\nlog_append above {vars.below}\n" +
		"verify_webhook github {env.GITHUB_KEY} {\n" + patientInbox + "}\n" +
		"vars below set-below\nreverse_proxy APP\n}"})
	if a := g.once(t, at("/").message(t)); a.status != http.StatusOK {
		t.Fatalf("answered %d", a.status)
	}
	line := g.log.await(t, "the access log", saying("handled request"))
	for _, want := range []string{`"above":"set-below"`, `"outcome":"delivered"`} {
		if !strings.Contains(line.raw, want) {
			t.Errorf("the access log has no %s", want)
		}
	}
}

// TestInboxAnswersAmongOtherHandlers: the answer that overtakes the app over HTTP/1
// passes by the handlers around it, and the access log says what the sender got.
func TestInboxAnswersAmongOtherHandlers(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "log\nencode gzip\nheader >X-Deferred {header.X-Github-Delivery}\nintercept {\nhandle_response {\nrespond {rp.status_code}\n}\n}\n" +
		"route {\nverify_webhook github {env.GITHUB_KEY} {\n" + inboxOption("inbox") + "}\n" +
		"request_header X-Github-Delivery again\nlog_append below {http.request.header.X-Github-Delivery}\nreverse_proxy APP\n}"})
	id, m, d, finish := newCase(), at("/").message(t), newDesk(), make(chan struct{})
	g.app.answer(id, d.serve(func(_ int, _ http.ResponseWriter, _ *http.Request) { g.app.until(finish) }))
	a := g.do(t, g.h1, g.request(t, id, m))
	wantStored(t, "while the app works", a)
	close(finish)
	line := g.log.await(t, "the access log", saying("handled request"))
	for _, want := range []string{`"status":200`, `"outcome":"stored"`, `"reason":"late"`, `"below":"again"`} {
		if !strings.Contains(line.raw, want) {
			t.Errorf("the access log has no %s: %s", want, line.raw)
		}
	}
}
