package integration

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDocumentedEndpointOfKeys runs the program of docs/tenants.md behind its Caddyfile:
// the gateway gets a tenant's keys, and nobody else does.
func TestDocumentedEndpointOfKeys(t *testing.T) {
	t.Parallel()
	blocks := codeBlocks(t)
	i := slices.IndexFunc(blocks, func(b codeBlock) bool { return b.language == "go" && strings.HasPrefix(b.place, "docs/tenants.md:") })
	if i < 0 {
		t.Fatal("no program")
	}
	dir, address, secret := t.TempDir(), freeAddress(), tenantKey("acme")
	text := strings.NewReplacer("127.0.0.1:3001", address, "whsec_the-secret-of-acme", secret).Replace(blocks[i].text)
	if !strings.Contains(text, address) || !strings.Contains(text, secret) {
		t.Fatalf("another address or secret:\n%s", text)
	}
	for name, text := range map[string]string{"main.go": text, "go.mod": "module documented\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "endpoint")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir, build.Env = dir, append(append(os.Environ(), plainly...), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	without := exec.CommandContext(t.Context(), program)
	without.Env = append(os.Environ(), "KEYS_TOKEN=")
	if out, err := without.CombinedOutput(); err == nil {
		t.Errorf("it starts without a token: %s", out)
	}
	const token = "pX3vK8sQ1dW6yB4z"
	endpoint := exec.Command(program)
	endpoint.Env = append(os.Environ(), "KEYS_TOKEN="+token)
	if err := endpoint.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = endpoint.Process.Kill()
		_ = endpoint.Wait()
	})
	url := "http://" + address + "/webhook-keys/acme"
	eventually(t, "the endpoint listens", func() bool {
		resp, err := http.Get(url)
		return err == nil && resp.Body.Close() == nil
	})
	for authorization, want := range map[string]int{"": 401, "Bearer ": 401, "Bearer " + token[1:]: 401, "Bearer " + token: 200} {
		if got := statusOfPost(t, http.MethodGet, url, "", http.Header{"Authorization": {authorization}}); got != want {
			t.Errorf("Authorization %q: %d, want %d", authorization, got, want)
		}
	}
	g := start(t, setup{env: []string{"KEYS_TOKEN=" + token}, site: `verify_webhooks /hooks/* {
		sender github {
			tenant {path.2}
			secret from http ` + strings.ReplaceAll(url, "acme", "{tenant}") + ` {
				bearer {env.KEYS_TOKEN}
			}
		}
		reverse_proxy APP
	}
	respond 404`})
	if s := g.status(t, ofTenant(t, "/hooks/github", "acme", secret)); s != http.StatusOK {
		t.Errorf("a genuine delivery: %d", s)
	}
	if s := g.status(t, ofTenant(t, "/hooks/github", "bravo", secret)); s != http.StatusUnauthorized {
		t.Errorf("of a tenant that the endpoint does not know: %d", s)
	}
}
