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

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// serverOf returns the only server of an http app as JSON, provisioned and without a
// listener.
func serverOf(t *testing.T, config string) *caddyhttp.Server {
	t.Helper()
	server, _ := serverAndApp(t, config)
	return server
}

func serverAndApp(t *testing.T, config string) (*caddyhttp.Server, *App) {
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
	ours, err := ctx.App("verify_webhook")
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		return server, ours.(*App)
	}
	t.Fatal("no server")
	return nil, nil
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

// TestAttemptsFromTheInboxAskNoOtherApp: what handle_errors, error routes in JSON or an
// intercept ask in the place of an app that fails would get a stored delivery again at
// each attempt, in vain.
func TestAttemptsFromTheInboxAskNoOtherApp(t *testing.T) {
	const (
		block     = "verify_webhooks /hooks/* {\nsender github a-long-secret-of-a-test\nANSWER\n}\n"
		errors    = "handle_errors {\n" + toTheApp + "}\n"
		intercept = "intercept {\n@e status 5xx\nhandle_response @e {\n" + toTheApp + "}\n}\n"
	)
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	defer failing.Close()
	down, fails := "reverse_proxy 127.0.0.1:1", "reverse_proxy "+failing.Listener.Addr().String()
	for name, c := range map[string]struct {
		site, answer string
		want         inbox.Result
	}{
		"the app is down":             {block + errors, down, inbox.Result{Status: 502}},
		"it is an error below 500":    {block + errors, "error 404", inbox.Result{Status: 404}},
		"nothing answers":             {block + errors, "header X-A b", inbox.Result{Status: 502}},
		"two sites":                   {block + errors + "}\nhttp://a.test:1234 {\n" + errors, down, inbox.Result{Status: 502}},
		"an intercept around it":      {"route {\n" + intercept + block + "}\n", fails, inbox.Result{Status: 503}},
		"an intercept around, down":   {"route {\n" + intercept + block + "}\n", down, inbox.Result{Status: 502}},
		"both":                        {"route {\n" + intercept + block + "}\n" + errors, fails, inbox.Result{Status: 503}},
		"a handler above refuses it":  {"route {\nerror 418\n" + block + "}\n" + errors, down, inbox.Result{Unreached: true}},
		"request_body above does":     {"request_body {\nmax_size 1\n}\n" + block + errors, down, inbox.Result{Unreached: true}},
		"the app answers for itself":  {block + errors, "respond 500", inbox.Result{Status: 500}},
		"the app answers 2xx":         {block + errors, "respond 201", inbox.Result{Status: 201}},
		"there are no error routes":   {block, down, inbox.Result{Status: 502}},
		"the named route has neither": {"route {\ninvoke hooks\n}\n}\n&(hooks) {\n" + block, down, inbox.Result{Status: 502}},
	} {
		site := strings.ReplaceAll(c.site, "ANSWER", c.answer)
		if before, named, has := strings.Cut(site, "&(hooks)"); has {
			site = strings.TrimSuffix(strings.TrimSuffix(before, "\n"), "}") + errors + "}\n&(hooks)" + named
		}
		config, err := adapt("Caddyfile", "{\nadmin off\n}\nhttp://:1234 {\n"+site+"}\n")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := attemptAt(t, serverOf(t, config)); got != c.want || len(otherAppGot) > 0 {
			t.Errorf("%s: the inbox is told %+v, want %+v; the other app got %d requests", name, got, c.want, len(otherAppGot))
		}
	}
	const around = `{"apps":{"http":{"servers":{"hooks":{"automatic_https":{"disable":true},"listen":["127.0.0.1:0"],"routes":[{"handle":[{"handler":"subroute",
		"routes":[{"handle":[{"handler":"verify_webhook","provider":"github","secret":["a-long-secret-of-a-test"]},{"handler":"error","status_code":500}]}],
		"errors":{"routes":[{"handle":[{"handler":"other_app"}]}]}}]}]}}}}}`
	if got := attemptAt(t, serverOf(t, around)); got != (inbox.Result{Status: 500}) || len(otherAppGot) > 0 {
		t.Errorf("error routes of a subroute: the inbox is told %+v; the other app got %d requests", got, len(otherAppGot))
	}
}

