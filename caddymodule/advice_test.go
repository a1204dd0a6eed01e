package caddymodule

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/zaptest/observer"
)

// advised takes a Caddyfile as far as the start of the app, and returns what it
// warns of: each message with its fields.
func advised(t testing.TB, caddyfile string) (warnings []string, err error) {
	t.Helper()
	adapted, err := adapt("Caddyfile", caddyfile)
	if err != nil {
		t.Fatalf("%v\n%s", err, caddyfile)
	}
	return advisedOf(t, adapted)
}

func advisedOf(t testing.TB, config string) (warnings []string, err error) {
	t.Helper()
	var cfg caddy.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Admin = &caddy.AdminConfig{Disabled: true}
	cfg.Logging = silent()
	cfg.Logging.Logs["default"].CoreRaw = json.RawMessage(`{"module":"verify_webhook_test"}`)
	apps := cfg.AppsRaw
	cfg.AppsRaw = nil // they are loaded below, into a context that ends with the test
	ctx, err := caddy.ProvisionContext(&cfg)
	if err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	cfg.AppsRaw = apps
	base, cancel := caddy.NewContext(ctx)
	t.Cleanup(cancel)
	logs := lastLogs
	if _, err := base.App("http"); err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	app, err := base.App("verify_webhook")
	if err != nil {
		t.Fatal(err)
	}
	logs.TakeAll()
	err = app.(*App).advise(nil)
	return warned(logs), err
}

func warned(logs *observer.ObservedLogs) (warnings []string) {
	for _, entry := range logs.All() {
		if !strings.HasPrefix(entry.LoggerName, "verify_webhook") {
			continue
		}
		text := entry.Message
		fields := entry.ContextMap()
		for _, f := range entry.Context {
			text += fmt.Sprintf(" %s=%v", f.Key, fields[f.Key])
		}
		warnings = append(warnings, text)
	}
	return warnings
}

// The beginnings of warnings, by what they are about.
const (
	openPath      = "requests reach "
	deadMatcher   = "no request can reach this verify_webhook"
	shadowed      = "no request reaches this verify_webhook"
	otherHosts    = "requests for other hosts get Caddy's empty 200"
	otherPaths    = "requests for other paths get Caddy's empty 200"
	sharedScope   = "handlers of one name share what they remember"
	anyPath       = "handlers without a name tell deliveries apart by their path too"
	unrecognised  = "nothing tells the deliveries of these senders apart"
	guardLines    = "@unguarded vars {http.verify_webhook.name} \"\"\nrespond @unguarded 404\n"
	oneSecret     = "whsec_c3RyaXBlLXNlY3JldA"
	anotherSecret = "whsec_YW5vdGhlci1zZWNyZXQ"
)

// safePlacements start without a warning.
var safePlacements = map[string]string{
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
	"the app on another host": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}
	www.example.com {
		reverse_proxy app:3000
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
			php_fastcgi app:9000
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
	"dedupe switched off": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/feed websub a {
				param topic https://blog.example/feed
				dedupe off
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
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
			if warnings, err := advised(t, caddyfile); err != nil || len(warnings) > 0 {
				t.Errorf("%v\n%s", err, strings.Join(warnings, "\n"))
			}
		})
	}
}

