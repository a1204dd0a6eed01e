package configfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
