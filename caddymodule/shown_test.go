package caddymodule

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// TestNoAnswerShowsASecret: no answer of the admin API repeats a secret of the gateway
// that a request contains, whose ever it is: a sender may be configured with the wrong
// one.
func TestNoAnswerShowsASecret(t *testing.T) {
	const tenants, upstream, locks = "Zk9QpL2mXv7RtY4wBn8CsD1e", "dXBzdHJlYW1zZWNyZXQtMDEyMzQ1Njc4OWFiY2RlZmc", "q2V4dGVybmFsLWtleS1vZi10aGUtaW5ib3gtMzJieXQ="
	dir := secretsOf(t, map[string]string{"acme": tenants})
	file := filepath.ToSlash(filepath.Join(t.TempDir(), "inbox.db"))
	g := watched(t, fmt.Sprintf(`{"inbox":{"inbox":"bolt","path":%q,"encrypt":[%q]}}`, file, locks),
		shop(dir, keepingInbox, `"sign_upstream":"whsec_`+upstream+`"`))
	g.awaitInbox()
	g.box().Pause("acme")
	for name, secret := range map[string]string{"the tenant's": tenants, "of sign_upstream": "whsec_" + upstream, "of sign_upstream, bare": upstream, "of the inbox": locks} {
		for form, written := range map[string]string{"": secret, "hex": hex.EncodeToString([]byte(secret)), "base64": base64.StdEncoding.EncodeToString([]byte(secret))} {
			ask := func(path string) string {
				t.Helper()
				w, err := ask(http.MethodGet, path)
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				answer := w.Body.String()
				if strings.Contains(answer, written) || strings.Contains(answer, strings.Trim(base64.StdEncoding.EncodeToString([]byte(written)), "=")) {
					t.Errorf("the secret %s %s is shown by %s: %s", name, form, path, answer)
				}
				return answer
			}
			text := fmt.Sprintf(`{"id":%q}`, written)
			to := func(signature string) *http.Request {
				r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/shop/acme?event="+url.QueryEscape(written), strings.NewReader(text))
				r.Header.Set("X-Signature", signature)
				r.Header.Set("X-Custom-Event", written)
				return r
			}
			stored := g.send(to(sign(tenants, text)), answering(503))
			key := stored.header.Get("Webhook-Delivery")
			if stored.header.Get("Webhook-Stored") == "" {
				t.Fatalf("not stored: %v %v", stored.err, stored.header)
			}
			if detail := ask(adminapi.InboxPath + "/" + key + "?body=1"); !strings.Contains(detail, "contains a key") {
				t.Errorf("%s %s: %s", name, form, detail)
			}
			g.send(to(sign("wrong", text)), answering(503))
			ask(adminapi.DeliveriesPath)
			ask(adminapi.RejectionsPath)
			id := told[[]adminapi.Rejection](t, http.MethodGet, adminapi.RejectionsPath)[0].ID
			ask(adminapi.RejectionsPath + "/" + id)
		}
	}
	if err := os.Remove(filepath.Join(dir, "acme")); err != nil {
		t.Fatal(err)
	}
	d := inbox.Delivery{Key: inbox.Key{9}, Queue: inbox.Queue{Handler: "acme", Tenant: "gone"}, ID: marker, Event: marker, Target: "/" + marker + "?event=" + marker, Header: map[string][]string{"X-Event": {marker}}, Body: []byte(marker), Received: clock}
	if _, err := g.box().Accept(t.Context(), &d, false); err != nil {
		t.Fatal(err)
	}
	if w, err := ask(http.MethodGet, adminapi.InboxPath+"/"+d.Key.String()+"?body=1"); err != nil || strings.Contains(w.Body.String(), marker) || !strings.Contains(w.Body.String(), "hidden") || strings.Contains(w.Body.String(), `"content":`) {
		t.Errorf("a tenant without keys: %v %s", err, w.Body)
	}
}

