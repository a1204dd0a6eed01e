package integration

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type composeFile struct {
	Services map[string]struct {
		Image, Build string
		Command      []string
		Ports        []string
		Networks     []string
		Volumes      []string
	}
	Networks map[string]struct{ Internal bool }
	Volumes  map[string]any
}

// composed reads deploy/compose.yaml.
func composed(t testing.TB) (c composeFile) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(deployed(t, "compose.yaml")))
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// composeSecrets runs the commands in the first lines of compose.yaml that make the
// secrets, and returns their folder.
func composeSecrets(t testing.TB) string {
	t.Helper()
	needs(t, opensslTool)
	script := ""
	for _, m := range regexp.MustCompile(`(?m)^#     (.+)$`).FindAllStringSubmatch(deployed(t, "compose.yaml"), -1) {
		if !strings.HasPrefix(m[1], "sudo ") && !strings.HasPrefix(m[1], "docker ") {
			script += m[1] + "\n"
		}
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return filepath.Join(dir, "secrets")
}

// TestCompose: what compose.yaml mounts is there, nothing listens beyond the machine,
// and only the gateway reaches app and Redis.
func TestCompose(t *testing.T) {
	t.Parallel()
	c := composed(t)
	secrets := composeSecrets(t)
	for name, s := range c.Services {
		if (s.Image == "") == (s.Build == "") {
			t.Errorf("%s: an image or a build", name)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to other machines", name, port)
			}
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[source]; named {
				continue
			}
			path := filepath.Join("..", "deploy", source)
			if below, ok := strings.CutPrefix(source, "./secrets/"); ok {
				path = filepath.Join(secrets, below)
			}
			if _, err := os.Stat(path); err != nil || !strings.HasSuffix(v, ":ro") {
				t.Errorf("%s: mounts %s: %v", name, v, err)
			}
		}
		for _, network := range []string{"app", "redis"} {
			if slices.Contains(s.Networks, network) != (name == network || name == "gateway") {
				t.Errorf("%s: in network %s", name, network)
			}
			if !c.Networks[network].Internal {
				t.Errorf("network %s leads outside", network)
			}
		}
	}
	if _, err := os.Stat(filepath.Join("..", "deploy", c.Services["gateway"].Build, "Dockerfile")); err != nil {
		t.Error(err)
	}
	redis := manifests(t)["StatefulSet/webhook-redis"].Spec.Template.Spec.Containers[0].Command
	if got := strings.Split(strings.ReplaceAll(strings.Join(c.Services["redis"].Command, "\x00"), "$$", "$"), "\x00"); !slices.Equal(got, redis) {
		t.Errorf("Redis starts otherwise than in Kubernetes, where its command is tested: %q", got)
	}
}

// TestComposeServes runs the services on this machine: the Caddyfile, the app and Redis
// by their own commands, and the secrets that the first lines make.
func TestComposeServes(t *testing.T) {
	t.Parallel()
	c, secrets := composed(t), composeSecrets(t)
	key, err := os.ReadFile(filepath.Join(secrets, "github", "current"))
	if err != nil {
		t.Fatal(err)
	}
	github := strings.TrimSpace(string(key))
	confide(github)
	redis := startRedisCommand(t, secrets)

	binary, err := caddyBinary()
	if err != nil {
		t.Fatal(err)
	}
	standIn := freeAddress()
	respond := exec.Command(binary, strings.Split(strings.Replace(strings.Join(c.Services["app"].Command[1:], "\x00"), ":3000", standIn, 1), "\x00")...)
	if err := respond.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = respond.Process.Kill(); _ = respond.Wait() })
	eventually(t, "the app listens", func() bool {
		resp, err := http.Get("http://" + standIn)
		return err == nil && resp.Body.Close() == nil
	})

	operator := freeAddress()
	whole := strings.NewReplacer(
		"localhost:2019", "ADMIN", "http://:8080 {", "http://:PORT {\nbind 127.0.0.1", "http://:9180 {", "http://"+operator+" {\nbind 127.0.0.1",
		"redis:6379", redis, "app:3000", standIn,
	).Replace(deployed(t, "compose", "Caddyfile"))
	g := start(t, setup{whole: whole, env: []string{"SECRETS=" + filepath.ToSlash(secrets)}})
	m := githubWith(t, github)
	wantForwarded(t, "genuine", g.once(t, m))
	wantDuplicate(t, "a copy", g.once(t, m))
	m.body = append(m.body, ' ')
	if status := g.status(t, m); status != http.StatusUnauthorized {
		t.Errorf("altered: %d", status)
	}
	for _, l := range g.log.all() {
		if l.ours() && l.text("level") == "warn" && !strings.Contains(l.text("msg"), "refused") {
			t.Errorf("warned: %s", l.raw)
		}
	}
	resp, err := http.Get("http://" + operator + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.Contains(g.adminGet(t, "/metrics"), degraded+" 0") {
		t.Errorf("/metrics: %d, or Redis is not reached", resp.StatusCode)
	}
	if status := g.status(t, message{path: "/metrics"}); status != http.StatusNotFound {
		t.Errorf("/metrics from outside: %d", status)
	}
}
