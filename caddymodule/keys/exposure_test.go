package keys

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestExposedValues: a file that everybody may write is named wherever a value names it,
// and one that they may read where it holds a secret.
func TestExposedValues(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("all files have the same mode there")
	}
	dir := t.TempDir()
	file := func(name string, mode fs.FileMode) string {
		path := write(t, "a-secret-of-some-length", dir, name)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open, read, closed := file("open", 0o666), file("read", 0o644), file("closed", 0o600)
	core, logs := observer.New(zap.InfoLevel)
	for _, c := range []struct {
		warn func(*zap.Logger)
		want string
	}{
		{func(l *zap.Logger) { WarnIfExposed(l, "encrypt", "{file."+open+"}") }, "warn encrypt {file." + open + "}"},
		{func(l *zap.Logger) { WarnIfExposed(l, "url", "nats://u:{file."+open+"}@h:1") }, "warn url {file." + open + "}"},
		{func(l *zap.Logger) { WarnIfExposed(l, "encrypt", "{file."+read+"}") }, "info encrypt {file." + read + "}"},
		{func(l *zap.Logger) { WarnIfExposed(l, "encrypt", "{file."+closed+"}") }, ""},
		{func(l *zap.Logger) { WarnIfExposed(l, "encrypt", "{file."+dir+"/none}") }, ""},
		{func(l *zap.Logger) { WarnIfExposed(l, "encrypt", "{env.KEY}") }, ""},
		{func(l *zap.Logger) { WarnIfExposed(l, "encrypt", open) }, ""}, // a text, which no log repeats
		{func(l *zap.Logger) { WarnIfFileExposed(l, "ca", open, false) }, "warn ca " + open},
		{func(l *zap.Logger) { WarnIfFileExposed(l, "ca", read, false) }, ""},
		{func(l *zap.Logger) { WarnIfFileExposed(l, "key", read, true) }, "info key " + read},
		{func(l *zap.Logger) { WarnIfFileExposed(l, "key", "", true) }, ""},
	} {
		c.warn(zap.New(core))
		var got []string
		for _, e := range logs.TakeAll() {
			got = append(got, e.Level.String()+" "+e.ContextMap()["option"].(string))
			if e.Message != Exposed || !strings.HasPrefix(e.ContextMap()["problem"].(string), dir) {
				t.Error(e.Message, e.ContextMap())
			}
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("logged %q, want %q", got, c.want)
		}
	}
}

// TestMountedSecrets: the kubelet mounts a Secret read-only, as a folder with the mode of
// /tmp. Nobody may write there. A folder that its owner has opened to all may be mounted
// read-only for the gateway alone, as Docker does.
func TestMountedSecrets(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("all files have the same mode there")
	}
	real := mountedReadOnly
	t.Cleanup(func() { mountedReadOnly = real })
	dir := filepath.Join(t.TempDir(), "keys")
	path := write(t, "a-secret-of-some-length", dir, "key")
	for _, c := range []struct {
		dir, file fs.FileMode
		readOnly  bool
		want      bool
	}{
		{0o777 | os.ModeSticky, 0o644, true, false},
		{0o777 | os.ModeSticky, 0o644, false, true},
		{0o777, 0o644, true, true},
		{0o777 | os.ModeSticky, 0o666, true, true},
	} {
		mountedReadOnly = func(string) bool { return c.readOnly }
		if err := os.Chmod(dir, c.dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.file); err != nil {
			t.Fatal(err)
		}
		core, logs := observer.New(zap.WarnLevel)
		WarnIfExposed(zap.New(core), "secret", "{file."+dir+"}")
		if got := logs.Len() == 1; got != c.want {
			t.Errorf("%+v: %v", c, logs.All())
		}
	}
	if mountedReadOnly = real; mountedReadOnly(dir) {
		t.Error("a folder that can be written counts as mounted read-only")
	}
}

// TestFoldersOfTenants: the files in it are not looked at.
func TestFoldersOfTenants(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("all files have the same mode there")
	}
	dir := filepath.Join(t.TempDir(), "keys")
	if err := os.Chmod(write(t, "a-secret-of-some-length", dir, "acme"), 0o666); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[fs.FileMode][]string{0o777: {dir + writable}, 0o755: nil} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		core, logs := observer.New(zap.InfoLevel)
		WarnOfFolder(zap.New(core), "tenants", dir)
		WarnOfFolder(zap.New(core), "tenants", dir+"/none")
		var got []string
		for _, e := range logs.All() {
			got = append(got, e.ContextMap()["problem"].(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%o: %q", mode, got)
		}
	}
}
