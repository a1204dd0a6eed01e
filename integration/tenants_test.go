package integration

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	texttemplate "text/template"
	"time"
)

// ofTenant is a delivery of the GitHub kind to a tenant's address.
func ofTenant(t testing.TB, prefix, tenant, key string) message {
	return at(prefix+"/"+tenant).deliver(t, key, time.Now(), fresh(jsonBody))
}

// tenantKey is the key of a tenant of these tests.
func tenantKey(tenant string) string {
	key := "key-of-tenant-" + tenant
	confide(key)
	return key
}

// TestTenants: thousands of customers at one address, each with a key of its own, which
// come, rotate and go without a reload.
func TestTenants(t *testing.T) {
	t.Parallel()
	keys := t.TempDir()
	const tenants = 10_000
	name := func(i int) string { return fmt.Sprintf("shop-%d.example", i) }
	old := time.Now().Add(-time.Minute) // a file that is this moment's may be half-written: 503
	for i := range tenants {
		path := filepath.Join(keys, name(i))
		if err := os.WriteFile(path, []byte(tenantKey(name(i))+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	put(t, outside, tenantKey("outside"))
	if err := os.Symlink(outside, filepath.Join(keys, "outside")); err != nil {
		t.Fatal(err)
	}
	g := start(t, setup{site: `verify_webhooks /hooks/* {
		sender github {
			tenant {path.2} {
				max_tenants 1000
			}
			secret {file.` + filepath.ToSlash(keys) + `/{tenant}}
		}
		reverse_proxy APP
	}
	respond 404`})

	for i := 0; i < tenants; i += 97 { // more than are cached, in any order
		own := name(i * 7919 % tenants)
		a, got := g.send(t, "HTTP/1.1", ofTenant(t, "/hooks/github", own, tenantKey(own)))
		if a.status != http.StatusOK || len(got) != 1 || got[0].Header.Get("Webhook-Tenant") != own {
			t.Fatalf("%s: %d, the app got %d", own, a.status, len(got))
		}
		if s := g.status(t, ofTenant(t, "/hooks/github", name((i+1)%tenants), tenantKey(own))); own != name((i+1)%tenants) && s != http.StatusUnauthorized {
			t.Fatalf("the key of %s at another tenant's address: %d", own, s)
		}
	}

	wrong, _ := g.send(t, "HTTP/1.1", ofTenant(t, "/hooks/github", name(1), "not-the-key"))
	for tenant, status := range map[string]int{
		"nobody": 401, "outside": 401, ".hidden": 401, "..data": 401, "a:b": 401, strings.Repeat("x", 200): 401,
		"..%2foutside": 400, "%2e%2e%2foutside": 400, "..%5coutside": 400, "%2e%2e": 400, "": 401,
	} {
		a, got := g.send(t, "HTTP/1.1", ofTenant(t, "/hooks/github", tenant, tenantKey("outside")))
		if len(got) != 0 || a.status != status && a.status != 404 {
			t.Errorf("%q: %d, the app got %d; want %d", tenant, a.status, len(got), status)
		}
		if a.status == http.StatusUnauthorized && shape(a) != shape(wrong) {
			t.Errorf("%q: answered %s, a wrong key %s", tenant, shape(a), shape(wrong))
		}
	}

	own, next := name(5), "next-"+tenantKey(name(5))
	confide(next)
	path := filepath.Join(keys, own)
	put(t, path, next) // written and renamed
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	g.comesTo(t, "the new key", http.StatusOK, ofTenant(t, "/hooks/github", own, next))
	g.comesTo(t, "the end of the old key", http.StatusUnauthorized, ofTenant(t, "/hooks/github", own, tenantKey(own)))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	g.comesTo(t, "the end of the tenant", http.StatusUnauthorized, ofTenant(t, "/hooks/github", own, next))
	if metrics := g.adminGet(t, "/metrics"); strings.Contains(metrics, "shop-") {
		t.Error("a metric names a tenant")
	}
	deliveries := g.adminGet(t, "/verify_webhook/deliveries?tenant="+own)
	if !strings.Contains(deliveries, `"tenant":"`+own+`"`) {
		t.Errorf("the history: %s", deliveries)
	}
}

// shape is what a sender sees of an answer, but for what differs in every one.
func shape(a answer) string {
	header := a.header.Clone()
	header.Del("Date")
	return fmt.Sprint(a.status, header, len(a.body))
}

// TestTenantsOfAnEndpoint: an endpoint that is slow, fails, redirects, lies or revokes.
func TestTenantsOfAnEndpoint(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := make(map[string]int)
	hold := make(chan struct{})
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"tenant":"redirected","secrets":["`+tenantKey("redirected")+`"]}`)
	}))
	t.Cleanup(stranger.Close)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tenant := strings.TrimPrefix(r.URL.Path, "/keys/")
		mu.Lock()
		asked[tenant]++
		mu.Unlock()
		switch {
		case r.Header.Get("Authorization") != "Bearer token-of-the-endpoint-51":
			w.WriteHeader(http.StatusForbidden)
		case tenant == "slow":
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		case tenant == "failing":
			w.WriteHeader(http.StatusInternalServerError)
		case tenant == "redirected":
			http.Redirect(w, r, stranger.URL+r.URL.Path, http.StatusFound)
		case tenant == "lying":
			_, _ = io.WriteString(w, `{"tenant":"acme","secrets":["`+tenantKey("acme")+`"]}`)
		case slices.Contains([]string{"acme", "bravo"}, tenant):
			_, _ = io.WriteString(w, `{"tenant":"`+tenant+`","secrets":["`+tenantKey(tenant)+`"]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(endpoint.Close)
	t.Cleanup(func() { close(hold) })
	confide("token-of-the-endpoint-51")
	g := start(t, setup{env: []string{"KEYS_TOKEN=token-of-the-endpoint-51"}, site: `verify_webhooks /hooks/* {
		sender github {
			tenant {path.2}
			secret from http ` + endpoint.URL + `/keys/{tenant} {
				bearer {env.KEYS_TOKEN}
			}
		}
		reverse_proxy APP
	}
	respond 404`})
	for _, c := range []struct {
		tenant string
		status int
	}{{"acme", 200}, {"ACME", 200}, {"bravo", 200}, {"nobody", 401}, {"lying", 401}, {"failing", 503}, {"redirected", 503}, {"slow", 503}} {
		key := tenantKey(strings.ToLower(c.tenant))
		if c.tenant == "lying" {
			key = tenantKey("acme")
		}
		a, got := g.send(t, "HTTP/1.1", ofTenant(t, "/hooks/github", c.tenant, key))
		if a.status != c.status || (len(got) == 1) != (c.status == 200) {
			t.Errorf("%s: %d, the app got %d; want %d", c.tenant, a.status, len(got), c.status)
		}
	}
	for range 50 {
		g.status(t, ofTenant(t, "/hooks/github", "nobody", "x"))
		g.status(t, ofTenant(t, "/hooks/github", "acme", "x"))
	}
	unsigned := ofTenant(t, "/hooks/github", "unsigned", "x")
	unsigned.header.Del("X-Hub-Signature-256")
	if s := g.status(t, unsigned); s != http.StatusUnauthorized {
		t.Errorf("without a signature: %d", s)
	}
	mu.Lock()
	defer mu.Unlock()
	for tenant, most := range map[string]int{"acme": 2, "bravo": 1, "nobody": 1, "unsigned": 0} { // acme: once more, for a key that does not match
		if asked[tenant] > most {
			t.Errorf("asked %d times for %s", asked[tenant], tenant)
		}
	}
}

// TestReloadWhileTheEndpointIsDown: keys that were fetched outlive a reload, and so the
// customers of an endpoint that is down keep delivering. Without it they would be
// forgotten, and each delivery answered 503.
func TestReloadWhileTheEndpointIsDown(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		tenant := strings.TrimPrefix(r.URL.Path, "/keys/")
		_, _ = io.WriteString(w, `{"tenant":"`+tenant+`","secrets":["`+tenantKey(tenant)+`"]}`)
	}))
	t.Cleanup(endpoint.Close)
	site := func(url, more string) string {
		return `verify_webhooks /hooks/* {
		sender github {
			tenant {path.2}
			secret from http ` + url + ` {
				ttl 10s
			}
			` + more + `
		}
		reverse_proxy APP
	}
	respond 404`
	}
	url := endpoint.URL + "/keys/{tenant}"
	g := start(t, setup{site: site(url, "")})
	for _, tenant := range []string{"acme", "bravo"} {
		if s := g.status(t, ofTenant(t, "/hooks/github", tenant, tenantKey(tenant))); s != http.StatusOK {
			t.Fatalf("%s: %d", tenant, s)
		}
	}
	down.Store(true)
	for i, more := range []string{"max_body 2MiB", "max_body 3MiB"} {
		g.reload(t, site(url, more))
		for _, tenant := range []string{"acme", "bravo"} {
			a, got := g.send(t, "HTTP/1.1", ofTenant(t, "/hooks/github", tenant, tenantKey(tenant)))
			if a.status != http.StatusOK || len(got) != 1 {
				t.Errorf("%s after reload %d: %d, the app got %d", tenant, i+1, a.status, len(got))
			}
		}
	}
	if s := g.status(t, ofTenant(t, "/hooks/github", "new", tenantKey("new"))); s != http.StatusServiceUnavailable {
		t.Errorf("a tenant whose keys were never fetched: %d", s)
	}
	if status := g.adminGet(t, "/verify_webhook/status"); !strings.Contains(status, `"cached":2`) || !strings.Contains(status, `"tenant":"new"`) || !strings.Contains(status, "status 502") {
		t.Errorf("status: %s", status)
	}
	g.reload(t, site(url+"?other", "")) // another source: what the first said counts no longer
	if s := g.status(t, ofTenant(t, "/hooks/github", "acme", tenantKey("acme"))); s != http.StatusServiceUnavailable {
		t.Errorf("of another source: %d", s)
	}
}

