package browser

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// patience limits every wait. It is long because machines are busy, and costs nothing
// on success.
const patience = time.Minute

// binary is the gateway under test.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "verify-webhook-browser-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "caddy")
		build := exec.Command("go", "build", "-o", binary, "./cmd/caddy")
		build.Dir = filepath.Join("..", "..")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build ./cmd/caddy: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// A gateway is a Caddy process in front of an app.
type gateway struct {
	address, admin string
	failing        atomic.Bool  // the app answers 500
	accepted       atomic.Int64 // requests that the app answered 200
	stop           func()
}

const secret = "Zk8vQ2mWn4Lx7RtYp0sB"

// startGateway starts a gateway with two handlers, of which orders has an inbox in which
// a 500 of the app makes a dead letter.
func startGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{address: freeAddress(t), admin: freeAddress(t)}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if g.failing.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		g.accepted.Add(1)
	}))
	t.Cleanup(app.Close)
	dir := t.TempDir()
	config := filepath.Join(dir, "Caddyfile")
	text := fmt.Sprintf(`{
	admin %s
	persist_config off
	storage file_system %q
	verify_webhook {
		inbox bolt {
			path %q
		}
	}
}
http://%s {
	verify_webhooks /hooks/* {
		sender github %s {
			path /hooks/github
		}
		sender github %s {
			name orders
			path /hooks/orders
			inbox {
				dead_on 500
			}
		}
		reverse_proxy %s
	}
	respond 404
}
`, g.admin, dir, filepath.Join(dir, "inbox.db"), g.address, secret, secret, app.Listener.Addr())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	g.stop = run(t, exec.Command(binary, "run", "--config", config), &log)
	eventually(t, "the gateway serves, and its inbox is open", func() bool {
		resp, err := http.Get("http://" + g.admin + "/verify_webhook/status")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var status struct {
			Inbox struct{ ID, Problem string }
		}
		return json.NewDecoder(resp.Body).Decode(&status) == nil && status.Inbox.ID != "" && status.Inbox.Problem == ""
	})
	return g
}

// run starts a process, which ends with the test or by the function that it returns.
func run(t *testing.T, cmd *exec.Cmd, out io.Writer) (stop func()) {
	t.Helper()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			t.Errorf("%s did not end after an interrupt", cmd)
		}
	}
	t.Cleanup(stop)
	return stop
}

// startPage starts "caddy webhook page" for gateways, and returns the page's address.
func startPage(t *testing.T, gateways ...*gateway) string {
	t.Helper()
	args := []string{"webhook", "page"}
	for _, g := range gateways {
		args = append(args, "--address", g.admin)
	}
	read, write := io.Pipe()
	run(t, exec.Command(binary, args...), write)
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, read) }()
	return strings.TrimSpace(line)
}

// strangersEndpoint starts what says that it is an admin endpoint. It answers what answer
// does not, as a gateway without handlers.
func strangersEndpoint(t *testing.T, answer func(w http.ResponseWriter, r *http.Request) bool) *gateway {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case answer(w, r):
		case strings.HasSuffix(r.URL.Path, "/status"):
			_, _ = io.WriteString(w, `{"since":"2026-11-29T12:00:00Z","handlers":[],"store":{"kind":"memory","degraded":false},"buffered_bytes":0,"max_buffered":1}`)
		case strings.HasSuffix(r.URL.Path, "/rejections"):
			_, _ = io.WriteString(w, `[]`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(server.Close)
	return &gateway{admin: server.Listener.Addr().String()}
}

// deliver sends a delivery that GitHub could have sent, and returns the status of the
// answer.
func (g *gateway) deliver(t *testing.T, path, id, event, body, key string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Delivery", id)
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) { // only limits the polling: neither a process nor a page signals what it shows
		if time.Now().After(until) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
