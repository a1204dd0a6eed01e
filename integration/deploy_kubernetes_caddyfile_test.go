package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKubernetesCaddyfileIsValidOutside: the command in the file's comment needs no
// cluster.
func TestKubernetesCaddyfileIsValidOutside(t *testing.T) {
	t.Parallel()
	dir, text := t.TempDir(), deployed(t, "kubernetes", "Caddyfile")
	const command = `SECRETS="$PWD/secrets" caddy validate --adapter caddyfile --config deploy/kubernetes/Caddyfile`
	if !strings.Contains(text, command) {
		t.Fatal("the command is another")
	}
	mountSecret(t, filepath.Join(dir, "secrets", "redis"), map[string]string{"password": "any"})
	path := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"SECRETS=" + filepath.Join(dir, "secrets")}
	if out, err := caddy(t, dir, env, "validate", "--adapter", "caddyfile", "--config", path); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := caddy(t, dir, nil, "fmt", "--diff", path); err != nil || strings.Contains(out, "\n- ") || strings.Contains(out, "\n+ ") {
		t.Errorf("not formatted: %v\n%s", err, out)
	}
}

// githubWith is a new genuine delivery signed with a key.
func githubWith(t testing.TB, key string) message {
	t.Helper()
	m := github.deliver(t, key, time.Now(), fresh(jsonBody))
	m.header.Set("X-Github-Delivery", newID())
	return m
}

// mountSecret lays out a Secret like kubelet: links to a folder that is replaced as a
// whole.
func mountSecret(t testing.TB, dir string, keys map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	version, err := os.MkdirTemp(dir, "..version_")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range keys {
		if err := os.WriteFile(filepath.Join(version, name), []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
		_ = os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)) // is there after the first time
	}
	next := filepath.Join(dir, "..data_tmp")
	if err := os.Symlink(filepath.Base(version), next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if _, still := keys[e.Name()]; !still && !strings.HasPrefix(e.Name(), "..") {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// TestKubernetesCaddyfile runs the Caddyfile in three gateways in front of one app,
// with the example Secrets mounted as by kubelet and the manifest's Redis.
func TestKubernetesCaddyfile(t *testing.T) {
	t.Parallel()
	all := manifests(t)
	keys := all["Secret/webhook-github"].Secrets
	for _, key := range keys {
		confide(key)
	}
	confide(awkwardPassword)
	all["Secret/webhook-redis"].Secrets["password"] = awkwardPassword
	secrets := t.TempDir()
	for _, name := range []string{"stripe", "github", "redis"} {
		mountSecret(t, filepath.Join(secrets, name), all["Secret/webhook-"+name].Secrets)
	}
	redis := startRedisCommand(t, secrets)
	app := newApp()
	t.Cleanup(app.Close)
	var gateways []*gateway
	var operators []string
	for range 3 {
		operator := freeAddress()
		whole := strings.NewReplacer(
			"localhost:2019", "ADMIN", "http://:8080 {", "http://:PORT {\nbind 127.0.0.1", "http://:9180 {", "http://"+operator+" {\nbind 127.0.0.1",
			"webhook-redis:6379", redis, "app:3001", "APP", "shutdown_delay 10s", "shutdown_delay 2s",
		).Replace(deployed(t, "kubernetes", "Caddyfile"))
		g, err := launch(t.TempDir(), app, setup{whole: whole, env: []string{"SECRETS=" + filepath.ToSlash(secrets)}})
		if err != nil {
			t.Fatal(err)
		}
		gateways, operators = append(gateways, g), append(operators, "http://"+operator)
	}
	stop := make([]chan error, len(gateways))
	end := func(i int) {
		stop[i] = make(chan error, 1)
		go func() { stop[i] <- gateways[i].stop() }()
	}
	t.Cleanup(func() {
		for i := range gateways {
			if stop[i] == nil {
				end(i)
			}
		}
		for _, c := range stop {
			if err := <-c; err != nil {
				t.Error(err)
			}
		}
	})

	for round, key := range []string{keys["current"], keys["previous"]} {
		m := githubWith(t, key)
		wantForwarded(t, "the first of "+fmt.Sprint(round), gateways[0].once(t, m))
		for _, g := range gateways {
			wantDuplicate(t, "a copy", g.once(t, m))
		}
	}
	for _, g := range gateways {
		if text := g.adminGet(t, "/metrics"); !strings.Contains(text, degraded+" 0") {
			t.Error("a gateway does not reach Redis")
		} else if !strings.Contains(text, `{name="stripe",outcome="rejected",reason="signature_mismatch"} 0`) {
			t.Error("refused signatures do not count from zero on, so an alert misses the first")
		}
	}
	m := githubWith(t, keys["current"])
	m.header.Set("X-Forwarded-For", "192.0.2.1, 203.0.113.9")
	m.header.Set("X-Forwarded-Proto", "https")
	id := newCase()
	wantForwarded(t, "through the ingress", gateways[0].do(t, gateways[0].h1, gateways[0].request(t, id, m)))
	if h := app.got(id)[0].Header; h.Get("X-Forwarded-Proto") != "https" || !strings.HasPrefix(h.Get("X-Forwarded-For"), "192.0.2.1, 203.0.113.9, ") {
		t.Errorf("the app is told %q %q", h.Get("X-Forwarded-Proto"), h.Get("X-Forwarded-For"))
	}
	for _, path := range []string{"/", "/hooks/", "/hooks/github/", "/metrics", "/ready"} {
		if status := gateways[1].status(t, message{path: path, body: []byte("{}")}); status != http.StatusNotFound {
			t.Errorf("%s from outside: %d, want 404", path, status)
		}
	}

	const next = "another-key-of-github"
	confide(next)
	mountSecret(t, filepath.Join(secrets, "github"), map[string]string{"next": next})
	for _, g := range gateways {
		eventually(t, "the rotated Secret is in use", func() bool {
			return g.once(t, githubWith(t, next)).status == http.StatusOK
		})
		if a := g.once(t, githubWith(t, keys["current"])); a.status != http.StatusUnauthorized {
			t.Errorf("the key that is gone: %d, want 401", a.status)
		}
	}

	get := func(address string) (int, string) {
		resp, err := http.Get(address)
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	for _, path := range []string{"/ready", "/live"} {
		if status, _ := get(operators[0] + path); status != http.StatusOK {
			t.Errorf("%s: %d, want 200", path, status)
		}
	}
	if _, text := get(operators[0] + "/metrics"); !strings.Contains(text, `caddy_verify_webhook_requests_total{name="github",outcome="delivered"`) {
		t.Error("/metrics does not count the delivery")
	}
	end(2)
	eventually(t, "a pod that goes is not ready", func() bool { status, _ := get(operators[2] + "/ready"); return status == http.StatusServiceUnavailable })
	m = githubWith(t, next)
	wantForwarded(t, "while a pod goes", gateways[0].once(t, m))
	wantDuplicate(t, "its copy at another", gateways[1].once(t, m))
}
