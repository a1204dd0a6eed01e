package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ingressPage returns the Caddyfiles of docs/other-ingresses.md, for all ingresses and for
// Traefik, and its blocks for nginx.
func ingressPage(t *testing.T) (caddyfiles, nginx []string) {
	t.Helper()
	for _, b := range codeBlocks(t) {
		if !strings.HasPrefix(b.place, "docs/other-ingresses.md:") {
			continue
		}
		switch b.language {
		case "caddyfile":
			caddyfiles = append(caddyfiles, b.text)
		case "nginx":
			nginx = append(nginx, b.text)
		}
	}
	if len(caddyfiles) != 2 || len(nginx) != 2 {
		t.Fatalf("%d Caddyfiles and %d blocks for nginx, want 2 each", len(caddyfiles), len(nginx))
	}
	return caddyfiles, nginx
}

// judge starts the gateway of the page.
func judge(t *testing.T, caddyfile string) *gateway {
	t.Helper()
	whole := strings.NewReplacer("localhost:2019", "ADMIN", "http://:8090 {", "http://:PORT {").Replace(caddyfile)
	return start(t, setup{whole: whole, env: []string{"GITHUB_SECRET=" + githubKey, "GITLAB_TOKEN=nR8wq2Lz5Xk0Vt7YbHs3"}})
}

// startNginx starts nginx with the locations of one server, and returns its address.
func startNginx(t *testing.T, locations string) string {
	t.Helper()
	needs(t, "nginx")
	dir, address := t.TempDir(), freeAddress()
	config := fmt.Sprintf(`daemon off;
pid %[1]s/nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/a;
	proxy_temp_path %[1]s/b;
	fastcgi_temp_path %[1]s/c;
	uwsgi_temp_path %[1]s/d;
	scgi_temp_path %[1]s/e;
	server {
		listen %[2]s;
		%[3]s
	}
}
`, dir, address, locations)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", file)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	eventually(t, "nginx listens", func() bool {
		c, err := net.Dial("tcp", address)
		return err == nil && c.Close() == nil
	})
	return address
}

// statusOfPost sends a request and returns the status of the answer.
func statusOfPost(t *testing.T, method, url, body string, header http.Header) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestNginxAsksTheGateway: only what the gateway judges genuine reaches the app, without
// marks that the sender wrote.
func TestNginxAsksTheGateway(t *testing.T) {
	t.Parallel()
	caddyfiles, nginx := ingressPage(t)
	g := judge(t, caddyfiles[0])
	address := startNginx(t, strings.NewReplacer("127.0.0.1:8090", g.address, "127.0.0.1:3000", g.app.address).Replace(nginx[1]))
	for name, tc := range map[string]struct {
		method, path, token string
		status              int
	}{
		"genuine":                      {"POST", "/hooks/gitlab_token", "nR8wq2Lz5Xk0Vt7YbHs3", 200},
		"another token":                {"POST", "/hooks/gitlab_token", "nR8wq2Lz5Xk0Vt7YbHs4", 401},
		"without a token":              {"POST", "/hooks/gitlab_token", "", 401},
		"another method":               {"PUT", "/hooks/gitlab_token", "nR8wq2Lz5Xk0Vt7YbHs3", 500}, // nginx knows 401 and 403 alone
		"a path below":                 {"POST", "/hooks/gitlab_token/x", "nR8wq2Lz5Xk0Vt7YbHs3", 500},
		"the judge itself":             {"POST", "/judge", "nR8wq2Lz5Xk0Vt7YbHs3", 404},
		"a path with dots":             {"POST", "/hooks/gitlab_token/../../judge", "nR8wq2Lz5Xk0Vt7YbHs3", 404},
		"dots that lead to the sender": {"POST", "/x/../hooks/gitlab_token", "nR8wq2Lz5Xk0Vt7YbHs3", 500},
	} {
		id, header := newCase(), http.Header{"X-Gitlab-Token": {tc.token}, "Webhook_Verified": {"github"}}
		for _, mark := range marks {
			header[mark] = []string{"github"}
		}
		got := statusOfPost(t, tc.method, "http://"+address+tc.path+"?case="+id, `{"object_kind":"push"}`, header)
		arrived := g.app.got(id)
		if n := len(arrived); got != tc.status || (n == 1) != (tc.status == 200) {
			t.Errorf("%s: %d, want %d; the app got %d", name, got, tc.status, n)
		}
		for _, r := range arrived {
			for name := range r.Header {
				if strings.HasPrefix(name, "Webhook") {
					t.Errorf("%s: the app got a %s that the sender wrote", name, name)
				}
			}
		}
	}
}

