package caddymodule

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// serverOf returns the only server of an http app as JSON, provisioned and without a
// listener.
func serverOf(t *testing.T, config string) *caddyhttp.Server {
	t.Helper()
	cfg := &caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}, Logging: silent()}
	base, err := caddy.ProvisionContext(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(config), &struct{ Apps *caddy.ModuleMap }{&cfg.AppsRaw}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(base)
	t.Cleanup(cancel)
	app, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		return server
	}
	t.Fatal("no server")
	return nil
}

func init() {
	caddy.RegisterModule(new(otherApp))
	httpcaddyfile.RegisterHandlerDirective("other_app", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(otherApp), nil
	})
	httpcaddyfile.RegisterDirectiveOrder("other_app", httpcaddyfile.Before, "reverse_proxy")
}

// An otherApp is an app behind error routes.
type otherApp struct{}

// otherAppGot are the requests that it got.
var otherAppGot []*http.Request

func (*otherApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.other_app", New: func() caddy.Module { return new(otherApp) }}
}

func (*otherApp) ServeHTTP(_ http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	otherAppGot = append(otherAppGot, r)
	return nil
}

const (
	hooksBlock = "verify_webhooks /hooks/* {\nsender github a-long-secret-of-a-test\nreverse_proxy 127.0.0.1:1\n}\n"
	hooksLine  = "verify_webhook /hooks/github github a-long-secret-of-a-test\n"
	toTheApp   = "other_app\n"
)

// earlyRefusals make a site refuse a request before the gateway sees it. Each takes
// the gateway's own lines.
var earlyRefusals = map[string]struct {
	site   func(gateway string) string
	change func(*http.Request)
	status int
}{
	"request_body": {site: func(gateway string) string { return "request_body {\nmax_size 4\n}\n" + gateway }, status: 413},
	"basic_auth": {site: func(gateway string) string {
		return "route {\nbasic_auth {\nbob $2a$04$TR9qTmBpGbDDXGGOoNPmg.h4b3EcxMQPv8AUbWJcUWeUvZRQSNTkK\n}\n" + gateway + "}\n"
	}, status: 401},
	"forward_auth": {site: func(gateway string) string {
		return "route {\nforward_auth 127.0.0.1:1 {\nuri /\n}\n" + gateway + "}\n"
	}, status: 502},
	"error":            {site: func(gateway string) string { return "route {\nerror 418\n" + gateway + "}\n" }, status: 418},
	"strict_sni_host":  {change: func(r *http.Request) { r.TLS = &tls.ConnectionState{ServerName: "www.test"} }, status: 421},
	"an invalid host":  {change: func(r *http.Request) { r.Host = "..." }, status: 400},
	"an endless verb":  {change: func(r *http.Request) { r.Method = strings.Repeat("X", 40) }, status: 405},
	"the gateway, 401": {status: 401},
}

// serveEarly takes a forged request, which the site refuses, through a server.
func serveEarly(server *caddyhttp.Server, change func(*http.Request)) *httptest.ResponseRecorder {
	otherAppGot = nil
	server.StrictSNIHost = new(true)
	r := httptest.NewRequest(http.MethodPost, "/hooks/github", strings.NewReader(`{"evil":1}`))
	forgedMarks(r.Header)
	r.Trailer = http.Header{"Webhook-Verified": {"forged"}}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	return w
}

// wantOneUnmarked fails unless the other app got one request, without marks and
// trailers.
func wantOneUnmarked(t *testing.T) {
	t.Helper()
	if len(otherAppGot) != 1 {
		t.Fatalf("the error routes passed on %d requests", len(otherAppGot))
	}
	wantNoMarks(t, otherAppGot[0].Header)
	if len(otherAppGot[0].Trailer) > 0 {
		t.Errorf("trailers: %v", otherAppGot[0].Trailer)
	}
}

