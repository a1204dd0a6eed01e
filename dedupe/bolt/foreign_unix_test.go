//go:build unix

package bolt

import (
	"syscall"
	"testing"
)

func init() {
	foreignFiles["a pipe"] = func(t *testing.T, path string) {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
