package placement_test

import (
	"strings"
	"testing"
)

// hooks is a site with a block for /hooks/*, before anything else in it.
func hooks(more string) string {
	return "hooks.example.com {\nverify_webhooks /hooks/* {\nsender stripe whsec_a\nreverse_proxy app:3000\n}\n" + more + "\n}\n"
}

// matched is a site whose only handler has a matcher, in front of one app for
// everything.
func matched(matcher string) string {
	return "hooks.example.com {\n" + matcher + "\nverify_webhook @m stripe whsec_a {\nname stripe\n}\nreverse_proxy app:3000\n}"
}

// TestMatchersThatMissRequestsAreWarnedOf: the client, or a matcher other than a path
// or prefix, decides whether a request is verified.
func TestMatchersThatMissRequestsAreWarnedOf(t *testing.T) {
	const near = "verify_webhooks /hooks/*; … names=[stripe] request=hooks.example.com/hooks/stripe/"
	for matcher, want := range map[string]string{
		"@m path_regexp ^/hooks/":               "names=[stripe] … unless_matched_by=path_regexp",
		"@m path_regexp ^/hooks/stripe$":        near,
		"@m expression path('/hooks/stripe')":   near,
		"@m expression `{method} == 'POST'`":    "names=[stripe] … unless_matched_by=expression",
		"@m not expression {query.skip} == '1'": "names=[stripe] … unless_matched_by=not",
		"@m protocol http":                      "names=[stripe] … unless_matched_by=protocol",
		"@m file /hook":                         "names=[stripe] … unless_matched_by=file",
		"@m file":                               "names=[stripe] … unless_matched_by=file",
		"@m file {path} =404":                   "names=[stripe] … unless_matched_by=file",
		"@m path *.hook":                        "verify_webhooks /hooks/*; … names=[stripe] request=hooks.example.com/x.hook/",
		"@m path */hooks/*":                     "names=[stripe] request=hooks.example.com/x/hooks",
		"@m path /a/*/hook":                     "verify_webhooks /a/*; … names=[stripe] request=hooks.example.com/a/x/hook/",
		"@m path /hooks%2fstripe":               "names=[stripe] … unless_matched_by=path",
		"@m tls early_data":                     "names=[stripe] … unless_matched_by=tls",
		"map {path} {hook} {\n/hooks/stripe 1\ndefault 0\n}\n@m vars {hook} 1": "names=[stripe] … unless_matched_by=vars",
	} {
		t.Run(matcher, func(t *testing.T) {
			isWarnedOf(t, matched(matcher), openPath+"reverse_proxy app:3000 without … "+want)
			isWarnedOf(t, strings.Replace(matched(matcher), "\nreverse_proxy", "\n"+guardLines+"reverse_proxy", 1))
		})
	}
	for _, matcher := range []string{"@m header Stripe-Signature *", "@m header_regexp Stripe-Signature .", "@m method POST", "@m query a=b",
		"@m remote_ip 192.0.2.0/24", "@m not header X-Skip 1", "@m protocol http/2+"} {
		t.Run(matcher, func(t *testing.T) { isWarnedOf(t, matched(matcher), openPath+"reverse_proxy app:3000 without") })
	}
	isWarnedOf(t, matched("@m expression {query.a} == '1'\n@n expression {query.b} == '1'\nverify_webhook @n github a"), openPath+"reverse_proxy app:3000 without … names=[github stripe] … unless_matched_by=expression")
	isWarnedOf(t, matched("@m expression {query.a} == '1'\n@n not expression {query.a} == '1'\nverify_webhook @n github a {\nname github\n}"))
	for _, matcher := range []string{"@m not path /admin/*", "@m protocol https", "@m host hooks.example.com"} {
		t.Run(matcher, func(t *testing.T) { isWarnedOf(t, matched(matcher)) })
	}
}

func TestMatchersThatMissRequestsBeforeHandles(t *testing.T) {
	const site = "hooks.example.com {\n@m path_regexp ^/hooks/stripe$\nhandle @m {\nverify_webhook stripe whsec_a {\nname stripe\n}\nreverse_proxy app:3000\n}\nhandle {\nreverse_proxy %\n}\n}"
	isWarnedOf(t, strings.Replace(site, "%", "app:3000", 1), openPath+"reverse_proxy app:3000 without … request=hooks.example.com/hooks/stripe/")
	isWarnedOf(t, strings.Replace(site, "%", "other:3000", 1))
}

