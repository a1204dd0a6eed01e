package tenants

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestParsePlace(t *testing.T) {
	for _, text := range []string{
		"", "acme", "{path.2}", "{http.request.body}", "{http.request.body_base64}", "{http.request.uri.path}", "{http.request.uri.path.-1}", "{http.request.uri.path.02}",
		"{http.request.uri.path.100}", "{http.request.uri.path.file}", "{http.request.uri.query.shop}", "{http.request.cookie.shop}", "{http.request.host}",
		"{http.request.host.labels.x}", "{http.request.header.}", "{http.request.header.X Y}", "{http.request.header.X", "x{http.request.header.X}", "{http.vars.x}", "{json:shop}",
		"{http.request.tls.client.subject}", "{http.request.orig_uri.path.2}",
	} {
		if p, err := ParsePlace(text); err == nil {
			t.Errorf("%q is %+v", text, p)
		}
	}
}

// TestPlaceIsWhatCaddyReads: except for a host's final dot and for two lines of a
// header, which name no tenant.
func TestPlaceIsWhatCaddyReads(t *testing.T) {
	for _, target := range []string{"/hooks/shop/acme", "/hooks/shop/acme/", "/hooks/shop/acme/more", "/hooks/shop", "/hooks/shop/", "/", "//hooks//shop", "/a/b/%41cme", "/a/b/a%2fb"} {
		for _, host := range []string{"acme.hooks.example.com", "ACME.hooks.example.com:8443", "localhost", "127.0.0.1:80", "[::1]:80", ""} {
			u, err := url.ParseRequestURI(target)
			if err != nil {
				t.Fatal(err)
			}
			r := &http.Request{URL: u, Host: host, Header: http.Header{"X-Account": {"acme"}}}
			repl := caddy.NewReplacer()
			r = caddyhttp.PrepareRequest(r, repl, nil, nil)
			for _, text := range []string{
				"{http.request.uri.path.0}", "{http.request.uri.path.1}", "{http.request.uri.path.2}", "{http.request.uri.path.3}", "{http.request.uri.path.9}",
				"{http.request.host.labels.0}", "{http.request.host.labels.2}", "{http.request.host.labels.3}", "{http.request.host.labels.9}",
				"{http.request.header.X-Account}", "{http.request.header.x-account}", "{http.request.header.X-Other}",
			} {
				p, err := ParsePlace(text)
				if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				got, _ := Name(p.In(r), false)
				want, _ := Name(repl.ReplaceAll(text, ""), false)
				if got != want {
					t.Errorf("%s %s %s is %q, to Caddy %q", host, target, text, got, want)
				}
				if n := testing.AllocsPerRun(10, func() { p.In(r) }); n != 0 {
					t.Errorf("%s %s %s: %v allocations", host, target, text, n)
				}
			}
		}
	}
	header, _ := ParsePlace("{http.request.header.X-Account}")
	if got := header.In(&http.Request{Header: http.Header{"X-Account": {"acme", "other"}}}); got != "" {
		t.Errorf("of two lines: %q", got)
	}
	label, _ := ParsePlace("{http.request.host.labels.3}")
	if got := label.In(&http.Request{Host: "acme.hooks.example.com."}); got != "acme" {
		t.Errorf("behind a final dot: %q", got)
	}
}
