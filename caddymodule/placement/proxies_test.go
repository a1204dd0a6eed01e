package placement_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
)

// guards are proxies to % that only ask whether a request may go on.
var guards = map[string]string{
	"forward_auth":                   "forward_auth % {\nuri /ask\n}",
	"forward_auth, headers":          "forward_auth % {\nuri /ask?a=b\ncopy_headers Remote-User X-Group>Remote-Group\n}",
	"forward_auth, a login page":     "forward_auth % {\nuri /ask\n@no status 401\nhandle_response @no {\nredir * /login\n}\n}",
	"forward_auth, another status":   "forward_auth % {\nuri /ask\n@no status 3xx 4xx\nreplace_status @no 403\n}",
	"forward_auth, a later 2xx":      "forward_auth % {\nuri /ask\n@late status 204\nhandle_response @late {\nrespond 200\n}\n}",
	"written out":                    "reverse_proxy % {\nmethod GET\nrewrite /ask\nheader_up X-Forwarded-Uri {uri}\n@ok status 2xx\nhandle_response @ok {\nrequest_header Remote-User {rp.header.Remote-User}\n}\n}",
	"written out, nothing to do":     "reverse_proxy % {\nmethod HEAD\nrewrite /ask\n@ok status 2xx\nhandle_response @ok {\n}\n}",
	"written out, no rewrite":        "reverse_proxy % {\nmethod GET\n@ok status 2xx\nhandle_response @ok {\n}\n}",
	"written out, headers back":      "reverse_proxy % {\nmethod GET\n@ok status 2xx\nhandle_response @ok {\nroute {\ncopy_response_headers {\ninclude Set-Cookie\n}\nvars ok 1\nuri query -token\n}\n}\n}",
	"written out, some are refused":  "reverse_proxy % {\nmethod GET\nrewrite /ask\n@ok status 2xx\nhandle_response @ok {\n@banned vars {rp.header.X-Banned} 1\nerror @banned 403\nredir /moved /\n}\n}",
	"written out, two kinds of them": "reverse_proxy % {\nmethod GET\nrewrite /ask\n@staff {\nstatus 2xx\nheader X-Staff 1\n}\nhandle_response @staff {\nrequest_header X-Staff 1\n}\n@ok status 2xx\nhandle_response @ok {\n}\n}",
}

// TestGuardsAreNoWayToTheApp: what a server is asked is no delivery, and whoever it
// approves may call the app.
func TestGuardsAreNoWayToTheApp(t *testing.T) {
	for name, guard := range guards {
		t.Run(name, func(t *testing.T) {
			other, app := strings.Replace(guard, "%", "auth:3000", 1), strings.Replace(guard, "%", "app:3000", 1)
			isWarnedOf(t, hooks("handle /in/* {\n"+other+"\nuri replace /in /hooks\nreverse_proxy app:3000\n}\nrespond 404"))
			isWarnedOf(t, inRoute("handle /in/* {\n"+other+"\nreverse_proxy app:3000\n}"))
			isWarnedOf(t, inRoute(app), "requests reach forward_auth app:3000 before verify_webhooks")
		})
	}
}

