package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// refusedWith matches the reasons of refusals in the handler's source.
var refusedWith = regexp.MustCompile(`refusal\{\s*reason: "(\w+)"`)

// TestTroubleshooting: exactly the reasons have a section.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	var reasons []string
	for _, r := range verifier.Reasons {
		reasons = append(reasons, string(r))
	}
	for _, o := range []dedupe.Outcome{dedupe.Busy, dedupe.Overloaded, dedupe.StoreDown} {
		reasons = append(reasons, o.String())
	}
	sources, _ := filepath.Glob(filepath.Join("..", "caddymodule", "*.go"))
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range refusedWith.FindAllSubmatch(source, -1) {
			reasons = append(reasons, string(m[1]))
		}
	}
	slices.Sort(reasons)
	reasons = slices.Compact(reasons)
	if len(reasons) < 18 {
		t.Errorf("only %d reasons found: %v", len(reasons), reasons)
	}
	text, err := os.ReadFile(filepath.Join("..", "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	var sections []string
	for _, m := range regexp.MustCompile(`(?m)^## ([a-z]+_?[a-z_]*)$`).FindAllStringSubmatch(string(text), -1) {
		sections = append(sections, m[1])
	}
	slices.Sort(sections)
	if !slices.Equal(sections, reasons) {
		t.Errorf("troubleshooting.md has sections\n%v\nthe program has reasons\n%v", sections, reasons)
	}
	for _, r := range reasons {
		if !strings.Contains(string(text), "["+r+"](#"+r+")") {
			t.Errorf("troubleshooting.md: the table of statuses does not name %s", r)
		}
	}
}

// TestDocumentedPrograms: code for apps is at least valid. Go is compiled; for other
// languages the syntax is checked if the interpreter is installed.
func TestDocumentedPrograms(t *testing.T) {
	t.Parallel()
	seen := make(map[string]int)
	for _, b := range codeBlocks(t) {
		if b.ofProvider() != "" {
			continue
		}
		file, args := "", []string(nil)
		switch b.language {
		case "go":
			file, args = "main.go", []string{"go", "vet", "."}
		case "js":
			file, args = "app.js", []string{"node", "--check", "app.js"}
		case "python":
			file, args = "app.py", []string{"python3", "-c", "import ast; ast.parse(open('app.py').read())"}
		case "ruby":
			file, args = "app.rb", []string{"ruby", "-c", "app.rb"}
		default:
			continue
		}
		seen[b.language]++
		t.Run(b.place, func(t *testing.T) {
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skipf("%s is not installed", args[0])
			}
			dir := t.TempDir()
			for name, text := range map[string]string{file: b.text, "go.mod": "module documented\n\ngo 1.26\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			cmd.Dir, cmd.Env = dir, append(append(os.Environ(), plainly...), "GOWORK=off")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", b.place, err, out)
			}
		})
	}
	for _, language := range []string{"go", "js", "python", "ruby"} {
		if seen[language] == 0 {
			t.Errorf("no %s in the documentation", language)
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
)

// anchors returns the anchors of a page, as GitHub makes them.
func anchors(text string) (all []string) {
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		kept := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', r >= 'a' && r <= 'z', r >= '0' && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		all = append(all, kept)
	}
	return all
}

// TestDocumentedLinks: links into this repository have a target.
func TestDocumentedLinks(t *testing.T) {
	t.Parallel()
	pages, _ := filepath.Glob(filepath.Join("..", "docs", "*.md"))
	more, _ := filepath.Glob(filepath.Join("..", "*.md"))
	listed, err := os.ReadFile(filepath.Join("..", "docs", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, more...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(page); filepath.Base(filepath.Dir(page)) == "docs" && name != "README.md" && !strings.Contains(string(listed), "("+name+")") {
			t.Errorf("docs/README.md does not list %s", name)
		}
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, ":") { // another site
				continue
			}
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), filepath.FromSlash(path))
			}
			info, err := os.Stat(target)
			if err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(page), m[1], err)
				continue
			}
			if anchor == "" || info.IsDir() {
				continue
			}
			there, err := os.ReadFile(target)
			if err != nil || !slices.Contains(anchors(string(there)), anchor) {
				t.Errorf("%s: %s: no such heading", filepath.Base(page), m[1])
			}
		}
	}
}
