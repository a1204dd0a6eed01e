package integration

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	loadedCredential = regexp.MustCompile(`(?m)^LoadCredential=(\w+):`)
	readCredential   = regexp.MustCompile(`caddy-webhook\.service\}/(\w+)\}`)
)

// TestSystemdUnit: systemd accepts the unit, and the Caddyfile reads what it loads.
func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	unit := deployed(t, "systemd", "caddy-webhook.service")
	names := func(pattern *regexp.Regexp, text string) (all []string) {
		for _, m := range pattern.FindAllStringSubmatch(text, -1) {
			all = append(all, m[1])
		}
		slices.Sort(all)
		return all
	}
	loaded, read := names(loadedCredential, unit), names(readCredential, deployed(t, "systemd", "Caddyfile"))
	if len(loaded) == 0 || !slices.Equal(loaded, read) {
		t.Errorf("the unit loads %v, the Caddyfile reads %v", loaded, read)
	}
	needs(t, "systemd-analyze")
	path := filepath.Join(t.TempDir(), "caddy-webhook.service")
	self, err := os.Executable() // in place of a caddy that is not installed here
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(unit, "/usr/bin/caddy", self)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestSystemdCaddyfile runs the Caddyfile with the folders that systemd gives a
// service, and with its type: it reports when it is ready.
func TestSystemdCaddyfile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("systemd is Linux's")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "github"), []byte(githubKey+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	// stripe's credential is missing: only that sender is answered 503.
	socket := filepath.Join(dir, "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	// In a file of its own: the tests' words for ports and folders are also parts
	// of systemd's variables.
	site, admin, app := freeAddress(), freeAddress(), newApp()
	_, port, _ := net.SplitHostPort(site)
	text := strings.NewReplacer("localhost:2019", admin, "hooks.example.com {", "http://:"+port+" {\nbind 127.0.0.1", "127.0.0.1:3000", app.address).
		Replace(deployed(t, "systemd", "Caddyfile"))
	file, state := filepath.Join(t.TempDir(), "site"), t.TempDir()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := launch(t.TempDir(), app, setup{whole: "import " + filepath.ToSlash(file) + "\n",
		env: []string{"CREDENTIALS_DIRECTORY=" + dir, "STATE_DIRECTORY=" + state, "NOTIFY_SOCKET=" + socket}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	})
	g.address, g.admin = site, admin

	m := githubWith(t, githubKey)
	wantForwarded(t, "genuine", g.once(t, m))
	if status := g.status(t, stripe.message(t)); status != http.StatusServiceUnavailable {
		t.Errorf("a sender whose credential is missing: %d, want 503", status)
	}
	if err := notify.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	said := ""
	for buf := make([]byte, 4096); !strings.Contains(said, "READY=1"); {
		n, err := notify.Read(buf)
		if err != nil {
			t.Fatalf("Type=notify, but after %q: %v", said, err)
		}
		said += string(buf[:n]) + "\n"
	}
	g.quit(t)
	restart(t, g)
	wantDuplicate(t, "a copy after a restart", g.once(t, m))
	if _, err := os.Stat(filepath.Join(state, "dedupe.db")); err != nil {
		t.Error(err)
	}
}