// TestAnotherSiteAsksTheApp: it gives a block's app the marks that a client wrote, with the
// path that it called in X-Forwarded-Uri, unless a guard is before it.
func TestAnotherSiteAsksTheApp(t *testing.T) {
	const (
		asks  = openPath + "forward_auth app:3000 with marks … forward_auth of another site … write "
		early = "requests reach forward_auth app:3000 before verify_webhooks"
		block = "verify_webhooks /in/* {\nsender slack a {\nname slack\n}\nreverse_proxy other:3000\n}\nrespond 404"
	)
	for name, guard := range guards {
		t.Run(name, func(t *testing.T) {
			app := strings.Replace(guard, "%", "app:3000", 1)
			marks, named := asks+"request_header -Webhook* before that forward_auth", strings.Contains(guard, "/ask")
			if !named { // the path is the client's
				marks = asks + "verify_webhooks /hooks/*, without a block, before that proxy"
			}
			isWarned := func(site string, wanted ...string) {
				t.Helper()
				isWarnedOf(t, hooks("respond 404")+"b.example.com {\n"+site+"\n}", wanted...)
			}
			isWarned(app+"\nfile_server", marks+" … site=b.example.com")
			isWarned("handle /in/* {\n"+app+"\nfile_server\n}\nfile_server", marks)
			isWarned("verify_webhooks /hooks/*\n" + app + "\nfile_server")
			isWarned("route {\n"+app+"\nverify_webhooks /hooks/*\nrespond 404\n}", early)
			isWarned("route {\n"+app+"\n"+block+"\n}", early)
			isWarned("route {\n" + block + "\n" + app + "\n}")
			up := strings.Replace(app, "{\n", "{\nheader_up -Webhook*\n", 1)
			for _, c := range []struct{ site, want string }{
				{"route {\nrequest_header -Webhook*\n" + app + "\nrespond 404\n}", marks},
				{"route {\nrequest_header -webhook*\n" + app + "\n" + block + "\n}", early},
				{"route {\n" + up + "\nrespond 404\n}", marks},
			} {
				if named { // and the marks are deleted
					isWarned(c.site)
				} else {
					isWarned(c.site, c.want)
				}
			}
			isWarned("route {\nrequest_header -Webhook-Verified\n"+app+"\nrespond 404\n}", marks)
			isWarned("route {\nrequest_header /x -Webhook*\n"+app+"\nrespond 404\n}", marks)
			isWarned("route {\n"+app+"\nrequest_header -Webhook*\nrespond 404\n}", marks)
			isWarned("route {\nrequest_header -Webhook*\n"+strings.Replace(app, "/ask", "/ask{uri}", 1)+"\nrespond 404\n}", asks+"verify_webhooks /hooks/*")
			isWarned("basic_auth {\nu $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\n" + app + "\nfile_server")
			isWarned("error 404\nhandle_errors {\n" + app + "\nrespond 404\n}") // guarded
			isWarned(strings.Replace(guard, "%", "other:3000", 1) + "\nfile_server")
			// What a block asks is not its app.
			login := "reverse_proxy"
			isWarnedOf(t, strings.Replace(hooks("respond 404"), login, strings.Replace(guard, "%", "auth:3000", 1)+"\n"+login, 1)+
				"b.example.com {\nroute {\n"+strings.Replace(guard, "%", "auth:3000", 1)+"\n"+block+"\n}\n}")
		})
	}
}

// inRoute is a site with something before its block.
func inRoute(before string) string {
	return "hooks.example.com {\nroute {\n" + before + "\nverify_webhooks /hooks/* {\nsender stripe whsec_a\nreverse_proxy app:3000\n}\nreverse_proxy app:3000\n}\n}"
}

// answered are proxies to the app that may pass its 2xx on, or their request's body to it.
var answered = map[string]string{
	"an error page":             "@err status 5xx\nhandle_response @err {\nrespond sorry 503\n}",
	"an error page, GET":        "method GET\n@err status 5xx\nhandle_response @err {\nrespond sorry 503\n}",
	"POST as a question":        "method POST\n@ok status 2xx\nhandle_response @ok {\n}",
	"the client's method":       "@ok status 2xx\nhandle_response @ok {\n}",
	"a placeholder for it":      "method {method}\n@ok status 2xx\nhandle_response @ok {\n}",
	"not all 2xx":               "method GET\n@ok status 200\nhandle_response @ok {\n}",
	"a header":                  "method GET\n@ok {\nstatus 2xx\nheader X-Auth ok\n}\nhandle_response @ok {\n}",
	"a header of all":           "method GET\n@ok header X-Auth ok\nhandle_response @ok {\n}",
	"an earlier answer":         "method GET\n@late status 204\nhandle_response @late {\ncopy_response\n}\n@ok status 2xx\nhandle_response @ok {\n}",
	"its answer, copied":        "method GET\n@ok status 2xx\nhandle_response @ok {\ncopy_response\n}",
	"its answer, copied inside": "method GET\n@ok status 2xx\nhandle_response @ok {\nroute {\ncopy_response\n}\n}",
	"its answer, other status":  "method GET\n@ok status 2xx\nreplace_status @ok 202",
	"another answer":            "method GET\n@ok status 2xx\nhandle_response @ok {\nrespond thanks\n}",
}

