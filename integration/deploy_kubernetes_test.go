package integration

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// A manifest is the tested part of a Kubernetes object.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Secrets  map[string]string `yaml:"stringData"`
	Spec     struct {
		Replicas     int
		MinAvailable int `yaml:"minAvailable"`
		Selector     yaml.Node
		Template     struct {
			Metadata struct{ Labels map[string]string }
			Spec     podSpec
		}
		Ports []struct {
			TargetPort string `yaml:"targetPort"`
		}
	}
}

type podSpec struct {
	Grace           int `yaml:"terminationGracePeriodSeconds"`
	SecurityContext struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
	} `yaml:"securityContext"`
	Containers []struct {
		Name, Image string
		Ports       []struct{ Name string }
		Readiness   *probe `yaml:"readinessProbe"`
		Liveness    *probe `yaml:"livenessProbe"`
		Resources   struct {
			Requests, Limits map[string]string
		}
		SecurityContext struct {
			Escalation   *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnly     bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities struct{ Drop []string }
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name, MountPath, SubPath string
		} `yaml:"volumeMounts"`
	}
	Volumes []struct {
		Name   string
		Secret struct {
			SecretName string `yaml:"secretName"`
		}
		ConfigMap struct{ Name string } `yaml:"configMap"`
	}
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
	TCP     struct{ Port string }       `yaml:"tcpSocket"`
}

// manifests reads all objects, by kind/name.
func manifests(t testing.TB) map[string]manifest {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "deploy", "kubernetes", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	var list struct{ Resources []string }
	all := make(map[string]manifest)
	for _, file := range files {
		name := filepath.Base(file)
		text := deployed(t, "kubernetes", name)
		if name == "kustomization.yaml" {
			if err := yaml.Unmarshal([]byte(text), &list); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for d := yaml.NewDecoder(strings.NewReader(text)); ; {
			var m manifest
			err := d.Decode(&m)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if m.Kind == "" || m.Metadata.Name == "" {
				t.Errorf("%s: an object without kind or name", name)
			}
			all[m.Kind+"/"+m.Metadata.Name] = m
		}
	}
	for _, file := range files {
		name := filepath.Base(file)
		// Example keys must not be used.
		if want := name != "kustomization.yaml" && name != "secrets.example.yaml"; slices.Contains(list.Resources, name) != want {
			t.Errorf("kustomization.yaml: lists %s: %t, want %t", name, !want, want)
		}
	}
	return all
}

// TestKubernetesManifests looks for mistakes that kubectl accepts.
func TestKubernetesManifests(t *testing.T) {
	t.Parallel()
	all := manifests(t)
	caddyfile := all["ConfigMap/webhook-gateway"].Data["Caddyfile"]
	gateway := all["Deployment/webhook-gateway"]
	if gateway.Spec.Replicas != 3 || all["PodDisruptionBudget/webhook-gateway"].Spec.MinAvailable >= 3 {
		t.Error("want 3 replicas and a budget that lets one go")
	}
	if grace := gateway.Spec.Template.Spec.Grace; grace <= 10+70 || !strings.Contains(caddyfile, "shutdown_delay 10s\n") || !strings.Contains(caddyfile, "grace_period   70s\n") {
		t.Errorf("terminationGracePeriodSeconds %d: want more than shutdown_delay and grace_period together", grace)
	}
	for _, p := range all["Service/webhook-gateway"].Spec.Ports {
		if p.TargetPort != "http" {
			t.Errorf("the Service shows port %s", p.TargetPort)
		}
	}
	for name, m := range all {
		pod := m.Spec.Template.Spec
		if len(pod.Containers) == 0 {
			continue
		}
		if !pod.SecurityContext.RunAsNonRoot {
			t.Errorf("%s: runs as root", name)
		}
		for _, c := range pod.Containers {
			s := c.SecurityContext
			if s.Escalation == nil || *s.Escalation || !s.ReadOnly || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
				t.Errorf("%s: %s: securityContext", name, c.Name)
			}
			if c.Resources.Requests["memory"] == "" || c.Resources.Limits["memory"] == "" {
				t.Errorf("%s: %s: resources", name, c.Name)
			}
			for what, p := range map[string]*probe{"readiness": c.Readiness, "liveness": c.Liveness} {
				if p == nil || !slices.ContainsFunc(c.Ports, func(port struct{ Name string }) bool { return port.Name == p.HTTPGet.Port || port.Name == p.TCP.Port }) {
					t.Errorf("%s: %s: no %s probe, or of a port it has not", name, c.Name, what)
				}
			}
			for _, mount := range c.VolumeMounts {
				if mount.SubPath != "" {
					t.Errorf("%s: %s: a subPath never sees a rotation", name, mount.Name)
				}
				for _, v := range pod.Volumes {
					if v.Name != mount.Name || v.Secret.SecretName == "" {
						continue
					}
					if len(all["Secret/"+v.Secret.SecretName].Secrets) == 0 {
						t.Errorf("%s: no Secret %s among the examples", name, v.Secret.SecretName)
					}
					if m.Kind == "Deployment" && !strings.Contains(caddyfile, "{file."+mount.MountPath) {
						t.Errorf("%s: the Caddyfile does not read %s", name, mount.MountPath)
					}
				}
			}
		}
	}
	needs(t, "kubectl")
	if out, err := exec.Command("kubectl", "kustomize", filepath.Join("..", "deploy", "kubernetes")).CombinedOutput(); err != nil {
		t.Errorf("kubectl kustomize: %v\n%s", err, out)
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

// TestKubernetesCaddyfile runs the ConfigMap's Caddyfile in three gateways in front
// of one app, with the example Secrets mounted as by kubelet and a Redis with a
// password.
func TestKubernetesCaddyfile(t *testing.T) {
	t.Parallel()
	all := manifests(t)
	password := all["Secret/webhook-redis"].Secrets["password"]
	keys := all["Secret/webhook-github"].Secrets
	for _, key := range keys {
		confide(key)
	}
	confide(password)
	redis := redistest.Start(t, "--requirepass", password)
	secrets := t.TempDir()
	for _, name := range []string{"stripe", "github", "redis"} {
		mountSecret(t, filepath.Join(secrets, name), all["Secret/webhook-"+name].Secrets)
	}
	app := newApp()
	t.Cleanup(app.Close)
	var gateways []*gateway
	var operators []string
	for range 3 {
		operator := freeAddress()
		whole := strings.NewReplacer(
			"localhost:2019", "ADMIN", "http://:8080 {", "http://:PORT {\nbind 127.0.0.1", "http://:9180 {", "http://"+operator+" {\nbind 127.0.0.1",
			"webhook-redis:6379", redis.Addr, "app:3001", "APP", "/run/secrets/", filepath.ToSlash(secrets)+"/", "shutdown_delay 10s", "shutdown_delay 2s",
		).Replace(all["ConfigMap/webhook-gateway"].Data["Caddyfile"])
		g, err := launch(t.TempDir(), app, setup{whole: whole})
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
	m := githubWith(t, next)
	wantForwarded(t, "while a pod goes", gateways[0].once(t, m))
	wantDuplicate(t, "its copy at another", gateways[1].once(t, m))
}
