package check

import (
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/verify-webhook/caddy-verify-webhook/"

// TestArrows: check imports providers, which imports verifier, and never the
// other way round. Of the product only the commands import check: what a gateway
// does for a request contains no tool for authors of provider files. What judges
// the places of handlers knows Caddy alone.
func TestArrows(t *testing.T) {
	mayImport := map[string][]string{
		"verifier/providers":       {"internal/nearest", "verifier"},
		"verifier/providers/check": {"internal/nearest", "verifier", "verifier/providers"},
		"caddymodule/placement":    nil,
	}
	importers := 0
	for file, imports := range productImports(t) {
		dir := filepath.ToSlash(filepath.Dir(file))
		for _, path := range imports {
			within, ours := strings.CutPrefix(path, module)
			allowed, limited := mayImport[dir]
			if outside := strings.Contains(path, ".") && !ours && !strings.HasPrefix(dir, "caddymodule/"); limited && (outside || ours && !slices.Contains(allowed, within)) {
				t.Errorf("%s imports %s: of ours it may import %q", file, path, allowed)
			}
			if within == "verifier/providers/check" {
				importers++
				if !strings.Contains(filepath.ToSlash(file), "/command") {
					t.Errorf("%s imports %s: only commands do", file, path)
				}
			}
		}
	}
	if importers == 0 {
		t.Error("nothing imports check: is the module's path still " + module + "?")
	}
}

// productImports lists the imports of every file that is not a test, by its path
// below the module's root.
func productImports(t *testing.T) map[string][]string {
	t.Helper()
	root := filepath.Join("..", "..", "..")
	all := make(map[string][]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, path)
		for _, spec := range file.Imports {
			text, _ := strconv.Unquote(spec.Path.Value)
			all[below] = append(all[below], text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