// besides are ways from a block's site to its app with the path of verified
// deliveries, each with an example path.
var besides = map[string]string{
	"uri replace /x /hooks\nreverse_proxy app:3000":                                                                                                      "/x/stripe",
	"route /legacy/* {\nuri replace /legacy /hooks\nreverse_proxy app:3000\n}\nrespond 404":                                                              "/legacy/stripe",
	"route /legacy/* {\nuri replace /legacy/ /\nreverse_proxy app:3000\n}\nrespond 404":                                                                  "/legacy/hooks/stripe",
	"route {\nuri path_regexp ^/v1 \"\"\nreverse_proxy app:3000\n}":                                                                                      "/v1/hooks/stripe",
	"@r path_regexp r ^/v1/(.*)$\nroute @r {\nrewrite * /{re.r.1}\nreverse_proxy app:3000\n}\nrespond 404":                                               "/v1/hooks/stripe",
	"route /in {\nrewrite * /hooks/stripe\nreverse_proxy app:3000\n}\nrespond 404":                                                                       "/in",
	"handle /in {\nreverse_proxy app:3000 {\nrewrite /hooks/stripe\n}\n}\nrespond 404":                                                                   "/in",
	"route {\nrewrite /in /hooks/stripe\nreverse_proxy app:3000\n}":                                                                                      "/in",
	"try_files /hooks/stripe\nreverse_proxy app:3000":                                                                                                    "/x",
	"handle /in {\nreverse_proxy other:1 {\nhandle_response {\nrewrite * /hooks/stripe\nreverse_proxy app:3000\n}\n}\n}\nrespond 404":                    "/in",
	"handle /in {\nintercept {\n@e status 4xx\nhandle_response @e {\nrewrite * /hooks/stripe\nreverse_proxy app:3000\n}\n}\nrespond 404\n}\nrespond 404": "/in",
	"handle /in {\nintercept {\nhandle_response {\nrewrite * /hooks/stripe\nreverse_proxy app:3000\n}\n}\nrespond 200\n}\nrespond 404":                   "/in",
	"route {\nuri replace _ /\nreverse_proxy app:3000\n}":                                                                                                "/hooks_stripe",
	"vars p /hooks/stripe\nroute /in {\nrewrite * {vars.p}\nreverse_proxy app:3000\n}\nrespond 404":                                                      "/in",
	"vars p /hooks/stripe\ntry_files {vars.p}\nreverse_proxy app:3000":                                                                                   "/x",
	"vars p stripe\ntry_files {path} /hooks/{vars.p}\nreverse_proxy app:3000":                                                                            "/x",
	"route /in {\nvars p {query.p}\ntry_files {path} {vars.p}\nreverse_proxy app:3000\n}\nrespond 404":                                                   "/in",
	"route /in {\ntry_files {query.p}\nreverse_proxy app:3000\n}\nrespond 404":                                                                           "/in",
	"route {\nuri path_regexp ^/v[0-9]/in /hooks\nreverse_proxy app:3000\n}":                                                                             "/v0/in/stripe",
	"handle_path /a/* {\nhandle_path /b/* {\nreverse_proxy app:3000 app:3001\n}\n}\nrespond 404":                                                         "/a/b/hooks/stripe",
}

// TestRewritesToAVerifiedPathAreWarnedOf: a route without a handler leads to the same
// app with the path of verified deliveries.
func TestRewritesToAVerifiedPathAreWarnedOf(t *testing.T) {
	const how = openPath + "reverse_proxy app:3000 with the path … handle_path or a rewrite makes it the same; … @hooks verify_webhook_prefix /hooks/*, … request=hooks.example.com"
	for beside, request := range besides {
		t.Run(beside, func(t *testing.T) {
			by := how
			if strings.Contains(beside, "app:3001") {
				by = strings.Replace(how, "app:3000", "app:3000 app:3001", 1)
			}
			isWarnedOf(t, hooks(beside), by+request+" path_there=/hooks/stripe")
			if !strings.Contains(beside, "intercept") && !strings.Contains(beside, "handle_response") {
				isWarnedOf(t, hooks(strings.ReplaceAll(beside, "app:300", "other:300")))
			}
		})
	}
	for _, beside := range []string{
		"rewrite /old/* /in{uri}\nreverse_proxy app:3000",
		"vars p /in\ntry_files {vars.p}\nreverse_proxy app:3000",
		"try_files {vars.p}\nreverse_proxy app:3000",
		"try_files {path} {path}/index.php\nreverse_proxy app:3000",
		"vars p {path}\nrewrite /old/* /in/{vars.p}\nreverse_proxy app:3000",
		"route {\nuri strip_suffix .json\nreverse_proxy app:3000\n}", // a path that the block owns
		"handle /in {\nintercept {\n@e status 5xx\nhandle_response @e {\nrewrite * /hooks/stripe\nreverse_proxy app:3000\n}\n}\nrespond 404\n}\nrespond 404",
		"handle /in/* {\nforward_auth auth:3000 {\nuri /ask\n}\nuri replace /in /hooks\nreverse_proxy app:3000\n}\nrespond 404",
	} {
		t.Run(beside, func(t *testing.T) { isWarnedOf(t, hooks(beside)) })
	}
}

