package tenants

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// TestLeftoversOfARotation: a tenant's key that was replaced verifies nothing from the backup
// beside its file. One warning names the file.
func TestLeftoversOfARotation(t *testing.T) {
	for _, name := range []string{"current~", "#current#", "current.bak", "current.orig", "current.old", "current.save", "current.swp", "current.tmp", "current.rpmsave", "current.dpkg-old", "current.ucf-old"} {
		t.Run(name, func(t *testing.T) {
			f, dir := folderOf(t, map[string]string{"acme/current": "the-stolen-secret", "bravo/current": "secret-of-bravo"}, "{tenant}")
			core, log := observer.New(zap.InfoLevel)
			now, base := time.Now(), baseOf(t, "")
			f.now = func() time.Time { return now }
			c := NewCache(Options{Source: f, Base: func() *keys.Snapshot { return base }, Logger: zap.New(core), Now: f.now})
			find := func(tenant, want string) {
				t.Helper()
				now = now.Add(3 * time.Second)
				if got := shown(c.Find(t.Context(), tenant, client)); got != want {
					t.Errorf("%s: %s, want %s", tenant, got, want)
				}
			}
			find("acme", "the-stolen-secret")
			rename(t, filepath.Join(dir, "acme/current"), filepath.Join(dir, "acme", name))
			for _, secret := range []string{"the-second-secret", "one-more-secret"} {
				write(t, filepath.Join(dir, "acme/current"), secret)
				find("acme", secret)
			}
			find("bravo", "secret-of-bravo")
			logged := log.FilterMessage(keys.LeftoverUnused).All()
			if len(logged) != 1 || logged[0].ContextMap()["tenant"] != "acme" || !slices.Equal(logged[0].ContextMap()["files"].([]any), []any{"acme/" + name}) {
				t.Errorf("logged %v", logged)
			}
			if text := fmt.Sprint(log.All()); strings.Contains(text, "stolen") {
				t.Error(text)
			}
			if err := os.Remove(filepath.Join(dir, "acme/current")); err != nil {
				t.Fatal(err)
			}
			find("acme", "unavailable") // it may be being replaced
			find("acme", "unknown")
			if _, err := f.Find(t.Context(), "acme", nil); !errors.Is(err, ErrUnknown) || !strings.HasSuffix(err.Error(), "acme/"+name) {
				t.Error(err)
			}
		})
	}
}

// TestLeftoversOfManyTenants: thousands of tenants with backups cause a few lines.
func TestLeftoversOfManyTenants(t *testing.T) {
	b := newBench(t, remote, 5)
	for n := range 2 * maxForeign {
		b.now = b.now.Add(time.Minute)
		next := &tenant{snapshot: b.base, found: &Found{Skipped: []string{"current~"}}}
		for range 2 {
			b.warn(fmt.Sprintf("t%d", n), next, b.now)
		}
	}
	if got := b.log.Len(); got != maxForeign {
		t.Errorf("%d lines, want %d", got, maxForeign)
	}
}