// TestForgedMarksOfWhatIsRefusedEarlier: handle_errors gets no forged mark either of a
// request that Caddy or another handler refuses before the gateway sees it, whatever
// the order of the site's lines.
func TestForgedMarksOfWhatIsRefusedEarlier(t *testing.T) {
	for refuser, by := range earlyRefusals {
		for shape, site := range map[string]struct{ gateway, above, below, before string }{
			"block":                 {gateway: hooksBlock, below: "handle_errors {\n" + toTheApp + "}\n"},
			"single directive":      {gateway: hooksLine, below: "handle_errors {\n" + toTheApp + "}\n"},
			"handle_errors above":   {gateway: hooksBlock, above: "handle_errors {\n" + toTheApp + "}\n"},
			"statuses above":        {gateway: hooksBlock, above: "handle_errors 4xx 5xx {\n" + toTheApp + "}\nhandle_errors {\nrespond 500\n}\n"},
			"statuses, line":        {gateway: hooksLine, above: "handle_errors 4xx 5xx {\n" + toTheApp + "}\n"},
			"a rewrite, two blocks": {gateway: hooksBlock + strings.ReplaceAll(hooksBlock, "/hooks/", "/other/"), below: "handle_errors {\nrewrite * /errors/{err.status_code}\n" + toTheApp + "}\n"},
			"snippets":              {before: "(hooks) {\n" + hooksBlock + "}\n(errors) {\nhandle_errors 4xx 5xx {\n" + toTheApp + "}\n}\n", gateway: "import hooks\n", above: "import errors\n"},
			"named route":           {before: "&(hooks) {\n" + hooksBlock + "}\n", gateway: "invoke hooks\n", above: "handle_errors 4xx 5xx {\n" + toTheApp + "}\nhandle_errors {\nrespond 500\n}\n"},
			"named route, line":     {before: "&(hooks) {\n" + hooksLine + "}\n", gateway: "invoke hooks\n", below: "handle_errors {\n" + toTheApp + "}\n"},
		} {
			t.Run(refuser+"/"+shape, func(t *testing.T) {
				inside := site.gateway
				if by.site != nil {
					inside = by.site(inside)
				}
				text := "{\nadmin off\n}\n" + site.before + "http://:1234 {\n" + site.above + inside + "respond 404\n" + site.below + "}\n"
				config, err := adapt("Caddyfile", text)
				if err != nil {
					t.Fatal(err)
				}
				serveEarly(serverOf(t, config), by.change)
				wantOneUnmarked(t)
			})
		}
	}
}

// TestForgedMarksInErrorRoutesOfJSON: written by hand too, of a server and of a
// subroute.
func TestForgedMarksInErrorRoutesOfJSON(t *testing.T) {
	const (
		handler  = `{"handler":"verify_webhook","provider":"github","secret":["a-long-secret-of-a-test"]}`
		refusing = `"routes":[{"handle":[{"handler":"error","status_code":418}]},{"handle":[` + handler + `]}]`
		errs     = `"errors":{"routes":[{"handle":[{"handler":"other_app"}]}]}`
	)
	for what, server := range map[string]string{
		"server":            refusing + `,` + errs,
		"subroute":          `"routes":[{"handle":[{"handler":"subroute",` + refusing + `,` + errs + `}]}]`,
		"nested subroute":   `"routes":[{"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"subroute",` + refusing + `}]}],` + errs + `}]}]`,
		"guard":             strings.ReplaceAll(refusing, handler, `{"handler":"verify_webhooks","prefix":"/hooks/*"}`) + `,` + errs,
		"the errors' own":   refusing + `,` + strings.ReplaceAll(errs, `{"handler":"other`, handler+`,{"handler":"other`),
		"two in one server": strings.ReplaceAll(refusing, handler, handler+`,`+handler) + `,` + errs,
	} {
		t.Run(what, func(t *testing.T) {
			config := `{"apps":{"http":{"servers":{"hooks":{"automatic_https":{"disable":true},"listen":["127.0.0.1:0"],` + server + `}}}}}`
			s := serverOf(t, config)
			serveEarly(s, nil)
			if what == "the errors' own" { // and it refuses what it gets
				if len(otherAppGot) != 0 {
					t.Error("an unsigned request passed verify_webhook in the error routes")
				}
				return
			}
			wantOneUnmarked(t)
			if s.Errors != nil && len(s.Errors.Routes) != 2 {
				t.Errorf("%d error routes: they are guarded more than once", len(s.Errors.Routes))
			}
		})
	}
}

