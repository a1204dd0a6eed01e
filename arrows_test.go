package verifywebhook_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/verify-webhook/caddy-verify-webhook"

// rooms lists every package with what it may import: of this module, and from
// outside by module. A package that is not listed fails the test; so does an
// arrow that is. What a table cannot say: the files of Explain in verifier are
// held apart by a test of that package.
var rooms = map[string]struct{ ours, outside []string }{
	".":         {ours: []string{"caddymodule", "caddymodule/command"}},
	"cmd/caddy": {ours: []string{"", "caddymodule/nats", "caddymodule/redis"}, outside: []string{caddy}},

	// The gateway. Nothing but the root imports the commands.
	"caddymodule": {
		ours: []string{
			"caddymodule/adminapi", "caddymodule/adminhttp", "caddymodule/attempt", "caddymodule/boxes", "caddymodule/direct", "caddymodule/history", "caddymodule/keys", "caddymodule/logging", "caddymodule/metrics", "caddymodule/option",
			"caddymodule/placement", "caddymodule/rejected", "caddymodule/stores", "caddymodule/tenants",
			"dedupe", "inbox", "internal/appview", "internal/configfile", "internal/known", "internal/nearest", "internal/version", "verifier", "verifier/providers",
		},
		outside: []string{caddy, zap, "go.opentelemetry.io/otel"},
	},
	"caddymodule/adminapi":  {},
	"caddymodule/adminhttp": {outside: []string{caddy}},
	"caddymodule/attempt":   {ours: []string{"inbox"}, outside: []string{caddy}},
	"caddymodule/boxes": {
		ours: []string{
			"caddymodule/adminapi", "caddymodule/adminhttp", "caddymodule/keys", "caddymodule/logging", "caddymodule/metrics", "caddymodule/option", "caddymodule/rejected",
			"inbox", "inbox/bolt", "verifier",
		},
		outside: []string{caddy, zap},
	},
	"caddymodule/direct":    {outside: []string{caddy, "golang.org/x/net"}},
	"caddymodule/history":   {ours: []string{"caddymodule/adminapi", "caddymodule/keys", "caddymodule/metrics", "caddymodule/rejected"}},
	"caddymodule/keys":      {ours: []string{"internal/configfile", "verifier", "verifier/providers"}, outside: []string{caddy, zap, "github.com/hashicorp/golang-lru/v2", "golang.org/x/sys"}},
	"caddymodule/logging":   {outside: []string{caddy, zap}},
	"caddymodule/metrics":   {ours: []string{"internal/version", "verifier"}, outside: []string{prometheus}},
	"caddymodule/page":      {ours: []string{"caddymodule/adminapi"}},
	"caddymodule/option":    {ours: []string{"internal/nearest"}, outside: []string{caddy, "github.com/dustin/go-humanize"}},
	"caddymodule/placement": {outside: []string{caddy, zap}},
	"caddymodule/tenants":   {ours: []string{"caddymodule/keys", "caddymodule/logging", "caddymodule/option", "verifier"}, outside: []string{caddy, zap, "github.com/hashicorp/golang-lru/v2", "golang.org/x/sys"}},
	"caddymodule/rejected":  {ours: []string{"caddymodule/adminapi", "caddymodule/keys", "verifier", "verifier/providers"}},
	"caddymodule/stores":    {ours: []string{"caddymodule/keys", "caddymodule/option", "dedupe", "dedupe/bolt", "internal/nearest"}, outside: []string{caddy}},
	"caddymodule/nats":      {ours: []string{"caddymodule/boxes", "caddymodule/keys", "caddymodule/option", "inbox", "inbox/nats", "internal/configfile"}, outside: []string{caddy, "github.com/dustin/go-humanize"}},
	"caddymodule/redis":     {ours: []string{"caddymodule/keys", "caddymodule/option", "caddymodule/stores", "dedupe", "dedupe/redis", "internal/configfile"}, outside: []string{caddy, zap, "github.com/redis/go-redis/v9"}},
	"caddymodule/command": {
		ours: []string{
			"caddymodule", "caddymodule/adminapi", "caddymodule/keys", "caddymodule/page", "caddymodule/rejected", "dedupe", "internal/nearest", "internal/providerpage", "internal/rawhttp", "internal/version", "internal/wrap",
			"internal/template", "verifier", "verifier/providers", "verifier/providers/check",
		},
		outside: []string{caddy, "github.com/spf13/cobra", "github.com/google/uuid", "github.com/dustin/go-humanize", "golang.org/x/term"},
	},

	// Libraries: neither Caddy nor each other.
	"verifier":           {ours: []string{"internal/formdata", "internal/httptoken", "internal/jsonpath", "internal/jsonstyle", "internal/nearest", "internal/template"}, outside: []string{"github.com/dunglas/httpsfv", "golang.org/x/crypto", "golang.org/x/text"}},
	"verifier/providers": {ours: []string{"internal/nearest", "verifier"}},
	"dedupe":             {},
	"dedupe/bolt":        {ours: []string{"dedupe"}, outside: []string{"go.etcd.io/bbolt"}},
	"dedupe/redis":       {ours: []string{"dedupe"}, outside: []string{"github.com/redis/go-redis/v9"}},

	"inbox":      {},
	"inbox/bolt": {ours: []string{"inbox", "inbox/internal/index"}, outside: []string{"go.etcd.io/bbolt"}},
	"inbox/nats": {ours: []string{"inbox", "inbox/internal/index"}, outside: []string{"github.com/nats-io/nats.go"}},

	"inbox/internal/index": {ours: []string{"inbox"}},

	// Tools for authors, generators and tests.
	"verifier/providers/check":      {ours: []string{"internal/nearest", "internal/template", "verifier", "verifier/providers"}},
	"dedupe/storetest":              {ours: []string{"dedupe"}, outside: []string{"pgregory.net/rapid"}},
	"inbox/inboxtest":               {ours: []string{"inbox"}, outside: []string{"pgregory.net/rapid"}},
	"inbox/internal/enginetest":     {ours: []string{"inbox", "inbox/inboxtest", "inbox/internal/index"}},
	"internal/providerpage":         {ours: []string{"dedupe", "internal/jsonpath", "internal/known", "internal/template", "internal/wrap", "verifier", "verifier/providers"}},
	"internal/version":              {},
	"internal/wrap":                 {},
	"internal/providerpage/gen":     {ours: []string{"internal/providerpage"}},
	"integration":                   {},
	"integration/bench":             {ours: []string{"verifier", "verifier/providers"}},
	"integration/differential":      {ours: []string{"verifier", "verifier/providers"}},
	"integration/differential/draw": {ours: []string{"integration/differential", "internal/template", "verifier", "verifier/providers"}},
	"internal/known":                {ours: []string{"dedupe", "internal/appview", "verifier", "verifier/providers"}},
	"internal/redistest":            {},
	"internal/certtest":             {},

	// Leaves: bytes in, facts out.
	"internal/appview":    {ours: []string{"internal/alike"}},
	"internal/configfile": {},
	"internal/alike":      {},
	"internal/formdata":   {ours: []string{"internal/alike", "internal/httptoken"}},
	"internal/httptoken":  {},
	"internal/jsonpath":   {ours: []string{"internal/alike"}},
	"internal/jsonstyle":  {},
	"internal/nearest":    {},
	"internal/rawhttp":    {ours: []string{"internal/httptoken", "internal/nearest"}},
	"internal/template":   {ours: []string{"internal/httptoken", "internal/jsonpath", "internal/nearest"}},
}

