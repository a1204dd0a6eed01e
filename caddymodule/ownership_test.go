package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

// TestADefaultNameIsNotEnough: a stored delivery of another path or port goes to a handler
// without a name only if its keys verify it. Nothing else tells one that has moved from
// another customer's, whose own is gone.
func TestADefaultNameIsNotEnough(t *testing.T) {
	const ours, others = "a-long-secret-of-a-test", "another-customers-secret"
	delivered, waits, later := inbox.Result{Status: 502}, inbox.Result{Unreached: true}, inbox.Result{Later: notNowPause}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "acme"), []byte(ours), 0o600); err != nil {
		t.Fatal(err)
	}
	block := func(sender string) string {
		return "http://:1234 {\nverify_webhooks /hooks/* {\nsender " + sender + "\nother_app\n}\nrespond 404\n}"
	}
	alone := "http://:1234 {\nhandle /hooks/github {\nverify_webhook github " + ours + "\nother_app\n}\nhandle {\nrespond 404\n}\n}"
	named := block("github " + ours + " {\nname github\n}")
	stripped := "http://:1234 {\n@edge header X-Edge token\nroute @edge {\nrequest_header -X-Edge\n" + guarded + "}\nrespond 403\n}"
	tenants := block("github {\npath /hooks/github/*\ntenant {path.2}\nsecret {file." + dir + "/{tenant}}\n}")
	asked := block("github {\npath /hooks/github/*\ntenant {path.2}\nsecret from http http://127.0.0.1:1/{tenant}\n}")
	socket := strings.Replace(block("github "+ours), "{\n", "{\nbind unix//run/b.sock|0222\n", 1)
	on := func(host string) string { return strings.Replace(block("github "+ours), "http://", "http://"+host, 1) }
	for name, c := range map[string]struct {
		site, path, secret, local string
		tenant, place             string
		replayed                  bool
		want                      inbox.Result
	}{
		"the path has moved":              {site: block("github " + ours), path: "/old", secret: ours, want: delivered},
		"another's path":                  {site: block("github " + ours), path: "/old", secret: others, want: waits},
		"another's path in the block":     {site: block("github " + ours), path: "/hooks/old", secret: others, want: waits},
		"another's path, replayed":        {site: block("github " + ours), path: "/old", secret: others, replayed: true, want: delivered},
		"another's path, by name":         {site: named, path: "/old", secret: others, want: delivered},
		"another's path, now a sender's":  {site: block("github " + ours + "\nsender gitea " + others + "x"), path: "/hooks/gitea", secret: others, want: waits},
		"the directive's path has moved":  {site: alone, path: "/old", secret: ours, want: delivered},
		"another's path, a directive":     {site: alone, path: "/hooks/old", secret: others, want: waits},
		"the key has changed":             {site: block("github " + ours), path: "/hooks/github", secret: others, want: delivered},
		"a header is removed, other key":  {site: stripped, path: "/hooks/github", secret: others, want: delivered},
		"a header is removed, moved":      {site: stripped, path: "/hooks/old", secret: ours, want: delivered},
		"a header is removed, directive":  {site: strings.Replace(stripped, guarded, "handle /hooks/github {\n"+guardedAlone+"}\n", 1), path: "/hooks/github", secret: others, want: delivered},
		"and its path is another's":       {site: strings.Replace(stripped, guarded, "handle /hooks/github {\n"+guardedAlone+"}\n", 1), path: "/hooks/old", secret: others, want: waits},
		"a header is removed, other path": {site: stripped, path: "/hooks/old", secret: others, want: waits},
		"the port has moved":              {site: block("github " + ours), path: "/hooks/github", secret: ours, local: "127.0.0.1:9", want: delivered},
		"another's port":                  {site: block("github " + ours), path: "/hooks/github", secret: others, local: "127.0.0.1:9", want: waits},
		"the socket has moved":            {site: socket, path: "/hooks/github", secret: ours, local: "/run/a.sock", want: delivered},
		"another's socket":                {site: socket, path: "/hooks/github", secret: others, local: "/run/a.sock", want: waits},
		"the same socket, another key":    {site: socket, path: "/hooks/github", secret: others, local: "/run/b.sock", want: delivered},
		"another's port, now a socket":    {site: socket, path: "/hooks/github", secret: others, local: "127.0.0.1:9", want: waits},
		"another's port, by name":         {site: named, path: "/hooks/github", secret: others, local: "127.0.0.1:9", want: delivered},
		"the path of a tenant has moved":  {site: tenants, path: "/old/acme", secret: ours, tenant: "acme", want: delivered},
		"another's tenant":                {site: tenants, path: "/old/acme", secret: others, tenant: "acme", want: waits},
		"another's tenant, unknown here":  {site: tenants, path: "/old/bravo", secret: ours, tenant: "bravo", want: waits},
		"the keys are not known now":      {site: asked, path: "/old/acme", secret: ours, tenant: "acme", want: later},
		"a name for it":                   {site: named, path: "/hooks/github", secret: ours, place: "at *", want: delivered},
		"named like another":              {site: named, path: "/hooks/github", secret: others, place: "at *", want: waits},
		"named like another, replayed":    {site: named, path: "/hooks/github", secret: others, place: "at *", replayed: true, want: delivered},
		"named, with another key":         {site: named, path: "/hooks/github", secret: others, place: "named", want: delivered},
		"named, moved, with another key":  {site: named, path: "/old", secret: others, place: "named", local: "127.0.0.1:9", want: delivered},
		"its name is gone":                {site: block("github " + ours), path: "/hooks/github", secret: ours, place: "named", want: delivered},
		"the name was another's":          {site: block("github " + ours), path: "/hooks/github", secret: others, place: "named", want: waits},
		"one host, another key":           {site: on("example.com"), path: "/hooks/github", secret: others, place: "at example.com", want: delivered},
		"one pattern, another key":        {site: on("*.com"), path: "/hooks/github", secret: others, place: "at *.com", want: delivered},
		"any host, another key":           {site: block("github " + ours), path: "/hooks/github", secret: others, place: "at *", want: delivered},
		"now for its host alone":          {site: on("example.com"), path: "/hooks/github", secret: ours, place: "at *.com", want: delivered},
		"another's host":                  {site: on("example.com"), path: "/hooks/github", secret: others, place: "at *.com", want: waits},
		"another's pattern":               {site: on("*.com"), path: "/hooks/github", secret: others, place: "at *", want: waits},
		"now for any host":                {site: block("github " + ours), path: "/hooks/github", secret: others, place: "at *.com", want: waits},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := adapt("Caddyfile", "{\nadmin off\n}\n"+c.site)
			if err != nil {
				t.Fatal(err)
			}
			server, app := serverAndApp(t, config)
			request := func(path, secret string) *http.Request {
				r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
				r.Header.Set("X-GitHub-Delivery", path)
				r.Header.Set("X-Hub-Signature-256", "sha256="+sign(secret, body))
				return r
			}
			first := request("/hooks/github", ours)
			if c.tenant != "" {
				first = request("/hooks/github/acme", ours)
			}
			first.Header.Set("X-Edge", "token")
			server.ServeHTTP(httptest.NewRecorder(), first) // shows what follows the handler
			otherAppGot = nil
			d := attempt.Record(request(c.path, c.secret), http.MethodPost, c.path, []byte(body))
			d.Key, d.Queue, d.Provider, d.Received = inbox.Key(theKey), inbox.Queue{Handler: "github", Tenant: c.tenant}, "github", time.Now()
			d.Place = c.place
			if d.Local = c.local; d.Local == "" {
				d.Local = "127.0.0.1:1234"
			}
			got := app.handBack(t.Context(), &inbox.Attempt{Delivery: &d, Entry: inbox.Entry{Queue: d.Queue, Replayed: c.replayed}})
			if n := len(otherAppGot); got != c.want || (n == 1) != (c.want == delivered) || n > 1 {
				t.Errorf("the inbox is told %+v, want %+v; the app got it %d times", got, c.want, n)
			}
		})
	}
}

