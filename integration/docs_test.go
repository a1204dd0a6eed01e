package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/certtest"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A codeBlock is one fenced block of a documentation page.
type codeBlock struct {
	place    string // file:line
	language string // first word behind the fence
	text     string
}

// codeBlocks returns the fenced blocks of README.md and docs/**/*.md.
func codeBlocks(t testing.TB) []codeBlock {
	t.Helper()
	pages := []string{filepath.Join("..", "README.md")}
	_ = filepath.WalkDir(filepath.Join("..", "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return nil // no docs, no pages
	})
	var all []codeBlock
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var block *codeBlock
		for n, line := range strings.Split(string(text), "\n") {
			fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
			switch {
			case isFence && block == nil:
				language, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(fence)), " ")
				block = &codeBlock{place: fmt.Sprintf("%s:%d", strings.TrimPrefix(filepath.ToSlash(page), "../"), n+1), language: language}
			case isFence:
				all = append(all, *block)
				block = nil
			case block != nil:
				block.text += line + "\n"
			}
		}
		if block != nil {
			t.Errorf("%s: the block has no end", block.place)
		}
	}
	return all
}

// TestDocumentedCaddyfiles validates every Caddyfile in the documentation. A block
// may be a complete file, part of a site, or lines of one verify_webhook block; a
// json block with an id is a provider file that Caddyfiles of its page may name.
func TestDocumentedCaddyfiles(t *testing.T) {
	t.Parallel()
	blocks := codeBlocks(t)
	dir := t.TempDir()
	writeProviderFiles(t, dir)
	ca, _, _ := certtest.New(t)
	writeNATSFiles(t, dir, ca)
	for n, b := range blocks {
		if b.language != "caddyfile" && b.language != "caddy" || b.ofProvider() != "" {
			continue
		}
		t.Run(b.place, func(t *testing.T) {
			path := filepath.Join(dir, fmt.Sprintf("%d.Caddyfile", n))
			text := strings.ReplaceAll(wholeCaddyfile(b.text), natsFiles, filepath.ToSlash(dir)+"/")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"adapt", "validate"} {
				if out, err := caddy(t, dir, dummyEnv(b.text), command, "--adapter", "caddyfile", "--config", path); err != nil {
					t.Errorf("%s: caddy %s: %v\n%s", b.place, command, err, lastLines(out, 3))
				}
			}
		})
	}
}

// writeProviderFiles writes the provider files of the documentation.
func writeProviderFiles(t testing.TB, dir string) {
	t.Helper()
	for _, b := range codeBlocks(t) {
		var file struct{ ID string }
		if b.language == "json" && json.Unmarshal([]byte(b.text), &file) == nil && file.ID != "" {
			if err := os.WriteFile(filepath.Join(dir, file.ID+".json"), []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// ofProvider returns the id of the provider whose generated page contains the block.
func (b codeBlock) ofProvider() string {
	name, ok := strings.CutPrefix(b.place, "docs/providers/")
	id, _, found := strings.Cut(name, ".md:")
	if !ok || !found || id == "README" {
		return ""
	}
	return id
}

// TestProviderPages validates the Caddyfiles of all generated pages in one run, each
// under its own host. Only if that fails each is validated separately, to name it.
func TestProviderPages(t *testing.T) {
	t.Parallel()
	var texts, env []string
	var ids []string
	for _, b := range codeBlocks(t) {
		id := b.ofProvider()
		if id == "" || b.language != "caddyfile" {
			continue
		}
		const host = "hooks.example.com {"
		if !strings.HasPrefix(b.text, host) {
			t.Errorf("%s: the block does not begin with %s", b.place, host)
			continue
		}
		p, err := providers.Get(id)
		if err != nil {
			t.Errorf("%s: %v: run go generate ./...", b.place, err)
			continue
		}
		ids = append(ids, id)
		texts = append(texts, fmt.Sprintf("http://%s.example:8080 {", strings.ReplaceAll(id, "_", "-"))+strings.TrimPrefix(b.text, host))
		env = append(env, dummyEnv(b.text)...)
		if key := p.ExamplePublicKey(); key != "" {
			env = append(env, strings.ToUpper(id)+"_PUBLIC_KEY="+key) // the last of a name counts
		}
	}
	if all, err := providers.All(); err != nil || len(ids) != len(all) {
		t.Errorf("%d pages of %d providers (%v): run go generate ./...", len(ids), len(all), err)
	}
	dir := t.TempDir()
	validate := func(text string) error {
		path := filepath.Join(dir, "pages.Caddyfile")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
		out, err := caddy(t, dir, env, "validate", "--adapter", "caddyfile", "--config", path)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, lastLines(out, 3))
		}
		return nil
	}
	if validate(strings.Join(texts, "\n")) == nil {
		return
	}
	for i, text := range texts {
		if err := validate(text); err != nil {
			t.Errorf("docs/providers/%s.md: %v", ids[i], err)
		}
	}
	if !t.Failed() {
		t.Error("the pages' Caddyfiles are not valid together, but each is alone")
	}
}

// inSite matches the first word of a part of a site block.
var inSite = regexp.MustCompile(`^(@\w+|handle|handle_path|handle_errors|route|verify_webhook|reverse_proxy|respond|log|header|import)$`)

// wholeCaddyfile completes a fragment.
func wholeCaddyfile(text string) string {
	first := ""
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(f[0], "#") {
			first = f[0]
			break
		}
	}
	switch {
	case inSite.MatchString(first):
		return "http://:8080 {\n" + text + "}\n"
	case strings.ContainsAny(first, "{}().:") || first == "localhost":
		return text
	}
	return "http://:8080 {\nverify_webhook github {\nsecret of-the-docs-test\n" + text + "}\n}\n"
}

var envName = regexp.MustCompile(`\{(?:env\.|\$)(\w+)[:}]`)

// dummyEnv gives every variable in a text a value that is a key in every notation, or
// a public key if its name says so.
func dummyEnv(text string) []string {
	var env []string
	for _, m := range envName.FindAllStringSubmatch(text, -1) {
		sum := sha256.Sum256([]byte(m[1]))
		value := hex.EncodeToString(sum[:])
		if strings.Contains(m[1], "PUBLIC") {
			value = strings.TrimPrefix(edPublicKey(), "whpk_")
		}
		env = append(env, m[1]+"="+value)
	}
	return env
}

func lastLines(text string, n int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// example starts Caddyfile.example on other ports, and returns a replacer for its
// ports in commands.
func example(t testing.TB) (*gateway, *strings.Replacer) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "Caddyfile.example"))
	if err != nil {
		t.Fatal(err)
	}
	_, standIn, _ := net.SplitHostPort(freeAddress())
	whole := strings.NewReplacer("localhost:2019", "ADMIN", "8080", "PORT", "8081", standIn).Replace(string(text))
	g := start(t, setup{whole: whole})
	_, port, _ := net.SplitHostPort(g.address)
	_, admin, _ := net.SplitHostPort(g.admin)
	return g, strings.NewReplacer("8080", port, "8081", standIn, "2019", admin)
}

