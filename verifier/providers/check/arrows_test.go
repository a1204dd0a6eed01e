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

// TestArrows: packages that are libraries import what they are built on and
// nothing else. What a gateway does for a request contains no tool for authors of
// provider files and no command: nothing but the commands imports check, nothing
// but the module's root imports the commands. What judges the places of handlers
// knows Caddy alone.
func TestArrows(t *testing.T) {
	mayImport := map[string][]string{
		"verifier/providers":       {"internal/nearest", "verifier"},
		"verifier/providers/check": {"internal/nearest", "internal/template", "verifier", "verifier/providers"},
		"caddymodule/keys":         {"verifier", "verifier/providers"},
		"caddymodule/placement":    nil,
		"caddymodule/adminapi":     nil,
		"internal/appview":         nil,
		"inbox":                    nil,
		"inbox/bolt":               {"go.etcd.io/bbolt", "go.etcd.io/bbolt/errors", "inbox"},
		"inbox/inboxtest":          {"inbox", "pgregory.net/rapid"},
	}
	importedBy := map[string]string{ // by the files of one directory alone
		"verifier/providers/check": "caddymodule/command",
		"caddymodule/command":      ".",
	}
	importers := make(map[string]int)
	for file, imports := range productImports(t) {
		dir := filepath.ToSlash(filepath.Dir(file))
		for _, path := range imports {
			within, ours := strings.CutPrefix(path, module)
			allowed, limited := mayImport[dir]
			if outside := strings.Contains(path, ".") && !ours && !strings.HasPrefix(dir, "caddymodule/"); limited && (outside && !slices.Contains(allowed, path) || ours && !slices.Contains(allowed, within)) {
				t.Errorf("%s imports %s: of ours it may import %q", file, path, allowed)
			}
			if importer, limited := importedBy[within]; limited {
				importers[within]++
				if dir != importer {
					t.Errorf("%s imports %s: only %s does", file, path, importer)
				}
			}
		}
	}
	for path, importer := range importedBy {
		if importers[path] == 0 {
			t.Errorf("%s does not import %s: is the module's path still %s?", importer, path, module)
		}
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
