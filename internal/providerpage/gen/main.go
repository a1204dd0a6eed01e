// Command gen writes docs/providers, a page for each provider, an index, index.html to
// search it and index.json, and removes the pages of deleted providers. go generate ./... runs it.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/verify-webhook/caddy-verify-webhook/internal/providerpage"
)

func main() {
	if err := write(filepath.Join("..", "..", "docs", "providers")); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	files, err := providerpage.Files()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if files[filepath.Base(path)] == nil {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