// named are ways to an app whose address map or vars sets.
var named = map[string]string{
	"vars backend %\nhandle_path /in/* {\nreverse_proxy {vars.backend}\n}\nrespond 404":                                                        "{http.vars.backend}",
	"vars backend app\nhandle_path /in/* {\nreverse_proxy {vars.backend}:3000\n}\nrespond 404":                                                 "{http.vars.backend}:3000",
	"vars a %\nvars backend {vars.a}\nhandle_path /in/* {\nreverse_proxy {vars.backend}\n}\nrespond 404":                                       "{http.vars.backend}",
	"handle_path /in/* {\nvars backend %\nreverse_proxy {vars.backend}\n}\nrespond 404":                                                        "{http.vars.backend}",
	"map {host} {backend} {\nhooks.example.com %\ndefault x:1\n}\nhandle_path /in/* {\nreverse_proxy {backend}\n}\nrespond 404":                "{backend}",
	"map {host} {backend} {\n~^hooks %\ndefault x:1\n}\nhandle_path /in/* {\nreverse_proxy {backend}\n}\nrespond 404":                          "{backend}",
	"map {host} {a} {backend} {\nx.example.com 1 x:1\ndefault 2 %\n}\nhandle_path /in/* {\nreverse_proxy {backend}\n}\nrespond 404":            "{backend}",
	"map {labels.2} {backend} {\nhooks %\ndefault x:1\n}\nhandle_path /in/* {\nreverse_proxy {backend}\n}\nrespond 404":                        "{backend}",
	"map {header.X-To} {backend} {\na x:1\nb %\n}\nhandle_path /in/* {\nreverse_proxy {backend}\n}\nrespond 404":                               "{backend}",
	"map {query.to} {backend} {\nb %\ndefault x:1\n}\nvars at {backend}\nhandle_path /in/* {\nreverse_proxy {vars.at}\n}\nrespond 404":         "{http.vars.at}",
	"map {path} {backend} {\n/in/hooks/stripe %\ndefault x:1\n}\nroute /in/* {\nuri strip_prefix /in\nreverse_proxy {backend}\n}\nrespond 404": "{backend}",
}

// TestAppsThatMapAndVarsNameAreWarnedOf: the address of an app may be the value of a map
// or of vars.
func TestAppsThatMapAndVarsNameAreWarnedOf(t *testing.T) {
	for beside, by := range named {
		t.Run(beside, func(t *testing.T) {
			beside := strings.ReplaceAll(beside, "%", "app:3000")
			isWarnedOf(t, hooks(beside), openPath+"reverse_proxy "+by+" with the path … handle_path or a rewrite makes it the same; … request=hooks.example.com/in/hooks/stripe path_there=/hooks/stripe")
			isWarnedOf(t, hooks(strings.ReplaceAll(strings.ReplaceAll(beside, "app:3000", "other:3000"), "backend app\n", "backend other\n")))
		})
	}
	isWarnedOf(t, "hooks.example.com {\nhandle /hooks/stripe {\nverify_webhook stripe whsec_a\nreverse_proxy app:3000\n}\nhandle /hooks/v1/* {\nuri replace v1/ \"\"\nreverse_proxy app:3000\n}\nrespond 404\n}",
		openPath+"reverse_proxy app:3000 with the path … request=hooks.example.com/hooks/v1/stripe path_there=/hooks/stripe")
	const byHost = "map {host} {backend} {\nhooks.example.com app:3000\ndefault other:3000\n}\n"
	behind := func(more string) string {
		return strings.Replace(hooks(more), "reverse_proxy app:3000", "reverse_proxy {backend}", 1)
	}
	const open = openPath + "reverse_proxy app:3000 with the path … request="
	isWarnedOf(t, behind(byHost+"handle_path /in/* {\nreverse_proxy app:3000\n}\nrespond 404"), open+"hooks.example.com/in/hooks/stripe")
	isWarnedOf(t, behind(byHost+"handle_path /in/* {\nreverse_proxy other:3000\n}\nrespond 404"))
	isWarnedOf(t, behind(byHost+"respond 404\n}\nb.example.com {\n"+byHost+"reverse_proxy {backend}"))
	isWarnedOf(t, hooks(byHost+"respond 404\n}\nb.example.com {\n"+byHost+"reverse_proxy {backend}"))
	isWarnedOf(t, behind(byHost+"respond 404\n}\nb.example.com {\nreverse_proxy app:3000"), open+"b.example.com/hooks/stripe")
	for _, ofRequests := range []string{
		"map {header.X} {backend} {\n~^(.*)$ ${1}:3000\n}\n", "map {header.X} {backend} {\ndefault {labels.1}:3000\n}\n",
		"map {header.X} {backend} {\na {labels.1}:3000\ndefault x:1\n}\n",
	} {
		isWarnedOf(t, behind(ofRequests+"handle_path /in/* {\nreverse_proxy {backend}\n}\nrespond 404"), openPath+"reverse_proxy {backend} with the path … request=hooks.example.com/in/hooks/stripe")
	}
}

