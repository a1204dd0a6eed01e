package caddymodule

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestClientOf(t *testing.T) {
	for remote, want := range map[string]string{
		"203.0.113.9:1234": "203.0.113.9/32", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[2001:db8:1:2::1]:2": "2001:db8:1:2::/64",
		"[::ffff:203.0.113.9]:1": "203.0.113.9/32", "[fe80::1%eth0]:1": "fe80::/64", "@": "invalid Prefix", "": "invalid Prefix",
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.RemoteAddr = remote
		if got := clientOf(r).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
	// The client address set by trusted_proxies from X-Forwarded-For.
	r := httptest.NewRequest("POST", "/", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "198.51.100.7"}))
	if got := clientOf(r).String(); got != "198.51.100.7/32" {
		t.Errorf("behind a trusted proxy: %s", got)
	}
	if got := remoteOf(r); got != "198.51.100.7" {
		t.Errorf("the client behind a trusted proxy is %s", got)
	}
	direct := httptest.NewRequest("POST", "/", nil)
	direct.RemoteAddr = "198.51.100.7:99"
	direct = direct.WithContext(r.Context())
	if got := remoteOf(direct); got != "198.51.100.7:99" {
		t.Errorf("a client without a proxy is %s", got)
	}
}
