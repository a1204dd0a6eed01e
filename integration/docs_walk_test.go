package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const walkPage = "docs/getting-started.md"

// inWalk reports whether a block belongs to the walk through getting-started.md. What
// comes after it, for the real sender, does not end by itself.
func (b codeBlock) inWalk() bool {
	return strings.HasPrefix(b.place, walkPage+":") && !strings.Contains(b.text, "webhook listen")
}

// walkPrograms are those that the walk runs in another way here. The clone and its
// program are this checkout's. A pause also lasts until the app listens: a busy
// machine may take longer than the page expects.
var walkPrograms = map[string]string{
	"git": "mkdir caddy-verify-webhook\n",
	"go":  `[ "$*" = "build -o caddy ./cmd/caddy" ] && ln -s "$REAL" caddy` + "\n",
	"sleep": `PATH=${PATH#*:}
sleep "$1"
until curl --silent --output "$(mktemp)" "$APP_URL"; do sleep 0.1; done
`,
}

// walkShows are the outcomes that the page must promise, in order.
var walkShows = []string{
	"accepted by the app", "Webhook-Duplicate: true",
	"refused by the gateway, as expected", "hint ",
	"github first now", "github second now", "refused as not genuine", "accepted by the app",
	"Webhook-Stored: true", "stored: unreachable",
	"github delivered", `"Webhook-Attempt":["2"]`,
}

// TestGettingStartedInOneTerminal pastes the blocks of docs/getting-started.md, in
// order, into one shell. Each must print what the page shows below it.
func TestGettingStartedInOneTerminal(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"bash", "curl", "awk", opensslTool} {
		needs(t, command)
	}
	dir := t.TempDir()
	term, translate := openTerminal(t, dir)
	var promised strings.Builder
	blocks := codeBlocks(t)
	for i, b := range blocks {
		if b.language != "sh" || !b.inWalk() {
			continue
		}
		want := ""
		if next := blocks[i+1]; next.language == "" && next.inWalk() {
			want = sameForAll(next.text)
			promised.WriteString(want)
		}
		// An older bash completes a name at a tab, and zsh runs a comment.
		if strings.ContainsAny(b.text, "\t#") {
			t.Errorf("%s: a tab or a # cannot be pasted into every terminal", b.place)
		}
		begun := time.Now()
		out, status := term.paste(t, b.place, translate.Replace(b.text))
		if want == "" && status != "0" {
			t.Fatalf("%s: exit %s\n%s", b.place, status, out)
		}
		// What the gateway does in the background may take a moment longer.
		eventually(t, b.place, func() bool {
			missing := firstMissing(sameForAll(out), want)
			if missing != "" {
				t.Logf("%s: not printed yet: %s", b.place, missing)
				out, _ = term.paste(t, b.place, translate.Replace(b.text))
			}
			return missing == ""
		})
		t.Logf("%s: %.1f s", b.place, time.Since(begun).Seconds())
		if strings.Contains(b.text, "caddy start") {
			noWarning(t, filepath.Join(dir, "caddy-verify-webhook", "build", "try", "caddy.log"))
		}
	}
	if missing := firstMissing(promised.String(), strings.Join(walkShows, "\n")); missing != "" {
		t.Errorf("%s does not show: %s", walkPage, missing)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "caddy-verify-webhook", "build", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func noWarning(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"level":"warn"`) && strings.Contains(line, "verify_webhook") {
			t.Errorf("warned at start: %s", line)
		}
	}
}

// A terminal is one shell whose variables, folder and background processes last from
// one pasted block to the next.
type terminal struct {
	in  io.Writer
	out chan string
}

// openTerminal returns a shell in dir, and what replaces the page's ports.
func openTerminal(t *testing.T, dir string) (*terminal, *strings.Replacer) {
	t.Helper()
	binary, err := caddyBinary()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for name, text := range walkPrograms {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/bash\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	site, admin, app := freeAddress(), freeAddress(), freeAddress()
	_, port, _ := net.SplitHostPort(site)
	cmd := exec.Command("bash", "--norc", "--noprofile")
	cmd.Dir = dir
	cmd.Env = append(caddyEnv(dir, nil), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"),
		"REAL="+binary, "CADDY_ADMIN="+admin, "APP_URL=http://"+app)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term := &terminal{in: in, out: make(chan string)}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			term.out <- lines.Text()
		}
	}()
	t.Cleanup(func() { // after a failure the walk's programs still run
		term.paste(t, "cleanup", "caddy stop; kill $APP; wait")
		in.Close()
		_ = cmd.Wait()
	})
	return term, strings.NewReplacer("localhost:2019", admin, ":8080", ":"+port, "127.0.0.1:3000", app)
}

const endOfBlock = "--- end of block, exit "

// paste runs a block and returns what it printed and how it ended.
func (term *terminal) paste(t *testing.T, place, text string) (out, status string) {
	t.Helper()
	if _, err := fmt.Fprintf(term.in, "%s\necho \"%s$?\"\n", strings.TrimSpace(text), endOfBlock); err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	bound := time.NewTimer(patience)
	defer bound.Stop()
	for {
		select {
		case line := <-term.out:
			if status, ended := strings.CutPrefix(line, endOfBlock); ended {
				return out, status
			}
			out += line + "\n"
		case <-bound.C:
			t.Fatalf("%s: not within %s\n%s", place, patience, out)
		}
	}
}

// differing matches what no two runs have in common, and the name that the page and
// a run are compared by.
var differing = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b([0-9a-f]{32}|[0-9a-f]{12})\b`), "ID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "DATE"},
	{regexp.MustCompile(`\b\d+ (second|minute)s? ago\b`), "now"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ms|µs|s)\b`), "TIME"},
	{regexp.MustCompile(`\b\d+ minutes from now\b`), "later"},
	{regexp.MustCompile(`\b\d+ B\b`), "SIZE"},
	{regexp.MustCompile(` +`), " "},
}

// sameForAll replaces what differs from one run to the next.
func sameForAll(text string) string {
	for _, d := range differing {
		text = d.pattern.ReplaceAllString(text, d.name)
	}
	return text
}

// firstMissing returns the first line of want that is not in got after the ones before
// it, or "".
func firstMissing(got, want string) string {
	for line := range strings.Lines(want) {
		line = strings.TrimRight(line, "\n")
		_, rest, found := strings.Cut(got, line)
		if !found {
			return line
		}
		got = rest
	}
	return ""
}
