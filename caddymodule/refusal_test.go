package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

const (
	guarded      = "verify_webhooks /hooks/* {\nsender github a-long-secret-of-a-test\nother_app\n}\n"
	guardedAlone = "verify_webhook /hooks/github github a-long-secret-of-a-test\nother_app\n"
	strangers    = "@strangers not client_ip 127.0.0.1\n"
)

// handedBack lets a configuration with one handler get a genuine delivery of 127.0.0.1,
// unless it is the first, and then makes an attempt of one that 192.0.2.1 sent.
func handedBack(t *testing.T, site string, first bool, change func(*http.Request)) (result inbox.Result, got int) {
	t.Helper()
	config, err := adapt("Caddyfile", "{\nadmin off\n}\n"+site)
	if err != nil {
		t.Fatal(err)
	}
	server, app := serverAndApp(t, config)
	if change == nil {
		change = func(*http.Request) {}
	}
	if !first {
		r := httptest.NewRequest(http.MethodPost, "/hooks/github", strings.NewReader(body))
		r.RemoteAddr = "127.0.0.1:999"
		r.Header.Set("X-GitHub-Delivery", "genuine")
		r.Header.Set("X-Hub-Signature-256", "sha256="+sign("a-long-secret-of-a-test", body))
		r.Header.Set("X-Edge", "token")
		change(r)
		otherAppGot = nil
		if server.ServeHTTP(httptest.NewRecorder(), r); len(otherAppGot) != 1 {
			t.Fatalf("the app got %d genuine deliveries", len(otherAppGot))
		}
	}
	otherAppGot = nil
	d := attempt.Record(httptest.NewRequest(http.MethodPost, "/hooks/github", nil), http.MethodPost, "/hooks/github", []byte(body))
	d.Key, d.ID, d.Queue, d.Provider, d.Received = inbox.Key(theKey), "one", inbox.Queue{Handler: "github"}, "github", time.Now()
	result = app.handBack(t.Context(), &inbox.Attempt{Delivery: &d, Entry: inbox.Entry{Queue: d.Queue, Replayed: true}})
	return result, len(otherAppGot)
}

// TestWhatAGuardRefuses is not given to the handler past the guard, however that is
// written, but tried again, with the guard's status and Retry-After.
func TestWhatAGuardRefuses(t *testing.T) {
	edge := "@edge header X-Edge token\n"
	for name, c := range map[string]struct {
		site string
		want inbox.Result
	}{
		"error":                 {"route {\n" + strangers + "error @strangers 403\n" + guarded + "}", inbox.Result{Status: 403}},
		"respond":               {"route {\n" + strangers + "respond @strangers 403\n" + guarded + "}", inbox.Result{Status: 403}},
		"respond 2xx":           {"route {\n" + strangers + "respond @strangers ok\n" + guarded + "}", inbox.Result{Status: 200}},
		"redir":                 {"route {\n" + strangers + "redir @strangers /away 302\n" + guarded + "}", inbox.Result{Status: 302}},
		"abort":                 {"route {\n" + strangers + "abort @strangers\n" + guarded + "}", inbox.Result{}},
		"404":                   {"route {\n" + strangers + "error @strangers 404\n" + guarded + "}", inbox.Result{Status: 404}},
		"a status of dead_on":   {"route {\n" + strangers + "error @strangers 410\n" + guarded + "}", inbox.Result{Status: 410}},
		"a limit":               {"route {\n" + strangers + "header @strangers Retry-After 30\nerror @strangers 429\n" + guarded + "}", inbox.Result{Status: 429, RetryAfter: 30 * time.Second}},
		"forward_auth is down":  {"route {\n" + strangers + "forward_auth @strangers 127.0.0.1:1 {\nuri /\n}\n" + guarded + "}", inbox.Result{Status: 502}},
		"basic_auth":            {"route {\n" + strangers + "basic_auth @strangers {\nbob $2a$04$TR9qTmBpGbDDXGGOoNPmg.h4b3EcxMQPv8AUbWJcUWeUvZRQSNTkK\n}\n" + guarded + "}", inbox.Result{Status: 401}},
		"with error routes":     {"route {\n" + strangers + "error @strangers 403\n" + guarded + "}\nhandle_errors {\nrespond 200\n}", inbox.Result{Status: 403}},
		"above the directive":   {"route {\n" + strangers + "error @strangers 403\n" + guardedAlone + "}", inbox.Result{Status: 403}},
		"in a handle before":    {strangers + "handle @strangers {\nerror 403\n}\nhandle {\n" + guarded + "}", inbox.Result{Status: 403}},
		"in the handle":         {strangers + "handle {\nroute {\nerror @strangers 403\n" + guarded + "}\n}", inbox.Result{Status: 403}},
		"a handle for some":     {"@known client_ip 127.0.0.1\nhandle @known {\n" + guarded + "}\nrespond 403", inbox.Result{Status: 403}},
		"by path and address":   {"@known {\npath /hooks/*\nremote_ip 127.0.0.1\n}\nhandle @known {\n" + guarded + "}\nrespond 403", inbox.Result{Status: 403}},
		"an expression":         {"@known expression client_ip('127.0.0.1')\nroute @known {\n" + guardedAlone + "}\nerror 403", inbox.Result{Status: 403}},
		"and nothing answers":   {"@known client_ip 127.0.0.1\nroute @known {\n" + guarded + "}", inbox.Result{}},
		"by a header":           {edge + "handle @edge {\n" + guarded + "}\nrespond 403", inbox.Result{Status: 403}},
		"by another header":     {edge + "handle @edge {\nrequest_header -X-Other\n" + guarded + "}\nrespond 403", inbox.Result{Status: 403}},
		"of a named route":      {"route {\n" + strangers + "error @strangers 403\ninvoke hooks\n}", inbox.Result{Status: 403}},
		"beside another sender": {"route {\n" + strangers + "error @strangers 403\nverify_webhooks /in/* {\nsender gitea a-long-secret-of-a-test\nother_app\n}\n" + guarded + "}", inbox.Result{Status: 403}},
		"after another block":   {"route {\nverify_webhooks /in/* {\nsender gitea a-long-secret-of-a-test\nother_app\n}\n" + strangers + "error @strangers 403\n" + guarded + "}", inbox.Result{Status: 403}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Refused = true
			for _, host := range []string{"", "example.com"} {
				site := "http://" + host + ":1234 {\n" + c.site + "\n}\n&(hooks) {\n" + guarded + "}\n"
				if !strings.Contains(c.site, "invoke") {
					site, _, _ = strings.Cut(site, "&(hooks)")
				}
				if got, n := handedBack(t, site, false, nil); got != c.want || n > 0 {
					t.Errorf("host %q: the inbox is told %+v, want %+v; the app got it %d times", host, got, c.want, n)
				}
			}
		})
	}
}

