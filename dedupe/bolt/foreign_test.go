package bolt

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"go.etcd.io/bbolt"
)

// foreignFiles make something at a path that no store has made.
var foreignFiles = map[string]func(t *testing.T, path string){
	"a text":  func(t *testing.T, path string) { write(t, path, []byte("an important text")) },
	"zeros":   func(t *testing.T, path string) { write(t, path, make([]byte, 1<<16)) },
	"a short": func(t *testing.T, path string) { write(t, path, []byte("x")) },
	"a directory": func(t *testing.T, path string) {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	},
	"a socket": func(t *testing.T, path string) {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	},
	"a link to a text": func(t *testing.T, path string) {
		write(t, path+".target", []byte("an important text"))
		if err := os.Symlink(path+".target", path); err != nil {
			t.Fatal(err)
		}
	},
	"a database of another program": func(t *testing.T, path string) {
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("members"))
			return err
		})
		if err = errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	},
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAForeignFileIsLeftAlone: a path that is a mistake destroys nothing: what is there
// is neither deleted, nor renamed, nor changed, nor does the start wait for it.
func TestAForeignFileIsLeftAlone(t *testing.T) {
	for name, put := range foreignFiles {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "bolt") // short enough for a socket
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			path := filepath.Join(dir, "d.db")
			put(t, path)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			text := content(path)
			s, l := open(t, path)
			s.Done(t.Context(), key(1), dedupe.Mark{Status: 200, TTL: time.Hour})
			expect(t, s, key(1), true)
			if h := s.Health(); h == nil || !strings.Contains(h.Error(), "left alone") || !strings.Contains(l.String(), "left alone") {
				t.Errorf("health: %v, log: %s", h, l)
			}
			if err := s.Close(); err == nil {
				t.Error("closes as if the deliveries were in the file")
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() {
				t.Fatalf("before: %v, after: %v, %v", before, after, err)
			}
			if !bytes.Equal(content(path), text) {
				t.Error("it was changed")
			}
			if aside, _ := filepath.Glob(path + ".damaged*"); len(aside) > 0 {
				t.Errorf("renamed: %v", aside)
			}
		})
	}
}

// content reads a file; reading a pipe would wait for its writer.
func content(path string) []byte {
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	text, _ := os.ReadFile(path)
	return text
}