// TestWhatIsStoredHasThePlaceOfItsHandler, which tells it from another of the name.
func TestWhatIsStoredHasThePlaceOfItsHandler(t *testing.T) {
	for option, want := range map[string]string{`,"name":"github"`: "named", "": "unnamed"} { // without routes
		t.Run(want, func(t *testing.T) {
			g := mustProvision(t, "", `{"provider":"github","inbox":{},"secret":["a-long-secret-of-a-test"]`+option+`}`)
			g.app.inbox.Module = &memoryInbox{inboxtest.NewMemory(time.Now, 0)}
			g.run(t)
			r := httptest.NewRequest(http.MethodPost, "/hooks/github", strings.NewReader(body))
			r.Header.Set("X-Hub-Signature-256", "sha256="+sign("a-long-secret-of-a-test", body))
			g.send(r, answering(503))
			list, err := g.box().Engine().List(t.Context(), inbox.Selection{}, 0, 2)
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			if d, _, err := g.box().Engine().Get(t.Context(), list[0].Key); err != nil || d.Place != want {
				t.Errorf("stored with %+v, %v, want the place %s", d, err, want)
			}
		})
	}
}

// TestKeysVerifyAsOfReceipt: the time that a sender signs is stale when a delivery waits.
func TestKeysVerifyAsOfReceipt(t *testing.T) {
	const secret = "whsec_a-long-secret-of-a-test"
	config, err := adapt("Caddyfile", "{\nadmin off\n}\nhttp://:1234 {\nverify_webhook /hooks/stripe stripe "+secret+"\nother_app\n}")
	if err != nil {
		t.Fatal(err)
	}
	_, app := serverAndApp(t, config)
	at := time.Now().Add(-48 * time.Hour)
	d := inbox.Delivery{Method: http.MethodPost, Target: "http://example.com/old", Host: "example.com", Body: []byte(body), Received: at.Add(time.Second),
		Header: http.Header{"Content-Type": {"application/json"}, "Stripe-Signature": {fmt.Sprintf("t=%d,v1=%s", at.Unix(), sign(secret, fmt.Sprintf("%d.%s", at.Unix(), body)))}}}
	for stale, want := range map[time.Duration]bool{0: true, time.Hour: false} {
		d.Received = at.Add(time.Second + stale)
		if yes, err := app.named("stripe")[0].verifies(t.Context(), &d); yes != want || err != nil {
			t.Errorf("%s after it was signed: %t, %v", stale, yes, err)
		}
	}
}

