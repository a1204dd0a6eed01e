package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// shop is a handler whose tenants' secrets are files in dir, with more options.
func shop(dir string, more ...string) string {
	source, _ := json.Marshal(map[string]any{"source": "file", "secret": []string{dir + "/{tenant}"}})
	return acme(append([]string{withID, `"tenant":"{http.request.uri.path.2}"`, `"tenants":` + string(source)}, more...)...)
}

// secretsOf writes files of tenants' secrets, an hour old.
func secretsOf(t testing.TB, secrets map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, secret := range secrets {
		setSecret(t, dir, name, secret)
	}
	return dir
}

func setSecret(t testing.TB, dir, name, secret string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
}

// to is a delivery to a tenant's address, signed with a secret.
func to(tenant, secret string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/shop/"+tenant, strings.NewReader(body))
	r.Header.Set("X-Signature", sign(secret, body))
	r.Header.Set("Webhook-Tenant", "forged")
	return r
}

func TestTenants(t *testing.T) {
	g := mustProvision(t, "", shop(secretsOf(t, map[string]string{"acme": "secret-of-acme", "bravo": "older-secret-of-bravo\nsecret-of-bravo", "acme.json": "secret-of-acme-json"})))
	for _, c := range []struct{ tenant, secret, marked, key string }{
		{"acme", "secret-of-acme", "acme", "1"},
		{"bravo", "secret-of-bravo", "bravo", "1/2"},
		{"bravo", "older-secret-of-bravo", "bravo", "1"},
		{"ACME", "secret-of-acme", "acme", "1"},
		{"acme/any/more", "secret-of-acme", "acme", "1"},
		{"acme/bravo", "secret-of-acme", "acme", "1"},          // where some routers read bravo
		{"acme.json", "secret-of-acme-json", "acme.json", "1"}, // where Rails reads acme
	} {
		a := serve(t, to(c.tenant, c.secret), accepting, g.handlers...)
		if a.status != http.StatusAccepted && a.status != http.StatusOK || a.placeholder("tenant") != c.marked || a.placeholder("key") != c.key {
			t.Errorf("%s with %s: %d, %v, tenant %q, key %q", c.tenant, c.secret, a.status, a.err, a.placeholder("tenant"), a.placeholder("key"))
		}
		if a.forward != nil && fmt.Sprint(a.forward.Header["Webhook-Tenant"]) != fmt.Sprint([]string{c.marked}) {
			t.Errorf("%s: the app gets %v", c.tenant, a.forward.Header)
		}
	}
	if a := serve(t, to("acme", "secret-of-bravo"), accepting, g.handlers...); a.status != 401 || a.placeholder("reason") != "signature_mismatch" || a.placeholder("tenant") != "" || a.forward != nil {
		t.Errorf("another tenant's key: %d, %s, %q", a.status, a.placeholder("reason"), a.placeholder("tenant"))
	}
}

// TestUnknownTenantIsLikeAWrongKey: status, headers, what is read of the body and what is
// computed are the same; the reason is for the operator.
func TestUnknownTenantIsLikeAWrongKey(t *testing.T) {
	dir := secretsOf(t, map[string]string{"acme": "secret-of-acme", "acme.old": "old-secret-of-acme"})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "passwd")); err != nil {
		t.Fatal(err)
	}
	g := mustProvision(t, "", shop(dir))
	outcome := func(r *http.Request) (seen, reason string) {
		t.Helper()
		read := 0
		plain := r.Body
		r.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) { n, err := plain.Read(p); read += n; return n, err }))
		a := serve(t, r, accepting, g.handlers...)
		if a.forward != nil {
			t.Errorf("%s is forwarded", r.URL)
		}
		return fmt.Sprint(a.status, a.header, read), a.placeholder("reason")
	}
	want, reason := outcome(to("acme", "wrong"))
	if !strings.HasPrefix(want, "401 ") || reason != "signature_mismatch" {
		t.Fatal(want, reason)
	}
	for _, name := range []string{"nobody", "passwd", ".hidden", "..data", "a%3Ab", "a%20b", "%C5%BF", strings.Repeat("x", 129)} {
		if got, reason := outcome(to(name, "wrong")); got != want || reason != "unknown_tenant" {
			t.Errorf("%s: %s for %s, want %s", name, got, reason, want)
		}
	}
	for _, secret := range []string{"", "{tenant}", "/etc/passwd", "tenant"} { // no secret verifies an unknown tenant's
		if got, _ := outcome(to("nobody", secret)); got != want {
			t.Errorf("signed with %q: %s", secret, got)
		}
	}
	if got, reason := outcome(to("acme.old", "old-secret-of-acme")); got != want || reason != "unknown_tenant" { // a backup is no tenant
		t.Errorf("a backup: %s for %s, want %s", got, reason, want)
	}
	if got, _ := outcome(httptest.NewRequest(http.MethodPost, "/hooks/shop", strings.NewReader(body))); !strings.HasPrefix(got, "401 ") {
		t.Errorf("no tenant, no signature: %s", got)
	}
}

