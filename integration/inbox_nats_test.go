package integration

import (
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A natsServer is a process of the real server. It ends with the test.
type natsServer struct {
	program, dir, address, url string
	process                    *exec.Cmd
}

// startNATS builds the real server from the module that the tests of inbox/nats use, and
// starts it.
func startNATS(t *testing.T, settings ...string) *natsServer {
	t.Helper()
	s := &natsServer{dir: t.TempDir(), address: freeAddress()}
	s.program, s.url = filepath.Join(s.dir, "nats-server"), "nats://"+s.address
	build := exec.Command("go", "build", "-o", s.program, "github.com/nats-io/nats-server/v2")
	build.Dir = filepath.Join("..", "inbox", "nats", "testdata", "server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -trimpath", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI=true, but nats-server cannot be built: %v: %s", err, out)
		}
		t.Skipf("needs nats-server, which cannot be built (go, and a module proxy): %v", err)
	}
	s.run(t, settings...)
	t.Cleanup(s.kill)
	return s
}

// run starts the process with lines of configuration, and returns when it listens. It may
// be called again after kill.
func (s *natsServer) run(t *testing.T, settings ...string) {
	t.Helper()
	lines := append([]string{fmt.Sprintf("listen: %q", s.address), fmt.Sprintf("jetstream { store_dir: %q, sync_interval: always }", s.dir)}, settings...)
	conf := filepath.Join(s.dir, "nats.conf")
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.process = exec.Command(s.program, "-c", conf)
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nats-server listens", func() bool {
		conn, err := net.DialTimeout("tcp", s.address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (s *natsServer) kill() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

// TestInboxNATS has two gateways share one stream while their app is down. One is
// killed: the other one delivers what both have stored, each once.
func TestInboxNATS(t *testing.T) {
	t.Parallel()
	url := startNATS(t).url
	app := freeAddress()
	var gateways []*gateway
	for range 2 {
		gateways = append(gateways, start(t, setup{
			level: "INFO", site: inboxSite("inbox", app, "name github"),
			global: "verify_webhook {\ninbox nats {\nurl " + url + "\nstream hooks\n}\n}",
		}))
	}
	// The sender's max_body is larger than the server's max_payload.
	if _, err := gateways[0].log.wait(func(l logLine) bool {
		return strings.HasPrefix(l.text("msg"), "max_body exceeds what the inbox can store")
	}); err != nil {
		t.Errorf("no warning of max_body: %v", err)
	}
	const each = 20
	sent := make(map[string]bool)
	for n, g := range gateways {
		eventually(t, "the stream is open", func() bool { // else a delivery gets the app's answer
			return g.store(t, fmt.Sprintf("first-%d", n)).header.Get("Webhook-Stored") == "true"
		})
		sent[fmt.Sprintf("first-%d", n)] = true
		for i := range each {
			id := fmt.Sprintf("%d-%d", n, i)
			sent[id] = true
			if a := g.store(t, id); a.status != http.StatusOK || a.header.Get("Webhook-Stored") != "true" {
				t.Errorf("%s: answered %s, want it stored", id, a.outside())
			}
		}
	}
	gateways[0].kill()

	taken := takeAt(t, app)
	eventually(t, "the other gateway delivers what both have stored", func() bool { return len(taken()) >= len(sent) })
	wantOnce(t, taken(), sent)
}

// takeAt starts an app that accepts everything, and returns how often each delivery of
// GitHub has reached it.
func takeAt(t *testing.T, address string) func() map[string]int {
	t.Helper()
	var mu sync.Mutex
	taken := make(map[string]int)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		taken[r.Header.Get("X-Github-Delivery")]++
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(taken)
	}
}

func wantOnce(t *testing.T, taken map[string]int, sent map[string]bool) {
	t.Helper()
	for id := range sent {
		if taken[id] != 1 {
			t.Errorf("%s reached the app %d times, want once", id, taken[id])
		}
	}
}

// TestInboxNATSWithAnotherConfiguration: in a rolling deploy, or with two fleets on one
// stream, an instance that cannot deliver something leaves it to the one that can.
func TestInboxNATSWithAnotherConfiguration(t *testing.T) {
	t.Parallel()
	url := startNATS(t).url
	for name, other := range map[string]string{
		"the other one does not have the handler": inboxSite("inbox", freeAddress(), "name other"),
		"the other one has it at another path": "handle /elsewhere {\n" + inboxSite("inbox", freeAddress(), "name github") + "\n}\n" +
			"handle {\nrespond 404\n}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := freeAddress()
			global := "verify_webhook {\ninbox nats {\nurl " + url + "\nstream " + rand.Text() + "\nmax_size 64MiB\n}\n}" // the server reserves it on the disk
			a := startInbox(t, setup{level: "INFO", site: inboxSite("inbox", app, "name github"), global: global})
			b := startInbox(t, setup{level: "INFO", site: other, global: global})
			sent := make(map[string]bool)
			for i := range 20 {
				id := fmt.Sprint(i)
				sent[id] = true
				if got := a.store(t, id); got.status != http.StatusOK || got.header.Get("Webhook-Stored") != "true" {
					t.Errorf("%s: answered %s, want it stored", id, got.outside())
				}
			}
			eventually(t, "the other one sees them", func() bool { return b.pending(t, "github") == len(sent) })
			taken := takeAt(t, app)
			began := time.Now()
			eventually(t, "they are delivered", func() bool { return len(taken()) >= len(sent) })
			if took := time.Since(began); took > 10*time.Second { // two probes
				t.Errorf("they are delivered %v after the app came back", took)
			}
			eventually(t, "nothing is left", func() bool { return b.pending(t, "github") == 0 })
			wantOnce(t, taken(), sent)
		})
	}
}

// pending counts what the inbox holds for a handler and has not delivered.
func (g *gateway) pending(t *testing.T, name string) (n int) {
	t.Helper()
	for _, q := range g.inbox(t).Queues {
		if q.Name == name {
			n += q.Pending + q.InAttempt
		}
	}
	return n
}

// store sends a delivery of GitHub to a gateway whose app is down.
func (g *gateway) store(t *testing.T, id string) answer {
	t.Helper()
	m := github.deliver(t, githubKey, time.Now(), []byte("{}"))
	m.header.Set("X-Github-Delivery", id)
	m.path = "/"
	return g.do(t, g.h1, g.request(t, id, m))
}