const (
	caddy      = "github.com/caddyserver/caddy/v2"
	zap        = "go.uber.org/zap"
	prometheus = "github.com/prometheus/client_golang"
)

func TestArrows(t *testing.T) {
	used := make(map[string]map[string]bool)
	for file, imports := range productImports(t) {
		dir := filepath.ToSlash(filepath.Dir(file))
		room, listed := rooms[dir]
		if used[dir] == nil {
			used[dir] = make(map[string]bool)
			if !listed {
				t.Errorf("%s is not listed: say what it may import", dir)
			}
		}
		for _, path := range imports {
			used[dir][path] = true
			if within, ours := strings.CutPrefix(path, module); ours {
				if within = strings.TrimPrefix(within, "/"); !slices.Contains(room.ours, within) {
					t.Errorf("%s imports %s: of this module %s may import %q", file, path, dir, room.ours)
				}
			} else if strings.Contains(strings.Split(path, "/")[0], ".") && !slices.ContainsFunc(room.outside, func(m string) bool { return isUnder(path, m) }) {
				t.Errorf("%s imports %s: from outside %s may import %q", file, path, dir, room.outside)
			}
		}
	}
	for dir, room := range rooms {
		for _, within := range room.ours {
			if !used[dir][strings.TrimSuffix(module+"/"+within, "/")] {
				t.Errorf("%s does not import %q: remove the arrow", dir, within)
			}
		}
		for _, m := range room.outside {
			any := false
			for path := range used[dir] {
				any = any || isUnder(path, m)
			}
			if !any {
				t.Errorf("%s does not import %s: remove the arrow", dir, m)
			}
		}
	}
}

func isUnder(path, module string) bool { return path == module || strings.HasPrefix(path, module+"/") }

// productImports lists the imports of every file that is not a test, by its path.
// Modules of their own (cmd/build, deploy/check) are left out.
func productImports(t *testing.T) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			nested, _ := filepath.Glob(filepath.Join(path, "go.mod"))
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || len(nested) > 0) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		all[path] = nil
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all[path] = append(all[path], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestTheGatewayOpensNoFileItself: internal/configfile refuses pipes, which would block
// a start, and the stores have checks of their own. Commands may read a pipe.
func TestTheGatewayOpensNoFileItself(t *testing.T) {
	for path := range productImports(t) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if !isUnder(dir, "caddymodule") || dir == "caddymodule/command" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{"os.ReadFile(", "os.Open("} {
			if strings.Contains(string(text), call) {
				t.Errorf("%s calls %s…): use configfile.Read", path, call)
			}
		}
	}
}