// TestAnAttemptOfATenantShowsNoSecret: an attempt of the inbox does not need the tenant's
// keys, and what it keeps of the delivery may hold one.
func TestAnAttemptOfATenantShowsNoSecret(t *testing.T) {
	const secret = "Zk9QpL2mXv7RtY4wBn8CsD1e"
	dir := secretsOf(t, map[string]string{"acme": secret})
	g := stocked(t, shop(dir, keepingInbox))
	for _, tenant := range []string{"acme", "gone"} {
		stored := &inbox.Delivery{Key: inbox.Key{3}, Queue: inbox.Queue{Handler: "acme", Tenant: tenant}, ID: secret, Label: "1", Method: http.MethodPost, Host: "hooks.example.com", Target: "/hooks/shop/" + tenant, Received: clock}
		back := &attempt.Return{Attempt: &inbox.Attempt{Delivery: stored, Entry: inbox.Entry{Key: stored.Key, Queue: stored.Queue, Attempts: 1}}}
		d, _ := g.handlers[0].arrive(newWire(), caddyhttp.PrepareRequest(post(), caddy.NewReplacer(), newWire(), nil))
		d.recall(back)
		d.remember(metrics.Failed, "status", 503, 0)
		d.free()
		w, err := ask(http.MethodGet, adminapi.DeliveriesPath)
		if err != nil || strings.Contains(w.Body.String(), secret) || !strings.Contains(w.Body.String(), `"`+tenant+`"`) {
			t.Errorf("%s: %v %s", tenant, err, w.Body)
		}
	}
}

// TestNoRejectionShowsATenantsKey: not in a list either, which asks no source for it, nor
// once the tenant is gone.
func TestNoRejectionShowsATenantsKey(t *testing.T) {
	const secret = "Zk9QpL2mXv7RtY4wBn8CsD1e"
	for _, c := range []struct{ name, method, target, signature, url string }{
		{"path, no signature", "POST", "/hooks/shop/acme/" + secret, "", "/hooks/shop/acme/(redacted)"},
		{"query, no signature", "POST", "/hooks/shop/acme?event=" + secret, "", "/hooks/shop/acme?(redacted)"},
		{"path, GET", "GET", "/hooks/shop/acme/" + secret, "", "/hooks/shop/acme/(redacted)"},
		{"path, another spelling", "POST", "/hooks/shop/%61cme/" + secret, "", "/(redacted)"},
		{"query, wrong signature", "POST", "/hooks/shop/acme?event=" + secret, sign("wrong", body), "/hooks/shop/acme?event=(redacted)"},
		{"no tenant", "POST", "/hooks/shop?event=" + secret, sign("wrong", body), "/(redacted)?(redacted)"},
		{"a name that is none", "POST", "/hooks/shop/~acme/" + secret, sign("wrong", body), "/(redacted)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := secretsOf(t, map[string]string{"acme": secret})
			g := watched(t, "", shop(dir, `"case_sensitive":true`))
			refuse := func(when string) (listed string) {
				r := httptest.NewRequest(c.method, "http://hooks.example.com"+c.target, strings.NewReader(body))
				r.Header.Set("X-Custom-Event", secret)
				if c.signature != "" {
					r.Header.Set("X-Signature", c.signature)
				}
				g.send(r, answering(200))
				lookups := g.samples(t)
				newest := get[[]adminapi.Rejection](t, adminapi.RejectionsPath)[0]
				if now := g.samples(t); !maps.Equal(now, lookups) {
					t.Errorf("%s: the list looks tenants up: %v, before %v", when, now, lookups)
				}
				shown := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+newest.ID)
				if text := fmt.Sprint(newest.URL, shown.URL, shown.Headers); strings.Contains(text, secret) {
					t.Errorf("%s: shown as %s", when, text)
				}
				return newest.URL
			}
			if url := refuse("at first"); url != c.url {
				t.Errorf("listed as %s, want %s", url, c.url)
			}
			refuse("when it is cached")
			if err := os.Remove(filepath.Join(dir, "acme")); err != nil {
				t.Fatal(err)
			}
			g.handlers[0].now = func() time.Time { return clock.Add(time.Minute) }
			refuse("when it is gone")
		})
	}
}
