package placement_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"go.uber.org/zap/zapcore"

	_ "github.com/verify-webhook/caddy-verify-webhook/caddymodule"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
)

// load provisions a configuration's http app, and returns it with a function that
// ends it.
func load(config []byte) (app *caddyhttp.App, end func(), err error) {
	cfg := caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}}}},
	}
	base, err := caddy.ProvisionContext(&cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(config, &struct{ Apps *caddy.ModuleMap }{&cfg.AppsRaw}); err != nil {
		return nil, nil, err
	}
	ctx, end := caddy.NewContext(base)
	module, err := ctx.App("http")
	if err != nil {
		end()
		return nil, nil, err
	}
	return module.(*caddyhttp.App), end, nil
}

func adapt(t testing.TB, caddyfile string) []byte {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, caddyfile)
	}
	return config
}

// survey returns the warnings for a Caddyfile: each message with its fields.
func survey(t testing.TB, caddyfile string) (warnings []string, err error) {
	t.Helper()
	app, end, err := load(adapt(t, caddyfile))
	if err != nil {
		t.Fatalf("%v\n%s", err, caddyfile)
	}
	defer end()
	findings, err := placement.Survey(app)
	for _, f := range findings {
		text := f.Message
		for _, field := range f.Fields {
			values := zapcore.NewMapObjectEncoder()
			field.AddTo(values)
			text += fmt.Sprintf(" %s=%v", field.Key, values.Fields[field.Key])
		}
		warnings = append(warnings, text)
	}
	return warnings, err
}

// The beginnings of warnings, by subject.
const (
	openPath      = "requests reach "
	deadMatcher   = "no request can reach this verify_webhook"
	shadowed      = "no request reaches this verify_webhook"
	twoOfThem     = "requests reach two verify_webhook handlers"
	nothingBehind = "nothing answers after this verify_webhook"
	otherHosts    = "requests for other hosts get Caddy's empty 200"
	otherPaths    = "requests for other paths get Caddy's empty 200"
	sharedScope   = "handlers with one name share their deliveries"
	endless       = "upstream_timeout does not end a request to FastCGI"
	anyPath       = "handlers without a name include the path in a delivery's identity"
	guardLines    = "@unguarded vars {http.verify_webhook.name} \"\"\nrespond @unguarded 404\n"
	oneSecret     = "whsec_qL3x9TzV0mW8sYb2Kg"
	anotherSecret = "whsec_YW5vdGhlci1zZWNyZXQ"
)

