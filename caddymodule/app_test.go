package caddymodule

import (
	"errors"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/stores"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// shut ends a configuration as Caddy does.
func (a *App) shut() error { return errors.Join(a.Stop(), a.Cleanup()) }

// TestPolling: files are read every two seconds, only from Start to Cleanup.
func TestPolling(t *testing.T) {
	dir := t.TempDir()
	path := write(t, "one", dir, "key")
	limit := buffered.limit.Load()
	defer buffered.limit.Store(limit)
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		failures := 0
		rules, err := verifier.Compile(verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}})
		if err != nil {
			t.Fatal(err)
		}
		open := func(secret string) *keys.Set {
			k, err := keys.Open(keys.Config{
				Rules: rules, Secret: []keys.Value{{Value: secret}},
				Logger: zap.New(core), Failed: func() { failures++ },
			})
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		k := open("{file." + path + "}")
		uses := func(secret string) bool { return k.Snapshot().Keys[0].Text == secret }
		none, err := inboxes.Load(caddy.Context{}, nil, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		app := &App{MaxBuffered: new(int64(1000)), store: new(stores.Memory), inbox: none}
		app.register(&Handler{keys: k})
		app.register(&Handler{keys: open("text")})
		const interval = time.Second
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}

		write(t, "two", path)
		pass(time.Minute)
		if !uses("one") {
			t.Error("files are read before Start")
		}
		if err := app.Start(); err != nil {
			t.Fatal(err)
		}
		pass(2*interval - time.Nanosecond)
		if !uses("one") {
			t.Error("in use after one look")
		}
		pass(time.Nanosecond)
		if !uses("two") {
			t.Error("not in use after two looks")
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		logs.TakeAll()
		pass(10 * interval)
		if got := logs.FilterLevelExact(zapcore.ErrorLevel).TakeAll(); len(got) != 1 || failures != 10 || !uses("two") {
			t.Errorf("ten readings of a removed file: logged %v, counted %d", got, failures)
		}
		write(t, "three", path)
		pass(2 * interval)
		if !uses("three") {
			t.Error("not read when it is back")
		}
		if err := app.shut(); err != nil {
			t.Fatal(err)
		}
		write(t, "four", path)
		pass(time.Minute)
		if !uses("three") {
			t.Error("files are read after Cleanup")
		}
	})
}

// TestStopWithoutStart: Caddy stops apps of a configuration whose start failed.
func TestStopWithoutStart(t *testing.T) {
	g := mustProvision(t, "", acme(topsecret))
	if err := g.app.shut(); err != nil {
		t.Error(err)
	}
}

// TestReload: bodies of the old configuration count in the new one, and only Start
// applies the new limits.
func TestReload(t *testing.T) {
	old := mustProvision(t, `{"max_buffered":100000}`, acme(topsecret))
	old.start(t)
	a := serve(t, large(60000), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		renewed := mustProvision(t, `{"max_buffered":90000}`, acme(topsecret))
		if n := buffered.limit.Load(); n != 100000 {
			t.Errorf("provisioning made the limit %d", n)
		}
		renewed.start(t)
		if n := buffered.limit.Load(); n != 90000 {
			t.Errorf("starting left the limit at %d", n)
		}
		if a := serve(t, large(40000), accepting, renewed.handlers...); a.status != 503 {
			t.Errorf("the old configuration's body does not count: %v", a.err)
		}
		if a := serve(t, large(10000), accepting, renewed.handlers...); a.err != nil {
			t.Errorf("what fits beside it: %v", a.err)
		}
		w.WriteHeader(200)
		return nil
	}), old.handlers...)
	if a.err != nil {
		t.Error(a.err)
	}
	old.budgetsAreFree(t)
}

// TestBeforeStart: Caddy starts apps in no particular order, so requests may arrive
// before this app has started.
func TestBeforeStart(t *testing.T) {
	g := mustProvision(t, `{"max_buffered":100000}`, acme(topsecret))
	if a := serve(t, large(20000), accepting, g.handlers...); a.err != nil {
		t.Error(a.err)
	}
	if a := serve(t, large(100000), accepting, g.handlers...); a.status != 503 {
		t.Errorf("beyond the limit: %v", a.err)
	}
	g.budgetsAreFree(t)
}

// TestKeyArrives: a handler whose key was missing at start serves once it appears.
func TestKeyArrives(t *testing.T) {
	dir := t.TempDir()
	g := mustProvision(t, "", acme(`"secret":["{file.`+dir+`/key}"]`))
	if a := serve(t, large(10), accepting, g.handlers...); a.status != 503 || a.placeholder("reason") != "key_unavailable" {
		t.Errorf("without: %v", a.err)
	}
	write(t, "n9Wd4kTq2\n", dir, "key")
	look(t, g.handlers[0].keys)
	if a := serve(t, large(10), accepting, g.handlers...); a.err != nil {
		t.Errorf("with: %v", a.err)
	}
	g.budgetsAreFree(t)
}