// unsafePlacements start, each with these warnings and no other. A warning is
// the beginning of its message and, behind " … ", of its fields.
var unsafePlacements = map[string]struct {
	caddyfile string
	want      []string
}{
	"a block behind a proxy, in a route": {`hooks.example.com {
		route {
			reverse_proxy app:3000
			verify_webhooks /hooks/* {
				sender stripe whsec_a
				reverse_proxy app:3000
			}
		}
	}`, []string{shadowed + ": reverse_proxy app:3000 answers before it … name=stripe request=/hooks/stripe"}},
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
	}`, []string{shadowed + ": reverse_proxy app:3000 answers before it … name=stripe request=/api/stripe"}},
	"a directive behind a proxy, in a route": {`hooks.example.com {
		route {
			reverse_proxy app:3000
			verify_webhook stripe whsec_a
		}
	}`, []string{shadowed + ": reverse_proxy app:3000 answers before it … name=stripe"}},
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
	"php for everything": {`hooks.example.com {
		verify_webhook /hooks/stripe stripe whsec_a
		root * /srv
		php_fastcgi app:9000
	}`, []string{openPath + ` … reverse_proxy app:9000 without`}},
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
	"senders whose copies nothing tells apart": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/feed websub a {
				param topic https://blog.example/feed
			}
			verify_webhook /hooks/acme {
				name acme
				secret a
				signature header X-Signature
			}
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{unrecognised + ` … names=[acme websub]`}},
}

func TestUnsafePlacementsAreWarnedOf(t *testing.T) {
	for name, c := range unsafePlacements {
		t.Run(name, func(t *testing.T) {
			warnings, err := advised(t, c.caddyfile)
			if err != nil {
				t.Fatal(err)
			}
			rest := slices.Clone(warnings)
			for _, want := range c.want {
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
		})
	}
}

// holdsInOrder reports whether a text begins with the first of the parts and
// holds the others behind it.
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

func TestHandlersThatNeedNamesRefuseToStart(t *testing.T) {
	const site = "hooks.example.com {\nhandle /hooks/* {\n%s\n" + guardLines + "reverse_proxy app:3000\n}\nrespond 404\n}"
	two := func(a, b string) string {
		return fmt.Sprintf(site, "@a "+a+"\n@b "+b+"\nverify_webhook @a standard_webhooks "+oneSecret+"\nverify_webhook @b standard_webhooks "+anotherSecret)
	}
	for name, c := range map[string]struct {
		caddyfile, want string // parts of the error; "" where it starts
	}{
		"header":           {two("header X-Tenant a", "header X-Tenant b"), "told apart by: header"},
		"query":            {two("query tenant=a", "query tenant=b"), "told apart by: query"},
		"client's address": {two("remote_ip 192.0.2.0/25", "client_ip 192.0.2.128/25"), "told apart by: client_ip, remote_ip"},
		"method":           {two("method POST", "method PUT"), "told apart by: method"},
		"header on one path": {two("{\npath /hooks/in\nheader X-Tenant a\n}", "{\npath /hooks/*\nheader X-Tenant b\n}"),
			"hooks.example.com/hooks/in … name standard_webhooks-1"},
		"paths":               {two("path /hooks/a", "path /hooks/b"), ""},
		"hosts":               {two("host a.example.com", "host b.example.com"), ""},
		"header, paths":       {two("{\npath /hooks/a\nheader X-Tenant a\n}", "{\npath /hooks/b\nheader X-Tenant b\n}"), ""},
		"not clear":           {two("expression path('/hooks/a')", "expression path('/hooks/b')"), ""},
		"the first takes all": {two("path /hooks/*", "path /hooks/b"), ""}, // and is refused on each request
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
		}`, "verify_webhook github: the handlers 1 and 2 … /x (told apart by: header)"},
		"two ports, two keys":                  {"http://:8080 {\nverify_webhook github a\nreverse_proxy app:3000\n}\nhttp://:8081 {\nverify_webhook github b\nreverse_proxy app:3000\n}", "told apart by: a port"},
		"two ports, two apps":                  {"http://:8080 {\nverify_webhook github a\nreverse_proxy app-a:3000\n}\nhttp://:8081 {\nverify_webhook github a\nreverse_proxy app-b:3000\n}", "told apart by: a port"},
		"a wildcard host and one of its hosts": {"a.example.com {\nverify_webhook github a\nreverse_proxy app-a:3000\n}\n*.example.com {\nverify_webhook github b\nreverse_proxy app-b:3000\n}", ""},
		"one of them without dedupe":           {fmt.Sprintf(site, "@a header X-Tenant a\n@b header X-Tenant b\nverify_webhook @a github a\nverify_webhook @b github b {\ndedupe off\n}"), ""},
		"two providers":                        {fmt.Sprintf(site, "@a header X-Tenant a\n@b header X-Tenant b\nverify_webhook @a github a\nverify_webhook @b stripe whsec_b"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := advised(t, c.caddyfile)
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

// TestWhatAReloadForgetsIsWarnedOf: the second configuration is provisioned while
// the first is in force, as in a reload.
func TestWhatAReloadForgetsIsWarnedOf(t *testing.T) {
	const otherStore, otherName = "another store than before the reload", "a handler has another name than before the reload"
	file := filepath.ToSlash(filepath.Join(t.TempDir(), "dedupe.db"))
	bolt := func(path string) string { return `{"store":{"store":"bolt","path":"` + path + `"}}` }
	stripe := func(more string) string { return `{"provider":"stripe","secret":["whsec_a"]` + more + `}` }
	for name, c := range map[string]struct {
		app, handler       string
		newApp, newHandler string
		want               []string
	}{
		"nothing":              {"", stripe(""), "", stripe(""), nil},
		"a larger store":       {"", stripe(""), `{"store":{"store":"memory","max_entries":9}}`, stripe(""), nil},
		"another kind":         {"", stripe(""), bolt(file), stripe(""), []string{otherStore + " … before=memory now=bolt " + file}},
		"another file":         {bolt(file), stripe(""), bolt(file + "2"), stripe(""), []string{otherStore + " … before=bolt " + file + " now=bolt " + file + "2"}},
		"a name":               {"", stripe(""), "", stripe(`,"name":"billing"`), []string{otherName + " … before=stripe, by default now=billing"}},
		"the default's name":   {"", stripe(""), "", stripe(`,"name":"stripe"`), []string{otherName + " … before=stripe, by default now=stripe"}},
		"another name":         {"", stripe(`,"name":"a"`), "", stripe(`,"name":"b"`), []string{otherName + " … before=a now=b"}},
		"no name":              {"", stripe(`,"name":"a"`), "", stripe(""), []string{otherName + " … before=a now=stripe, by default"}},
		"both":                 {"", stripe(`,"name":"a"`), bolt(file), stripe(`,"name":"b"`), []string{otherStore, otherName}},
		"another key and name": {"", stripe(`,"name":"a"`), "", strings.Replace(stripe(`,"name":"b"`), "whsec_a", "whsec_b", 1), nil},
		"another sender":       {"", stripe(""), "", `{"provider":"github","secret":["whsec_a"]}`, nil},
		"nothing remembered":   {"", stripe(`,"name":"a","dedupe":{"off":true}`), "", stripe(`,"name":"b"`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			before := mustProvision(t, c.app, c.handler)
			before.start(t)
			renewed := mustProvision(t, c.newApp, c.newHandler)
			renewed.logs.TakeAll()
			renewed.start(t)
			got := warned(renewed.logs)
			if len(got) != len(c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			for i, want := range c.want {
				if !holdsInOrder(got[i], want) {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
}

// TestDocumentedFormsStartWithoutAWarning takes the Caddyfiles that people paste
// first. Stores are left out: they say nothing about where handlers are placed.
func TestDocumentedFormsStartWithoutAWarning(t *testing.T) {
	fence := regexp.MustCompile("(?s)```caddyfile\n(.*?)```")
	store := regexp.MustCompile(`(?s)\tverify_webhook \{\n\t\tstore .*?\n\t\}\n`)
	variable := regexp.MustCompile(`\{env\.(\w+)\}`)
	var caddyfiles []string
	for _, page := range []string{"../README.md", "../docs/getting-started.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
			caddyfiles = append(caddyfiles, m[1])
		}
	}
	example, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	if caddyfiles = append(caddyfiles, string(example)); len(caddyfiles) < 4 {
		t.Fatalf("only %d Caddyfiles found", len(caddyfiles))
	}
	for _, caddyfile := range caddyfiles {
		for _, m := range variable.FindAllStringSubmatch(caddyfile, -1) {
			t.Setenv(m[1], "whsec_"+strings.Repeat("c2VjcmV0", 4))
		}
		if warnings, err := advised(t, store.ReplaceAllString(caddyfile, "")); err != nil || len(warnings) > 0 {
			t.Errorf("%v\n%s\nof\n%s", err, strings.Join(warnings, "\n"), caddyfile)
		}
	}
}
