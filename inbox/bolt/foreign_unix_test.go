//go:build unix

package bolt

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// TestAForeignFileIsLeftAlone: a path that is a mistake destroys nothing, and the start
// does not wait for it.
func TestAForeignFileIsLeftAlone(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"a socket": func(path string) error {
			l, err := net.Listen("unix", path)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
		"a text": func(path string) error { return os.WriteFile(path, []byte("an important text"), 0o644) },
		"a database of another program": func(path string) error {
			db, err := bbolt.Open(path, 0o644, nil)
			if err != nil {
				return err
			}
			return errors.Join(db.Update(func(tx *bbolt.Tx) error {
				_, err := tx.CreateBucket([]byte("members"))
				return err
			}), db.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "inbox") // short enough for a socket
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			path := filepath.Join(dir, "i.db")
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			s, l := begin(t, Options{Path: path})
			until(t, "the log does not say so", func() bool { return strings.Contains(l.String(), "left alone") })
			refuses(t, s, inbox.WhyUnavailable, "left alone")
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() || before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) && name != "a directory" {
				t.Errorf("before: %v, after: %v, %v", before, after, err)
			}
			if all, _ := os.ReadDir(dir); len(all) != 1 {
				t.Errorf("files: %v", all)
			}
		})
	}
}