// safePlacements start without a warning.
var safePlacements = map[string]string{
	"a rewrite that comes before the block, which then sees the new path": `{
		order rewrite before verify_webhooks
	}
	hooks.example.com {
		rewrite /legacy/* /hooks/other
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		reverse_proxy app:3000
	}`,
	"guarded prefix": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			verify_webhook /hooks/github github a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"block": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			sender stripe whsec_b {
				name stripe-test
			}
			sender {
				name        acme
				path        /hooks/acme/*
				secret      a
				signature   header Acme-Signature
				delivery_id json id
			}
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"block beside the app's other paths": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			handle /hooks/stripe {
				reverse_proxy app:3000
			}
		}
		reverse_proxy app:3000
	}`,
	"block for the whole site": `http:// {
		verify_webhooks * {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
	}`,
	"blocks with two prefixes, on two hosts": `a.example.com {
		verify_webhooks /a/* {
			sender stripe whsec_a {
				name stripe-a
			}
			reverse_proxy app:3000
		}
		verify_webhooks /b/* {
			sender stripe whsec_b {
				name stripe-b
			}
			reverse_proxy app:3001
		}
		respond 404
	}
	b.example.com {
		verify_webhooks /a/* {
			sender github a
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"guard in a route, nested handles behind it": `hooks.example.com {
		route /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			verify_webhook /hooks/github github a
			` + guardLines + `
			handle /hooks/stripe {
				reverse_proxy app:3000
			}
			handle {
				reverse_proxy app:3001
			}
		}
		respond 404
	}`,
	"handle_path, paths as they are inside": `hooks.example.com {
		handle_path /hooks/* {
			verify_webhook /stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"prefix rewritten, paths as they are then": `hooks.example.com {
		route /hooks/* {
			rewrite * /v1{uri}
			verify_webhook /v1/hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"one site with two hosts": `hooks.example.com, hooks.example.org {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"a site over http and https": `http://hooks.example.com, https://hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}
	http:// {
		respond 404
	}`,
	"a site at two ports": `http://:8080, http://:8081 {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"a snippet on two hosts": `(hooks) {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}
	a.example.com {
		import hooks
	}
	b.example.com {
		import hooks
	}
	*.example.com {
		import hooks
	}`,
	"two accounts with names": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a {
				name stripe-live
			}
			verify_webhook /hooks/stripe-test stripe whsec_b {
				name stripe-test
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"one name for one app at two paths": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a {
				name stripe
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
		route /old/hooks {
			verify_webhook /old/hooks stripe whsec_a {
				name stripe
			}
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"everything is verified": `hooks.example.com {
		verify_webhook stripe whsec_a {
			name stripe
		}
		reverse_proxy app:3000
	}`,
	"any path, which is signed": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender square a {
				path /hooks/square/*
			}
			sender twilio a {
				path /hooks/twilio/*
			}
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"any path, and no dedupe": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender github a {
				path   /hooks/github/*
				dedupe off
			}
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"another app beside": `hooks.example.com {
		handle /hooks/stripe {
			verify_webhook stripe whsec_a
			reverse_proxy app:3000
		}
		handle {
			reverse_proxy frontend:8080
		}
	}`,
	"files beside, which no POST gets": `hooks.example.com {
		handle /hooks/stripe {
			verify_webhook stripe whsec_a
			reverse_proxy app:3000
		}
		handle {
			root * /srv
			try_files {path} /index.html
			file_server
		}
	}`,
	"php behind a guard": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			root * /srv
			php_fastcgi app:9000 {
				read_timeout 60s
				write_timeout 1m
			}
		}
		respond 404
	}`,
	"a guard written as an expression": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			@unguarded expression {http.verify_webhook.name} == null
			respond @unguarded 404
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"a guard written as a list of the verified": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			@verified vars {http.verify_webhook.verified} true
			reverse_proxy @verified app:3000
			respond 404
		}
		respond 404
	}`,
	"a named route": `&(hooks) {
		verify_webhook /hooks/stripe stripe whsec_a
		` + guardLines + `
		reverse_proxy app:3000
	}
	hooks.example.com {
		handle /hooks/* {
			invoke hooks
		}
		respond 404
	}`,
	"behind forward_auth": `hooks.example.com {
		forward_auth auth:9000 {
			uri /ask
		}
		verify_webhook /hooks/stripe stripe whsec_a
		reverse_proxy app:3000
	}`,
	"plain http for every host": `http://:8080 {
		bind 127.0.0.1
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"plain http for one host, and the others refused": `http://hooks.internal:8080 {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}
	http://:8080 {
		respond 404
	}`,
	"tenants told apart by a header, each with a name": `hooks.example.com {
		handle /hooks/* {
			@a header X-Tenant a
			@b header X-Tenant b
			verify_webhook @a stripe whsec_a {
				name stripe-a
			}
			verify_webhook @b stripe whsec_b {
				name stripe-b
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"a prefix taken off beside a block, and the block's paths refused": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		handle_path /legacy/* {
			@hooks verify_webhook_prefix /hooks/*
			respond @hooks 404
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"a prefix taken off beside a block, before another app": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		handle_path /legacy/* {
			reverse_proxy legacy:3000
		}
		respond 404
	}`,
	"a prefix taken off before and behind a block": `hooks.example.com {
		handle_path /api/* {
			verify_webhooks /hooks/* {
				sender stripe whsec_a
				reverse_proxy app:3000
			}
			reverse_proxy app:3000
		}
		verify_webhooks /in/* {
			sender github a
			uri strip_prefix /in
			reverse_proxy github:3000
		}
		respond 404
	}`,
	"an app that gets hooks under a prefix of their own": `hooks.example.com {
		handle_path /api/* {
			reverse_proxy app:3000
		}
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			rewrite * /internal{uri}
			reverse_proxy app:3001
		}
		respond 404
	}`,
	"a handler a tenant and one for the rest, each with what answers": `hooks.example.com {
		@a header X-Tenant a
		handle @a {
			verify_webhook stripe whsec_a {
				name stripe-a
			}
			reverse_proxy app:3000
		}
		handle {
			verify_webhook stripe whsec_b {
				name stripe-b
			}
			reverse_proxy app:3000
		}
	}`,
	"a handler for what the first did not verify": `hooks.example.com {
		route {
			@a header X-Tenant a
			verify_webhook @a stripe whsec_a {
				name stripe-a
			}
			@unverified vars {http.verify_webhook.name} ""
			verify_webhook @unverified stripe whsec_b {
				name stripe-b
			}
			reverse_proxy app:3000
		}
	}`,
	"a module behind that the walk does not know": `hooks.example.com {
		verify_webhook github a {
			name github
		}
		acme_server
	}`,
	"an answer behind for some methods alone": `hooks.example.com {
		verify_webhook github a {
			name github
		}
		@put method PUT
		reverse_proxy @put app:3000
		respond 404
	}`,
	"one provider, told apart by what the walk cannot judge": `hooks.example.com {
		handle /hooks/* {
			@a expression path('/hooks/a')
			@b expression path('/hooks/b')
			handle @a {
				verify_webhook stripe whsec_a {
					name stripe-a
				}
				reverse_proxy app:3000
			}
			handle @b {
				verify_webhook stripe whsec_b {
					name stripe-b
				}
				reverse_proxy app:3000
			}
		}
		respond 404
	}`,
}

func TestSafePlacementsStartWithoutAWarning(t *testing.T) {
	for name, caddyfile := range safePlacements {
		t.Run(name, func(t *testing.T) {
			if warnings, err := survey(t, caddyfile); err != nil || len(warnings) > 0 {
				t.Errorf("%v\n%s", err, strings.Join(warnings, "\n"))
			}
		})
	}
}

// unsafePlacements start with exactly these warnings. A warning is the beginning of
// its message and, after " … ", its fields.
var unsafePlacements = map[string]struct {
	caddyfile string
	want      []string
}{
	"a block in a handle behind one for its prefix": {`hooks.example.com {
		handle /api/* {
			reverse_proxy app:3000
		}
		handle {
			verify_webhooks /api/* {
				sender stripe whsec_a
				reverse_proxy other:3000
			}
			respond 404
		}
	}`, []string{shadowed + ": reverse_proxy app:3000 answers first … name=stripe request=/api/stripe", notAll + "reverse_proxy app:3000 … prefix=/api/* inside=[] host=hooks.example.com"}},
	"a directive behind a proxy, in a route": {`hooks.example.com {
		route {
			reverse_proxy app:3000
			verify_webhook stripe whsec_a
		}
	}`, []string{shadowed + ": reverse_proxy app:3000 answers first … name=stripe"}},
	"a matcher a sender before a proxy for everything": {`hooks.example.com {
		verify_webhook /hooks/stripe stripe whsec_a
		verify_webhook /hooks/github github a
		reverse_proxy app:3000
	}`, []string{openPath + ` … reverse_proxy app:3000 without passing verify_webhook … verify_webhooks /hooks/*; … names=[github stripe] request=hooks.example.com/hooks/github/`}},
	"a handle a sender, and one app behind all": {`hooks.example.com {
		handle /in/stripe {
			verify_webhook stripe whsec_a
			reverse_proxy app:3000
		}
		handle {
			reverse_proxy app:3000
		}
	}`, []string{openPath + ` … verify_webhooks /in/*; … names=[stripe] request=hooks.example.com/in/stripe/`}},
	"a path with everything below it, but not the path itself": {`hooks.example.com {
		verify_webhook /hooks/stripe/* stripe whsec_a
		reverse_proxy app:3000
	}`, []string{openPath + ` … request=hooks.example.com/hooks/stripe`, anyPath}},
	"a handle for everything below a path, but not the path itself": {`hooks.example.com {
		handle /hooks/stripe/* {
			verify_webhook stripe whsec_a {
				name stripe
			}
			reverse_proxy app:3000
		}
		reverse_proxy app:3000
	}`, []string{openPath + ` … request=hooks.example.com/hooks/stripe`}},
	"any path, without a name": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			sender github a {
				path /hooks/github/*
			}
			reverse_proxy app:3000
		}
		respond 404
	}
	other.example.com {
		verify_webhook /in* slack a
		respond 200
	}`, []string{anyPath + ` … names=[github slack]`}},
	"a guard that Caddy sorts behind nested handles": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			handle /hooks/stripe {
				reverse_proxy app:3000
			}
			handle {
				reverse_proxy app:3000
			}
		}
		respond 404
	}`, []string{openPath + ` … request=hooks.example.com/hooks/stripe/`}},
	"a header that decides whether anything is verified": {`hooks.example.com {
		@live header X-Env live
		verify_webhook @live stripe whsec_a
		reverse_proxy app:3000
	}`, []string{openPath + ` … request=hooks.example.com/x`, anyPath}},
	"FastCGI without a bound": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a {
				name stripe
			}
			sender slack a {
				upstream_timeout 2s
			}
			root * /srv
			reverse_proxy app:9000 {
				transport fastcgi {
					read_timeout 60s
					write_timeout 2s
				}
			}
		}
		respond 404
	}`, []string{endless + ` … read_timeout 2s and write_timeout 2s … name=slack`}},
	"FastCGI without a bound for what is sent": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			root * /srv
			php_fastcgi app:9000 {
				read_timeout 60s
			}
		}
		respond 404
	}`, []string{endless + ` … read_timeout 1m0s … name=stripe`}},
	"php for everything": {`hooks.example.com {
		verify_webhook /hooks/stripe stripe whsec_a
		root * /srv
		php_fastcgi app:9000
	}`, []string{openPath + ` … reverse_proxy app:9000 without`, endless}},
	"files for everything, for a sender that sends GET": {`hooks.example.com {
		verify_webhook /hooks/stripe stripe whsec_a {
			methods GET
		}
		file_server
	}`, []string{openPath + ` … file_server without`}},
	"a 200 for everything": {`hooks.example.com {
		handle /hooks/stripe {
			verify_webhook stripe whsec_a
			reverse_proxy app:3000
		}
		respond 200
	}`, []string{openPath + ` … respond 200 without`}},
	"an unguarded named route": {`&(hooks) {
		verify_webhook /hooks/stripe stripe whsec_a
		reverse_proxy app:3000
	}
	hooks.example.com {
		invoke hooks
	}`, []string{openPath}},
	"handle_path takes off what the matcher has": {`hooks.example.com {
		handle_path /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{
		openPath + ` … reverse_proxy app:3000 without passing verify_webhook … names=[stripe] request=hooks.example.com/hooks/stripe`,
		deadMatcher + ` … name=stripe matcher=[/hooks/stripe] request=/hooks/stripe path_there=/stripe`,
	}},
	"the same with a guard": {`hooks.example.com {
		handle_path /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{deadMatcher}},
	"a rewrite puts on what the matcher has not": {`hooks.example.com {
		route /hooks/* {
			rewrite * /v1{uri}
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{deadMatcher + ` … path_there=/v1/hooks/stripe`}},
	"a rewrite to one path": {`hooks.example.com {
		route {
			rewrite * /in
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
	}`, []string{deadMatcher + ` … path_there=/in`}},
	"a matcher that leaves out the prefix around it": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{deadMatcher + ` … matcher=[/stripe] `}},
	"other paths fall through": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
	}`, []string{otherPaths + ` … sites=[hooks.example.com] request=hooks.example.com/no-such-path`}},
	"other paths than a block's fall through": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
	}`, []string{otherPaths + ` … sites=[hooks.example.com] request=hooks.example.com/no-such-path`}},
	"near misses fall through": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			reverse_proxy /hooks/stripe app:3000
		}
		handle {
			respond 404
		}
	}`, []string{otherPaths + ` … request=hooks.example.com/hooks/stripe/`}},
	"plain http for one host": {`http://localhost:8080 {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{otherHosts + ` … http://:8080 { respond 404 } sites=[:8080]`}},
	"a prefix taken off beside a block": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			sender github a
			reverse_proxy app:3000
		}
		handle_path /legacy/* {
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{openPath + "reverse_proxy app:3000 with the path … @hooks verify_webhook_prefix /hooks/* … names=[github stripe] request=hooks.example.com/legacy/hooks/stripe path_there=/hooks/stripe"}},
	"two prefixes taken off beside a block": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		handle_path /a/* {
			handle_path /b/* {
				reverse_proxy other:3000
			}
		}
		route /c/* {
			uri strip_prefix /c
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{openPath + "reverse_proxy app:3000 … request=hooks.example.com/c/hooks/stripe path_there=/hooks/stripe"}},
	"two prefixes taken off before the same app": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		handle_path /a/* {
			handle_path /b/* {
				reverse_proxy app:3000
			}
		}
		respond 404
	}`, []string{openPath + "reverse_proxy app:3000 … request=hooks.example.com/a/b/hooks/stripe path_there=/hooks/stripe"}},
	"a prefix put on beside a block": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		handle {
			rewrite * /hooks{uri}
			reverse_proxy app:3000
		}
	}`, []string{openPath + "reverse_proxy app:3000 … request=hooks.example.com/stripe path_there=/hooks/stripe"}},
	"a prefix taken off behind a handler alone": {`hooks.example.com {
		handle_path /hooks/* {
			verify_webhook /stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		reverse_proxy app:3000
	}`, []string{openPath + "reverse_proxy app:3000 … @hooks verify_webhook_prefix /stripe/* … names=[stripe] request=hooks.example.com/stripe path_there=/stripe"}},
	"a prefix taken off in a block alone": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			uri strip_prefix /hooks
			reverse_proxy app:3000
		}
		reverse_proxy app:3000
	}`, []string{openPath + "reverse_proxy app:3000 … request=hooks.example.com/stripe path_there=/stripe"}},
	"a handler for a path behind one for all below its prefix": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/* stripe whsec_a {
				name stripe
			}
			verify_webhook /hooks/github github a
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{twoOfThem + ` … names=[github stripe] request=hooks.example.com/hooks/github`}},
	"a handler before a block": {`hooks.example.com {
		route {
			verify_webhook /hooks/* stripe whsec_a {
				name stripe
			}
			verify_webhooks /hooks/* {
				sender github a
				reverse_proxy app:3000
			}
			respond 404
		}
	}`, []string{twoOfThem + ` … names=[github stripe] request=hooks.example.com/hooks/github`}},
	"a handler by header behind one for everything": {`hooks.example.com {
		@github header X-GitHub-Event *
		route {
			verify_webhook stripe whsec_a {
				name stripe
			}
			verify_webhook @github github a {
				name github
			}
			reverse_proxy app:3000
		}
	}`, []string{twoOfThem + ` … names=[github stripe] request=hooks.example.com/x`}},
	"a handler for everything behind one by header": {`hooks.example.com {
		@github header X-GitHub-Event *
		route {
			verify_webhook @github github a {
				name github
			}
			verify_webhook stripe whsec_a {
				name stripe
			}
			reverse_proxy app:3000
		}
	}`, []string{twoOfThem + ` … names=[github stripe] request=hooks.example.com/x`}},
	"nothing behind a handler": {`hooks.example.com {
		handle /hooks/stripe {
			verify_webhook stripe whsec_a
		}
		handle {
			reverse_proxy app:3000
		}
	}`, []string{nothingBehind + ` … names=[stripe] request=hooks.example.com/hooks/stripe`}},
	"nothing behind a handler but for other paths": {`hooks.example.com {
		verify_webhook /hooks/stripe stripe whsec_a
		reverse_proxy /api/* app:3000
	}`, []string{otherPaths, nothingBehind + ` … names=[stripe]`}},
	"nothing behind a handler, in a route with others": {`hooks.example.com {
		route /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			verify_webhook /hooks/github github a
			header X-Frame-Options deny
		}
		respond /in/* 404
	}`, []string{otherPaths, nothingBehind + ` … names=[github stripe] request=hooks.example.com/hooks/stripe`}},
	"a redirect to https does not take the other hosts": {`http://hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}
	https://www.example.com {
		respond 404
	}`, nil}, // Caddy redirects every other host
	"one name, two keys, one app": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/a standard_webhooks ` + oneSecret + ` {
				name customers
			}
			verify_webhook /hooks/b standard_webhooks ` + anotherSecret + ` {
				name customers
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{sharedScope + ` … name=customers different=[keys]`}},
	"one name, one key, two apps": {`a.example.com {
		verify_webhook github a {
			name github
		}
		reverse_proxy app-a:3000
	}
	b.example.com {
		verify_webhook github a {
			name github
		}
		reverse_proxy app-b:3000
	}`, []string{sharedScope + ` … name=github different=[apps]`}},
	"one named route for two apps": {`{
		auto_https off
	}
	&(hook) {
		verify_webhook github a {
			name github
		}
	}
	http://hooks.example.com {
		handle /shop/* {
			invoke hook
			` + guardLines + `
			reverse_proxy app-a:3000
		}
		handle /billing/* {
			invoke hook
			` + guardLines + `
			reverse_proxy app-b:3000
		}
		respond 404
	}`, []string{"several routes invoke this handler, with different apps … name=github different=[apps]", "requests for other hosts"}},
	"one name, two apps behind one handle": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/a github a {
				name github
			}
			verify_webhook /hooks/b github b {
				name github
			}
			` + guardLines + `
			reverse_proxy /hooks/a app-a:3000
			reverse_proxy /hooks/b app-b:3000
		}
		respond 404
	}`, []string{sharedScope + ` … different=[apps keys]`}},
	"two accounts without names": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			verify_webhook /hooks/stripe-test stripe whsec_b
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{"2 handlers are called stripe"}},
	"two accounts, one with the other's name": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			verify_webhook /hooks/stripe-test stripe whsec_b {
				name stripe
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{"2 handlers are called stripe"}},
}

func TestUnsafePlacementsAreWarnedOf(t *testing.T) {
	for name, c := range unsafePlacements {
		t.Run(name, func(t *testing.T) {
			isWarnedOf(t, c.caddyfile, c.want...)
		})
	}
}

// isWarnedOf reports an error unless a Caddyfile starts with exactly these warnings.
func isWarnedOf(t *testing.T, caddyfile string, wanted ...string) {
	t.Helper()
	warnings, err := survey(t, caddyfile)
	if err != nil {
		t.Fatal(err)
	}
	rest := slices.Clone(warnings)
	for _, want := range wanted {
		i := slices.IndexFunc(rest, func(w string) bool { return holdsInOrder(w, want) })
		if i < 0 {
			t.Errorf("no warning:\n%s\nbut:\n%s", want, strings.Join(warnings, "\n"))
			return
		}
		rest = slices.Delete(rest, i, i+1)
	}
	if len(rest) > 0 {
		t.Errorf("not asked for:\n%s", strings.Join(rest, "\n"))
	}
}

// holdsInOrder reports whether a text begins with the first part and contains the
// others in order.
func holdsInOrder(text, parts string) bool {
	for i, part := range strings.Split(parts, " … ") {
		_, rest, found := strings.Cut(text, part)
		if !found || i == 0 && !strings.HasPrefix(text, part) {
			return false
		}
		text = rest
	}
	return true
}

// TestHandlersThatNeedQueuesRefuseToStart: an app that is down holds the deliveries of
// its queue, which must not be those of another app.
func TestHandlersThatNeedQueuesRefuseToStart(t *testing.T) {
	sites := func(a, b string) string {
		return "(hooks) {\nverify_webhooks /hooks/* {\nsender github a {\ninbox\n{args[1]}\n}\nreverse_proxy {args[0]}\n}\nrespond 404\n}\n" +
			"http://a.example.com {\nimport hooks " + a + "\n}\nhttp://b.example.com {\nimport hooks " + b + "\n}"
	}
	route := func(shop, billing string) string {
		return "&(hook) {\nverify_webhook github a {\ninbox\n}\n}\nhttp://hooks.example.com {\nhandle /shop/* {\ninvoke hook\nreverse_proxy " + shop +
			"\n}\nhandle /billing/* {\ninvoke hook\nreverse_proxy " + billing + "\n}\nrespond 404\n}"
	}
	for name, c := range map[string]struct {
		caddyfile, want string // parts of the error; "" if it starts
	}{
		"two sites, two apps":         {sites("app-a:3000 observe", "app-b:3000 observe"), "the handlers 1 and 2 … app-a:3000 … app-b:3000 … name github-1"},
		"two sites, one app":          {sites("app:3000 observe", "app:3000 observe"), ""},
		"two sites, two names":        {strings.ReplaceAll(sites("app-a:3000 name-a", "app-b:3000 name-b"), "{args[1]}", "name {args[1]}"), ""},
		"two sites, one name":         {strings.ReplaceAll(sites("app-a:3000 a", "app-b:3000 a"), "{args[1]}", "name {args[1]}"), "verify_webhook a: the handlers 1 and 2"},
		"one site with two addresses": {"http://a.example.com, http://a.example.com:8080 {\nverify_webhook github a {\ninbox\n}\nreverse_proxy app:3000\n}", ""},
		"one without an inbox":        {"http://a.example.com {\nverify_webhook github a {\ninbox\n}\nreverse_proxy app-a:3000\n}\nhttp://b.example.com {\nverify_webhook github b\nreverse_proxy app-b:3000\n}", ""},
		"a named route, two apps":     {route("app-a:3000", "app-b:3000"), "several routes invoke it … app-b:3000; app-a:3000"},
		"a named route, one app":      {route("app:3000", "app:3000"), ""},
		"an app by path":              {"http://a.example.com {\nverify_webhook github a {\ninbox\n}\nreverse_proxy /hooks/a app-a:3000\nreverse_proxy app-b:3000\n}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := survey(t, c.caddyfile)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !holdsInOrder(" "+err.Error(), " … "+c.want)) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestHandlersThatNeedNamesRefuseToStart(t *testing.T) {
	const site = "hooks.example.com {\nhandle /hooks/* {\n%s\n" + guardLines + "reverse_proxy app:3000\n}\nrespond 404\n}"
	two := func(a, b string) string {
		return fmt.Sprintf(site, "@a "+a+"\n@b "+b+"\nverify_webhook @a standard_webhooks "+oneSecret+"\nverify_webhook @b standard_webhooks "+anotherSecret)
	}
	for name, c := range map[string]struct {
		caddyfile, want string // parts of the error; "" if it starts
	}{
		"header":           {two("header X-Tenant a", "header X-Tenant b"), "distinguished by: header"},
		"query":            {two("query tenant=a", "query tenant=b"), "distinguished by: query"},
		"client's address": {two("remote_ip 192.0.2.0/25", "client_ip 192.0.2.128/25"), "distinguished by: client_ip, remote_ip"},
		"method":           {two("method POST", "method PUT"), "distinguished by: method"},
		"header on one path": {two("{\npath /hooks/in\nheader X-Tenant a\n}", "{\npath /hooks/*\nheader X-Tenant b\n}"),
			"hooks.example.com/hooks/in … name standard_webhooks-1"},
		"paths":               {two("path /hooks/a", "path /hooks/b"), ""},
		"hosts":               {two("host a.example.com", "host b.example.com"), ""},
		"header, paths":       {two("{\npath /hooks/a\nheader X-Tenant a\n}", "{\npath /hooks/b\nheader X-Tenant b\n}"), ""},
		"not clear":           {two("expression path('/hooks/a')", "expression path('/hooks/b')"), ""},
		"the first takes all": {two("path /hooks/*", "path /hooks/b"), ""}, // and each request is refused
		"nested handles": {`http://:8080 {
			@a header X-Tenant a
			handle @a {
				verify_webhook github a
				reverse_proxy app-a:3000
			}
			handle {
				verify_webhook github b
				reverse_proxy app-b:3000
			}
		}`, "verify_webhook github: the handlers 1 and 2 … /x (distinguished by: header)"},
		"two ports, two keys":                  {"http://:8080 {\nverify_webhook github a\nreverse_proxy app:3000\n}\nhttp://:8081 {\nverify_webhook github b\nreverse_proxy app:3000\n}", "distinguished by: a port"},
		"two ports, two apps":                  {"http://:8080 {\nverify_webhook github a\nreverse_proxy app-a:3000\n}\nhttp://:8081 {\nverify_webhook github a\nreverse_proxy app-b:3000\n}", "distinguished by: a port"},
		"a wildcard host and one of its hosts": {"a.example.com {\nverify_webhook github a\nreverse_proxy app-a:3000\n}\n*.example.com {\nverify_webhook github b\nreverse_proxy app-b:3000\n}", ""},
		"one of them without dedupe":           {fmt.Sprintf(site, "@a header X-Tenant a\n@b header X-Tenant b\nverify_webhook @a github a\nverify_webhook @b github b {\ndedupe off\n}"), ""},
		"two providers":                        {fmt.Sprintf(site, "@a header X-Tenant a\n@b header X-Tenant b\nverify_webhook @a github a\nverify_webhook @b stripe whsec_b"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := survey(t, c.caddyfile)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !holdsInOrder(" "+err.Error(), " … "+c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), oneSecret) || strings.Contains(err.Error(), "192.0.2")) {
				t.Errorf("the error repeats what is configured: %v", err)
			}
		})
	}
}

// TestRemedyForOtherHosts: a site without the bind of the others listens elsewhere.
func TestRemedyForOtherHosts(t *testing.T) {
	for listen, want := range map[string]string{
		":8080":                          "http://:8080 { respond 404 }",
		"127.0.0.1:8080 127.0.0.2:8080":  "http://:8080 { respond 404 }, with bind 127.0.0.1 like this one",
		"unix//run/caddy.sock":           "http:// { respond 404 }",
		"{env.NOT_EXPANDED}/{env.OTHER}": "http:// { respond 404 }",
	} {
		if got := placement.EveryHost(listen); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}
