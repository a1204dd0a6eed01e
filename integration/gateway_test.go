package integration

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience limits every wait. It is long because machines are busy, and costs nothing
// on success.
const patience = time.Minute

// setup describes a gateway. In its texts APP is the app's address, DIR a directory
// for it, PORT the gateway's port.
type setup struct {
	global  string   // lines of the global options block
	servers string   // lines of its servers block
	site    string   // lines of the site block
	env     []string // NAME=value
	whole   string   // a complete Caddyfile instead of the above; ADMIN is the admin API's address
	format  string   // of the log; default: format json
	level   string   // of the log: INFO or DEBUG (default), which shows when it serves
	lease   string   // of every handler; only possible in JSON
}

// A gateway is one Caddy process and the app behind it.
type gateway struct {
	address string // host:port of the site
	admin   string // host:port of the admin API
	dir     string
	app     *app
	log     *logbook

	setup  setup
	cmd    *exec.Cmd
	exited chan struct{}
	h1, h2 *http.Client

	reloaded atomic.Bool
}

// start starts a gateway that ends with the test.
func start(t testing.TB, s setup) *gateway {
	t.Helper()
	a := newApp()
	g, err := launch(t.TempDir(), a, s)
	if err != nil {
		a.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// launch starts a gateway and returns when it serves.
func launch(dir string, a *app, s setup) (*gateway, error) {
	for attempt := 1; ; attempt++ {
		g := &gateway{dir: dir, app: a, setup: s, log: newLogbook(), exited: make(chan struct{})}
		g.address, g.admin = freeAddress(), freeAddress()
		err := g.begin()
		// Another process may take the port before Caddy does.
		if err != nil && attempt < 3 && strings.Contains(g.log.String(), "address already in use") {
			continue
		}
		return g, err
	}
}

func (g *gateway) begin() error {
	g.h1, g.h2 = newClient(false), newClient(true)
	if err := g.write(g.setup.site); err != nil {
		return err
	}
	binary, err := caddyBinary()
	if err != nil {
		return err
	}
	args := []string{"run", "--adapter", "caddyfile", "--config", g.caddyfile()}
	if g.setup.lease != "" {
		path, err := g.withLease(binary, g.setup.lease)
		if err != nil {
			return err
		}
		args = []string{"run", "--config", path}
	}
	g.cmd = exec.Command(binary, args...)
	g.cmd.Env = caddyEnv(g.dir, g.setup.env)
	g.cmd.Dir = g.dir
	out, in := io.Pipe()
	g.cmd.Stdout, g.cmd.Stderr = in, in
	if err := g.cmd.Start(); err != nil {
		return err
	}
	go g.log.keep(out)
	go func() {
		_ = g.cmd.Wait() // its log shows how it ended
		in.Close()
		close(g.exited)
	}()
	if _, err := g.log.wait(saying("serving initial configuration")); err != nil {
		_ = g.cmd.Process.Kill()
		<-g.exited
		return fmt.Errorf("caddy does not serve: %w; its log:\n%s", err, g.log)
	}
	return nil
}

// adapted returns the Caddyfile as JSON.
func (g *gateway) adapted(binary string) ([]byte, error) {
	cmd := exec.Command(binary, "adapt", "--adapter", "caddyfile", "--config", g.caddyfile())
	cmd.Env = caddyEnv(g.dir, g.setup.env)
	cmd.Dir = g.dir
	return cmd.Output()
}

func (g *gateway) caddyfile() string { return filepath.Join(g.dir, "Caddyfile") }

// write writes the Caddyfile. Caddy's files go to the gateway's own directory, and
// nothing on the machine changes.
func (g *gateway) write(site string) error {
	_, port, _ := net.SplitHostPort(g.address)
	level := g.setup.level
	if level == "" {
		level = "DEBUG"
	}
	format := g.setup.format
	if format == "" {
		format = "format json"
	}
	text := fmt.Sprintf(`{
	admin %s
	skip_install_trust
	persist_config off
	grace_period 2s
	log default {
		output stderr
		%s
		level %s
	}
	servers {
		protocols h1 h2c
%s
	}
%s
}
http://:PORT {
	bind 127.0.0.1
%s
}
`, g.admin, format, level, g.setup.servers, g.setup.global, site)
	if g.setup.whole != "" {
		text = g.setup.whole
	}
	text = strings.NewReplacer("ADMIN", g.admin, "APP", g.app.address, "DIR", filepath.ToSlash(g.dir), "PORT", port).Replace(text)
	return os.WriteFile(g.caddyfile(), []byte(text), 0o600)
}

// stop ends the process, and reports secrets in its log.
func (g *gateway) stop() error {
	g.h1.CloseIdleConnections()
	g.h2.CloseIdleConnections()
	g.app.release()
	if err := g.cmd.Process.Signal(os.Interrupt); err != nil { // Windows has none
		_ = g.cmd.Process.Kill()
	}
	bound := time.NewTimer(patience)
	defer bound.Stop()
	var err error
	select {
	case <-g.exited:
	case <-bound.C:
		_ = g.cmd.Process.Kill()
		<-g.exited
		err = fmt.Errorf("caddy did not end within %s; its log:\n%s", patience, g.log)
	}
	g.app.Close()
	return errors.Join(err, g.log.check())
}

// caddyEnv keeps Caddy out of the user's directories.
func caddyEnv(dir string, more []string) []string {
	return append(append(os.Environ(),
		"HOME="+dir, "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "XDG_DATA_HOME="+filepath.Join(dir, "data"),
	), append(keysInEnv(), more...)...)
}

// saying matches log lines by their message.
func saying(message string) func(logLine) bool {
	return func(l logLine) bool { return l.text("msg") == message }
}

var ports struct {
	sync.Mutex
	given map[string]bool
}

// freeAddress returns a loopback address that nothing listens on, and never the
// same twice.
func freeAddress() string {
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = make(map[string]bool)
	}
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err) // nothing works without a loopback interface
		}
		address := l.Addr().String()
		l.Close()
		if !ports.given[address] {
			ports.given[address] = true
			return address
		}
	}
}

// caddy runs a command of the binary, such as adapt, on a Caddyfile.
func caddy(t testing.TB, dir string, env []string, args ...string) (output string, err error) {
	t.Helper()
	binary, err := caddyBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = caddyEnv(dir, env)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// eventually calls done until it returns true.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	bound := time.NewTimer(patience)
	defer bound.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-bound.C:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}
