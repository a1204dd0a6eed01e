package tenants

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// TestOpenFilesOfTenants: a tenant's file, or folder of them, that every user of the
// machine may write, causes one warning when it is read.
func TestOpenFilesOfTenants(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("all files have the same mode there")
	}
	for _, c := range []struct{ pattern, file, opened string }{
		{"{tenant}", "acme", "acme"},
		{"{tenant}", "acme/current", "acme/current"},
		{"{tenant}", "acme/current", "acme"},
		{"{tenant}/hooks/key", "acme/hooks/key", "acme/hooks"},
		{"{tenant}/hooks/key", "acme/hooks/key", "acme"},
		{"{tenant}", "acme", ""},
	} {
		f, dir := folderOf(t, map[string]string{c.file: "a-secret-of-acme"}, c.pattern)
		var want []any
		if c.opened != "" {
			want = []any{filepath.Join(dir, c.opened)}
			if err := os.Chmod(filepath.Join(dir, c.opened), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		core, log := observer.New(zap.WarnLevel)
		now, base := time.Now(), baseOf(t, "")
		f.now = func() time.Time { return now }
		tenants := NewCache(Options{Source: f, Base: func() *keys.Snapshot { return base }, Logger: zap.New(core), Now: f.now})
		for _, secret := range []string{"a-secret-of-acme", "another-secret-of-acme"} {
			write(t, filepath.Join(dir, c.file), secret)
			if got := shown(tenants.Find(t.Context(), "acme", client)); got != secret {
				t.Errorf("%s: %s", c.opened, got)
			}
			now = now.Add(3 * time.Second)
		}
		var got []any
		for _, e := range log.All() {
			if e.Message != keys.Exposed || e.ContextMap()["tenant"] != "acme" {
				t.Error(e.Message, e.ContextMap())
			}
			got = append(got, e.ContextMap()["files"].([]any)...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: logged %q, want %q", c.opened, got, want)
		}
	}
}

// TestShortSecretsOfTenants: each is named once, and of thousands of tenants a few. What
// may be guessed anyway has a warning of its own.
func TestShortSecretsOfTenants(t *testing.T) {
	const message = "the secret of a tenant is short enough to be guessed"
	b := newBench(t, remote, 5)
	warned := func() (names []string) {
		for _, e := range b.log.FilterMessageSnippet(message).All() {
			names = append(names, fmt.Sprint(e.ContextMap()["tenant"], e.ContextMap()["keys"]))
		}
		return names
	}
	for name, secret := range map[string]string{"two": "ab", "thirteen": "Xq7pL2vRt9wKz", "fourteen": "Xq7pL2vRt9wKzM", "weak": "hook"} {
		b.source.set(name, secret)
		for range 2 {
			if got := b.find(t, name); got != secret {
				t.Errorf("%s: %s", name, got)
			}
			b.now = b.now.Add(time.Hour)
			b.answered()
		}
	}
	names := warned()
	if slices.Sort(names); !slices.Equal(names, []string{"thirteen[1]", "two[1]"}) {
		t.Errorf("warned of %q", names)
	}
	for n := range 2 * maxForeign {
		b.now = b.now.Add(time.Minute)
		name := fmt.Sprintf("t%d", n)
		b.source.set(name, "ab")
		b.find(t, name)
	}
	if n := len(warned()); n != maxForeign {
		t.Errorf("%d lines, want %d", n, maxForeign)
	}
	if text := fmt.Sprint(b.log.All()); strings.Contains(text, "Xq7pL2vRt9wKz") {
		t.Error(text)
	}
}