// TestProxiesThatHandleResponsesAreWays: handle_response makes no guard of a proxy, whose
// rewrite counts.
func TestProxiesThatHandleResponsesAreWays(t *testing.T) {
	const single = "hooks.example.com {\nroute /hooks/* {\nverify_webhook /hooks/stripe stripe whsec_a\n" + guardLines + "reverse_proxy app:3000\n}\n%\n}"
	for name, response := range answered {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct{ caddyfile, rewrite string }{
				{hooks("%"), "rewrite /hooks{uri}"},
				{hooks("handle /ping {\n%\n}\nrespond 404"), "rewrite /hooks/stripe"},
				{hooks("handle /ping {\n%\n}\nrespond 404"), "rewrite /hooks/other"},
				{hooks("respond 404\n}\nb.example.com {\n%"), "rewrite {uri}"},
				{hooks("respond 404\n}\nb.example.com {\n%"), "rewrite /v1{uri}"},
				{single, "rewrite /hooks{uri}"},
			} {
				caddyfile := func(response string) string {
					return strings.Replace(c.caddyfile, "%", "reverse_proxy app:3000 {\n"+c.rewrite+"\n"+response+"\n}", 1)
				}
				plain, err := survey(t, caddyfile(""))
				if err != nil || len(plain) == 0 {
					t.Fatal(c, plain, err)
				}
				if got, err := survey(t, caddyfile(response)); err != nil || !slices.Equal(got, plain) {
					t.Errorf("%s: %v\n%s\nwithout handle_response:\n%s", caddyfile(response), err, strings.Join(got, "\n"), strings.Join(plain, "\n"))
				}
			}
			for _, path := range []string{"/api/*", ""} {
				if warnings, err := survey(t, inRoute("reverse_proxy "+path+" app:3000 {\nrewrite /v1{uri}\n"+response+"\n}")); err == nil {
					t.Errorf("starts, in a route before the block, %q:\n%s", path, strings.Join(warnings, "\n"))
				}
			}
		})
	}
}

