package placement_test

import (
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
)

const (
	notAll = "verify_webhooks does not see every request of its site: some reach "
	early  = "requests that are refused before verify_webhooks reach "
)

// TestBlockSeesEveryRequestOfItsSite: a block that requests of its site pass by on
// the way to its app is refused, before another app warned of. BLOCK has the prefix
// /api/hooks/* and the app app:3000.
func TestBlockSeesEveryRequestOfItsSite(t *testing.T) {
	const app, other, notFound = "reverse_proxy app:3000\n", "reverse_proxy other:3000\n", "respond 404\n"
	const path = "inside a route for path /api/*. Requests to hooks.example.com reach reverse_proxy app:3000"
	const order = "behind a route that answers some. Requests to hooks.example.com reach reverse_proxy app:3000"
	in := func(around string) string { return around + " {\nBLOCK\n}\n" }
	for name, c := range map[string]struct {
		site    string
		refused string   // part of the error; "" if it starts
		warned  []string // beginnings of all warnings
	}{
		"beside a proxy":                    {site: "BLOCK\n" + app},
		"beside handles":                    {site: "BLOCK\nhandle /api/* {\n" + app + "}\nhandle {\n" + app + "}"},
		"in a handle, the app beside":       {in("handle /api/*") + app, path, nil},
		"in a handle, the app in another":   {in("handle /api/*") + "handle {\n" + app + "}", path, nil},
		"in a handle, another app beside":   {in("handle /api/*") + other, "", []string{notAll + "reverse_proxy other:3000 … prefix=/api/hooks/* inside=[path /api/*] host=hooks.example.com"}},
		"in a handle, nothing beside":       {site: in("handle /api/*") + notFound},
		"in a handle, the app behind it":    {site: "handle /api/* {\nBLOCK\n" + app + "}\n" + notFound},
		"in a handle, files beside":         {site: in("handle /api/*") + "root /srv\nfile_server\n"},
		"in a handle, basic_auth beside":    {in("handle /api/*") + "handle {\nbasic_auth {\nu $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\n" + app + "}", "", []string{otherPaths}},
		"in a handle, errors go to the app": {in("handle /api/*") + "handle {\nerror 404\n}\nhandle_errors {\n" + app + "}", "", []string{openPath, otherPaths}},
		"in a handle, answers go to the app": {"intercept {\n@e status 404\nhandle_response @e {\n" + app + "}\n}\n" + in("handle /api/*") + notFound, "",
			[]string{early + "reverse_proxy app:3000"}},
		"in handle_path":                             {in("handle_path /in/*") + app, "inside a route for path /in/*", nil},
		"in handle_path, nothing beside":             {site: in("handle_path /in/*") + notFound},
		"in a route with a named matcher":            {"@api path /api/* /v2/*\n" + in("route @api") + app, "inside a route for path /api/* /v2/*", nil},
		"in a route for a header":                    {"@m header X-Env live\n" + in("route @m") + app, "inside a route for header", nil},
		"in a route for a method":                    {"@m method POST\n" + in("route @m") + app, "inside a route for method", nil},
		"in a route for a query":                     {"@m query a=b\n" + in("route @m") + app, "inside a route for query", nil},
		"in a route for an address":                  {"@m remote_ip 192.0.2.0/24\n" + in("route @m") + app, "inside a route for remote_ip", nil},
		"in a route for https":                       {"@m protocol https\n" + in("route @m") + app, "inside a route for protocol", nil},
		"in a route for an expression":               {"@m expression `path('/api/*')`\n" + in("route @m") + app, "inside a route for expression", nil},
		"in a route for a regular expression":        {"@m path_regexp ^/api/\n" + in("route @m") + app, "inside a route for path_regexp", nil},
		"in a route for variables":                   {"map {path} {v} {\n/api/* 1\n}\n@m vars_regexp {v} 1\n" + in("route @m") + app, "inside a route for vars_regexp", nil},
		"in a route for what is not something":       {"@m not path /shop/*\n" + in("route @m") + app, "inside a route for not", nil},
		"in a route for a prefix":                    {"@m verify_webhook_prefix /api/*\n" + in("route @m") + app, "inside a route for verify_webhook_prefix", nil},
		"in several":                                 {"@m header X-Env live\nroute {\nhandle @m {\n" + in("handle /api/*") + "}\n}\n" + app, "inside a route for header, path /api/*", nil},
		"in a handle for a host, in one for a path":  {"@h host hooks.example.com\nhandle @h {\n" + in("handle /api/*") + app + "}\n" + notFound, path, nil},
		"in a handle for everything":                 {site: in("handle") + notFound},
		"in handles for everything":                  {site: "handle {\nroute {\n" + in("handle") + app + "}\n}\n"},
		"in a handle for everything else":            {"handle /shop/* {\n" + app + "}\n" + in("handle"), order, nil},
		"in a handle for everything but files":       {site: "handle /shop/* {\nfile_server\n}\nhandle {\nBLOCK\n" + app + "}"},
		"in a handle for what another does not end":  {"handle /shop/* {\nheader X-Shop 1\n}\n" + in("handle") + app, order, nil},
		"in a handle behind one with another app":    {"handle /shop/* {\n" + other + "}\n" + in("handle"), "", []string{notAll + "reverse_proxy other:3000 … inside=[]", otherPaths}},
		"in a route, first":                          {site: "route {\nBLOCK\n" + app + "}"},
		"in a route, behind a proxy":                 {"route {\nreverse_proxy /shop/* app:3000\nBLOCK\n" + app + "}", order, nil},
		"in a route, behind a proxy for everything":  {"route {\n" + app + "BLOCK\n}", "behind a route that answers all", nil},
		"in a route, behind a handle for everything": {"route {\nhandle {\n" + app + "}\nBLOCK\n}", "behind a route that answers all", nil},
		"in a route, behind another app":             {"route {\n" + other + "BLOCK\n}", "", []string{"no request reaches this verify_webhook: reverse_proxy other:3000 answers first"}},
		"in a route, behind a response to all":       {site: "route {\n" + notFound + "\nBLOCK\n}\nhandle_errors {\n" + app + "}"},
		"in a route, behind a response":              {site: "route {\nrespond /shop/* 404\nBLOCK\n" + app + "}"},
		"in a route, behind forward_auth":            {site: "route {\nforward_auth auth:3000 {\nuri /ask\n}\nBLOCK\n" + app + "}"},
		"in a route, behind forward_auth to the app": {"route {\nforward_auth app:3000 {\nuri /ask\n}\nBLOCK\n" + app + "}", "",
			[]string{"requests reach forward_auth app:3000 before verify_webhooks, with marks that a client may have written; write the block before forward_auth"}},
		"in a route, before forward_auth to the app": {site: "route {\nBLOCK\nforward_auth app:3000 {\nuri /ask\n}\n" + app + "}"},
		"beside forward_auth to the app":             {site: "BLOCK\nforward_auth app:3000 {\nuri /ask\n}\n" + app},
		"in a handle, behind an unknown handler":     {in("handle /api/*") + "handle {\nmetrics\n" + app + "}", "", []string{notAll + "reverse_proxy app:3000", otherPaths}},
		"in a route, behind a single directive":      {"route {\nverify_webhook /api/* slack a {\nname slack\n}\nBLOCK\n" + notFound + "}", "", []string{twoOfThem}},
		"behind an answer that leads to the app":     {"route {\nreverse_proxy /shop/* other:3000 {\nhandle_response {\n" + app + "}\n}\nBLOCK\n" + notFound + "}", order, nil},
		"two in handles":                             {site: "handle /api/* {\nBLOCK\n}\nhandle /in/* {\nverify_webhooks /in/* {\nsender slack a\n" + app + "}\n}\n" + notFound},
		"two in handles, the app beside one":         {"handle /api/* {\nBLOCK\n}\nhandle /in/* {\nverify_webhooks /in/hooks/* {\nsender slack a\n" + app + "}\n" + app + "}\n" + notFound, path, nil},
		"a body limit, errors to the app":            {"request_body {\nmax_size 1MB\n}\nBLOCK\n" + notFound + "handle_errors {\n" + app + "}", "", []string{openPath}},
		"a body limit in the block":                  {"verify_webhooks /in/* {\nsender slack a\nrequest_body {\nmax_size 1MB\n}\n" + app + "}\n" + notFound + "handle_errors {\nreverse_proxy errors:3000\n}", "", nil},
		"in handle_errors":                           {"handle /x {\nerror 404\n}\n" + app + "handle_errors {\nBLOCK\n" + notFound + "}", "Requests to hooks.example.com reach reverse_proxy app:3000", nil},
	} {
		t.Run(name, func(t *testing.T) {
			caddyfile := "hooks.example.com {\n" + strings.Replace(c.site, "BLOCK", "verify_webhooks /api/hooks/* {\nsender stripe whsec_a\n"+app+"}", 1) + "\n}\n"
			if c.refused == "" {
				isWarnedOf(t, caddyfile, c.warned...)
				return
			}
			if warnings, err := survey(t, caddyfile); err == nil || !strings.HasPrefix(err.Error(), "verify_webhooks /api/hooks/*") || !holdsInOrder(err.Error(), "verify_webhooks … "+c.refused+" … Write the block directly into the site") {
				t.Errorf("%v\n%s", err, strings.Join(warnings, "\n"))
			}
		})
	}
}