// perhaps are ways that only requests take which match what the check cannot evaluate.
var perhaps = map[string]string{
	"@x expression `{query.p} == '1'`\nrewrite @x /hooks/stripe\nreverse_proxy app:3000":                                     "with the path of verified deliveries, … handle_path or a rewrite makes it the same, for requests that match an expression … path_there=/hooks/stripe",
	"@x expression `header({'X-P': '1'})`\nrewrite @x /hooks/stripe\nreverse_proxy app:3000":                                 "with the path of verified deliveries, … path_there=/hooks/stripe",
	"@x expression `{query.p} == '1'`\nrewrite @x /hooks/other\nreverse_proxy app:3000":                                      "below the prefix of verify_webhooks, … a rewrite leads there, for requests that match an expression … path_there=/hooks/other",
	"@x not expression `{query.p} == '1'`\nhandle @x {\nrewrite * {query.to}\nreverse_proxy app:3000\n}\nrespond 404":        "with the path of verified deliveries, … path_there=/hooks/stripe",
	"@x tls early_data\nhandle @x {\nrewrite * /hooks/stripe\nreverse_proxy app:3000\n}\nrespond 404":                        "with the path of verified deliveries, … path_there=/hooks/stripe",
	"@x vars {vars.a} 1\nhandle_path /in/* {\nreverse_proxy @x app:3000\n}\nrespond 404":                                     "with the path of verified deliveries, … request=hooks.example.com/in/hooks/stripe",
	"respond 404\n}\nb.example.com {\n@x expression `{query.p} == '1'`\nhandle @x {\nreverse_proxy app:3000\n}\nrespond 404": "with the path of verified deliveries, … has the same app, for requests that match an expression … request=b.example.com/hooks/stripe",
	// what app:3000 or another app answers
	"intercept {\n@e status 404\nhandle_response @e {\nrewrite * /hooks/stripe\nreverse_proxy app:3000\n}\n}\nreverse_proxy other:1":      "with the path of verified deliveries, … handle_path or a rewrite makes it the same; … path_there=/hooks/stripe",
	"intercept {\n@e header X-Next *\nhandle_response @e {\nrewrite * /hooks/other\nreverse_proxy app:3000\n}\n}\nreverse_proxy app:3000": "below the prefix of verify_webhooks, … path_there=/hooks/other",
}

// TestWaysThatSomeMatcherOpensAreWarnedOf: a client may satisfy a matcher that the check
// cannot evaluate, and an app may answer anything.
func TestWaysThatSomeMatcherOpensAreWarnedOf(t *testing.T) {
	for beside, want := range perhaps {
		t.Run(beside, func(t *testing.T) { isWarnedOf(t, hooks(beside), openPath+"reverse_proxy app:3000 "+want) })
	}
	for _, safe := range []string{
		"@x expression `{query.p} == '1'`\nrewrite @x /other\nreverse_proxy app:3000",
		"@x expression `{query.p} == '1'`\nrewrite @x /hooks/stripe\nreverse_proxy other:3000",
		"@x expression `{query.p} == '1'`\nrewrite @x /hooks/stripe\n@hooks verify_webhook_prefix /hooks/*\nrespond @hooks 404\nreverse_proxy app:3000",
		"@x expression `{query.p} == '1'`\nhandle @x {\nreverse_proxy app:3000\n}\nrespond 404",
		"intercept {\n@e status 404\nhandle_response @e {\nrewrite * /missing\nreverse_proxy app:3000\n}\n}\nreverse_proxy app:3000",
	} {
		t.Run(safe, func(t *testing.T) { isWarnedOf(t, hooks(safe)) })
	}
}