// TestVaultTemplate renders the template of docs/tenants.md with stand-ins for the
// functions of a Vault agent, and has the gateway read what it wrote.
func TestVaultTemplate(t *testing.T) {
	t.Parallel()
	i := slices.IndexFunc(codeBlocks(t), func(b codeBlock) bool { return b.language == "hcl" })
	if i < 0 {
		t.Fatal("no example")
	}
	_, contents, _ := strings.Cut(codeBlocks(t)[i].text, "<<-EOT\n")
	contents, _, _ = strings.Cut(contents, "EOT\n")
	keys := filepath.ToSlash(t.TempDir())
	contents = strings.ReplaceAll(contents, "/run/secrets/shop", keys)

	vault := map[string]map[string]any{
		"acme":  {"secret": tenantKey("acme"), "previous": "older-" + tenantKey("acme")},
		"bravo": {"secret": tenantKey("bravo")},
	}
	confide("older-" + tenantKey("acme"))
	rendered := texttemplate.Must(texttemplate.New("").Option("missingkey=error").Funcs(texttemplate.FuncMap{
		"secrets": func(path string) ([]string, error) {
			if path != "webhooks/metadata/shop/" {
				return nil, fmt.Errorf("a list of %s", path)
			}
			return slices.Sorted(maps.Keys(vault)), nil
		},
		"secret": func(path string) (any, error) {
			name, ok := strings.CutPrefix(path, "webhooks/data/shop/")
			if !ok {
				return nil, fmt.Errorf("the secret %s", path)
			}
			return map[string]any{"Data": map[string]any{"data": vault[name]}}, nil
		},
		"writeToFile": func(path, _, _, mode, content string) (string, error) {
			perm, err := strconv.ParseUint(mode, 8, 32)
			if err != nil {
				return "", err
			}
			return "", os.WriteFile(path, []byte(content), os.FileMode(perm))
		},
	}).Parse(contents))
	var out strings.Builder
	if err := rendered.Execute(&out, nil); err != nil || strings.TrimSpace(out.String()) != "" {
		t.Fatalf("%q, %v", out.String(), err)
	}

	g := start(t, setup{site: `verify_webhooks /hooks/* {
		sender github {
			tenant {path.2}
			secret {file.` + keys + `/{tenant}}
		}
		reverse_proxy APP
	}
	respond 404`})
	for _, c := range []struct {
		tenant, key string
		status      int
	}{
		{"acme", tenantKey("acme"), 200}, {"acme", "older-" + tenantKey("acme"), 200}, {"bravo", tenantKey("bravo"), 200}, {"bravo", tenantKey("acme"), 401},
	} {
		g.comesTo(t, c.tenant+" with "+c.key, c.status, ofTenant(t, "/hooks/github", c.tenant, c.key)) // a file that was just written does not refuse
	}
}