// TestGenuineDeliveriesInErrorRoutes: if the app cannot be reached, or breaks off,
// handle_errors may ask another one, which gets the gateway's marks and what was signed.
func TestGenuineDeliveriesInErrorRoutes(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	defer broken.Close()
	const signer = "sign_upstream whsec_vGVUbEqe3TAOj04dNHZ1vwD3Jmbdva2rgd+YAcnDpyA=\n"
	for name, block := range map[string]string{
		"refuses":    "reverse_proxy 127.0.0.1:1\n",
		"breaks off": "reverse_proxy " + broken.Listener.Addr().String() + "\n",
		"unbuffered": "reverse_proxy " + broken.Listener.Addr().String() + " {\nrequest_buffers 1\n}\n",
		"an error":   "error 502\n",
		"compressed": "encode\nreverse_proxy 127.0.0.1:1\n",
	} {
		for _, size := range []int{0, 20, 300_000} {
			text := `{"a":"` + strings.Repeat("x", size) + `"}`
			if size == 0 {
				text = ""
			}
			for _, more := range []string{"", signer} {
				config, err := adapt("Caddyfile", "{\nadmin off\n}\nhttp://:1234 {\nverify_webhooks /hooks/* {\nsender github a-long-secret-of-a-test {\n"+more+"}\n"+block+"}\nhandle_errors 502 {\n"+toTheApp+"}\n}\n")
				if err != nil {
					t.Fatal(err)
				}
				r := httptest.NewRequest(http.MethodPost, "/hooks/github", strings.NewReader(text))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("X-GitHub-Delivery", "one")
				r.Header.Set("X-Hub-Signature-256", "sha256="+sign("a-long-secret-of-a-test", text))
				otherAppGot = nil
				serverOf(t, config).ServeHTTP(httptest.NewRecorder(), r)
				if len(otherAppGot) != 1 {
					t.Fatalf("%s: the other app got %d requests", name, len(otherAppGot))
				}
				got := otherAppGot[0]
				if v, d := got.Header.Get("Webhook-Verified"), got.Header.Get("Webhook-Delivery"); v != "github" || len(d) != 32 {
					t.Errorf("%s: the other app got Webhook-Verified: %q, Webhook-Delivery: %q", name, v, d)
				}
				if signed := len(got.Header["Webhook-Signature"]) == 1; signed != (more != "") {
					t.Errorf("%s: signed for the app: %t", name, signed)
				}
				if read, err := io.ReadAll(got.Body); err != nil || string(read) != text || got.ContentLength != int64(len(text)) || got.Header.Get("Content-Length") != strconv.Itoa(len(text)) {
					t.Errorf("%s: the other app got %d bytes of %d, announced as %d, %q: %v", name, len(read), len(text), got.ContentLength, got.Header.Get("Content-Length"), err)
				}
			}
		}
	}
}

// TestErrorsAnswerAsTheyDid: without handle_errors, and where none of its routes
// answers, an error keeps its status and has no body; a server gets no error routes.
func TestErrorsAnswerAsTheyDid(t *testing.T) {
	for refuser, by := range earlyRefusals {
		for what, handling := range map[string]string{"none": "", "another status": "handle_errors 599 {\nrespond 500 {\nbody x\n}\n}\n"} {
			inside := hooksBlock
			if by.site != nil {
				inside = by.site(inside)
			}
			config, err := adapt("Caddyfile", "{\nadmin off\n}\nhttp://:1234 {\n"+inside+handling+"}\n")
			if err != nil {
				t.Fatal(err)
			}
			server := serverOf(t, config)
			if (server.Errors != nil) != (handling != "") {
				t.Errorf("%s, handle_errors for %s: the server's error routes are %v", refuser, what, server.Errors)
			}
			if w := serveEarly(server, by.change); w.Code != by.status || w.Body.Len() > 0 {
				t.Errorf("%s, handle_errors for %s: answered %d %q, not %d", refuser, what, w.Code, w.Body, by.status)
			}
		}
	}
}