// TestBlockOfAHost: a matcher of hosts divides a site, and what reaches the app under
// another host is not of the block's.
func TestBlockOfAHost(t *testing.T) {
	const block = "verify_webhooks /hooks/* {\nsender stripe whsec_a\nreverse_proxy %:3000\n}\n"
	of := func(host string) string {
		return "@" + host + " host " + host + ".example.com\nhandle @" + host + " {\n" + strings.Replace(block, "%", host, 1) + "reverse_proxy " + host + ":3000\n}\n"
	}
	for name, c := range map[string]struct {
		caddyfile string
		refused   string
	}{
		"a host each":             {"*.example.com {\n" + of("a") + of("b") + "handle {\nreverse_proxy c:3000\n}\n}", ""},
		"upper case":              {"*.example.com {\n" + strings.Replace(of("a"), "host a.", "host A.", 1) + "handle {\nreverse_proxy c:3000\n}\n}", ""},
		"a wildcard in any host":  {"https:// {\ntls internal\n@w host *.example.com\nhandle @w {\n" + strings.Replace(block, "%", "a", 1) + "}\nhandle {\nreverse_proxy c:3000\n}\n}", ""},
		"all hosts but one":       {"*.example.com {\n@not not host c.example.com\nhandle @not {\n" + strings.Replace(block, "%", "a", 1) + "reverse_proxy a:3000\n}\nhandle {\nreverse_proxy c:3000\n}\n}", ""},
		"an earlier route":        {"*.example.com {\nroute {\nreverse_proxy /x/* a:3000\n" + of("a") + "}\n}", "to a.example.com reach reverse_proxy a:3000"},
		"a host and a path":       {"*.example.com {\n@m {\nhost a.example.com\npath /hooks/*\n}\nhandle @m {\n" + strings.Replace(block, "%", "a", 1) + "}\nhandle {\nreverse_proxy a:3000\n}\n}", "inside a route for path /hooks/*"},
		"one of two sites":        {"a.example.com {\n" + strings.Replace(block, "%", "a", 1) + "}\nb.example.com {\nreverse_proxy other:3000\n}", ""},
		"a snippet of two sites":  {"(hooks) {\nhandle /hooks/* {\n" + strings.Replace(block, "%", "app", 1) + "}\n}\na.example.com {\nimport hooks\nrespond 404\n}\nb.example.com {\nimport hooks\nreverse_proxy app:3000\n}", "to b.example.com reach reverse_proxy app:3000"},
		"a named route":           {"&(hooks) {\n" + strings.Replace(block, "%", "app", 1) + "}\na.example.com {\ninvoke hooks\nrespond 404\n}", ""},
		"a named route of a path": {"&(hooks) {\n" + strings.Replace(block, "%", "app", 1) + "}\na.example.com {\ninvoke hooks\nrespond 404\n}\nb.example.com {\ninvoke /hooks/* hooks\nreverse_proxy app:3000\n}", "inside a route for path /hooks/*. Requests to b.example.com"},
		"any host":                {"http:// {\nhandle /hooks/* {\n" + strings.Replace(block, "%", "app", 1) + "}\nreverse_proxy app:3000\n}", "Requests reach reverse_proxy app:3000"},
	} {
		t.Run(name, func(t *testing.T) {
			warnings, err := survey(t, c.caddyfile)
			if c.refused == "" {
				for _, w := range warnings {
					if strings.Contains(w, "verify_webhooks does not see") || strings.Contains(w, "before verify_webhooks") {
						t.Error(w)
					}
				}
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%v\n%s", err, strings.Join(warnings, "\n"))
			}
		})
	}
}