// TestNewKeysAskAgain: what no key of a handler verified is due again once a key file has
// changed.
func TestNewKeysAskAgain(t *testing.T) {
	for name, more := range map[string]string{"github": "", "acme": `,"name":"acme"`} {
		t.Run(name, func(t *testing.T) {
			key := filepath.Join(t.TempDir(), "key")
			write := func(secret string) {
				if err := os.WriteFile(key, []byte(secret), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("a-long-secret-of-a-test")
			e := inboxtest.NewMemory(time.Now, 0)
			g := mustProvision(t, "", `{"provider":"github","inbox":{},"secret":["{file.`+filepath.ToSlash(key)+`}"]`+more+`}`)
			g.app.inbox.Module = &memoryInbox{e}
			g.run(t)
			g.box().Pause(name) // nothing is attempted
			got, err := g.box().Accept(t.Context(), &inbox.Delivery{Key: inbox.Key(theKey), Queue: inbox.Queue{Handler: name}, Received: time.Now()}, true)
			if err != nil {
				t.Fatal(err)
			}
			g.box().Finish(got.Attempt, inbox.Result{Unreached: true})
			due := func() bool {
				t.Helper()
				queues, err := e.Queues(t.Context())
				if err != nil || len(queues) != 1 {
					t.Fatal(queues, err)
				}
				return !queues[0].Due.IsZero()
			}
			refresh := func() {
				t.Helper()
				for range 2 { // a change counts after two equal reads
					if err := g.handlers[0].keys.Refresh(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if refresh(); due() {
				t.Fatal("it is due without a new key")
			}
			write("another-long-secret-of-a-test")
			if refresh(); !due() {
				t.Error("it is not due with a new key")
			}
		})
	}
}
