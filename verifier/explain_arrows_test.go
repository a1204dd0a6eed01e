package verifier

import (
	"errors"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"go/types"
	"os"
	"strings"
	"testing"
)

// noImports leaves imported packages unknown: the type checker resolves this
// package's declarations without them.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not needed") }

// TestEngineKnowsNoExplain: the explain files use the engine, never the other way
// round, so that the engine can be read and reviewed without them.
func TestEngineKnowsNoExplain(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	fset := gotoken.NewFileSet()
	var files []*ast.File
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
	}
	explains := func(at gotoken.Pos) bool { return strings.HasPrefix(fset.Position(at).Filename, "explain") }
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := config.Check("verifier", fset, files, info) // its errors are the imports
	down := 0
	for ident, object := range info.Uses {
		switch {
		case object.Pkg() != pkg || explains(ident.Pos()) == explains(object.Pos()):
		case explains(object.Pos()):
			t.Errorf("%s uses %s of an explain file", fset.Position(ident.Pos()), ident.Name)
		default:
			down++
		}
	}
	if down < 300 {
		t.Errorf("only %d uses of the engine in the explain files: are the names resolved?", down)
	}
}