// attemptAt makes an attempt of a stored delivery through a server: a replay, which is no
// duplicate of the one before.
func attemptAt(t *testing.T, server *caddyhttp.Server) inbox.Result {
	t.Helper()
	otherAppGot = nil
	d := attempt.Record(httptest.NewRequest(http.MethodPost, "/hooks/github", nil), http.MethodPost, "/hooks/github", []byte(body))
	d.Key, d.ID, d.Queue = inbox.Key(theKey), "one", inbox.Queue{Handler: "github"}
	return attempt.Send(t.Context(), server, &inbox.Attempt{Delivery: &d, Entry: inbox.Entry{Queue: d.Queue, Replayed: true}})
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

// TestDetoursOfWhatIsRefusedEarlier: an error page of the app gets no header by which it
// may read a refused request as one below the prefix of any block of the server, by
// whatever it was refused. Others stay, and all that a genuine delivery has.
func TestDetoursOfWhatIsRefusedEarlier(t *testing.T) {
	const (
		page  = "handle_errors {\nrewrite * /error\n" + toTheApp + "}\n"
		guard = "verify_webhooks /hooks/*\n"
		other = "}\nhttp://b.test:1234 {\nerror 404\n" + page
	)
	serve := func(text string, change func(*http.Request)) {
		t.Helper()
		config, err := adapt("Caddyfile", "{\nadmin off\n}\n"+text)
		if err != nil {
			t.Fatal(err)
		}
		serveEarly(serverOf(t, config), func(r *http.Request) {
			r.Header.Set("X-Original-Url", "/hooks/github")
			r.Header.Set("X-Script-Name", "/other")
			r.Header.Set("X-Forwarded-Prefix", "/shop")
			if change != nil {
				change(r)
			}
		})
		if len(otherAppGot) != 1 {
			t.Fatalf("%s: the error routes passed on %d requests", text, len(otherAppGot))
		}
	}
	for refuser, by := range earlyRefusals {
		for shape, gateway := range map[string]string{
			"block": hooksBlock, "guard": guard + strings.ReplaceAll(guard, "/hooks/", "/other/"), "line": hooksLine,
			"two blocks": strings.ReplaceAll(hooksBlock, "/hooks/", "/other/") + hooksBlock,
		} {
			inside := gateway
			if by.site != nil {
				inside = by.site(inside)
			}
			serve("http://:1234 {\n"+inside+"error 404\n"+page+"}\n", func(r *http.Request) {
				if shape == "guard" { // which answers what is below its prefix
					r.URL.Path, r.RequestURI = "/x", "/x"
				}
				if by.change != nil {
					by.change(r)
				}
			})
			got := otherAppGot[0].Header
			if kept := got.Get("X-Original-Url") != ""; kept != (shape == "line") {
				t.Errorf("%s, %s: the app got X-Original-Url: %t", refuser, shape, kept)
			}
			if kept := got.Get("X-Script-Name") != ""; kept != (shape == "line" || shape == "block") {
				t.Errorf("%s, %s: the app got X-Script-Name: %t", refuser, shape, kept)
			}
			if got.Get("X-Forwarded-Prefix") != "/shop" {
				t.Errorf("%s, %s: X-Forwarded-Prefix is deleted", refuser, shape)
			}
		}
	}
	toB := func(r *http.Request) { r.Host, r.URL.Path, r.RequestURI = "b.test", "/x", "/x" }
	for prefix, goes := range map[string]bool{"/hooks/*": true, "*": false} { // to an app all of whose paths are webhooks' they lead nowhere else
		serve("http://a.test:1234 {\n"+strings.ReplaceAll(hooksBlock, "/hooks/*", prefix)+other+"}\n", toB)
		if kept := otherAppGot[0].Header.Get("X-Original-Url") != ""; kept == goes {
			t.Errorf("another site's page, %s: the app got X-Original-Url: %t", prefix, kept)
		}
	}
	serve("http://:1234 {\n"+hooksBlock+page+"}\n", func(r *http.Request) {
		r.Header.Set("X-Hub-Signature-256", "sha256="+sign("a-long-secret-of-a-test", `{"evil":1}`))
		r.Header.Set("X-Repository-Url", "/hooks/github")
	})
	if got := otherAppGot[0].Header; got.Get("Webhook-Verified") != "github" || got.Get("X-Repository-Url") == "" {
		t.Errorf("another app got of a genuine delivery: %v", got)
	}
}