// TestBlockInJSON, whose guard and prefix are separate routes.
func TestBlockInJSON(t *testing.T) {
	const proxy = `{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"app:3000"}]}]}`
	const guard = `"handle":[` + hooksGuard + `]}`
	const owned = `{"match":[{"verify_webhook_prefix":"/hooks/*"}],"terminal":true,"handle":[{"handler":"subroute","routes":[` +
		`{"group":"s","match":[{"path":["/hooks/github"]}],"handle":[` + githubHook + `]},{"group":"s","handle":[{"handler":"error","status_code":404}]},` + proxy + `]}]}`
	for name, c := range map[string]struct {
		routes  string
		refused string
	}{
		"first":                            {`{` + guard + `,` + owned + `,` + proxy, ""},
		"a guard with a matcher":           {`{"match":[{"path":["/hooks/*"]}],` + guard + `,` + owned + `,` + proxy, "inside a route for path /hooks/*"},
		"a guard with two":                 {`{"match":[{"path":["/hooks/*"]},{"header":{"X-A":["b"]}}],` + guard + `,` + owned + `,` + proxy, "inside a route for path /hooks/*, header"},
		"a guard with a host or a path":    {`{"match":[{"host":["a.example.com"]},{"path":["/hooks/*"]}],` + guard + `,` + owned + `,` + proxy, "path /hooks/*. Requests reach"},
		"a guard in a group":               {`{"group":"g","match":[{"path":["/x"]}],"handle":[{"handler":"headers"}]},{"group":"g",` + guard + `,` + owned + `,` + proxy, "behind a route that answers some"},
		"a guard behind a proxy":           {`{"match":[{"path":["/x"]}],"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"app:3000"}]}]},{` + guard + `,` + owned + `,` + proxy, "behind a route that answers some"},
		"a terminal guard, the app behind": {`{"match":[{"path":["/x"]}],"terminal":true,` + guard + `,` + owned, ""},
		"behind a terminal route":          {`{"group":"g","match":[{"path":["/x"]}],"terminal":true,"handle":[{"handler":"headers"}]},{"group":"g",` + guard + `,` + owned + `,` + proxy, ""},
		"a terminal guard":                 {`{"match":[{"path":["/x"]}],"terminal":true,` + guard + `,` + proxy, ""},
	} {
		t.Run(name, func(t *testing.T) {
			app, end, err := loadRoutes(`"routes":[` + c.routes + `]`)
			if err != nil {
				t.Fatal(err)
			}
			defer end()
			_, err = placement.Survey(app)
			if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("%v, want %q", err, c.refused)
			}
		})
	}
}