// TestRoutesThatHaveMoved: a delivery whose place in the routes has changed, or that lacks
// what they have removed, goes to its handler all the same, whatever they answer to it.
func TestRoutesThatHaveMoved(t *testing.T) {
	to := func(path string) func(*http.Request) {
		return func(r *http.Request) { r.URL.Path, r.RequestURI = path, path }
	}
	edge := "@edge header X-Edge token\n"
	for name, c := range map[string]struct {
		site   string
		change func(*http.Request)
	}{
		"the path in the block":          {"http://:1234 {\n" + strings.Replace(guarded, "-test\n", "-test {\npath /hooks/new\n}\n", 1) + "respond 404\n}", to("/hooks/new")},
		"the prefix of the block":        {"http://:1234 {\n" + strings.Replace(guarded, "/hooks", "/in", 1) + "respond 404\n}", to("/in/github")},
		"a block before it has its name": {"http://:1234 {\n" + strings.Replace(guarded, "/hooks", "/in", 1) + guarded + "respond 404\n}", nil},
		"another app has the rest":       {"http://:1234 {\n" + strings.Replace(guarded, "/hooks", "/in", 1) + "other_app\n}", to("/in/github")},
		"the path of the directive":      {"http://:1234 {\nhandle /in/* {\n" + strings.Replace(guardedAlone, "/hooks/", "/in/", 1) + "}\nhandle {\nrespond 404\n}\n}", to("/in/github")},
		"nothing answers there":          {"http://:1234 {\nhandle /in {\n" + strings.Replace(guardedAlone, "/hooks/github", "/in", 1) + "}\n}", to("/in")},
		"another handler is there": {"http://:1234 {\n" + strings.Replace(guarded, "-test\n", "-test {\npath /hooks/new\n}\nsender gitea a-long-secret-of-a-test {\npath /hooks/github\n}\n", 1) + "}",
			to("/hooks/new")},
		"the header is removed":  {"http://:1234 {\n" + edge + "route @edge {\nrequest_header -X-Edge\n" + guarded + "}\nrespond 403\n}", nil},
		"the header is replaced": {"http://:1234 {\n" + edge + "route @edge {\nrequest_header X-Edge x\n" + guarded + "}\nerror 403\n}", nil},
		"a guard asks for it":    {"http://:1234 {\nroute {\n@noedge not header X-Edge token\nrespond @noedge 403\nrequest_header -X-Edge\n" + guarded + "}\n}", nil},
		"an expression does":     {"http://:1234 {\n@edge expression `{header.X-Edge} == \"token\"`\nroute @edge {\nrequest_header -X-Edge\n" + guarded + "}\nrespond 403\n}", nil},
		"the host is replaced":   {"http://:1234 {\n@here not host example.com\nroute @here {\nrequest_header Host example.com\n" + guarded + "}\nrespond 403\n}", func(r *http.Request) { r.Host = "hooks.test" }},
		"a site has its host": {"http://*.com:1234 {\n" + guarded + "}\nhttp://example.com:1234 {\nrespond 404\n}",
			func(r *http.Request) { r.Host = "other.com" }},
	} {
		t.Run(name, func(t *testing.T) {
			if got, n := handedBack(t, c.site, false, c.change); got.Status != 502 || got.Refused || got.Unreached || n != 1 {
				t.Errorf("the inbox is told %+v; the app got it %d times", got, n) // other_app does not answer: 502
			}
		})
	}
	t.Run("before a first delivery", func(t *testing.T) {
		site := "http://:1234 {\n" + edge + "route @edge {\n" + guarded + "}\nrespond 403\n}"
		if got, n := handedBack(t, site, true, nil); got != (inbox.Result{Unreached: true}) || n > 0 {
			t.Errorf("the inbox is told %+v; the app got it %d times", got, n)
		}
	})
}