// TestPathsThatAreRefused: no spelling of a path leads out of the folder of keys.
func TestPathsThatAreRefused(t *testing.T) {
	dir := secretsOf(t, map[string]string{"acme": "secret-of-acme"})
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "outside"), []byte("outside-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := mustProvision(t, "", shop(dir))
	for _, tenant := range []string{"../outside", "..%2foutside", "%2e%2e/outside", "%2e%2e%2foutside", "..%5coutside", "..%252foutside", "acme%00", "acme%2f..%2f..%2foutside", "./acme", "acme;x"} {
		r := to("acme", "outside-secret")
		r.URL.RawPath = "/hooks/shop/" + tenant
		if u, err := r.URL.Parse("http://hooks.example.com/hooks/shop/" + tenant); err == nil {
			r.URL, r.RequestURI = u, "/hooks/shop/"+tenant
		}
		if a := serve(t, r, accepting, g.handlers...); a.forward != nil || a.status != 400 && a.status != 401 {
			t.Errorf("%s: %d", tenant, a.status)
		}
	}
}

// TestTenantsOfOneSecret do not share their deliveries: each chooses its ids.
func TestTenantsOfOneSecret(t *testing.T) {
	g := mustProvision(t, "", shop(secretsOf(t, map[string]string{"acme": "one-secret-of-both", "bravo": "one-secret-of-both"})))
	g.start(t)
	keys := make(map[string]bool)
	for _, tenant := range []string{"acme", "bravo"} {
		a := serve(t, to(tenant, "one-secret-of-both"), accepting, g.handlers...)
		if a.status != http.StatusAccepted {
			t.Errorf("%s: %d, duplicate %s", tenant, a.status, a.placeholder("duplicate"))
		}
		keys[a.placeholder("delivery")] = true
		if a := serve(t, to(tenant, "one-secret-of-both"), accepting, g.handlers...); a.placeholder("duplicate") != "true" {
			t.Errorf("%s: a copy is forwarded", tenant)
		}
	}
	if len(keys) != 2 {
		t.Error("one key for the deliveries of two tenants")
	}
	if a := serve(t, to("ACME", "one-secret-of-both"), accepting, g.handlers...); a.placeholder("duplicate") != "true" {
		t.Error("another spelling of the name makes a copy a new delivery")
	}
}

// TestRotatedTenant: a new secret counts for the next delivery that it signs, an old one
// and a removed tenant only for two seconds more.
func TestRotatedTenant(t *testing.T) {
	dir := secretsOf(t, map[string]string{"acme": "first-secret"})
	g := mustProvision(t, "", shop(dir, `"dedupe":{"off":true}`))
	was := clock
	defer func() { clock = was }()
	status := func(secret string) int {
		t.Helper()
		return serve(t, to("acme", secret), accepting, g.handlers...).status
	}
	if s := status("first-secret"); s != 202 {
		t.Fatal(s)
	}
	clock = clock.Add(150 * time.Millisecond)
	setSecret(t, dir, "acme", "second-secret")
	if s := status("second-secret"); s != 202 {
		t.Errorf("the new secret: %d", s)
	}
	if s := status("first-secret"); s != 401 {
		t.Errorf("the old secret: %d", s)
	}
	setSecret(t, dir, "acme", "third-secret")
	clock = clock.Add(2 * time.Second)
	if s := status("second-secret"); s != 401 {
		t.Errorf("the old secret, two seconds later: %d", s)
	}
	if err := os.Remove(filepath.Join(dir, "acme")); err != nil {
		t.Fatal(err)
	}
	if s := status("third-secret"); s != 202 {
		t.Errorf("within two seconds: %d", s)
	}
	clock = clock.Add(2 * time.Second)
	if s := status("third-secret"); s != 503 {
		t.Errorf("gone, for the first time: %d", s)
	}
	clock = clock.Add(100 * time.Millisecond)
	if s := status("third-secret"); s != 401 {
		t.Errorf("removed: %d", s)
	}
	setSecret(t, dir, "acme", "fourth-secret")
	clock = clock.Add(150 * time.Millisecond)
	if s := status("fourth-secret"); s != 202 {
		t.Errorf("again there: %d", s)
	}
}

