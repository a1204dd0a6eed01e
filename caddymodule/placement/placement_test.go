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
	withOptions := func(a, b string) string {
		const site = "http://%s.example.com {\nverify_webhooks /hooks/* {\nsender github a {\ninbox {\n%s\n}\n}\nreverse_proxy app:3000\n}\nrespond 404\n}\n"
		return fmt.Sprintf(site, "a", a) + fmt.Sprintf(site, "b", b)
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
		"two sites, other options":    {withOptions("expire 5d", "expire 4d"), "the handlers 1 and 2 … different options … name github-1"},
		"options of one's own":        {withOptions("after 1s", "after 2s"), ""},
		"the default options":         {withOptions("expire 3d\ndead_on 410 404\nkeep 0s", "retry 5s 30s 2m 10m 30m 1h 2h 4h 8h 12h\ndead_on 404 410"), ""},
		"options of an unknown app":   {strings.ReplaceAll(withOptions("keep 1d", "keep 2d"), "reverse_proxy app:3000", "respond 200"), "different options"},
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
		"paths": {two("path /hooks/a", "path /hooks/b"), ""},
		"a slash at the end": {two("path /hooks/a", "path /hooks/a/"),
			"have no name and get requests for hooks.example.com/hooks/a and hooks.example.com/hooks/a/, which count as one path … name standard_webhooks-1"},
		"a slash, one app":    {strings.ReplaceAll(two("path /hooks/a", "path /hooks/a/"), anotherSecret, oneSecret), ""},
		"slashes, two hosts":  {two("{\nhost a.example.com\npath /hooks/a\n}", "{\nhost b.example.com\npath /hooks/a/\n}"), ""},
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
