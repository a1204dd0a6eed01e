package configfile

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/internal/certtest"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	content := bytes.Repeat([]byte("secret"), maxSize/6+1)
	for _, size := range []int{0, 6, maxSize} {
		if err := os.WriteFile(path, content[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if data, err := Read(path); err != nil || !bytes.Equal(data, content[:size]) {
			t.Errorf("%d bytes: got %d, %v", size, len(data), err)
		}
	}
	if err := os.WriteFile(path, content[:maxSize+1], 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		path: "larger than", dir: "not a regular file", filepath.Join(dir, "missing"): "stat",
	} {
		data, err := Read(path)
		if err == nil || data != nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %d bytes, %v", path, len(data), err)
		}
	}
}

func TestAuthorities(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	first, cert, _ := certtest.New(t)
	second, _, _ := certtest.New(t)
	seen := make(map[[32]byte]bool)
	for _, from := range []string{first, second} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		pool, digest, err := Authorities(path)
		if err != nil || seen[digest] {
			t.Errorf("%v, or a digest that was seen: %v", err, seen[digest])
		}
		seen[digest] = true
		want := x509.NewCertPool()
		if want.AppendCertsFromPEM(data); !pool.Equal(want) {
			t.Error("the pool is not what the file holds")
		}
	}
	key := filepath.Join(filepath.Dir(cert), "key.pem")
	for _, bad := range []string{key, filepath.Dir(path), path + ".missing"} {
		if pool, _, err := Authorities(bad); err == nil || pool != nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