// belowPrefix are ways from a block's site to its app with another path below the
// block's prefix. The block comes first, so it never sees the new path.
var belowPrefix = map[string]string{
	"rewrite /legacy/* /hooks/other\nreverse_proxy app:3000":                                                        "/legacy/x path_there=/hooks/other",
	"rewrite /legacy/* /hooks?a=b\nreverse_proxy app:3000":                                                          "/legacy/x path_there=/hooks",
	"rewrite /legacy/* /HOOKS/other\nreverse_proxy app:3000":                                                        "/legacy/x path_there=/HOOKS/other",
	"rewrite /legacy/* /hooks{uri}\nreverse_proxy app:3000":                                                         "/legacy/x path_there=/hooks/legacy/x",
	"rewrite /legacy/* /hooks/{http.request.uri.path.file}\nreverse_proxy app:3000":                                 "/legacy/stripe path_there=/hooks/stripe",
	"@l path_regexp l ^/legacy/(.*)$\nrewrite @l /hooks/{re.l.1}\nreverse_proxy app:3000":                           "/legacy/stripe path_there=/hooks/stripe",
	"route /legacy/* {\nrewrite * /hooks/other\nreverse_proxy app:3000\n}\nrespond 404":                             "/legacy/x path_there=/hooks/other",
	"handle /legacy/* {\nreverse_proxy app:3000 {\nrewrite /hooks/other\n}\n}\nrespond 404":                         "/legacy/x path_there=/hooks/other",
	"map {path} {to} {\n/legacy/a /hooks/other\ndefault /none\n}\nrewrite * {to}\nreverse_proxy app:3000":           "/legacy/a path_there=/hooks/other",
	"map {path} {to} {\n~^/legacy/(.*)$ /hooks/${1}/other\n}\nrewrite /legacy/* {to}\nreverse_proxy app:3000":       "/legacy/",
	"vars to /hooks/other\nrewrite /legacy/* {vars.to}\nreverse_proxy app:3000":                                     "/legacy/x path_there=/hooks/other",
	"try_files /hooks/other\nreverse_proxy app:3000":                                                                "/x path_there=/hooks/other",
	"map {path} {to} {\n/legacy/a /hooks/stripe\ndefault {path}\n}\nrewrite * {to}\nreverse_proxy other:1 app:3000": "/legacy/a path_there=/hooks/stripe",
}

// TestRewritesBelowThePrefixAreWarnedOf: the app may trust every path below the prefix,
// whoever sends the request.
func TestRewritesBelowThePrefixAreWarnedOf(t *testing.T) {
	for beside, request := range belowPrefix {
		t.Run(beside, func(t *testing.T) {
			want := openPath + "reverse_proxy app:3000 below the prefix of verify_webhooks, … a rewrite leads there; … @hooks verify_webhook_prefix /hooks/*, … request=hooks.example.com" + request
			if strings.HasSuffix(request, "=/hooks/stripe") {
				want = openPath + "reverse_proxy … app:3000 with the path of verified deliveries, … request=hooks.example.com" + request
			}
			isWarnedOf(t, hooks(beside), want)
			isWarnedOf(t, hooks(strings.NewReplacer("app:3000", "other:3000").Replace(beside)))
		})
	}
	isWarnedOf(t, hooks("respond 404\nhandle_errors {\nrewrite * /hooks/failed\nreverse_proxy app:3000\n}"),
		openPath+"reverse_proxy app:3000 below the prefix of verify_webhooks, … handle_errors sends it refused requests; … path_there=/hooks/failed")
	for _, safe := range []string{
		"rewrite /legacy/* /other/x\nreverse_proxy app:3000",
		"rewrite /legacy/* /hooksome\nreverse_proxy app:3000",
		"rewrite /hooks/x /other\nreverse_proxy app:3000", // the block owns /hooks/x before that
		"redir /legacy/* /hooks/x\nreverse_proxy app:3000",
		"method /legacy/* POST\nreverse_proxy app:3000",
		"map {path} {to} {\n/legacy/a /other\ndefault {path}\n}\nrewrite * {to}\nreverse_proxy app:3000",
		"vars to /other\nrewrite /legacy/* {vars.to}\nreverse_proxy app:3000",
		"rewrite /legacy/* /hooks/x\n@hooks verify_webhook_prefix /hooks/*\nrespond @hooks 404\nreverse_proxy app:3000",
	} {
		t.Run(safe, func(t *testing.T) { isWarnedOf(t, hooks(safe)) })
	}
}