// TestExample: Caddyfile.example starts with one warning, that the documentation prints
// its secrets, and accepts genuine deliveries of each of its senders; nothing else is
// answered 2xx.
func TestExample(t *testing.T) {
	t.Parallel()
	g, _ := example(t)
	printed := 0
	for _, l := range g.log.all() {
		switch {
		case !l.ours() || l.text("level") != "warn":
		case strings.Contains(l.text("msg"), "documentation prints"):
			printed++
		default:
			t.Errorf("warned at start: %s", l.raw)
		}
	}
	if printed != 1 {
		t.Errorf("warned %d times of printed secrets, want once", printed)
	}
	for n, s := range []struct {
		sender
		key string
	}{
		{aryeo, "aK3vX9mQ7dT2sW5p"}, {yapily, "yR8nL4hZ6cB1fJ3g"}, {yapily, "yV2kD7qM9xT5wP8s"}, {workspace, "xG5tN1rC8jH4bS6z"},
		{generic, "gW9pF3lK7vQ2mD5x"}, {stripe, "whsec_T6zB2cR9nJ4hY8kV1sL5"}, {github, "hP7wM3xD9qS5tK1v"},
	} {
		body := s.body + strings.Repeat(" ", n) // a new event
		m := s.deliver(t, s.key, time.Now(), []byte(body))
		if m.header.Get("X-Team") != "" {
			m.header.Set("X-Team", "listings")
		}
		if a, _ := g.send(t, "HTTP/1.1", m); a.status != http.StatusOK || a.body != "taken from "+s.name+"\n" {
			t.Errorf("%s: answered %d %q, want 200", s.name, a.status, a.body)
		}
		m.body = append(bytes.Clone(m.body), ' ')
		if status := g.status(t, m); status != http.StatusUnauthorized {
			t.Errorf("%s, altered: answered %d, want 401", s.name, status)
		}
	}
	// An empty 200 for a mistyped address would tell the sender that its events were
	// accepted.
	for _, path := range []string{"/hooks/stripe/", "/hooks/strip", "/hooks/", "/hooks", "/hook/stripe", "/", "/stripe"} {
		if status := g.status(t, message{path: path, body: []byte("{}")}); status != http.StatusNotFound {
			t.Errorf("%s: answered %d, want 404", path, status)
		}
	}
}

// TestDocumentedCommands runs the README's curl lines against the example; a genuine
// delivery must be among them.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	var blocks []codeBlock
	for _, b := range codeBlocks(t) {
		if strings.HasPrefix(b.place, "README.md") && slices.Contains([]string{"sh", "bash", "shell"}, b.language) &&
			strings.Contains(b.text, "curl") && !strings.Contains(b.text, "go run") && !strings.Contains(b.text, "docker") {
			blocks = append(blocks, b)
		}
	}
	if len(blocks) == 0 {
		t.Skip("README.md has no ```sh block with curl")
	}
	for _, command := range []string{"bash", "curl", opensslTool} {
		needs(t, command)
	}
	g, ports := example(t)
	for _, b := range blocks {
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", ports.Replace(b.text))
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		t.Logf("%s printed:\n%s", b.place, out)
		if err != nil {
			t.Errorf("%s: %v", b.place, err)
		}
	}
	accepted := 0.0
	for line := range strings.Lines(g.adminGet(t, "/metrics")) {
		if strings.HasPrefix(line, "caddy_verify_webhook_requests_total{") && strings.Contains(line, `outcome="delivered"`) {
			accepted++
		}
	}
	if accepted == 0 {
		t.Error("no delivery of the README was genuine")
	}
}