// marks are the headers that only a gateway sets.
var marks = []string{
	"Webhook-Verified", "Webhook-Delivery", "Webhook-Tenant", "Webhook-Attempt", "Webhook-Received", "Webhook-Stored", "Webhook-Duplicate",
}

// TestEachIngressRemovesAllMarks: the app gets requests from the ingress itself.
func TestEachIngressRemovesAllMarks(t *testing.T) {
	var removing []string
	for _, b := range codeBlocks(t) {
		if strings.HasPrefix(b.place, "docs/other-ingresses.md:") && strings.Contains(strings.ToLower(b.text), "webhook-verified") {
			removing = append(removing, strings.ToLower(b.text))
		}
	}
	if len(removing) != 3 {
		t.Errorf("%d ingresses remove marks", len(removing))
	}
	for _, text := range removing {
		for _, mark := range marks {
			if !strings.Contains(text, strings.ToLower(mark)) {
				t.Errorf("%s stays in\n%s", mark, text)
			}
		}
	}
}

// TestNginxProxiesToTheGateway: with the body untouched, every sender is verified.
func TestNginxProxiesToTheGateway(t *testing.T) {
	t.Parallel()
	_, nginx := ingressPage(t)
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY}\nreverse_proxy APP"})
	address := startNginx(t, strings.Replace(nginx[0], "127.0.0.1:8090", g.address, 1))
	m := at("/hooks/github").message(t)
	id := newCase()
	for _, want := range []int{http.StatusOK, http.StatusOK} { // the second is a duplicate
		if got := statusOfPost(t, http.MethodPost, "http://"+address+"/hooks/github?case="+id, string(m.body), m.header.Clone()); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	if got := statusOfPost(t, http.MethodPost, "http://"+address+"/hooks/github?case="+id, string(m.body)+" ", m.header.Clone()); got != http.StatusUnauthorized {
		t.Errorf("an altered body: %d", got)
	}
	if n := len(g.app.got(id)); n != 1 {
		t.Errorf("the app got %d", n)
	}
}

// TestTheGatewayJudges what Traefik and Envoy send: the method, path and body of the
// delivery, as their configurations on the page say.
func TestTheGatewayJudges(t *testing.T) {
	t.Parallel()
	caddyfiles, _ := ingressPage(t)
	g := judge(t, caddyfiles[0])
	m := at("/hooks/github").message(t)
	for range 2 { // a retry is judged again: the gateway does not know what the app did
		if got := statusOfPost(t, http.MethodPost, "http://"+g.address+"/hooks/github", string(m.body), m.header.Clone()); got != http.StatusOK {
			t.Errorf("genuine: %d", got)
		}
	}
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
	}{
		"an altered body":      {"POST", "/hooks/github", string(m.body) + " ", 401},
		"without the body":     {"POST", "/hooks/github", "", 401},
		"another method":       {"GET", "/hooks/github", string(m.body), 405},
		"another path":         {"POST", "/other", string(m.body), 404},
		"a near miss":          {"POST", "/hooks//github", string(m.body), 400},
		"another sender's way": {"POST", "/hooks/gitlab_token", string(m.body), 401},
	} {
		if got := statusOfPost(t, tc.method, "http://"+g.address+tc.path, tc.body, m.header.Clone()); got != tc.status {
			t.Errorf("%s: %d, want %d", name, got, tc.status)
		}
	}
}

// TestTheGatewayJudgesForTraefik, which asks one address and writes what was requested
// into X-Forwarded-Uri: there a query could name a signed field of a form.
func TestTheGatewayJudgesForTraefik(t *testing.T) {
	t.Parallel()
	caddyfiles, _ := ingressPage(t)
	g := judge(t, caddyfiles[1])
	m := at("/hooks/github").message(t)
	for uri, want := range map[string]int{
		"/hooks/github":                200,
		"/hooks/github?":               401,
		"/hooks/github?_method=DELETE": 401,
		"/hooks/github/":               401,
		"":                             401,
	} {
		header := m.header.Clone()
		if uri != "" {
			header.Set("X-Forwarded-Uri", uri)
		}
		if got := statusOfPost(t, http.MethodPost, "http://"+g.address+"/hooks/github", string(m.body), header); got != want {
			t.Errorf("X-Forwarded-Uri %q: %d, want %d", uri, got, want)
		}
	}
}
