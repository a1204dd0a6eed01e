package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// boxed is a gateway of post's handler with an inbox at a path.
func boxed(t *testing.T, path, option string) *gateway {
	t.Helper()
	config, err := json.Marshal(map[string]any{"inbox": map[string]any{"inbox": "bolt", "path": path}})
	if err != nil {
		t.Fatal(err)
	}
	g := running(t, string(config), once(`"inbox":`+option))
	if st, err := os.Stat(path); err != nil || !st.IsDir() { // which cannot be opened
		g.awaitInbox()
	}
	return g
}

// box returns the open inbox, to which g has a reference.
func (g *gateway) box() *boxes.Box {
	b := g.app.box("acme")
	b.Release()
	return b
}

// awaitInbox waits until the inbox is open: an engine signals only what becomes due.
func (g *gateway) awaitInbox() {
	for g.box().Engine().Status().Health != nil {
		time.Sleep(time.Millisecond)
	}
}

// TestStoredInPlaceOfTheAnswer: what the app answers in place of accepting a delivery
// reaches the sender only if the delivery cannot be stored.
func TestStoredInPlaceOfTheAnswer(t *testing.T) {
	long := strings.Repeat("x", maxHeld+1)
	responds := func(status int, text string) func(http.ResponseWriter, *http.Request) error {
		return func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Length", "65537")
			w.WriteHeader(status)
			writeAll(w, text)
			return nil
		}
	}
	for name, c := range map[string]struct {
		app       func(http.ResponseWriter, *http.Request) error
		unusable  bool
		wire      []string
		isStored  bool
		hasLength bool
	}{
		"a short 500":              {app: responds(500, "no"), wire: []string{"200", "0 bytes"}, isStored: true},
		"a long 500":               {app: responds(500, long), wire: []string{"200", "0 bytes"}, isStored: true},
		"a long 500, and no inbox": {app: responds(500, long), unusable: true, wire: []string{"500", "0 bytes"}},
		"a long 200":               {app: responds(200, long), wire: []string{"200", "0 bytes", "65537 bytes"}, hasLength: true},
		"a long 422":               {app: responds(422, long), wire: []string{"422", "0 bytes", "65537 bytes"}, hasLength: true},
		"a redirect":               {app: responds(302, ""), wire: []string{"200", "0 bytes"}, isStored: true},
		"nothing":                  {app: func(http.ResponseWriter, *http.Request) error { return nil }, wire: []string{"200", "0 bytes"}, isStored: true},
		"a panic":                  {app: func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }, wire: []string{"200", "0 bytes"}, isStored: true},
		"a panic, and no inbox":    {app: func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }, unusable: true},
		"a panic in a long 200": {app: func(w http.ResponseWriter, r *http.Request) error {
			_ = responds(200, long)(w, r)
			panic(http.ErrAbortHandler)
		}, wire: []string{"200", "0 bytes", "65537 bytes"}, hasLength: true},
		"an error 502 below":           {app: func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(502, errors.New("no app")) }, wire: []string{"200", "0 bytes"}, isStored: true},
		"an error 422 below":           {app: func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(422, errors.New("not this")) }},
		"a sender's fault, told by it": {app: responds(400, "no"), wire: []string{"400", "2 bytes"}, hasLength: true},
	} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
			t.Run(name+" over "+proto, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "inbox.db")
				if c.unusable {
					path = dir
				}
				g := boxed(t, path, "{}")
				o := g.send(postOver(proto), c.app)
				if !slices.Equal(o.wire.events, c.wire) {
					t.Errorf("the sender gets %q, want %q", o.wire.events, c.wire)
				}
				if stored := o.header.Get("Webhook-Stored") != ""; stored != c.isStored {
					t.Errorf("stored %t, want %t", stored, c.isStored)
				}
				if has := o.header.Get("Content-Length") != ""; has != c.hasLength {
					t.Errorf("Content-Length %t, want %t", has, c.hasLength)
				}
				if aborts := strings.Contains(name, "panic") && !c.isStored; aborts != (o.panic != nil) {
					t.Errorf("panics %v, want %t", o.panic, aborts)
				}
			})
		}
	}
}

// postOver is post's request, received over proto.
func postOver(proto string) *http.Request {
	r := post()
	r.Proto = proto
	r.ProtoMajor, r.ProtoMinor, _ = http.ParseHTTPVersion(proto)
	return r
}

