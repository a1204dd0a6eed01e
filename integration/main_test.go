package integration

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintf(os.Stderr, "the shared gateway: %v\n", err)
		code = 1
	}
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

var built struct {
	once        sync.Once
	dir, binary string
	err         error
}

// plainly are the settings of xcaddy's build, as in .ci/run: what several builds need is
// compiled once.
var plainly = []string{"CGO_ENABLED=0", "GOFLAGS=-trimpath"}

// caddyBinary returns the path of the gateway under test, which whoever comes
// first builds.
func caddyBinary() (string, error) {
	b := &built
	b.once.Do(func() {
		if b.err = noteSources(); b.err != nil {
			return
		}
		if b.dir, b.err = os.MkdirTemp("", "verify-webhook-"); b.err != nil {
			return
		}
		b.binary = filepath.Join(b.dir, "caddy")
		if runtime.GOOS == "windows" {
			b.binary += ".exe"
		}
		build := exec.Command("go", "build", "-o", b.binary, "../cmd/caddy")
		build.Env = append(os.Environ(), plainly...)
		if os.Getenv("INTEGRATION_RACE") != "" {
			build = exec.Command("go", "build", "-race", "-o", b.binary, "../cmd/caddy")
		}
		if out, err := build.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("go build ../cmd/caddy: %w\n%s", err, out)
		}
	})
	return b.binary, b.err
}

// noteSources looks at every source file, which go test sees: it would else
// call a result still good, and not run, after a change to what is only built.
func noteSources() error {
	return filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && len(entry.Name()) > 2 && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"), strings.HasSuffix(path, ".json"), entry.Name() == "go.sum":
			_, err = os.Stat(path)
		}
		return err
	})
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
