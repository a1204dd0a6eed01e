package nats

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/enginetest"
)

// program builds the real server once, with the versions and checksums of the module in
// testdata/server, whose dependencies are not the product's.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nats-server")
	if err != nil {
		return "", err
	}
	temporary = dir
	path := filepath.Join(dir, "nats-server")
	build := exec.Command("go", "build", "-o", path, "github.com/nats-io/nats-server/v2")
	build.Dir = filepath.Join("testdata", "server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -trimpath", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

var temporary string

func TestMain(m *testing.M) {
	code := m.Run()
	if temporary != "" {
		os.RemoveAll(temporary)
	}
	os.Exit(code)
}

// A server is a process of the real nats-server on the loopback interface. It ends with
// the test.
type server struct {
	tb   testing.TB
	addr string
	dir  string
	conf string
	mu   sync.Mutex
	cmd  *exec.Cmd
}

// start starts a server with JetStream, and returns when it accepts connections. The
// settings are lines of its configuration. Without the program the test is skipped, or
// fails if CI is true: a suite without a server would prove nothing there.
func start(tb testing.TB, settings ...string) *server {
	tb.Helper()
	s := prepare(tb, freeAddr(tb), "", settings...)
	s.run()
	s.await()
	return s
}

func prepare(tb testing.TB, addr, jetstream string, settings ...string) *server {
	tb.Helper()
	if _, err := program(); err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("CI=true, but nats-server cannot be built: %v", err)
		}
		tb.Skipf("needs nats-server, which cannot be built (go, and a module proxy): %v", err)
	}
	s := &server{tb: tb, addr: addr, dir: enginetest.FastDir(tb)}
	s.conf = filepath.Join(s.dir, "nats.conf")
	lines := append([]string{
		fmt.Sprintf("listen: %q", addr),
		fmt.Sprintf("jetstream { store_dir: %q, %s }", s.dir, jetstream),
	}, settings...)
	if err := os.WriteFile(s.conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.kill)
	return s
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("find a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *server) url() string { return "nats://" + s.addr }

// run starts the process. It may be called again after kill.
func (s *server) run() {
	s.mu.Lock()
	defer s.mu.Unlock()
	path, _ := program()
	log, err := os.OpenFile(filepath.Join(s.dir, "nats.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(path, "-c", s.conf)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatalf("start nats-server: %v", err)
	}
}

// await waits until the server accepts connections.
func (s *server) await() {
	until(s.tb, "nats-server does not start", func() bool {
		nc, err := nats.Connect(s.url())
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
}

// kill ends the process as kill -9 does.
func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

// cluster starts a cluster of three servers, and returns when all accept connections.
func cluster(t *testing.T) (servers []*server, urls []string) {
	t.Helper()
	var routes []string
	for range 3 {
		routes = append(routes, freeAddr(t))
	}
	for i, route := range routes {
		s := prepare(t, freeAddr(t), "", fmt.Sprintf("server_name: n%d", i),
			fmt.Sprintf("cluster { name: c, listen: %q, routes: [nats://%s] }", route, strings.Join(routes, ", nats://")))
		s.run()
		servers, urls = append(servers, s), append(urls, s.url())
	}
	for _, s := range servers {
		s.await()
	}
	return servers, urls
}
