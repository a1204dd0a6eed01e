package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/certtest"
)

// put writes a file the way that leaves no half of it to be seen: beside it,
// then renamed over it.
func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// signed is a delivery of the GitHub kind with a key of the test's own.
func signed(t testing.TB, path, key string) message {
	confide(key)
	return at(path).deliver(t, key, time.Now(), []byte(jsonBody))
}

// status sends and returns what came back.
func (g *gateway) status(t testing.TB, m message) int {
	t.Helper()
	a, _ := g.send(t, "HTTP/1.1", m)
	return a.status
}

// comesTo waits until a delivery is answered with a status.
func (g *gateway) comesTo(t testing.TB, what string, status int, m message) {
	t.Helper()
	eventually(t, what, func() bool { return g.status(t, m) == status })
}

// TestKeyFiles: keys in files change without a reload, and a file that cannot be
// used changes nothing.
func TestKeyFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.ToSlash(t.TempDir())
	path := dir + "/key"
	put(t, path, "file-key-one-11\n")
	g := start(t, setup{site: "verify_webhook /file github {file." + path + "}\nreverse_proxy APP"})
	one, two := signed(t, "/file", "file-key-one-11"), signed(t, "/file", "file-key-two-22")
	if g.status(t, one) != http.StatusOK || g.status(t, two) != http.StatusUnauthorized {
		t.Fatal("the key of the file does not verify, or another does")
	}

	put(t, path, "file-key-two-22\r\n")
	g.comesTo(t, "the new key", http.StatusOK, two)
	if s := g.status(t, one); s != http.StatusUnauthorized {
		t.Errorf("the old key: %d, want 401", s)
	}

	put(t, path, "file-key-two-22\nfile-key-one-11\n")
	g.comesTo(t, "the second line", http.StatusOK, one)
	if s := g.status(t, two); s != http.StatusOK {
		t.Errorf("the first line: %d, want 200", s)
	}
	put(t, path, "file-key-two-22\n")
	g.comesTo(t, "a removed line", http.StatusUnauthorized, one)

	put(t, path, "")
	broken := g.log.await(t, "an unusable key file", saying("cannot use key file"))
	if broken.text("level") != "error" || broken.text("name") != "github" {
		t.Errorf("the log line has level %q and name %q", broken.text("level"), broken.text("name"))
	}
	if n := g.metric(t, `caddy_verify_webhook_key_errors_total{name="github"}`); n < 1 {
		t.Errorf("key_errors_total %v, want 1 or more", n)
	}
	if s := g.status(t, two); s != http.StatusOK {
		t.Errorf("the last usable key: %d, want 200", s)
	}

	put(t, path, "file-key-one-11")
	g.comesTo(t, "the key after the damage", http.StatusOK, one)
	g.log.await(t, "the file is usable again", saying("key file is usable again"))
	for _, l := range g.log.all() {
		if strings.Contains(l.text("msg"), "config") && strings.Contains(l.text("msg"), "reload") {
			t.Errorf("the key changed with a reload: %s", l.raw)
		}
	}
}

