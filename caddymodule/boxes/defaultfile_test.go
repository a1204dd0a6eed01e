package boxes

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/bolt"
)

// TestADefaultFileInUseAtTheStart: a process that this one replaces has it until its last
// attempt has ended. What it leaves is delivered, or warned of if this one has no handler
// for it. Another Caddy's is not taken from it while that restarts.
func TestADefaultFileInUseAtTheStart(t *testing.T) {
	for name, test := range map[string]struct {
		handler      string
		ends, begins time.Duration // the other process, again unless it is 0
		opens        bool
		warns        int
	}{
		"replaced":              {"shop", 20 * time.Second, 0, true, 0},
		"of other handlers":     {"other", 20 * time.Second, 0, false, 1},
		"another that restarts": {"shop", 20 * time.Second, 3 * time.Second, false, 0},
		"another that ends":     {"shop", overlap + 2*time.Second, 0, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_DATA_HOME", t.TempDir())
			synctest.Test(t, func(t *testing.T) {
				file := new(Bolt)
				if err := file.Provision(caddy.Context{}); err != nil {
					t.Fatal(err)
				}
				process := func() (end func()) {
					t.Helper()
					e, err := bolt.Open(bolt.Options{Path: file.Path})
					if err != nil {
						t.Fatal(err)
					}
					awaitOpen(e)
					_, err = e.Accept(t.Context(), &inbox.Delivery{Key: inbox.Key{1}, Queue: inbox.Queue{Handler: "shop"}, Received: time.Now()}, false)
					if err != nil {
						t.Fatal(err)
					}
					return func() {
						if err := e.Close(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
				end := process()
				g := gatewayOf(file, Handler{Name: test.handler})
				g.WarnAboutOthers()
				g.Open()
				defer func() {
					c := g.Configuration
					g.Configuration = nil
					c.Close()
				}()
				g.follow(t)
				time.Sleep(test.ends)
				if b := g.Box(); b != nil || g.attempts.Load() != 0 {
					t.Fatal("it is open in two processes")
				}
				end()
				if test.begins > 0 {
					time.Sleep(test.begins)
					defer process()()
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				b := g.Box()
				if opens := b != nil && g.attempts.Load() > 0; opens != test.opens {
					t.Errorf("open %t, %d attempts, want %t", b != nil, g.attempts.Load(), test.opens)
				}
				if b != nil {
					b.Release()
				}
				if n := g.logs.FilterMessageSnippet("the default inbox file holds deliveries").Len(); n != test.warns || g.logs.Len() != n {
					t.Errorf("%d warnings, want %d: %+v", n, test.warns, g.logs.All())
				}
			})
		})
	}
}
