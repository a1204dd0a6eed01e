package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// caddyBinary is the gateway under test, built once by TestMain.
var caddyBinary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "verify-webhook-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	caddyBinary = filepath.Join(dir, "caddy")
	if runtime.GOOS == "windows" {
		caddyBinary += ".exe"
	}
	args := []string{"build", "-o", caddyBinary}
	if os.Getenv("INTEGRATION_RACE") != "" {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "../cmd/caddy")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build ../cmd/caddy: %v\n%s", err, out)
		return 1
	}
	code = m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintf(os.Stderr, "the shared gateway: %v\n", err)
		return 1
	}
	return code
}

// needs skips a test whose command is not installed, and fails it where
// everything is expected to be.
func needs(t testing.TB, command string) {
	t.Helper()
	if _, err := exec.LookPath(command); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, and CI=true", command)
	}
	t.Skipf("%s is not installed", command)
}
