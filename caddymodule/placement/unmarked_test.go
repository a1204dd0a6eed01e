package placement_test

import (
	"strings"
	"testing"
)

// TestAppsBehindErrorsAndAnswersOfAnotherSite: what another site refuses, or another app
// answers there, reaches a block's app with whatever marks the client wrote. Error routes
// of a server with a handler are guarded.
func TestAppsBehindErrorsAndAnswersOfAnotherSite(t *testing.T) {
	const later = openPath + "reverse_proxy app:3000 with marks … intercept or handle_errors of another site … write verify_webhooks /hooks/*, … beside intercept and handle_errors: … site="
	const page = " {\nrewrite * /error\nreverse_proxy app:3000\n}"
	const caught = "intercept {\n@e status 404\nhandle_response @e" + page + "\n}\n"
	for more, warned := range map[string]bool{
		"error 404\nhandle_errors" + page:                                                                                    true,
		"root /srv\nfile_server\nhandle_errors 404 405" + page:                                                               true,
		"reverse_proxy other:3000\nhandle_errors 502" + page:                                                                 true,
		"forward_auth other:3000 {\nuri /ask\n}\nrespond 200\nhandle_errors" + page:                                          true,
		"metrics\nhandle_errors" + page:                                                                                      true,
		"basic_auth {\nu $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\nrespond 200\nhandle_errors" + page: true,
		"error 404\nhandle_errors {\nrewrite * /error\nrequest_header -Webhook*\nreverse_proxy app:3000\n}":                  true,
		"verify_webhooks /hooks/*\nerror 404\nhandle_errors" + page:                                                          false,
		"error 404\nhandle_errors {\nreverse_proxy other:3000\n}":                                                            false,
		"error 404\nhandle_errors {\nrespond sorry\n}":                                                                       false,
		caught + "respond 404":                                             true,
		caught + "reverse_proxy other:3000":                                true,
		"verify_webhooks /hooks/*\n" + caught + "respond 404":              false,
		"verify_webhooks /hooks/*\n" + caught + "reverse_proxy other:3000": false,
		strings.ReplaceAll(caught, "app:", "other:") + "respond 404":       false,
		"handle /in {\nverify_webhook slack a {\nname slack\n}\nintercept {\nhandle_response" + page + "\n}\nreverse_proxy other:3000\n}\nhandle {\nrespond 404\n}": false,
	} {
		for _, site := range []string{"http://:8080", "b.example.com"} {
			t.Run(site+" "+more, func(t *testing.T) {
				caddyfile := hooks("respond 404") + site + " {\n" + more + "\n}\n"
				if site == "b.example.com" && !strings.Contains(more, "intercept") || !warned {
					isWarnedOf(t, caddyfile)
					return
				}
				isWarnedOf(t, caddyfile, later)
			})
		}
	}
	// One warning for an app.
	isWarnedOf(t, hooks("respond 404")+"b.example.com {\nhandle /api/* {\nreverse_proxy app:3000\n}\n"+caught+"respond 404\n}", openPath+"reverse_proxy app:3000 with marks … another site has the app of a block; … site=b.example.com")
	// Without a block, other routes keep their marks anyway.
	isWarnedOf(t, "hooks.example.com {\nverify_webhook /hooks/stripe stripe whsec_a\nrespond 404\n}\nhttp://:8080 {\nerror 404\nhandle_errors"+page+"\n}")
}