// TestResponsesThatGoOn: what a proxy passes on to the handlers behind it, whatever the
// response, is still unverified.
func TestResponsesThatGoOn(t *testing.T) {
	const to = "\nuri replace /in /hooks\nreverse_proxy app:3000\n}\nrespond 404"
	for name, response := range map[string]string{
		"all, of a question":     "method GET\nrewrite /ask\nhandle_response {\n}",
		"some, of a question":    "method GET\nrewrite /ask\n@ok status 2xx 404\nhandle_response @ok {\n}",
		"others, of a question":  "method GET\nrewrite /ask\n@ok status 2xx\nhandle_response @ok {\n}\n@no status 401\nhandle_response @no {\n}",
		"by a header":            "method GET\nrewrite /ask\n@go header X-Go 1\nhandle_response @go {\n}",
		"all that are not found": "@no status 404\nhandle_response @no {\n}",
		"all, of a copy":         "rewrite /copy\nhandle_response {\n}",
	} {
		t.Run(name, func(t *testing.T) {
			proxy := "reverse_proxy other:3000 {\n" + response + "\n}"
			isWarnedOf(t, hooks("handle /in/* {\n"+proxy+to), openPath+"reverse_proxy app:3000 with the path … request=hooks.example.com/in/stripe path_there=/hooks/stripe")
			warnings, err := survey(t, inRoute("handle /in/* {\n"+proxy+"\nreverse_proxy app:3000\n}"))
			if err == nil && !slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(w, notAll+"reverse_proxy app:3000") }) {
				t.Errorf("a way past the block, in a route: %s", strings.Join(warnings, "\n"))
			}
			// The block is reached, and sees what goes on.
			warnings, err = survey(t, inRoute(proxy))
			for _, w := range warnings {
				if !strings.HasPrefix(w, notAll+"reverse_proxy other:3000") {
					t.Error(w)
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	page := strings.Replace(guards["forward_auth"], "uri /ask", "uri /ask\n@no status 401\nhandle_response @no {\nrewrite * /hooks/stripe\nreverse_proxy app:3000\n}", 1)
	isWarnedOf(t, hooks("handle /in {\n"+strings.Replace(page, "%", "auth:3000", 1)+"\nfile_server\n}\nrespond 404"), openPath+"reverse_proxy app:3000 with the path … request=hooks.example.com/in path_there=/hooks/stripe")
}

// TestGuardsInJSON: no status in a list is none, and one that is set answers.
func TestGuardsInJSON(t *testing.T) {
	for response, guards := range map[string]bool{
		`{"match":{"status_code":[2]},"routes":[{"handle":[{"handler":"vars"}]}]}`: true,
		`{"match":{"status_code":[2]}}`:                                            true,
		`{}`:                                                                       true,
		`{"match":{"status_code":[]}}`:                                             false,
		`{"match":{"status_code":[2]},"status_code":200}`:                          false,
		`{"match":{"status_code":[2]},"routes":[{"terminal":true}]}`:               false,
		`{"match":{"status_code":[2]},"routes":[{"handle":[{"handler":"invoke","name":"other"}]}]}`: false,
		`{"match":{"status_code":[4]},"routes":[{"handle":[{"handler":"vars"}]}]}`:                  false,
	} {
		const proxy = `{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"app:3000"}]`
		app, end, err := loadRoutes(`"routes":[` + proxy + `,"rewrite":{"method":"GET","uri":"/ask"},"handle_response":[` + response + `]}]},{"handle":[` + hooksGuard + `]},` +
			`{"match":[{"path":["/hooks/github"]}],"handle":[` + githubHook + `]},` + proxy + `}]}]`)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := placement.Survey(app); (err == nil) != guards {
			t.Errorf("%s: %v", response, err)
		}
		end()
	}
}

// TestRoutesForWhoMayNotLogIn: what a forward_auth sends to the app's login page is a
// stranger's request, with method, body and marks as received.
func TestRoutesForWhoMayNotLogIn(t *testing.T) {
	const marks = openPath + "reverse_proxy app:3000 with marks … site=b.example.com"
	const path = openPath + "reverse_proxy app:3000 with the path … "
	login := func(inside string) string {
		return "forward_auth auth:9000 {\nuri /ask\n@bad status 401 403\nhandle_response @bad {\n" + inside + "\n}\n}\nrespond ok"
	}
	b := func(inside string) string { return hooks("respond 404") + "b.example.com {\n" + inside + "\n}" }
	for name, c := range map[string]struct{ caddyfile, want string }{
		"as called":                     {b(login("reverse_proxy app:3000")), path + "another site … request=b.example.com/hooks/stripe"},
		"a login page":                  {b(login("rewrite * /login\nreverse_proxy app:3000")), marks},
		"a login page, inside":          {b("handle /x/* {\n" + login("route {\nreverse_proxy app:3000 {\nrewrite /login\n}\n}") + "\n}\nrespond 404"), marks},
		"by its own error":              {b(login("error 401") + "\nhandle_errors {\nrewrite * /login\nreverse_proxy app:3000\n}"), ""}, // guarded
		"guarded":                       {b("verify_webhooks /hooks/*\n" + login("rewrite * /login\nreverse_proxy app:3000")), ""},
		"below the prefix":              {hooks(login("rewrite * /hooks{uri}\nreverse_proxy app:3000")), path + "request=hooks.example.com/stripe"},
		"another path below it":         {hooks(login("rewrite * /hooks/login\nreverse_proxy app:3000")), openPath + "reverse_proxy app:3000 below the prefix"},
		"beside the block":              {hooks(login("rewrite * /login\nreverse_proxy app:3000")), ""},
		"another app":                   {b(login("reverse_proxy login:3000")), ""},
		"a redirect":                    {b(login("redir * /login")), ""},
		"who may log in is no stranger": {b("forward_auth auth:9000 {\nuri /ask\n}\nreverse_proxy app:3000"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want == "" {
				isWarnedOf(t, c.caddyfile)
				return
			}
			isWarnedOf(t, c.caddyfile, c.want)
		})
	}
}