// TestTheAppAtAnotherAddressIsWarnedOf: the same app is behind another site, port or
// host, which verifies nothing below the prefix.
func TestTheAppAtAnotherAddressIsWarnedOf(t *testing.T) {
	const how = openPath + "reverse_proxy app:3000 with the path … another site, or another address of this one, has the same app; … write verify_webhooks /hooks/*, without a block, … request="
	const marks = openPath + "reverse_proxy app:3000 with marks … another site has the app of a block; write verify_webhooks /hooks/*, … site="
	const other = "b.example.com {\n%\n}\n"
	in := func(site, text string) string { return hooks("respond 404") + strings.Replace(site, "%", text, 1) }
	for name, c := range map[string]struct{ caddyfile, want string }{
		"another site":         {in(other, "reverse_proxy app:3000"), how + "b.example.com/hooks/stripe"},
		"its prefix":           {in(other, "handle /hooks/* {\nreverse_proxy app:3000\n}\nrespond 404"), how + "b.example.com/hooks/stripe"},
		"its other paths":      {in(other, "handle /api/* {\nreverse_proxy app:3000\n}\nrespond 404"), marks + "b.example.com :443"},
		"another app":          {in(other, "reverse_proxy other:3000"), ""},
		"one of its addresses": {in(other, "reverse_proxy other:1 http://APP:3000"), strings.Replace(how, "app:3000", "other:1 APP:3000", 1) + "b.example.com/hooks/stripe"},
		"behind basic_auth":    {in(other, "basic_auth {\nu $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\nreverse_proxy app:3000"), ""},
		"prefix refused":       {in(other, "@hooks verify_webhook_prefix /hooks/*\nrespond @hooks 404\nreverse_proxy app:3000"), marks + "b.example.com"},
		"verified there too":   {in(other, "verify_webhooks /hooks/* {\nsender stripe whsec_b {\nname stripe-b\n}\nreverse_proxy app:3000\n}\nreverse_proxy app:3000"), ""},
		"a wildcard site":      {in("*.example.com {\n%\n}\n", "reverse_proxy app:3000"), how + "x.example.com/hooks/stripe"},
		"another port":         {in("http://:8080 {\n%\n}\n", "reverse_proxy app:3000"), how + "hooks.example.com/hooks/stripe"},
		"this machine's port":  {in("http://:8080 {\nbind 127.0.0.1 ::1\n%\n}\n", "reverse_proxy app:3000"), ""},
		"marks deleted alone":  {in(other, "@hooks verify_webhook_prefix /hooks/*\nrespond @hooks 404\nrequest_header -Webhook*\nreverse_proxy app:3000"), marks + "b.example.com"},
		"error routes": {in(other, "file_server\nhandle_errors {\nreverse_proxy app:3000\n}"),
			openPath + "reverse_proxy app:3000 with the path … handle_errors sends it refused requests; … @hooks verify_webhook_prefix /hooks/*, … request=b.example.com/hooks/stripe"},
		"error routes of another app": {in(other, "reverse_proxy other:1\nhandle_errors 502 {\nreverse_proxy app:3000\n}"),
			openPath + "reverse_proxy app:3000 with the path … handle_errors sends it refused requests; … @hooks verify_webhook_prefix /hooks/*, … request=b.example.com/hooks/stripe"},
		"error routes for a page": {in(other, "file_server\nhandle_errors {\nrewrite * /error.html\nreverse_proxy app:3000\n}"), ""},
		"guarded error routes":    {in(other, "verify_webhooks /hooks/*\nreverse_proxy app:3000\nhandle_errors {\n@hooks verify_webhook_prefix /hooks/*\nrespond @hooks 404\nreverse_proxy app:3000\n}"), ""},
		"guarded":                 {in(other, "verify_webhooks /hooks/*\nreverse_proxy app:3000"), ""},
		"guarded in a handle":     {in("http:// {\n%\n}\n", "@a host a.example.com\nhandle @a {\nrespond 404\n}\nhandle {\nverify_webhooks /hooks/*\nreverse_proxy app:3000\n}"), ""},
		"prefix taken off": {in(other, "handle_path /in/* {\nreverse_proxy app:3000\n}\nrespond 404"),
			openPath + "reverse_proxy app:3000 … rewrite makes it the same; … request=b.example.com/in/hooks/stripe path_there=/hooks/stripe"},
		"the app on this machine": {strings.ReplaceAll(in(other, "reverse_proxy 127.0.0.1:3000"), "app:3000", "localhost:3000"),
			strings.Replace(how, "app", "127.0.0.1", 1) + "b.example.com/hooks/stripe"},
		"a host in the site": {"http:// {\n@m host hooks.example.com\nverify_webhook @m stripe whsec_a {\nname stripe\n}\nreverse_proxy app:3000\n}",
			openPath + "reverse_proxy app:3000 with the path … has the same app; … @hooks verify_webhook_prefix /x/*, … request=other.invalid/x"},
		"php": {strings.NewReplacer("reverse_proxy app:3000", "php_fastcgi app:9000 {\nroot /srv\nread_timeout 60s\nwrite_timeout 60s\n}").Replace(in(other, "reverse_proxy app:3000")),
			strings.Replace(how, "app:3000", "app:9000", 1) + "b.example.com/hooks/stripe"},
		"php beside": {strings.ReplaceAll(hooks("reverse_proxy app:3000"), "reverse_proxy app:3000", "php_fastcgi app:9000 {\nroot /srv\nread_timeout 60s\nwrite_timeout 60s\n}"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want == "" {
				isWarnedOf(t, c.caddyfile)
				return
			}
			if name == "prefix taken off" {
				isWarnedOf(t, c.caddyfile, c.want, marks)
				return
			}
			isWarnedOf(t, c.caddyfile, c.want)
		})
	}
}