// TestStoredWhileTheAppWorks: after the sender's patience the answer is the gateway's,
// and what the app does then changes nothing that the sender sees.
func TestStoredWhileTheAppWorks(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{"after":"1ms"}`)
	finish, ended := make(chan struct{}), make(chan struct{})
	o := g.send(postOver("HTTP/2.0"), func(w http.ResponseWriter, _ *http.Request) error {
		defer close(ended)
		<-finish
		w.Header().Set("X-App", "late")
		w.WriteHeader(200)
		return nil
	})
	if !slices.Equal(o.wire.events, []string{"200", "0 bytes"}) || o.header.Get("Webhook-Stored") != "true" {
		t.Errorf("the sender gets %q, %v", o.wire.events, o.header)
	}
	copied := g.send(postOver("HTTP/2.0"), answering(500))
	copied.isDuplicate(t)
	close(finish)
	<-ended
	if o.header.Get("X-App") != "" || len(o.wire.events) != 2 {
		t.Errorf("the sender gets %q, %v", o.wire.events, o.header)
	}
	for buffered.used.Load() != 0 { // the attempt gives back what it holds
		<-closedAfterYield()
	}
}

// TestStoredWhileTheAppWorksOverHTTP1 is the same over HTTP/1, where the attempt stays
// in the handler.
func TestStoredWhileTheAppWorksOverHTTP1(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{"after":"1ms"}`)
	finish, ended := make(chan struct{}), make(chan struct{})
	app := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		r.Header.Set("X-Secret", "of a later handler") // must not be stored
		<-finish
		w.Header().Set("X-App", "late")
		w.WriteHeader(200)
		return nil
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		if err := g.handlers[0].ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil), app); err != nil {
			t.Error(err)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer server.Close()
	sent := post()
	sent.URL.Host, sent.RequestURI = server.Listener.Addr().String(), ""
	resp, err := server.Client().Do(sent)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || len(text) > 0 || resp.StatusCode != 200 || resp.Header.Get("Webhook-Stored") != "true" || resp.Header.Get("Webhook-Delivery") == "" || !resp.Close {
		t.Errorf("the sender gets %d, %v, %q, %v", resp.StatusCode, resp.Header, text, err)
	}
	box := g.box()
	key, err := dedupe.ParseKey(resp.Header.Get("Webhook-Delivery"))
	if err != nil {
		t.Fatal(err)
	}
	stored, _, err := box.Engine().Get(t.Context(), inbox.Key(key))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"X-Secret", markVerified, markDelivery} {
		if http.Header(stored.Header).Get(name) != "" {
			t.Errorf("stored with %s, which it did not come with", name)
		}
	}
	close(finish)
	<-ended
	if e, found, err := box.Engine().Find(t.Context(), inbox.Key(key)); err != nil || found {
		t.Errorf("after the app's 200 it is in the inbox: %+v, %v", e, err)
	}
	if n := buffered.used.Load(); n != 0 {
		t.Errorf("%d bytes are still charged", n)
	}
}