// TestKubernetesSecret: a mounted secret is a directory of links into a
// dot-directory behind one more link, which is swapped.
func TestKubernetesSecret(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("links want privileges there")
	}
	dir := filepath.ToSlash(t.TempDir())
	mount := func(generation string, keys map[string]string) {
		for name, key := range keys {
			put(t, filepath.Join(dir, generation, name), key)
		}
		for link, target := range map[string]string{"..new": generation, "old": "..data/old", "new": "..data/new"} {
			if _, ok := keys[link]; ok || link == "..new" {
				_ = os.Remove(filepath.Join(dir, link))
				if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	mount("..2024_01", map[string]string{"old": "mounted-key-aa", "new": "mounted-key-bb"})
	g := start(t, setup{site: "verify_webhook github {file." + dir + "} {\ndedupe off\n}\nreverse_proxy APP {\nheader_up X-Key {http.verify_webhook.key}\n}"})
	for key, label := range map[string]string{"mounted-key-aa": "old", "mounted-key-bb": "new"} {
		a, got := g.send(t, "HTTP/1.1", signed(t, "/", key))
		wantTaken(t, label, a, got)
		if k := got[0].Header.Get("X-Key"); k != label {
			t.Errorf("{http.verify_webhook.key} is %q, want the file's name %q", k, label)
		}
	}
	mount("..2024_02", map[string]string{"old": "mounted-key-bb", "new": "mounted-key-cc"})
	g.comesTo(t, "the swapped key", http.StatusOK, signed(t, "/", "mounted-key-cc"))
	if s := g.status(t, signed(t, "/", "mounted-key-aa")); s != http.StatusUnauthorized {
		t.Errorf("the key that was taken away: %d, want 401", s)
	}
}

// TestKeyFileAppearsLate: a handler without a key answers 503, the others work,
// and it works too once its file is there.
func TestKeyFileAppearsLate(t *testing.T) {
	t.Parallel()
	dir := filepath.ToSlash(t.TempDir())
	g := start(t, setup{site: "handle /late {\nverify_webhook github {file." + dir + "/late} {\nname late\n}\nreverse_proxy APP\n}\n" +
		"handle /ready {\nverify_webhook github {env.GITHUB_KEY}\nreverse_proxy APP\n}"})
	m := signed(t, "/late", "late-key-99")
	a, got := g.send(t, "HTTP/1.1", m)
	wantRefused(t, "before the file", http.StatusServiceUnavailable, a, got)
	if a.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	g.log.refused(t, "late", "key_unavailable")
	if s := g.status(t, at("/ready").message(t)); s != http.StatusOK {
		t.Errorf("the handler beside it: %d, want 200", s)
	}
	put(t, dir+"/late", "late-key-99")
	g.comesTo(t, "the file is there", http.StatusOK, m)
}

// TestReloadKeepsServing: a reload that is refused leaves the old configuration
// at work, one that is accepted takes its place.
func TestReloadKeepsServing(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY}\nreverse_proxy APP"})
	reload := func(site string) (string, error) {
		if err := g.write(site); err != nil {
			t.Fatal(err)
		}
		defer g.redial(t)
		return caddy(t, g.dir, nil, "reload", "--adapter", "caddyfile", "--config", g.caddyfile(), "--address", g.admin)
	}
	if out, err := reload("verify_webhook github {env.NOT_SET_ANYWHERE}\nreverse_proxy APP"); err == nil {
		t.Fatalf("a configuration without its key was accepted: %s", out)
	}
	if s := g.status(t, github.message(t)); s != http.StatusOK {
		t.Errorf("after a refused reload: %d, want 200", s)
	}
	if out, err := reload("verify_webhook github {env.GITHUB_KEY} {\nname renamed\n}\nreverse_proxy APP"); err != nil {
		t.Fatalf("reload: %v\n%s", err, out)
	}
	a, got := g.send(t, "HTTP/1.1", github.message(t))
	wantTaken(t, "after a reload", a, got)
	if name := got[0].Header.Get("Webhook-Verified"); name != "renamed" {
		t.Errorf("Webhook-Verified: %q, want the new configuration's", name)
	}
	if n := g.metric(t, `caddy_verify_webhook_requests_total{name="github",outcome="delivered",reason=""}`); n != 0 {
		t.Errorf("a name that no configuration has any more is still counted: %v", n)
	}
}

// TestOpenSecretFiles: a file that every user of the machine may write is warned of
// wherever it is named.
func TestOpenSecretFiles(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("all files have the same mode there")
	}
	dir := t.TempDir()
	ca, cert, key := certtest.New(t)
	open := func(path string) string {
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := func(name, text string) string {
		put(t, filepath.Join(dir, name), text)
		return open(filepath.Join(dir, name))
	}
	encrypt, password, bearer := file("encrypt", "wGm0v0cG5nT4yqv0gmS0nUS1n5q4mHhXnXk7yQJ1Wxg=\n"), file("password", "password-of-the-store\n"), file("bearer", "token-of-the-endpoint\n")
	put(t, filepath.Join(dir, "tenants", "acme"), "file-key-of-acme\n")
	if err := os.Chmod(filepath.Join(dir, "tenants"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		options, site string
		want          []string
	}{
		{
			"inbox bolt {\nencrypt {file." + encrypt + "}\n}\nstore redis {\naddress 127.0.0.1:1\nnamespace x\npassword {file." + password + "}\ntls " + open(ca) + "\n}",
			"secret {file." + dir + "/tenants/{tenant}}",
			[]string{"inbox bolt: encrypt {file." + encrypt + "}", "store redis: password {file." + password + "}", "store redis: tls " + ca, "secret {file." + dir + "/tenants/{tenant}}"},
		},
		{
			"inbox nats {\nurl nats://gateway:{file." + password + "}@127.0.0.1:1\nca " + ca + "\ncert " + open(cert) + "\nkey " + open(key) + "\ncredentials " + bearer + "\n}",
			"secret from http http://127.0.0.1:1/{tenant} {\nbearer {file." + bearer + "}\n}",
			[]string{"inbox nats: url {file." + password + "}", "inbox nats: ca " + ca, "inbox nats: cert " + cert, "inbox nats: key " + key, "inbox nats: credentials " + bearer, "bearer {file." + bearer + "}"},
		},
	} {
		path := filepath.Join(dir, "Caddyfile")
		put(t, path, "{\nverify_webhook {\n"+c.options+"\n}\n}\nhttp://:1 {\nverify_webhook github {\nname shop\ntenant {path.2}\n"+c.site+"\n}\n}\n")
		out, err := caddy(t, dir, nil, "validate", "--adapter", "caddyfile", "--config", path)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for line := range strings.Lines(out) {
			if _, option, found := strings.Cut(line, `"msg":"key file is accessible to other users","option":"`); found {
				option, _, _ = strings.Cut(option, `"`)
				if i := slices.Index(c.want, option); i >= 0 && strings.Contains(line, `"level":"warn"`) {
					c.want = slices.Delete(c.want, i, i+1)
				} else {
					t.Errorf("unexpected, or twice: %s", line)
				}
			}
		}
		if len(c.want) > 0 {
			t.Errorf("no warning of %q:\n%s", c.want, out)
		}
	}
}
