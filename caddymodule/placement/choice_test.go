package placement_test

import (
	"strings"
	"testing"
)

// chosen are rewrites whose target a client chooses, each with an example path.
var chosen = map[string]string{
	"@h header_regexp h To ^(.+)$\nhandle @h {\nrewrite * {re.h.1}\nreverse_proxy app:3000\n}":                          "/x",
	"handle /go {\nrewrite * {http.request.cookie.to}\nreverse_proxy app:3000\n}":                                       "/go",
	"handle /go {\nrewrite * /hooks/{http.request.cookie.to}\nreverse_proxy app:3000\n}":                                "/go",
	"handle /go {\nrewrite * {header.To}?a=b\nreverse_proxy app:3000\n}":                                                "/go",
	"handle /go {\nrewrite * /{header.X-Dir}/{header.X-File}\nreverse_proxy app:3000\n}":                                "/go",
	"handle /go {\nrewrite * {query}\nreverse_proxy app:3000\n}":                                                        "/go",
	"handle /go {\nrewrite * /{query}\nreverse_proxy app:3000\n}":                                                       "/go",
	"handle /go {\nrewrite * {query.p}\nreverse_proxy app:3000\n}":                                                      "/go",
	"handle /go {\nrewrite * /{query.a}/{query.b}\nreverse_proxy app:3000\n}":                                           "/go",
	"handle /go {\nrewrite * {http.request.body}\nreverse_proxy app:3000\n}":                                            "/go",
	"handle /go {\nrewrite * {http.auth.user.id}\nreverse_proxy app:3000\n}":                                            "/go",
	"handle /go {\nrewrite * {query.p}\nuri strip_prefix /v1\nreverse_proxy app:3000\n}":                                "/go",
	"@h header_regexp h To ^(hooks|shop)$\nhandle @h {\nrewrite * /{re.h.1}{uri}\nreverse_proxy app:3000\n}":            "/stripe",
	"handle /go {\nreverse_proxy app:3000 {\nrewrite {query.p}\n}\n}":                                                   "/go",
	"handle /go/* {\nuri strip_prefix {header.X}\nreverse_proxy app:3000\n}":                                            "/go/x",
	"handle /v1/* {\nuri replace /v1/ /{header.X-Tenant}/\nreverse_proxy app:3000\n}":                                   "/v1/x",
	"vars to {http.request.cookie.to}\nhandle /go {\nrewrite * {vars.to}\nreverse_proxy app:3000\n}":                    "/go",
	"vars to /hooks/{query.to}\nhandle /go {\nrewrite * {vars.to}?a=b\nreverse_proxy app:3000\n}":                       "/go",
	"map {http.request.cookie.to} {to} {\n~(.*) \"${1}\"\n}\nhandle /go {\nrewrite * {to}\nreverse_proxy app:3000\n}":   "/go",
	"map {header.To} {to} {\n~(.*) \"${1}\"\n}\nhandle /go {\nrewrite * {to}\nreverse_proxy app:3000\n}":                "/go",
	"map {query.to} {to} {\na /hooks/stripe\ndefault /none\n}\nhandle /go {\nrewrite * {to}\nreverse_proxy app:3000\n}": "/go",
}

// climbing are rewrites whose constant beginning a client leaves by dots, which apps clean
// away, each with the path that the app gets.
var climbing = map[string]string{
	"handle /go {\nrewrite * /files/{query.p}\nreverse_proxy app:3000\n}":                                                          "/files/../hooks/stripe",
	"handle /go {\nrewrite * /files/a{query.p}\nreverse_proxy app:3000\n}":                                                         "/files/a/../../hooks/stripe",
	"handle {\nrewrite * /api/{http.request.cookie.to}{uri}\nreverse_proxy app:3000\n}":                                            "/api/../hooks/stripe",
	"handle {\nvars tenant {header.X-Tenant}\nrewrite * /tenants/{vars.tenant}{uri}\nreverse_proxy app:3000\n}":                    "/tenants/../hooks/stripe",
	"handle /go {\nrewrite * /a/b/{header.X-File}.html\nreverse_proxy app:3000\n}":                                                 "/a/b/../../hooks/stripe", // with a question mark
	"handle /go {\nreverse_proxy app:3000 {\nrewrite /files/{query.p}\n}\n}":                                                       "/files/../hooks/stripe",
	"handle /go/* {\nrewrite * /{path.1}/{http.request.cookie.to}\nreverse_proxy app:3000\n}":                                      "/x/../hooks/stripe",
	"vars tenant {header.X-Tenant}\nhandle /go/* {\nrewrite * /tenants/{vars.tenant}/{path.1}/{path.2}\nreverse_proxy app:3000\n}": "/tenants/../hooks/stripe",
	"@h header_regexp h Accept-Language ^(en|de)\nhandle @h {\nrewrite * /{re.h.1}/{query.p}\nreverse_proxy app:3000\n}":           "/de/../hooks/stripe",
}

