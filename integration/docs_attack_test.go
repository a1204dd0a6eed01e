package integration

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documentedGateways returns every Caddyfile that a reader may copy: complete ones of
// README.md and docs/ (a few of the generated pages), Caddyfile.example, and those of
// deploy/.
func documentedGateways(t testing.TB) (all []codeBlock) {
	t.Helper()
	generated := 0
	for _, b := range codeBlocks(t) {
		if b.language != "caddyfile" && b.language != "caddy" || !strings.Contains(b.text, "verify_webhook") {
			continue
		}
		if b.ofProvider() != "" { // one function makes them all
			if generated++; generated > 3 {
				continue
			}
		}
		b.text = wholeCaddyfile(b.text)
		all = append(all, b)
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	all = append(all, codeBlock{place: "Caddyfile.example", text: read(filepath.Join("..", "Caddyfile.example"))})
	err := filepath.WalkDir(filepath.Join("..", "deploy"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if entry.Name() == "Caddyfile" {
			all = append(all, codeBlock{place: strings.TrimPrefix(filepath.ToSlash(path), "../"), text: read(path)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	siteAddress  = regexp.MustCompile(`(?m)^ *(?:https?://)?(?:[a-z.]*example\.com|localhost)?(?::80[0-9][0-9])? \{$`)
	otherSite    = regexp.MustCompile(`(?m)^ *http://:(3000|8081|9180) \{$`)
	upstream     = regexp.MustCompile(`(reverse_proxy )(?:unix//\S+|\S+:\d+)`)
	providerFile = regexp.MustCompile(`\./(\w+)\.json`)
	dropped      = regexp.MustCompile(`(?m)^ *\t*(?:bind .*|admin .*|persist_config off|(?:shutdown_delay|grace_period) .*)$`)
	transport    = regexp.MustCompile(`(?m) \{\n *\t*transport http \{\n *\t*tls\n *\t*\}\n *\t*\}$`)
	servers      = regexp.MustCompile(`(?m)^\tservers \{\n(?:\t\t.*\n)*\t\}\n`)
	stores       = regexp.MustCompile(`(?m)^ *\t*store (redis|bolt) \{\n(?: *\t+.*\n)*? *\t*\}$`)
)

// attackable changes a documented Caddyfile only so far that it runs here, in front
// of the test's app: other addresses, keys and stores. In addition each site refuses
// large requests before the gateway sees them, and hands these to the app.
func attackable(text string) string {
	text = regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, "APP_", "OUR_") // setup knows another APP
	text = regexp.MustCompile(`\{file\.[^{}]*(?:\{\$[^}]*\})?[^{}]*\}`).ReplaceAllString(text, "{env.OF_A_FILE}")
	text = transport.ReplaceAllString(text, "")
	text = stores.ReplaceAllString(text, "")
	text = dropped.ReplaceAllString(text, "")
	early := fmt.Sprintf("request_body {\nmax_size %d\n}\nhandle_errors 413 {\nreverse_proxy app:1\n}", earlyLimit)
	n := 0
	text = otherSite.ReplaceAllStringFunc(text, func(string) string { n++; return fmt.Sprintf("http://other-site-%d.example:PORT {", n) })
	text = siteAddress.ReplaceAllString(text, "http://:PORT {\nbind 127.0.0.1\n"+early)
	text = upstream.ReplaceAllString(text, "${1}APP")
	global := "admin ADMIN\nskip_install_trust\npersist_config off\nservers {\nprotocols h1 h2c\n}\nlog default {\noutput stderr\nformat json\nlevel DEBUG\n}\n"
	if rest, ok := strings.CutPrefix(strings.TrimSpace(text), "{\n"); ok {
		rest = regexp.MustCompile(`(?s)\t*log default \{.*?\n\t\}\n`).ReplaceAllString(rest, "")
		return "{\n" + global + servers.ReplaceAllString(rest, "")
	}
	return "{\n" + global + "}\n" + text
}

// nearMisses are paths near a sender's that have been seen to bypass a matcher, and
// the sender's own.
func nearMisses(path string) []string {
	last := path[strings.LastIndex(path, "/")+1:]
	dir := strings.TrimSuffix(path, last)
	return []string{
		path, path + "/", path + "//", path + ".json", path + ";x", path + "%2f", path + "%20", path + "%00", path + "x", strings.ToUpper(path),
		dir + "%2e/" + last, dir + "./" + last, dir + "/" + last, "/" + path, dir + "x/../" + last, dir + "%2e%2e" + path, dir + "..%2f" + last,
		strings.TrimSuffix(dir, "/") + ";x/" + last, strings.TrimSuffix(dir, "/") + "%5c" + last, strings.TrimSuffix(dir, "/") + "%2f" + last,
		"/x/.." + path, "/x/%2e%2e" + path, "/x/..;" + path, dir, strings.TrimSuffix(dir, "/"), dir + "zzz", "/", "//", "/zzz", "/%2e%2e/",
	}
}

// senderPaths returns the senders' paths of a Caddyfile.
func senderPaths(text string) (paths []string) {
	for _, m := range regexp.MustCompile(`verify_webhook (/[^\s*]+)`).FindAllStringSubmatch(text, -1) {
		if !strings.HasSuffix(m[1], ".json") {
			paths = append(paths, m[1])
		}
	}
	prefix := ""
	if m := regexp.MustCompile(`verify_webhooks (\S*)/\*`).FindStringSubmatch(text); m != nil {
		prefix = m[1]
		for _, s := range regexp.MustCompile(`(?m)^\s*sender (?:\./)?(\w+)`).FindAllStringSubmatch(text, -1) {
			paths = append(paths, prefix+"/"+s[1])
		}
		for _, s := range regexp.MustCompile(`(?m)^\s*name +(\S+)`).FindAllStringSubmatch(text, -1) {
			paths = append(paths, prefix+"/"+s[1])
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// attack sends all near misses of a Caddyfile's senders with forged marks, and
// returns those that got too far.
func attack(t *testing.T, caddyfile, dir string) (findings []string) {
	t.Helper()
	text := providerFile.ReplaceAllString(attackable(caddyfile), filepath.ToSlash(dir)+"/$1.json")
	g := start(t, setup{whole: text, env: dummyEnv(text)})
	observes := strings.Contains(text, "observe\n")
	for _, path := range senderPaths(caddyfile) {
		for _, target := range nearMisses(path) {
			for _, method := range []string{http.MethodPost, http.MethodGet} {
				for _, protocol := range protocols {
					header := forgedMarks()
					maps.Copy(header, http.Header{"Webhook.Verified": {"github"}, "X-Hub-Signature-256": {"sha256=" + strings.Repeat("0", 64)}})
					a, got, ok := g.sendTarget(t, protocol, method, target, header, `{"type":"forged"}`)
					if !ok {
						continue
					}
					where := protocol + " " + method + " " + target
					if observes && method == http.MethodPost && strings.EqualFold(target, path) { // passes, and has no mark
						wantUnmarked(t, where, got)
						continue
					}
					if len(got) != 0 {
						findings = append(findings, fmt.Sprintf("%s: reached the app, marked %q", where, got[0].Header.Get("Webhook-Verified")))
					}
					if a.status < 400 {
						findings = append(findings, fmt.Sprintf("%s: answered %d", where, a.status))
					}
				}
			}
		}
		for _, one := range g.refuseEarly(t, path) {
			for name := range one.Header {
				if strings.HasPrefix(name, "Webhook") {
					findings = append(findings, path+": what request_body refuses reached handle_errors with "+name)
				}
			}
		}
	}
	return findings
}

// refuseEarly sends a forged request that is larger than the site's request_body, and
// returns what the site's handle_errors pass on of it.
func (g *gateway) refuseEarly(t *testing.T, path string) (got []arrival) {
	t.Helper()
	id := newCase()
	s := g.dial(t)
	s.head(http.MethodPost, path+"?case="+id, append(lines(forgedMarks()), length(earlyLimit+1))...)
	s.write(strings.Repeat("x", earlyLimit+1))
	s.answer()
	eventually(t, path+": handle_errors passed on what request_body refused", func() bool { got = g.app.got(id); return len(got) > 0 })
	return got
}

// earlyLimit is the request_body of attacked sites: more than other attacks send, and
// more than a proxy buffers before it sends the headers.
const earlyLimit = 16 << 10

// TestDocumentedCaddyfilesHold attacks every Caddyfile that a reader may copy with
// what its author may forget: all spellings of paths near the sender's, and forged
// marks. Nothing unverified reaches the app, marked or not.
func TestDocumentedCaddyfilesHold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeProviderFiles(t, dir)
	attacked := 0
	for _, b := range documentedGateways(t) {
		if len(senderPaths(b.text)) == 0 {
			if strings.Contains(b.text, "sender ") || strings.Contains(b.text, "verify_webhook /") {
				t.Errorf("%s: no sender's path found", b.place)
			}
			continue // lines of one handler
		}
		attacked++
		t.Run(b.place, func(t *testing.T) {
			for _, finding := range attack(t, b.text, dir) {
				t.Error(finding)
			}
		})
	}
	if attacked < 20 {
		t.Errorf("only %d Caddyfiles were attacked", attacked)
	}
}

// TestAttackFindsWhatIsUnguarded: the attack on the documentation succeeds against an
// unguarded matcher.
func TestAttackFindsWhatIsUnguarded(t *testing.T) {
	t.Parallel()
	for what, site := range map[string]string{
		"a catch-all proxy": "verify_webhook /hooks/github github {env.GITHUB_SECRET}\nreverse_proxy app:3000",
		"a guard that Caddy sorts behind a nested handle": `handle /hooks/* {
			verify_webhook /hooks/github github {env.GITHUB_SECRET}
			@unguarded vars {http.verify_webhook.name} ""
			respond @unguarded 404
			handle {
				reverse_proxy app:3000
			}
		}
		respond 404`,
	} {
		if findings := attack(t, "hooks.example.com {\n"+site+"\n}\n", t.TempDir()); len(findings) == 0 {
			t.Errorf("%s: nothing found", what)
		}
	}
}

// TestGuardInARouteHolds: the guard for the single directive, with one app per sender
// in nested handlers, which Caddy would sort before the guard anywhere else.
func TestGuardInARouteHolds(t *testing.T) {
	t.Parallel()
	for _, finding := range attack(t, `hooks.example.com {
	route /hooks/* {
		verify_webhook /hooks/github github {env.GITHUB_SECRET}
		verify_webhook /hooks/stripe stripe {env.STRIPE_SECRET}
		@unguarded vars {http.verify_webhook.name} ""
		respond @unguarded 404
		handle /hooks/github* {
			reverse_proxy app:3000
		}
		handle_path /hooks/* {
			reverse_proxy app:3000
		}
	}
	respond 404
}
`, t.TempDir()) {
		t.Error(finding)
	}
}
