package command

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tenantConfig writes a Caddyfile of a handler with the tenants acme, whose first secret
// is stripeSecret, and bravo. The second may be guessed, as only one in a file may.
func tenantConfig(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, secret := range map[string]string{"acme": stripeSecret + "\npassword2026\n", "bravo": "whsec_the_secret_of_bravo\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file(t, "Caddyfile", `http://127.0.0.1:8080 {
	verify_webhooks /hooks/* {
		sender stripe {
			tenant {path.2}
			secret {file.`+dir+`/{tenant}}
		}
		sender github {env.TEST_GITHUB}
		reverse_proxy 127.0.0.1:3000
	}
}
`)
}

func TestVerifyForATenant(t *testing.T) {
	t.Setenv("TEST_GITHUB", "a-secret-of-github")
	config := tenantConfig(t)
	delivery := file(t, "delivery.http", stripeHTTP)
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"its tenant":            {[]string{"--name", "stripe", "--tenant", "acme"}, exitOK, "genuine: key 1, "},
		"as the address has it": {[]string{"--name", "stripe", "--tenant", "ACME"}, exitOK, "genuine: key 1, "},
		"another tenant":        {[]string{"--name", "stripe", "--tenant", "bravo"}, exitNot, "not genuine: signature_mismatch"},
		"an unknown tenant":     {[]string{"--name", "stripe", "--tenant", "nobody"}, exitUsage, "tenant nobody: the source has no such tenant"},
		"no name":               {[]string{"--name", "stripe", "--tenant", "../acme"}, exitUsage, "names no tenant"},
		"no tenant":             {[]string{"--name", "stripe"}, exitUsage, "the handler has tenants, each with keys of its own: choose one with --tenant"},
		"a key instead":         {[]string{"--name", "stripe", "--secret", "{env.TEST_STRIPE}"}, exitOK, "genuine: key 1, "},
		"a key as well":         {[]string{"--name", "stripe", "--tenant", "acme", "--secret", "{env.TEST_STRIPE}"}, exitUsage, "--tenant uses the tenant's keys"},
		"a handler without":     {[]string{"--name", "github", "--tenant", "acme"}, exitUsage, "--tenant: the handler has no tenants: omit it"},
	} {
		t.Setenv("TEST_STRIPE", stripeSecret)
		out, errs, code := webhook(t, "", append([]string{"verify", "--config", config, delivery, "--now", stripeTime}, tc.args...)...)
		if code != tc.code || !strings.Contains(out+errs, tc.want) {
			t.Errorf("%s: exit %d, %s%s; want %d, %q", name, code, out, errs, tc.code, tc.want)
		}
	}
	if _, errs, code := webhook(t, "", "verify", "stripe", delivery, "--tenant", "acme"); code != exitUsage || !strings.Contains(errs, "--tenant requires --config") {
		t.Errorf("without a configuration: %d, %s", code, errs)
	}
}

func TestSendForATenant(t *testing.T) {
	t.Setenv("TEST_GITHUB", "a-secret-of-github")
	config := tenantConfig(t)
	to := receiver(t, "stripe").URL + "/hooks/stripe/acme"
	for tenant, want := range map[string]int{"acme": exitOK, "bravo": exitNot} {
		if out, errs, code := webhook(t, "", "send", "--config", config, "--name", "stripe", "--tenant", tenant, "--to", to); code != want {
			t.Errorf("%s: exit %d, %s%s", tenant, code, out, errs)
		}
	}
}

// TestListenForATenant: its deliveries are accepted on any path, and the app learns whose
// they are.
func TestListenForATenant(t *testing.T) {
	t.Setenv("TEST_GITHUB", "a-secret-of-github")
	config := tenantConfig(t)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Webhook-Tenant") != "acme" || len(r.Header["Webhook-Tenant"]) != 1 || r.Header[tenantHeader] != nil {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer app.Close()
	url, lines, end := listening(t, "--config", config, "--name", "stripe", "--tenant", "acme", "--to", app.URL)
	go func() {
		r, _ := http.NewRequest(http.MethodPost, url+"/any", strings.NewReader(stripeBody))
		r.Header.Set("Stripe-Signature", signatureOf(t, time.Now()))
		r.Header.Set("Webhook-Tenant", "forged")
		if answer, err := http.DefaultClient.Do(r); err == nil {
			answer.Body.Close()
		}
	}()
	for range 2 { // the request, then its outcome
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
	}
	if !strings.Contains(lines.Text(), "genuine: the app answered 200, key 1") {
		t.Errorf("%q", lines.Text())
	}
	go func() {
		for lines.Scan() {
		}
	}()
	if err := end(); err != nil {
		t.Fatal(err)
	}
}