// inPath are rewrites that a client leads to a verified path by its own.
var inPath = map[string]string{
	"handle /v1/* {\nrewrite * /{path.1}/{path.2}\nreverse_proxy app:3000\n}":                                     "/v1/hooks/stripe",
	"handle /v1/* {\nreverse_proxy app:3000 {\nrewrite /{path.1}/{path.2}\n}\n}":                                  "/v1/hooks/stripe",
	"handle /go/* {\nrewrite * /{path.2}/{path.1}\nreverse_proxy app:3000\n}":                                     "/go/stripe/hooks",
	"handle /go/* {\nrewrite * /{path.1}/stripe\nreverse_proxy app:3000\n}":                                       "/go/hooks",
	"handle /go/* {\nrewrite * /hooks/{path.1}\nreverse_proxy app:3000\n}":                                        "/go/stripe",
	"handle /go/* {\nrewrite * /hooks/{file}\nreverse_proxy app:3000\n}":                                          "/go/stripe",
	"handle /go/* {\nvars to /{path.1}\nrewrite * {vars.to}/{path.2}\nreverse_proxy app:3000\n}":                  "/go/hooks/stripe",
	"handle /c/* {\nuri path_regexp ^/c/([a-z]+)-([a-z]+)$ /$1/$2\nreverse_proxy app:3000\n}":                     "/c/hooks-stripe",
	"@r path_regexp r ^/([^/]+)_([^/]+)$\nhandle @r {\nrewrite * /{re.r.1}/{re.r.2}\nreverse_proxy app:3000\n}":   "/hooks_stripe",
	"@r path_regexp r ^/v[0-9]+/(.*)$\nhandle @r {\nrewrite * /{re.r.1}\nreverse_proxy app:3000\n}":               "/v0/hooks/stripe",
	"@r path_regexp r ^/(a|b)/(?:x/)?([^/]+)$\nhandle @r {\nrewrite * /hooks/{re.r.2}\nreverse_proxy app:3000\n}": "/a/x/stripe",
	"@r vars_regexp r {path} ^/q/(.+)$\nhandle @r {\nrewrite * /{re.r.1}\nreverse_proxy app:3000\n}":              "/q/hooks/stripe",
	"handle {\nuri path_regexp ^/v[0-9]+/ /\nreverse_proxy app:3000\n}":                                           "/v0/hooks/stripe",
	"handle {\nuri path_regexp ^/(en|de)/ /\nreverse_proxy app:3000\n}":                                           "/en/hooks/stripe",
	"handle {\nuri path_regexp ^/[a-z]{2}/ /\nreverse_proxy app:3000\n}":                                          "/xx/hooks/stripe",
	"handle {\nuri path_regexp ^/[a-z]+/ /\nreverse_proxy app:3000\n}":                                            "/x/hooks/stripe",
	"handle {\nuri path_regexp ^/api/v\\d+/ /\nreverse_proxy app:3000\n}":                                         "/api/v0/hooks/stripe",
	"handle {\nuri path_regexp -[0-9]+ \"\"\nreverse_proxy app:3000\n}":                                           "/-0hooks/stripe",
	"handle {\nuri path_regexp _ \"\"\nreverse_proxy app:3000\n}":                                                 "/_hooks/stripe",
	"handle {\nuri path_regexp incoming hooks\nreverse_proxy app:3000\n}":                                         "/incoming/stripe",
	"handle_path /api/* {\n@r path_regexp r ^/in/(.*)$\nrewrite @r /{re.r.1}\nreverse_proxy app:3000\n}":          "/api/",
}