// TestTenantElsewhere: in a header or a label of the host.
func TestTenantElsewhere(t *testing.T) {
	dir := secretsOf(t, map[string]string{"acme": "secret-of-acme"})
	for place, name := range map[string]func(*http.Request){
		"{http.request.header.x-account}": func(r *http.Request) { r.Header.Set("X-Account", "Acme") },
		"{http.request.host.labels.3}":    func(r *http.Request) { r.Host = "Acme.hooks.example.com:8443" },
	} {
		g := mustProvision(t, "", strings.Replace(shop(dir, `"dedupe":{"off":true}`), "{http.request.uri.path.2}", place, 1))
		r := to("other", "secret-of-acme")
		if a := serve(t, r, accepting, g.handlers...); a.status != 401 {
			t.Errorf("%s: without a name %d", place, a.status)
		}
		r = to("other", "secret-of-acme")
		name(r)
		if a := serve(t, r, accepting, g.handlers...); a.status != 202 || a.forward.Header.Get("Webhook-Tenant") != "acme" {
			t.Errorf("%s: %d", place, a.status)
		}
	}
}

// TestObservedTenants: an unknown tenant's delivery passes under observe, unmarked.
func TestObservedTenants(t *testing.T) {
	g := mustProvision(t, "", shop(secretsOf(t, nil), `"observe":true`))
	a := serve(t, to("nobody", "x"), accepting, g.handlers...)
	if a.status != 202 || a.placeholder("verified") != "false" || a.placeholder("reason") != "unknown_tenant" || a.placeholder("tenant") != "" || a.forward.Header.Get("Webhook-Tenant") != "" {
		t.Errorf("%d, %s, %v", a.status, a.placeholder("reason"), a.forward.Header)
	}
}

// TestSourceThatIsDown: no delivery is lost for it, and none passes.
func TestSourceThatIsDown(t *testing.T) {
	g := mustProvision(t, "", shop(filepath.Join(t.TempDir(), "missing")))
	a := serve(t, to("acme", "x"), accepting, g.handlers...)
	if a.status != 503 || a.placeholder("reason") != "key_unavailable" || a.header.Get("Retry-After") == "" || a.forward != nil {
		t.Errorf("%d, %s, %v", a.status, a.placeholder("reason"), a.header)
	}
	r := to("acme", "x")
	r.Header.Del("X-Signature")
	if a := serve(t, r, accepting, g.handlers...); a.status != 401 || a.placeholder("reason") != "missing_signature" {
		t.Errorf("the source is asked about a request that cannot be genuine: %d", a.status)
	}
}

// TestKeysFromAnEndpoint: the first delivery of a tenant waits for its keys.
func TestKeysFromAnEndpoint(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if r.URL.Path != "/keys/acme" {
			w.WriteHeader(404)
			return
		}
		_, _ = io.WriteString(w, `{"tenant":"acme","secrets":["secret-of-acme"]}`)
	}))
	defer server.Close()
	g := mustProvision(t, "", acme(withID, `"tenant":"{http.request.uri.path.2}","tenants":{"source":"http","url":"`+server.URL+`/keys/{tenant}"}`))
	for _, c := range []struct {
		tenant, secret string
		status         int
	}{{"acme", "secret-of-acme", 202}, {"acme", "wrong", 401}, {"bravo", "secret-of-acme", 401}, {"bravo", "secret-of-acme", 401}} {
		if a := serve(t, to(c.tenant, c.secret), accepting, g.handlers...); a.status != c.status {
			t.Errorf("%s: %d, want %d", c.tenant, a.status, c.status)
		}
	}
	if fmt.Sprint(asked) != "[/keys/acme /keys/bravo]" {
		t.Errorf("asked for %q", asked)
	}
}

