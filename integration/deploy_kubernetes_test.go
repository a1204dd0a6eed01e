package integration

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A manifest is the tested part of a Kubernetes object.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Secrets  map[string]string `yaml:"stringData"`
	node     yaml.Node
	Spec     struct {
		Replicas     int
		MinAvailable int `yaml:"minAvailable"`
		Selector     yaml.Node
		Template     struct {
			Metadata struct{ Labels map[string]string }
			Spec     podSpec
		}
		Ports []struct {
			Name       string
			Port       int
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
		Command     []string
		Ports       []containerPort
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

type containerPort struct {
	Name string
	Port int `yaml:"containerPort"`
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
		maps.Copy(all, objects(t, name, text))
	}
	for _, file := range files {
		name := filepath.Base(file)
		// Examples must not be used as they are.
		if want := name != "kustomization.yaml" && !strings.HasSuffix(name, ".example.yaml"); slices.Contains(list.Resources, name) != want {
			t.Errorf("kustomization.yaml: lists %s: %t, want %t", name, !want, want)
		}
	}
	return all
}

// objects reads the documents of one YAML text, by kind/name.
func objects(t testing.TB, place, text string) map[string]manifest {
	t.Helper()
	all := make(map[string]manifest)
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var m manifest
		err := d.Decode(&m.node)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err = cmp.Or(err, m.node.Decode(&m)); err != nil {
			t.Fatalf("%s: %v", place, err)
		}
		if m.Kind == "" || m.Metadata.Name == "" {
			t.Errorf("%s: an object without kind or name", place)
		}
		all[m.Kind+"/"+m.Metadata.Name] = m
	}
}

// TestKubernetesManifests looks for mistakes that kubectl accepts.
func TestKubernetesManifests(t *testing.T) {
	t.Parallel()
	all := manifests(t)
	caddyfile := deployed(t, "kubernetes", "Caddyfile")
	gateway := all["Deployment/webhook-gateway"]
	if gateway.Spec.Replicas != 3 || all["PodDisruptionBudget/webhook-gateway"].Spec.MinAvailable >= 3 {
		t.Error("want 3 replicas and a budget that lets one go")
	}
	if grace := gateway.Spec.Template.Spec.Grace; grace <= 10+70 || !strings.Contains(caddyfile, "shutdown_delay 10s\n") || !strings.Contains(caddyfile, "grace_period 70s\n") {
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
				if p == nil || !slices.ContainsFunc(c.Ports, func(port containerPort) bool { return port.Name == p.HTTPGet.Port || port.Name == p.TCP.Port }) {
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
					if m.Kind == "Deployment" && !strings.Contains(caddyfile, "{file."+strings.Replace(mount.MountPath, "/run/secrets", "{$SECRETS:/run/secrets}", 1)) {
						t.Errorf("%s: the Caddyfile does not read %s", name, mount.MountPath)
					}
				}
			}
		}
	}
}

// TestKustomize builds what kubectl apply -k would send, with the optional component.
func TestKustomize(t *testing.T) {
	t.Parallel()
	needs(t, "kubectl")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "deploy", "kubernetes"))); err != nil {
		t.Fatal(err)
	}
	build := func(change func(file, text string) string) map[string]manifest {
		t.Helper()
		for _, file := range []string{"kustomization.yaml", "Caddyfile"} {
			text := change(file, deployed(t, "kubernetes", file))
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.Command("kubectl", "kustomize", dir).CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl kustomize: %v\n%s", err, out)
		}
		return objects(t, "kubectl kustomize", string(out))
	}
	all := build(func(_, text string) string { return text })
	if got := len(all); got != 9 {
		t.Errorf("%d objects, want 9", got)
	}
	pod := all["Deployment/webhook-gateway"].Spec.Template.Spec
	if image := pod.Containers[0].Image; image != "registry.example.com/caddy-verify-webhook:0.1.0" {
		t.Errorf("image %s", image)
	}
	config := func(all map[string]manifest) string {
		for _, v := range all["Deployment/webhook-gateway"].Spec.Template.Spec.Volumes {
			if v.Name == "config" {
				return v.ConfigMap.Name
			}
		}
		return ""
	}
	name := config(all)
	if _, ok := all["ConfigMap/"+name]; !ok {
		t.Errorf("the pods mount a ConfigMap %q that is not there", name)
	}
	monitored := build(func(file, text string) string {
		if file == "Caddyfile" {
			return text + "# changed\n"
		}
		return strings.Replace(text, "# components:", "components:", 1)
	})
	if config(monitored) == name {
		t.Error("a change of the Caddyfile does not roll the pods")
	}
	for _, want := range []string{"PodMonitor/webhook-gateway", "PrometheusRule/webhook-gateway"} {
		if _, ok := monitored[want]; !ok {
			t.Errorf("the component has no %s", want)
		}
	}
}

// TestNetworkPolicy: only the ports of the pod are open, to named peers, and the gateway
// reaches what its Caddyfile names.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	type rule struct {
		From  []yaml.Node
		Ports []struct{ Port int }
	}
	var gateway struct {
		Spec struct{ Ingress, Egress []rule }
	}
	all := manifests(t)
	policy := all["NetworkPolicy/webhook-gateway"]
	if err := policy.node.Decode(&gateway); err != nil {
		t.Fatal(err)
	}
	var in, out []int
	for _, r := range gateway.Spec.Ingress {
		if len(r.From) == 0 {
			t.Error("a port of the gateway is open to everyone")
		}
		for _, p := range r.Ports {
			in = append(in, p.Port)
		}
	}
	for _, r := range gateway.Spec.Egress {
		for _, p := range r.Ports {
			out = append(out, p.Port)
		}
	}
	var listens []int
	for _, p := range all["Deployment/webhook-gateway"].Spec.Template.Spec.Containers[0].Ports {
		listens = append(listens, p.Port)
	}
	if !slices.Equal(in, listens) {
		t.Errorf("in on %v, and the pod listens on %v", in, listens)
	}
	caddyfile := deployed(t, "kubernetes", "Caddyfile")
	for _, m := range regexp.MustCompile(`(?m)^\t*(?:address|reverse_proxy) \S+:(\d+)$`).FindAllStringSubmatch(caddyfile, -1) {
		if port, _ := strconv.Atoi(m[1]); !slices.Contains(out, port) {
			t.Errorf("the gateway may not reach %s", strings.TrimSpace(m[0]))
		}
	}
	for _, port := range []int{53, 443} {
		if !slices.Contains(out, port) {
			t.Errorf("the gateway may not reach port %d", port)
		}
	}
}

// TestPrometheusRule: the operator gets the rules of alerts.yml.
func TestPrometheusRule(t *testing.T) {
	t.Parallel()
	_, rules, _ := strings.Cut(deployed(t, "prometheus", "alerts.yml"), "\ngroups:")
	want := regexp.MustCompile(`(?m)^(.)`).ReplaceAllString("groups:"+rules, "  $1")
	if _, got, _ := strings.Cut(deployed(t, "kubernetes", "monitoring", "prometheusrule.yaml"), "\nspec:\n"); got != want {
		t.Error("prometheusrule.yaml has other rules than alerts.yml: its first lines say how to update it")
	}
}
