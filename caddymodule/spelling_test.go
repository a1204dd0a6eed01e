package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestSpellingOfAPath: what is configured is spelled so, and what is not is left as sent.
func TestSpellingOfAPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ configured, sent, want string }{
		{"/hooks/github", "/hooks/github?a=%41&B", "/hooks/github?a=%41&B"},
		{"/hooks/github", "/HOOKS/GitHub?a=%41&B", "/hooks/github?a=%41&B"},
		{"/hooks/github", "/hooks/%67ithub?", "/hooks/github?"},
		{"/hooks/github", "/hook%73/%47ithub", "/hooks/github"},
		{"/hooks/github", "/hoo\u212as/github", "/hooks/github"}, // the Kelvin sign
		{"/Hooks/GitHub", "/hooks/github", "/Hooks/GitHub"},
		{"/hooks/slash/", "/hooks/SLASH/", "/hooks/slash/"},
		{"/hooks/é", "/hooks/É", "/hooks/%C3%A9"},
		{"/hooks/é", "/hooks/%c3%a9", "/hooks/%C3%A9"},
		{"/hooks/a!b", "/hooks/a%21b", "/hooks/a!b"},
		{"/hooks/github", "/HOOKS/other", "/HOOKS/other"}, // stored under a path that it had before
		{"/hooks/github", "/HOOKS/GITHUB/", "/HOOKS/GITHUB/"},
		{"/hooks/acme/*", "/hooks/acme/EU/%4eorth", "/hooks/acme/EU/%4eorth"},
		{"/hooks/acme/*", "/HOOKS/%61cme/EU/%4eorth?%41", "/hooks/acme/EU/%4eorth?%41"},
		{"/hooks/acme/*", "/Hooks/acme/EU/n%C3%B6rth", "/hooks/acme/EU/n%C3%B6rth"},
		{"/hooks/acme/*", "/hoo\u212as/acme/x", "/hooks/acme/x"},
		{"/hooks/acme/*", "/HOOKS/acme/", "/hooks/acme/"},
		{"/hooks/acme/*", "/HOOKS/acmes/x", "/HOOKS/acmes/x"},
		{"/hooks/acme/*", "/HOOKS", "/HOOKS"},
		{"/hooks/acme/*", "/HOOKS%2Facme/x/y", "/HOOKS%2Facme/x/y"},
		{"/hooks/é/*", "/hooks/É/x%21", "/hooks/%C3%A9/x%21"},
		{"/*", "/X/%79", "/X/%79"},
	} {
		u, err := url.ParseRequestURI(c.sent)
		if err != nil {
			t.Fatal(err)
		}
		before := u.RequestURI()
		changed := spellingOf(c.configured).give(u)
		if got := u.RequestURI(); got != c.want && changed || changed != (got != before) || changed != (c.want != before) {
			t.Errorf("%s of %s: %s (%t), want %s", c.sent, c.configured, got, changed, c.want)
		}
		if plain, err := url.PathUnescape(u.EscapedPath()); err != nil || plain != u.Path {
			t.Errorf("%s of %s: the path is %q, and escaped %q", c.sent, c.configured, u.Path, u.EscapedPath())
		}
	}
}

// TestAppsGetThePathAsConfigured after it was verified as sent, unless it is signed.
func TestAppsGetThePathAsConfigured(t *testing.T) {
	sender := func(path, name, message string) string {
		return fmt.Sprintf(`{"path":%q,"verify":{"handler":"verify_webhook","name":%q,"secret":["n9Wd4kTq2"],"signature":{"header":"X-Signature"},"message":%q}}`, path, name, message)
	}
	b, err := loadBlock(t, fmt.Sprintf(`{"prefix":"/hooks/*","senders":[%s,%s,%s],"routes":[{"handle":[{"handler":"static_response","status_code":204}]}]}`,
		sender("/hooks/exact", "exact", "{body}"), sender("/hooks/many/*", "many", "{body}"), sender("/hooks/signed", "signed", "{path}.{body}")))
	if err != nil {
		t.Fatal(err)
	}
	var app *http.Request
	for _, s := range b.Senders {
		s.verified = s.spelled(caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			app = r
			w.WriteHeader(http.StatusAccepted)
			return nil
		}))
	}
	for i, c := range []struct{ target, signed, want string }{
		{"/HOOKS/EXACT?a=%41", "", "/hooks/exact?a=%41"},
		{"/hooks/%65xact", "", "/hooks/exact"},
		{"/HOOKS/MANY/X%41", "", "/hooks/many/X%41"},
		{"/HOOKS/SIGNED?a=%41", "/HOOKS/SIGNED.", "/HOOKS/SIGNED?a=%41"},
	} {
		body := fmt.Sprintf(`{"n":%d}`, i)
		r := httptest.NewRequest(http.MethodPost, c.target, strings.NewReader(body))
		r.RequestURI = c.target
		r.Header.Set("X-Signature", sign("n9Wd4kTq2", c.signed+body))
		w, repl := httptest.NewRecorder(), caddy.NewReplacer()
		r = caddyhttp.PrepareRequest(r, repl, w, nil)
		app = nil
		if err := b.ServeHTTP(w, r, nil); err != nil || app == nil {
			t.Fatalf("%s: %d %v", c.target, w.Code, err)
		}
		uri, _ := repl.GetString("http.request.uri")
		if app.URL.RequestURI() != c.want || app.RequestURI != c.want || uri != c.want {
			t.Errorf("%s: the app gets %s (%s, %s), want %s", c.target, app.URL.RequestURI(), app.RequestURI, uri, c.want)
		}
		if got := received(app).URL.RequestURI(); got != c.want { // FastCGI's REQUEST_URI
			t.Errorf("%s: the original path is %s to the app, want %s", c.target, got, c.want)
		}
		for _, part := range []string{"", ".path", ".path.dir", ".path.file", ".path.0", ".path.1", ".path.9"} {
			original, current := repl.ReplaceAll("{http.request.orig_uri"+part+"}", ""), repl.ReplaceAll("{http.request.uri"+part+"}", "")
			if original != current {
				t.Errorf("%s: orig_uri%s is %s to the app, want %s", c.target, part, original, current)
			}
		}
		if file := repl.ReplaceAll("{http.request.orig_uri.path.file_escaped}", ""); file != path.Base(app.URL.EscapedPath()) {
			t.Errorf("%s: the escaped name of the file is %s to the app", c.target, file)
		}
		if got := received(r); got.RequestURI != c.target || got.URL.RequestURI() != c.target {
			t.Errorf("%s: the log shows %s and %s", c.target, got.RequestURI, got.URL.RequestURI())
		}
	}
}
