package placement_test

import (
	"slices"
	"strings"
	"testing"
)

// TestLoginsHideNoApp: a login on the way of deliveries leaves the app that they reach
// known, so what is wrong without it is warned of, or refused, with it.
func TestLoginsHideNoApp(t *testing.T) {
	const (
		block = "verify_webhooks /hooks/* {\nsender stripe whsec_a\nINSIDE\nreverse_proxy app:3000\n}\n"
		app   = "reverse_proxy app:3000"
	)
	for login, text := range map[string]string{
		"none":         "",
		"basic_auth":   "basic_auth {\nu $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}",
		"forward_auth": "forward_auth auth:9000 {\nuri /ask\n}",
	} {
		for place, site := range map[string]string{
			"in the block":         block + "respond 404",
			"above the block":      "route {\nINSIDE\n" + strings.Replace(block, "INSIDE\n", "", 1) + "respond 404\n}",
			"beside a directive":   "@hook path /hooks/stripe\nroute @hook {\nverify_webhook stripe whsec_a\nINSIDE\n" + app + "\n}\nrespond 404",
			"in a subroute within": strings.Replace(block, "INSIDE\nreverse_proxy app:3000", "route {\nINSIDE\nreverse_proxy app:3000\n}", 1) + "respond 404",
		} {
			t.Run(login+" "+place, func(t *testing.T) {
				site = strings.ReplaceAll(site, "INSIDE", text)
				warnings, err := survey(t, "hooks.example.com {\n"+site+"\n}\nb.example.com {\n"+app+"\n}\n")
				if err != nil {
					t.Fatal(err)
				}
				if !slices.ContainsFunc(warnings, func(w string) bool {
					return holdsInOrder(w, openPath+"reverse_proxy app:3000 with the path … another site … request=b.example.com/hooks/stripe")
				}) {
					t.Errorf("the app at another site, not warned of: %q", warnings)
				}
				// A second app of the same sender and host gets no deliveries of its own.
				second := strings.ReplaceAll(site, "app:3000", "app:4000")
				if _, err := survey(t, "http://hooks.example.com:8080 {\n"+site+"\n}\nhttp://hooks.example.com:8081 {\n"+second+"\n}\n"); err == nil || !strings.Contains(err.Error(), "name") {
					t.Errorf("two apps share deliveries: %v", err)
				}
			})
		}
		// Where the block misses requests of its site, it does not start.
		inside := "http://hooks.example.com {\nhandle /hooks/* {\n" + strings.ReplaceAll(block, "INSIDE", text) + "}\n" + app + "\n}\n"
		if _, err := survey(t, inside); err == nil || !strings.Contains(err.Error(), "does not see every request") {
			t.Errorf("%s, in a handle: %v", login, err)
		}
	}
}

// TestQuestionsThatPassSomeApprovals: a proxy that asks, and passes 200 alone on, is no
// guard, and not the app of deliveries either.
func TestQuestionsThatPassSomeApprovals(t *testing.T) {
	site := func(port, auth, app string) string {
		return "http://hooks.example.com:" + port + " {\nverify_webhooks /hooks/* {\nsender stripe whsec_a {\ninbox\n}\nreverse_proxy " + auth +
			" {\nmethod GET\nrewrite /v\n@ok status 200\nhandle_response @ok {\nrequest_header X-User {rp.header.X-User}\n}\n}\nreverse_proxy " + app + "\n}\n}\n"
	}
	if _, err := survey(t, site("8080", "auth:1000", "app:3000")+site("8081", "auth:2000", "app:3000")); err != nil {
		t.Errorf("one app, behind two logins: %v", err)
	}
	if _, err := survey(t, site("8080", "auth:1000", "app:3000")+site("8081", "auth:1000", "app:4000")); err == nil {
		t.Error("two apps, behind one login, share a queue")
	}
}

// TestPathsThatDifferByASlashOnTwoPorts: of sites for any host the port counts, so these
// share nothing.
func TestPathsThatDifferByASlashOnTwoPorts(t *testing.T) {
	site := func(port, path, secret, app string) string {
		return "http://:" + port + " {\nhandle " + path + " {\nverify_webhook github " + secret + "\nreverse_proxy " + app + "\n}\nrespond 404\n}\n"
	}
	if _, err := survey(t, site("8080", "/hooks/github", "a", "app:3000")+site("8081", "/hooks/github/", "b", "app:4000")); err != nil {
		t.Error(err)
	}
}

// TestAnswersBehindALogin are not a stranger's, and where nothing answers behind one, a
// stranger gets no empty 200.
func TestAnswersBehindALogin(t *testing.T) {
	const intercepted = "}\nb.example.com {\nroute {\nintercept {\n@none status 404\nhandle_response @none {\nreverse_proxy app:3000\n}\n}\nLOGIN\nrespond 404\n}\nrespond 404"
	for login, text := range map[string]string{
		"none":         "",
		"basic_auth":   "basic_auth {\nu $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}",
		"forward_auth": "forward_auth auth:9000 {\nuri /ask\n}",
	} {
		t.Run(login, func(t *testing.T) {
			open, empty := []string{openPath + "reverse_proxy app:3000 with marks … intercept or handle_errors of another site"}, []string(nil)
			if text == "" {
				open = []string{openPath + "reverse_proxy app:3000 with the path … request=b.example.com/hooks/stripe"}
				empty = []string{"requests for other paths get Caddy's empty 200"}
			}
			isWarnedOf(t, hooks("respond 404\n"+strings.Replace(intercepted, "LOGIN", text, 1)), open...)
			isWarnedOf(t, hooks("route {\n"+text+"\n}"), empty...)
		})
	}
}