// TestOneAddressInCommonIsTheApp: a proxy with several upstreams reaches each of
// them.
func TestOneAddressInCommonIsTheApp(t *testing.T) {
	isWarnedOf(t, "hooks.example.com {\n@live header X-Env live\nhandle @live {\nverify_webhook stripe whsec_a {\nname stripe\n}\nreverse_proxy app:3000\n}\nreverse_proxy app:3000 app:3001\n}",
		openPath+"reverse_proxy app:3000 app:3001 without … request=hooks.example.com/x")
}

// TestEachWayRoundIsWarnedOf: one start names all detours, a site with two hosts
// once.
func TestEachWayRoundIsWarnedOf(t *testing.T) {
	const app = openPath + "reverse_proxy app:3000 with the path … "
	isWarnedOf(t, strings.Replace(hooks("handle_path /a/* {\nreverse_proxy app:3000\n}\nroute /in {\nrewrite * /hooks/github\nreverse_proxy app:3000\n}\nrespond 404\nhandle_errors {\nreverse_proxy app:3000\n}"),
		"sender stripe whsec_a", "sender stripe whsec_a\nsender github a", 1)+"b.example.com, c.example.com {\nreverse_proxy app:3000\n}",
		app+"names=[github stripe] request=hooks.example.com/a/hooks/stripe", app+"names=[github] request=hooks.example.com/in",
		app+"handle_errors sends … names=[github stripe] request=hooks.example.com/hooks/stripe",
		app+"names=[github stripe] request=b.example.com/hooks/stripe")
}

// TestErrorRoutesToTheAppAreWarnedOf: the gateway's refusals are errors, and the
// error routes pass them to the app.
func TestErrorRoutesToTheAppAreWarnedOf(t *testing.T) {
	const how = openPath + "reverse_proxy app:3000 with the path … handle_errors sends it refused requests; … @hooks verify_webhook_prefix /hooks/*, … request=hooks.example.com/hooks/stripe"
	single := func(errors string) string {
		return "hooks.example.com {\nhandle /hooks/* {\nverify_webhook /hooks/stripe stripe whsec_a\n" + guardLines + "\nreverse_proxy app:3000\n}\nrespond 404\n" + errors + "\n}\n"
	}
	for errors, warned := range map[string]bool{
		"handle_errors {\nreverse_proxy app:3000\n}":                                                               true,
		"handle_errors 401 {\nreverse_proxy app:3000\n}":                                                           true,
		"handle_errors 4xx 5xx {\nreverse_proxy app:3000\n}":                                                       true,
		"handle_errors {\n@up expression {err.status_code} < 500\nreverse_proxy @up app:3000\n}":                   true,
		"handle_errors {\n@post method POST\nreverse_proxy @post app:3000\n}":                                      true,
		"handle_errors {\n" + guardLines + "reverse_proxy app:3000\n}":                                             true, // the name is set
		"handle_errors {\n@verified vars {http.verify_webhook.verified} true\nreverse_proxy @verified app:3000\n}": false,
		"handle_errors {\n@hooks verify_webhook_prefix /hooks/*\nrespond @hooks 404\nreverse_proxy app:3000\n}":    false,
		"handle_errors 502 504 {\nreverse_proxy app:3000\n}":                                                       false, // verified deliveries
		"handle_errors {\nrewrite * /error/{err.status_code}\nreverse_proxy app:3000\n}":                           false,
		"handle_errors {\nreverse_proxy errors:3000\n}":                                                            false,
		"handle_errors {\nrewrite * /error.html\nfile_server\n}":                                                   false,
		"handle_errors {\nrespond \"{err.status_code} {err.status_text}\"\n}":                                      false,
	} {
		t.Run(errors, func(t *testing.T) {
			for _, site := range []string{hooks("respond 404\n" + errors), single(errors)} {
				if warned {
					isWarnedOf(t, site, how)
				} else {
					isWarnedOf(t, site)
				}
			}
		})
	}
}