// TestNoConnectionToAnswerOn: where the connection cannot be taken from the server, the
// sender waits for the app, and is answered once.
func TestNoConnectionToAnswerOn(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{"after":"1ms"}`)
	box := g.box()
	o := g.send(postOver("HTTP/1.1"), func(w http.ResponseWriter, r *http.Request) error {
		for list := []inbox.Entry(nil); len(list) == 0; { // until it is stored
			<-closedAfterYield()
			list, _ = box.Engine().List(r.Context(), inbox.Selection{}, 0, 1)
		}
		w.WriteHeader(500)
		return nil
	})
	if !slices.Equal(o.wire.events, []string{"200", "0 bytes"}) || o.header.Get("Webhook-Stored") != "true" {
		t.Errorf("the sender gets %q, %v", o.wire.events, o.header)
	}
}

// closedAfterYield lets other goroutines run.
func closedAfterYield() <-chan struct{} {
	c := make(chan struct{})
	go close(c)
	return c
}

// TestInboxErrors: what cannot be meant is refused, and says what to write.
func TestInboxErrors(t *testing.T) {
	for option, want := range map[string]string{
		`"inbox":{"after":"0s"}`:                          "such as 4s",
		`"inbox":{"expire":"0s"}`:                         "such as 3d",
		`"inbox":{"keep":"-1s"}`:                          "0s for none",
		`"inbox":{"retry":["0s"]}`:                        "such as 5s 30s 2m",
		`"inbox":{"dead_on":[200]}`:                       "from 300 to 599",
		`"inbox":{},"dedupe":{"off":true}`:                "remove dedupe off",
		`"inbox":{"first":true},"handshake":{"off":true}`: "inbox first",
		`"inbox":{"first":true},"provider":"slack"`:       "Slack: the sender uses the app's response",
	} {
		if _, err := provision(t, "", once(option)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", option, err, want)
		}
	}
}

// TestInboxAdvice: some requests of a sender may need the app's response; an app that
// checks a signature with a timestamp itself refuses late deliveries; a secret in the
// delivery is in the file too, unless it is encrypted.
func TestInboxAdvice(t *testing.T) {
	const some = "inbox first: the sender uses the app's response to Shopify Flow actions … name="
	const late, plain = "inbox: the sender's signature has a timestamp … sign_upstream name=", "inbox: each delivery contains the sender's secret … encrypt it with … name="
	const key = `{"inbox":{"inbox":"bolt","path":"PATH","encrypt":["7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"]}}`
	for _, c := range []struct{ app, handler, want string }{
		{"", `{"provider":"stripe","secret":["whsec_a"],"inbox":{}}`, late + "stripe"},
		{"", `{"provider":"stripe","secret":["whsec_a"],"inbox":{},"sign_upstream":"whsec_bm9ib2R5IGtub3dzIHRoaXMga2V5"}`, ""},
		{"", `{"provider":"stripe","secret":["whsec_a"]}`, ""},
		{"", `{"provider":"shopify","secret":["a-key"],"inbox":{"first":true}}`, some + "shopify"},
		{"", `{"provider":"shopify","secret":["a-key"],"inbox":{}}`, ""},
		{"", `{"provider":"gitlab_token","secret":["a-token"],"inbox":{}}`, plain + "gitlab_token"},
		{"", `{"provider":"postmark","secret":["user:9f31c0a2d4"],"inbox":{},"sign_upstream":"whsec_bm9ib2R5IGtub3dzIHRoaXMga2V5"}`, plain + "postmark"},
		{key, `{"provider":"gitlab_token","secret":["a-token"],"inbox":{}}`, ""},
		{"", `{"provider":"gitlab_token","secret":["a-token"]}`, ""},
		{"", `{"provider":"github","secret":["a-key"],"inbox":{}}`, ""},
	} {
		config := c.app
		if config == "" {
			config = `{"inbox":{"inbox":"bolt","path":"PATH"}}`
		}
		g := mustProvision(t, strings.Replace(config, "PATH", filepath.ToSlash(filepath.Join(t.TempDir(), "inbox.db")), 1), c.handler)
		g.logs.TakeAll()
		g.start(t)
		var got []string
		for _, entry := range g.logs.FilterLevelExact(zapcore.WarnLevel).FilterMessageSnippet("inbox").All() {
			got = append(got, fmt.Sprintf("%s name=%v", entry.Message, entry.ContextMap()["name"]))
		}
		if (len(got) > 0) != (c.want != "") || c.want != "" && !holdsInOrder(got[0], c.want) {
			t.Errorf("%s, encrypted %t: %q, want %q", c.handler, c.app != "", got, c.want)
		}
	}
}

// TestGuessableInboxKeys: they start no configuration, and are not shown.
func TestGuessableInboxKeys(t *testing.T) {
	for _, key := range []string{"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", strings.Repeat("00", 32), strings.Repeat("deadbeef", 8)} {
		_, err := provision(t, `{"inbox":{"inbox":"bolt","encrypt":["`+key+`"]}}`, once(`"inbox":{}`))
		if err == nil || !strings.Contains(err.Error(), "inbox bolt: encrypt: ") || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestInboxFirstLeavesNoAnswer: it is refused for senders that use the app's response to
// ordinary deliveries, and starts with a warning for those that use that to some other
// requests. For all others, and with inbox, nothing is said.
func TestInboxFirstLeavesNoAnswer(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		rules, err := p.Rules()
		if err != nil {
			t.Fatal(err)
		}
		for _, first := range []bool{true, false} {
			core, logs := observer.New(zap.WarnLevel)
			h := &Handler{Name: "hooks", Inbox: &Inbox{First: first}, provider: p, rules: rules, app: &App{inbox: new(boxes.Configuration)}, logger: zap.New(core)}
			if err := h.checkInbox(); (err != nil) != (first && p.ReadsAnswer) || err != nil && !strings.Contains(err.Error(), "write inbox") {
				t.Errorf("%s: first %t: %v, want an error: %t", p.ID, first, err, first && p.ReadsAnswer)
			}
			h.adviseInbox()
			var got, want []string
			for _, entry := range logs.FilterMessageSnippet("inbox first").All() {
				got = append(got, fmt.Sprintf("%s name=%v", entry.Message, entry.ContextMap()["name"]))
			}
			if first && p.ReadsAnswerTo != "" {
				want = []string{"inbox first: the sender uses the app's response to " + p.ReadsAnswerTo + ", but gets duplicate_response (default: 200, empty): if you have them, let a handler with inbox receive them name=hooks"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: first %t: warnings %q, want %q", p.ID, first, got, want)
			}
		}
	}
}

// TestWhatAnAttemptLeaves: whatever the store has of a delivery before an attempt, and
// whether an operator replays it, the app's 2xx is marked, and nothing else is.
func TestWhatAnAttemptLeaves(t *testing.T) {
	stored := dedupe.Mark{Status: dedupe.Stored, TTL: time.Hour}
	done := dedupe.Mark{Status: 201, TTL: time.Hour}
	for name, c := range map[string]struct {
		mark   dedupe.Mark // what the store has
		down   bool        // the store
		app    int         // its answer
		replay bool
		taken  bool // the app gets it
		want   int  // status of the mark then
	}{
		"a retry":                        {app: 200, taken: true, want: 200},
		"a retry that fails":             {app: 503, taken: true},
		"a retry of what is marked":      {mark: stored, app: 200, taken: true, want: 200},
		"a retry of what another has":    {mark: dedupe.Mark{Status: dedupe.StoredIn("another"), TTL: time.Hour}, app: 200, taken: true, want: 200},
		"a retry of what the app has":    {mark: done, app: 200, want: 201},
		"a retry without a store":        {down: true, app: 200, taken: true, want: 200},
		"a replay":                       {replay: true, app: 200, taken: true, want: 200},
		"a replay that fails":            {replay: true, app: 503, taken: true},
		"a replay of what is marked":     {replay: true, mark: stored, app: 200, taken: true, want: 200},
		"a replay of what the app has":   {replay: true, mark: done, app: 200, taken: true, want: 200},
		"a failed replay of what it has": {replay: true, mark: done, app: 503, taken: true, want: 201},
		"a replay without a store":       {replay: true, down: true, app: 200, taken: true, want: 200},
		"a failed replay, and no store":  {replay: true, down: true, app: 503, taken: true},
		"a failed one of what is marked": {replay: true, mark: stored, app: 503, taken: true, want: dedupe.Stored},
	} {
		t.Run(name, func(t *testing.T) {
			store := newBrokenStore()
			g := mustProvision(t, "", once())
			g.app.store = &fakeStore{id: "fake", gate: func() (*dedupe.Gate, error) {
				return dedupe.NewGate(dedupe.Options{Store: store}), nil
			}}
			synctest.Test(t, func(t *testing.T) {
				store.set(c.down) // before the start, which looks at the store
				g.run(t)
				if c.mark.TTL > 0 {
					_ = store.Memory.Done(t.Context(), theKey, c.mark)
				}
				g.attempt(t, c.replay, c.app, c.taken)
				store.set(false)
				time.Sleep(time.Minute)
				synctest.Wait()
				if m, _ := store.Lookup(theKey); m.Status != c.want {
					t.Errorf("the store has the status %d, want %d", m.Status, c.want)
				}
			})
		})
	}
}

// attempt makes an attempt of post's delivery, and checks whether the app gets it and
// what the inbox is told.
func (g *gateway) attempt(t *testing.T, replayed bool, status int, taken bool) {
	t.Helper()
	r := post()
	d := attempt.Record(r, r.Method, "/hooks/acme", []byte(body))
	d.Key, d.ID, d.Queue = inbox.Key(theKey), "evt_1", inbox.Queue{Handler: "acme"}
	got := false
	result := attempt.Send(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
		if err := g.handlers[0].ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			got = true
			w.WriteHeader(status)
			return nil
		})); err != nil {
			t.Error(err)
		}
	}), &inbox.Attempt{Delivery: &d, Entry: inbox.Entry{Queue: d.Queue, Replayed: replayed}})
	want := inbox.Result{Status: status}
	if !taken {
		want = inbox.Result{Taken: true}
	}
	if got != taken || result != want {
		t.Errorf("the app gets it %t, want %t; the inbox is told %+v, want %+v", got, taken, result, want)
	}
}

// TestAnAttemptThatCannotBeMade is no error of Caddy's, which would log its headers:
// an attempt that reaches another handler, and one without memory.
func TestAnAttemptThatCannotBeMade(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), "{}")
	h := g.app.handlers[0]
	for name, c := range map[string]struct {
		handler string
		used    int64
		want    inbox.Result
	}{
		"of another handler": {"other", 0, inbox.Result{Unreached: true}},
		"without memory":     {h.Name, h.buffered.limit.Load(), inbox.Result{Later: notNowPause}},
	} {
		h.buffered.used.Add(c.used)
		r := post()
		d := attempt.Record(r, r.Method, "/hooks/acme", []byte(body))
		var failed error
		got := attempt.Send(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
			failed = h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
				t.Errorf("%s: the app is called", name)
				return nil
			}))
		}), &inbox.Attempt{Delivery: &d, Entry: inbox.Entry{Queue: inbox.Queue{Handler: c.handler}}})
		h.buffered.used.Add(-c.used)
		if got != c.want || failed != nil {
			t.Errorf("%s: %+v, error %v, want %+v", name, got, failed, c.want)
		}
	}
}