// TestRewritesWhoseTargetAClientChoosesAreWarnedOf, unless the beginning of the target or
// the route keeps it from the prefix.
func TestRewritesWhoseTargetAClientChoosesAreWarnedOf(t *testing.T) {
	for beside, request := range chosen {
		t.Run(beside, func(t *testing.T) {
			isWarnedOf(t, hooks(beside+"\nrespond 404"), openPath+"reverse_proxy app:3000 with the path … a rewrite whose target the client may choose leads there; … request=hooks.example.com"+request+" path_there=/hooks/stripe")
			isWarnedOf(t, hooks(strings.ReplaceAll(beside, "app:300", "other:300")+"\nrespond 404"))
		})
	}
	for beside, request := range inPath {
		t.Run(beside, func(t *testing.T) {
			isWarnedOf(t, hooks(beside+"\nrespond 404"), openPath+"reverse_proxy app:3000 with the path … handle_path or a rewrite makes it the same; … request=hooks.example.com"+request)
			isWarnedOf(t, hooks(strings.ReplaceAll(beside, "app:300", "other:300")+"\nrespond 404"))
		})
	}
	for beside, there := range climbing {
		t.Run(beside, func(t *testing.T) {
			isWarnedOf(t, hooks(beside+"\nrespond 404"), openPath+"reverse_proxy app:3000 with the path … a rewrite whose target the client may choose leads there; … path_there="+there)
			isWarnedOf(t, hooks(strings.ReplaceAll(beside, "app:300", "other:300")+"\nrespond 404"))
		})
	}
	isWarnedOf(t, hooks("@h vars_regexp h {query.to} ^(.+)$\nhandle @h {\nrewrite * {re.h.1}\nreverse_proxy app:3000\n}\nrespond 404"),
		openPath+"reverse_proxy app:3000 with the path … a rewrite whose target the client may choose leads there, for requests that match")
	isWarnedOf(t, hooks("respond 404\n}\nhttp:// {\nverify_webhooks /hooks/*\nrewrite * /{labels.1}{uri}\nreverse_proxy app:3000"),
		openPath+"reverse_proxy app:3000 with the path … handle_path or a rewrite makes it the same; … request=hooks.x/stripe")
	for _, safe := range []string{
		"rewrite * /index.php?{query}\nreverse_proxy app:3000",
		"rewrite * /index.php?path={path}&{query}\nreverse_proxy app:3000",
		"try_files {path} /index.html\nreverse_proxy app:3000",
		"try_files {path} {path}/ /index.php?{query}\nreverse_proxy app:3000",
		"try_files {path} =404\nreverse_proxy app:3000",
		"handle_path /app/* {\nrewrite * /v2{uri}\nreverse_proxy app:3000\n}\nrespond 404",
		"handle /x/* {\nuri strip_suffix .html\nreverse_proxy app:3000\n}\nrespond 404",
		"handle /shop/* {\nuri replace /shop /store\nreverse_proxy app:3000\n}\nrespond 404",
		"rewrite * /api{uri}\nreverse_proxy app:3000",
		"rewrite * /app{path}\nreverse_proxy app:3000",
		"rewrite * /{host}{uri}\nreverse_proxy app:3000",
		"rewrite * /tenants/{labels.2}{uri}\nreverse_proxy app:3000",
		"handle /shop/* {\nrewrite * /{path.0}/{path.2}\nreverse_proxy app:3000\n}\nrespond 404",
		"handle /shop/* {\nrewrite * /{path.1}.html\nreverse_proxy app:3000\n}\nrespond 404",
		"@r path_regexp r ^/([0-9]+)/(.*)$\nhandle @r {\nrewrite * /{re.r.1}/{re.r.2}\nreverse_proxy app:3000\n}\nrespond 404",
		"@r path_regexp r ^/(de|en)/(.*)$\nhandle @r {\nrewrite * /{re.r.1}-{re.r.2}\nreverse_proxy app:3000\n}\nrespond 404",
		"uri path_regexp /+ /\nreverse_proxy app:3000",
		"uri query -utm_source\nreverse_proxy app:3000",
		"route /in/* {\nuri strip_prefix /in\nrewrite * {http.request.orig_uri.path}\nreverse_proxy app:3000\n}\nrespond 404",
		"@h header_regexp h Accept-Language ^(en|de|fr)\nhandle @h {\nrewrite * /{re.h.1}{uri}\nreverse_proxy app:3000\n}\nrespond 404",
		"@h header_regexp Cookie lang=(?P<lang>[a-z]{2})\nhandle @h {\nrewrite * /{re.lang}{uri}\nreverse_proxy app:3000\n}\nrespond 404",
		"@h not header_regexp h To ^([a-z]+)$\nhandle @h {\nrespond 404\n}\nrewrite * /{re.h.1}.html\nreverse_proxy app:3000",
		"map {header.X-Version} {version} {\n2 /v2\ndefault /v1\n}\nrewrite * {version}{uri}\nreverse_proxy app:3000",
		"rewrite * {env.NOT_SET}/app\nreverse_proxy app:3000",
		"redir /old/* /hooks/{query.p}\nreverse_proxy app:3000",
		"handle /go {\nrewrite * {query.p}\n@hooks verify_webhook_prefix /hooks/*\nrespond @hooks 404\nreverse_proxy app:3000\n}\nrespond 404",
		"handle /go {\nrewrite * {query.p}\nfile_server\n}\nreverse_proxy app:3000",
		"reverse_proxy app:3000\nhandle_errors {\nrewrite * /errors/{err.status_code}\nreverse_proxy app:3000\n}",
		"intercept {\n@e status 5xx\nhandle_response @e {\nrewrite * /{resp.status_code}\nreverse_proxy app:3000\n}\n}\nreverse_proxy app:3000",
	} {
		t.Run(safe, func(t *testing.T) { isWarnedOf(t, hooks(safe)) })
	}
}