// TestErrorRoutesOfOneStatusAreWarnedOf: reject_status, an error handler and a module
// above may choose any.
func TestErrorRoutesOfOneStatusAreWarnedOf(t *testing.T) {
	const how = openPath + "reverse_proxy app:3000 with the path … handle_errors sends it refused requests; … request=hooks.example.com/hooks/"
	errors := func(status string) string {
		return "\nhandle_errors " + status + " {\nreverse_proxy app:3000\n}"
	}
	rejects := func(sender, status, handled string) string {
		return strings.Replace(hooks("respond 404"+errors(handled)), "stripe whsec_a", sender+" {\nreject_status "+status+"\n}", 1)
	}
	of := func(sender string) string {
		return strings.Replace(hooks("respond 404"+errors("409 429 498")), "stripe whsec_a", sender, 1)
	}
	above := func(line, handled string) string {
		site := "hooks.example.com {\nroute {\n" + line + "\n" + strings.TrimPrefix(hooks("respond 404"), "hooks.example.com {\n")
		return strings.TrimSuffix(site, "}\n") + "}" + errors(handled) + "\n}\n"
	}
	for name, c := range map[string]struct{ caddyfile, to string }{
		"reject_status 422":         {rejects("stripe whsec_a", "422", "422"), "stripe"},
		"reject_status 502":         {rejects("stripe whsec_a", "502", "502 504"), "stripe"},
		"reject_status 500":         {rejects("stripe whsec_a", "500", "5xx"), "stripe"},
		"another status":            {rejects("stripe whsec_a", "422", "423"), ""},
		"500":                       {hooks("respond 404" + errors("500")), "stripe"},
		"421":                       {hooks("respond 404" + errors("421")), "stripe"},
		"reject_status of a preset": {of("gocardless a"), "gocardless"},
		"error 418":                 {above("@z header X-Z 1\nerror @z 418", "418"), "stripe"},
		"error 418, unnamed":        {above("@z header X-Z 1\nerror @z 419", "418"), ""},
		"error of vars":             {above("vars code 418\n@z header X-Z 1\nerror @z sorry {vars.code}", "418"), "stripe"},
		"error of the query":        {above("@z header X-Z 1\nerror @z sorry {query.code}", "418"), "stripe"},
		"502 of the block's app":    {hooks("respond 404" + errors("502 504")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.to == "" {
				isWarnedOf(t, c.caddyfile)
				return
			}
			isWarnedOf(t, c.caddyfile, how+c.to)
		})
	}
	isWarnedOf(t, above("@z header X-Z 1\nreverse_proxy @z other:3000", "504"), how+"stripe", "verify_webhooks does not see every request of its site: some reach reverse_proxy other:3000")
}

// TestRefusedNearMissesThatAnInterceptHandsToTheApp: respond is a response, not an
// error.
func TestRefusedNearMissesThatAnInterceptHandsToTheApp(t *testing.T) {
	const site = "hooks.example.com {\nintercept {\n@e status %\nhandle_response @e {\nreverse_proxy app:3000\n}\n}\nhandle /hooks/* {\nverify_webhook /hooks/stripe stripe whsec_a\n" + guardLines + "\nreverse_proxy app:3000\n}\nrespond 404\n}"
	isWarnedOf(t, strings.Replace(site, "%", "404", 1), openPath+"reverse_proxy app:3000 without … request=hooks.example.com/hooks/stripe/")
	isWarnedOf(t, strings.Replace(site, "%", "5xx", 1))
}
