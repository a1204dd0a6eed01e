// Package redistest runs real Redis servers for tests.
package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A Server is a process on a free port of the loopback interface. It ends with the
// test.
type Server struct {
	Addr string

	tb   testing.TB
	bin  string
	dir  string
	args []string
	mu   sync.Mutex
	cmd  *exec.Cmd
}

// Start starts a server without persistence, with additional arguments
// ("--requirepass", "x"), and returns when it accepts connections. Without
// redis-server or valkey-server on the machine the test is skipped, or fails if CI is
// true.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := find(tb)
	s.args = append([]string{
		"--port", strconv.Itoa(s.Port()), "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--appendonly", "no",
	}, args...)
	s.Restart()
	return s
}

func find(tb testing.TB) *Server {
	tb.Helper()
	bin := binary()
	if bin == "" {
		if os.Getenv("CI") == "true" {
			tb.Fatal("CI=true, but neither redis-server nor valkey-server is installed")
		}
		tb.Skip("needs redis-server or valkey-server (Debian, Ubuntu: apt-get install redis-server)")
	}
	s := &Server{Addr: freeAddr(tb), tb: tb, bin: bin, dir: tb.TempDir()}
	tb.Cleanup(s.Kill)
	return s
}

// StartTLS starts a server that accepts only TLS.
func StartTLS(tb testing.TB, certFile, keyFile string) *Server {
	tb.Helper()
	port := strings.TrimPrefix(freeAddr(tb), "127.0.0.1:")
	s := Start(tb, "--port", "0", "--tls-port", port,
		"--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-auth-clients", "no")
	s.Addr = "127.0.0.1:" + port
	return s
}

// StartSentinel starts a single sentinel that monitors master under the given name.
func StartSentinel(tb testing.TB, name string, master *Server) *Server {
	tb.Helper()
	s := find(tb)
	conf := filepath.Join(s.dir, "sentinel.conf") // a sentinel rewrites its file
	text := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1\n", name, master.Port())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	s.args = []string{conf, "--sentinel", "--port", strconv.Itoa(s.Port()), "--bind", "127.0.0.1"}
	s.Restart()
	return s
}

func binary() string {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if bin, err := exec.LookPath(name); err == nil {
			return bin
		}
	}
	return ""
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

// Port returns the port of Addr.
func (s *Server) Port() int {
	_, p, _ := net.SplitHostPort(s.Addr)
	n, _ := strconv.Atoi(p)
	return n
}

// Restart starts the process again after Kill, on the same port and directory.
func (s *Server) Restart() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd := exec.Command(s.bin, s.args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.tb.Fatalf("redistest: %v", err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		s.tb.Fatalf("redistest: %v", err)
	}
	s.cmd = cmd
	if err := untilReady(out); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		s.cmd = nil
		s.tb.Fatalf("redistest: %v", err)
	}
	go io.Copy(io.Discard, out)
}

func untilReady(out io.Reader) error {
	var said []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "eady to accept connections") || strings.Contains(lines.Text(), "+monitor") {
			return nil
		}
		said = append(said, lines.Text())
	}
	return fmt.Errorf("the server did not start:\n%s", strings.Join(said, "\n"))
}

// Kill ends the process immediately, as a crash does. It may be called twice.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}