// TestRotatedAtAnEndpoint: a delivery with a new key is never refused as a forgery because
// the endpoint was asked before it arrived. The sender is told when it may retry.
func TestRotatedAtAnEndpoint(t *testing.T) {
	secrets := map[string]string{"acme": "first-secret"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Base(r.URL.Path)
		if secrets[name] == "" {
			w.WriteHeader(404)
			return
		}
		_, _ = fmt.Fprintf(w, `{"tenant":%q,"secrets":[%q]}`, name, secrets[name])
	}))
	defer server.Close()
	was := clock
	defer func() { clock = was }()
	source := `"tenant":"{http.request.uri.path.2}","tenants":{"source":"http","url":"` + server.URL + `/keys/{tenant}"},"dedupe":{"off":true}`
	enforcing, observing := mustProvision(t, "", acme(withID, source)), mustProvision(t, "", acme(withID, source, `"observe":true`))
	step := func(tenant, secret, want string) {
		t.Helper()
		a := serve(t, to(tenant, secret), accepting, enforcing.handlers...)
		if got := strings.TrimSpace(fmt.Sprint(a.status, " ", a.placeholder("reason"), " ", a.header.Get("Retry-After"))); got != want {
			t.Errorf("%s, signed with %s: %s, want %s", tenant, secret, got, want)
		}
	}
	step("acme", "first-secret", "202")
	step("bravo", "forged", "401 unknown_tenant")
	if a := serve(t, to("acme", "forged"), accepting, observing.handlers...); a.status != 202 {
		t.Fatal(a.status)
	}
	clock = clock.Add(10 * time.Second)
	step("acme", "forged", "401 signature_mismatch")
	clock = clock.Add(1500 * time.Millisecond)
	secrets["acme"], secrets["bravo"] = "second-secret", "secret-of-bravo"
	step("acme", "second-secret", "503 key_unavailable 9")
	step("bravo", "secret-of-bravo", "202") // a 404 is remembered for 10 s
	step("acme", "first-secret", "202")
	clock = clock.Add(-5 * time.Second)
	if a := serve(t, to("acme", "second-secret"), accepting, observing.handlers...); a.status != 202 || a.placeholder("reason") != "signature_mismatch" {
		t.Errorf("observed: %d, %s", a.status, a.placeholder("reason"))
	}
	clock = clock.Add(14 * time.Second)
	step("acme", "second-secret", "202")
	clock = clock.Add(10 * time.Second)
	step("bravo", "secret-of-bravo", "202")

	clock = clock.Add(5 * time.Minute) // a client that was verified renews, whatever else it may ask
	for i := range 101 {
		serve(t, to(fmt.Sprint("nobody-", i), "forged"), accepting, enforcing.handlers...)
	}
	step("nobody", "forged", "503 key_unavailable 1")
	step("acme", "second-secret", "202")
}

// TestTenantOfAStoredDelivery: what was verified is delivered, with its mark, also when
// the tenant is gone.
func TestTenantOfAStoredDelivery(t *testing.T) {
	dir := secretsOf(t, map[string]string{"acme": "secret-of-acme"})
	config, _ := json.Marshal(map[string]any{"inbox": map[string]any{"inbox": "bolt", "path": filepath.Join(t.TempDir(), "inbox.db")}})
	g := running(t, string(config), shop(dir, `"inbox":{}`))
	g.awaitInbox()
	refusing := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(500); return nil })
	if a := serve(t, to("acme", "secret-of-acme"), refusing, g.handlers...); a.status != 200 || a.header.Get("Webhook-Stored") != "true" {
		t.Fatalf("%d, %v, %v", a.status, a.header, a.err)
	}
	if err := os.Remove(filepath.Join(dir, "acme")); err != nil {
		t.Fatal(err)
	}
	list := get[adminapi.Inbox](t, adminapi.InboxPath+"?tenant=acme")
	if len(list.Deliveries) != 1 || list.Deliveries[0].Tenant != "acme" {
		t.Fatalf("the inbox lists %+v", list)
	}
	r := to("nobody", "x")
	d := attempt.Record(r, r.Method, "/hooks/shop/nobody", []byte(body))
	d.Queue = inbox.Queue{Handler: "acme", Tenant: "acme"}
	var forwarded http.Header
	got := attempt.Send(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
		if err := g.handlers[0].ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			forwarded = r.Header
			w.WriteHeader(204)
			return nil
		})); err != nil {
			t.Error(err)
		}
	}), &inbox.Attempt{Delivery: &d, Entry: inbox.Entry{Queue: d.Queue, Attempts: 1}})
	if got != (inbox.Result{Status: 204}) || fmt.Sprint(forwarded["Webhook-Tenant"]) != "[acme]" {
		t.Errorf("%+v, the app gets %v", got, forwarded)
	}
}
