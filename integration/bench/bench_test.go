package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// The test's program is also the app and the generator.
func TestMain(m *testing.M) {
	if os.Getenv(role) != "" {
		if err := play(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	dir, err := os.MkdirTemp("", "bench-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	builtDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var builtDir string

// built is the gateway, which the first test that needs it builds.
var built = sync.OnceValues(func() (string, error) {
	caddy := filepath.Join(builtDir, "caddy")
	return caddy, build(caddy)
})

func gateway(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("CPU times need Linux")
	}
	caddy, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return caddy
}

// TestBench runs the command for a moment, with every mix.
func TestBench(t *testing.T) {
	caddy := gateway(t)
	var out, progress strings.Builder
	err := bench([]string{"-quick", "-caddy=" + caddy, "-rounds=1", "-duration=200ms", "-latency=200ms", "-rate=50", "-candidates=^memory$"}, &out, &progress)
	if err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	for _, row := range []string{"plain", "memory", "memory, forged", "memory, unsigned", "memory, stale", "memory, duplicate"} {
		if !strings.Contains(out.String(), " "+row+" ") {
			t.Errorf("no row %q in:\n%s", row, out.String())
		}
	}
}

// An answer that nobody expects is an error that names it.
func TestAnotherAnswerFailsTheRun(t *testing.T) {
	e, err := newEnvironment(gateway(t))
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	s, err := e.run(candidate{name: "wrong", site: `respond "no" 403`})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	j := e.job(s, fresh, 64, 1)
	j.Most, j.Duration = 3, patience
	if _, err := e.drive(s, j, nil); err == nil || !strings.Contains(err.Error(), "403 with 2 bytes:3") {
		t.Errorf("the app was never asked: %v", err)
	}
	j.Want = answer{403, 2}
	if _, err := e.drive(s, j, nil); err == nil || !strings.Contains(err.Error(), "the app got 0 deliveries, not 3") {
		t.Errorf("the app got nothing: %v", err)
	}
}

// TestVisits: as many deliveries as there are tenants, from any serial number on, are one
// of each.
func TestVisits(t *testing.T) {
	for _, n := range []int{1, 1000, 10_000} {
		d, err := newDeliverer(job{Provider: "standard_webhooks", Key: "whsec_bjlXZDRrVHEyUlo4eU0zYVA2", Path: "/hooks/shop", Tenants: n, First: 12_345, Most: n, Body: 64})
		if err != nil {
			t.Fatal(err)
		}
		all, err := d.prepare()
		if err != nil {
			t.Fatal(err)
		}
		paths := make(map[string]bool)
		for _, one := range all {
			paths[one.path] = true
		}
		if len(paths) != n {
			t.Errorf("%d deliveries are those of %d tenants", n, len(paths))
		}
	}
}
