package integration

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// notHere are programs that need more than this machine: a cluster, a running
// systemd, a user's app. They are not run.
var notHere = []string{"kubectl", "systemctl", "docker", "xcaddy"}

// stub replaces caddy in the documentation's commands. The page's gateway is already
// running; listen and page do not end by themselves.
const stub = `#!/usr/bin/env bash
note() { echo "$1 ${*:2}" >>"$NOTES"; }
case "$1" in run) exit 0 ;; esac
if [[ "$1 $2" == "webhook listen" || "$1 $2" == "webhook page" ]]; then
	timeout 3 "$REAL" "$@"; code=$?
	[[ $code == 124 ]] && code=0
else
	"$REAL" "$@"; code=$?
fi
note $code "$@"
exit $code
`

// A page is one page of the documentation and its commands.
type page struct {
	name     string
	commands []codeBlock
	site     string // a Caddyfile that runs on this machine; "": Caddyfile.example
}

func pagesWithCommands(t testing.TB) []page {
	t.Helper()
	byName := make(map[string]*page)
	var names []string
	for _, b := range codeBlocks(t) {
		name, _, _ := strings.Cut(b.place, ":")
		if !strings.HasPrefix(name, "docs/") || strings.HasPrefix(name, "docs/providers/") || b.inWalk() {
			continue
		}
		p := byName[name]
		if p == nil {
			p = &page{name: name}
			byName[name], names = p, append(names, name)
		}
		switch {
		case b.language == "sh":
			p.commands = append(p.commands, b)
		case b.language == "caddyfile" && p.site == "" && strings.Contains(b.text, "http://:8080 {\n\tbind 127.0.0.1\n"):
			p.site = b.text
		}
	}
	var all []page
	for _, name := range names {
		if len(byName[name].commands) > 0 {
			all = append(all, *byName[name])
		}
	}
	return all
}

var exported = regexp.MustCompile(`(?m)^export (\w+=\S+)`)

// begin starts the page's gateway in dir and returns a replacer for addresses and
// folders in its commands.
func (p page) begin(t testing.TB, dir string) (*gateway, *strings.Replacer) {
	t.Helper()
	if p.site == "" {
		g, ports := example(t)
		return g, strings.NewReplacer(slices.Concat(p.folders(dir), translated(g, ports))...)
	}
	if !strings.HasPrefix(p.site, "{\n\tadmin localhost:2019\n") {
		t.Fatalf("%s: the Caddyfile does not begin with admin localhost:2019", p.name)
	}
	standIn := freeAddress()
	_, standInPort, _ := net.SplitHostPort(standIn)
	whole := strings.NewReplacer(slices.Concat(p.folders(dir), []string{
		"localhost:2019", "ADMIN", "http://:8080 {", "http://:PORT {",
		"http://:3000", "http://:" + standInPort, "127.0.0.1:3000", "APP",
	})...).Replace(p.site)
	if strings.Contains(p.site, "http://:3000 {") { // the page has its own app
		whole = strings.ReplaceAll(whole, "APP", standIn)
	}
	g := start(t, setup{whole: whole, env: p.exports()})
	return g, strings.NewReplacer(slices.Concat(p.folders(dir), translated(g, strings.NewReplacer("8081", standInPort)))...)
}

// exports are the variables that the page sets: each block has a shell of its own.
func (p page) exports() (env []string) {
	for _, b := range p.commands {
		for _, m := range exported.FindAllStringSubmatch(b.text, -1) {
			if !strings.Contains(m[1], "$") {
				env = append(env, m[1])
			}
		}
	}
	return env
}

// folders are those that a page writes to.
func (p page) folders(dir string) []string {
	return []string{"/run/secrets", filepath.ToSlash(dir) + "/secrets"}
}

func translated(g *gateway, ports *strings.Replacer) []string {
	_, port, _ := net.SplitHostPort(g.address)
	_, admin, _ := net.SplitHostPort(g.admin)
	_, listen, _ := net.SplitHostPort(freeAddress())
	const door = "app.example.com:3000" // closed
	return []string{"localhost:8080", "localhost:" + port, "127.0.0.1:8080", "127.0.0.1:" + port, "localhost:2019", "localhost:" + admin,
		"127.0.0.1:9000", "127.0.0.1:" + listen, door, freeAddress(), ":3000", ":" + ports.Replace("8081")}
}

// TestDocumentedWebhookCommands runs the commands of docs/, page by page, in front of
// the page's own gateway or of Caddyfile.example. "# exit 1" after a command is its
// exit status, "# must fail" any failure.
func TestDocumentedWebhookCommands(t *testing.T) {
	t.Parallel()
	needs(t, "bash")
	needs(t, "timeout")
	binary, err := caddyBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pagesWithCommands(t) {
		t.Run(strings.TrimPrefix(p.name, "docs/"), func(t *testing.T) {
			t.Parallel()
			dir, bin := t.TempDir(), t.TempDir()
			for _, name := range append([]string{"caddy"}, notHere...) {
				text := "#!/bin/sh\nexit 0\n"
				if name == "caddy" {
					text = stub
				}
				if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			g, translate := p.begin(t, dir)
			notes := filepath.Join(bin, "notes")
			env := append(caddyEnv(dir, nil), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "CADDY_ADMIN="+g.admin,
				"REAL="+binary, "NOTES="+notes,
				"GITHUB_SECRET=github-test-secret", "STRIPE_SECRET=whsec_stripe-secret")
			env = append(env, p.exports()...)
			for _, b := range p.commands {
				b.run(t, dir, env, translate, notes)
			}
		})
	}
}

// run runs one block and compares how its commands ended.
func (b codeBlock) run(t *testing.T, dir string, env []string, translate *strings.Replacer, notes string) {
	if err := os.WriteFile(notes, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	script := ""
	want, mustFail := 0, false
	for line := range strings.Lines(translate.Replace(b.text)) {
		if strings.HasPrefix(line, "go build ") { // this test's program was built already
			continue
		}
		want += strings.Count(line, "# exit 1")
		mustFail = mustFail || strings.Contains(line, "# must fail")
		script += line
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-uo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	text, readErr := os.ReadFile(notes)
	if readErr != nil {
		t.Fatal(readErr)
	}
	ones, said := 0, strings.TrimSpace(string(text))
	for line := range strings.Lines(said) {
		switch code, command, _ := strings.Cut(strings.TrimSpace(line), " "); code {
		case "0":
		case "1":
			ones++
		default:
			t.Errorf("%s: caddy %s: exit %s", b.place, command, code)
		}
	}
	switch {
	case ones != want:
		t.Errorf("%s: %d commands ended with 1, want %d:\n%s\n%s", b.place, ones, want, said, lastLines(string(out), 20))
	case want == 0 && (err != nil) != mustFail:
		t.Errorf("%s: %v, must fail: %t\n%s", b.place, err, mustFail, lastLines(string(out), 20))
	}
	if t.Failed() {
		t.Logf("%s printed:\n%s", b.place, out)
	}
}
