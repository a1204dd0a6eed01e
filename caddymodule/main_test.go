package caddymodule

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// TestMain gives the tests a data folder of their own: the default inbox of a Caddy on
// this machine must not be theirs.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "caddymodule")
	if err == nil {
		err = os.Setenv("XDG_DATA_HOME", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	unservedDelay = time.Hour
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
