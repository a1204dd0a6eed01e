package boxes

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// follow lets the configuration in force follow itself until the test ends.
func (g *gateway) follow(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var polling sync.WaitGroup
	g.Follow(ctx, &polling)
	t.Cleanup(func() {
		cancel()
		polling.Wait()
	})
}

// await lets the clock of the bubble go on, check by check, until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 60 {
		synctest.Wait()
		if is() {
			return
		}
		time.Sleep(openPause)
	}
	t.Fatal("in vain: " + what)
}

// TestAKeyFileThatComesLater: secrets may be mounted or rendered after the start, or a
// reload. Until then the file is left alone and the operator is told why; then the inbox
// opens, or has its new options, without another reload.
func TestAKeyFileThatComesLater(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one, two := strings.Repeat("7692c3ad3540bb80", 4), strings.Repeat("3fc4ccfe745870e2", 4)
	module := func(size int64, files ...string) *Bolt {
		b := &Bolt{Path: filepath.Join(dir, "inbox.db"), MaxSize: &size}
		for _, name := range files {
			b.Encrypt = append(b.Encrypt, "{file."+filepath.Join(dir, name)+"}")
		}
		if err := b.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		return b
	}
	n := byte(0)
	accept := func(t *testing.T, g *gateway) error {
		n++
		_, err := g.box.Accept(t.Context(), &inbox.Delivery{Key: inbox.Key{n}, Queue: inbox.Queue{Handler: "shop"}, Received: time.Now()}, false)
		return err
	}

	for name, before := range map[string]func(){"missing": func() {}, "empty": func() { write("one", "\n") }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, file := range []string{"inbox.db", "one", "two"} {
					_ = os.Remove(filepath.Join(dir, file))
				}
				before()
				g := runningWith(t, module(1<<20, "one"), with("shop"))
				g.follow(t)
				var why *inbox.NotStoredError
				await(t, "the reason", func() bool {
					return errors.As(accept(t, g), &why) && strings.Contains(why.Error(), filepath.Join(dir, "one"))
				})
				if why.Why != inbox.WhyUnavailable {
					t.Errorf("not stored: %v", why)
				}
				if shown := told[adminapi.Inbox](t, g, http.MethodGet, ""); !strings.Contains(shown.Problem, "encrypt: ") {
					t.Errorf("the operator sees %+v", shown)
				}
				if _, err := os.Stat(filepath.Join(dir, "inbox.db")); err == nil {
					t.Error("there is a file without its key")
				}
				write("one", one)
				await(t, "the inbox opens", func() bool { return g.box.Engine().Status().Health == nil })
				if err := accept(t, g); err != nil {
					t.Error(err)
				}

				former := g.Configuration
				core, _ := observer.New(zap.WarnLevel)
				next := &Configuration{Module: module(2<<20, "two", "one"), pool: g.Pool, configured: true, logger: zap.New(core)}
				next.Add(with("shop"))
				next.Open()
				g.Configuration = next
				former.Close()
				g.follow(t)
				if err := accept(t, g); err != nil || g.box.Engine().Status().Limit != 1<<20 {
					t.Errorf("while the second key is missing: %v, %+v", err, g.box.Engine().Status())
				}
				write("two", two)
				await(t, "the new options", func() bool { return g.box.Engine().Status().Limit == 2<<20 })
				if err := accept(t, g); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
