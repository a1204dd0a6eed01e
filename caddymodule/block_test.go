package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// blockOf returns a block whose senders are called by number and have the given paths.
func blockOf(t testing.TB, prefix string, paths ...string) (*Block, error) {
	t.Helper()
	var senders []string
	for i, path := range paths {
		senders = append(senders, fmt.Sprintf(`{"path":%q,"verify":{"handler":"verify_webhook","name":"%d","provider":"github","secret":["9f31c0a2d47be58690f1c3a5d7e9b826"]}}`, path, i+1))
	}
	return loadBlock(t, fmt.Sprintf(`{"prefix":%q,"senders":[%s],"routes":[{"handle":[{"handler":"static_response","status_code":204}]}]}`, prefix, strings.Join(senders, ",")))
}

func loadBlock(t testing.TB, config string) (*Block, error) {
	t.Helper()
	base, err := caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}, Logging: silent()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(base)
	t.Cleanup(cancel)
	module, err := ctx.LoadModuleByID("http.handlers.verify_webhooks", json.RawMessage(config))
	if err != nil {
		return nil, err
	}
	return module.(*Block), nil
}

// arrivedAt says where a request ends: "sender 1", "status 404", "next".
func arrivedAt(h caddyhttp.MiddlewareHandler, path string) string {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil) // no sender takes a GET
	r.URL = &url.URL{Path: path}
	r.RequestURI = r.URL.RequestURI()
	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, w, nil)
	passed := false
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		passed = true
		return nil
	}))
	if name, ok := repl.GetString("http.verify_webhook.name"); ok && name != "" {
		return "sender " + name
	}
	var failure caddyhttp.HandlerError
	switch {
	case passed:
		return "next"
	case errors.As(err, &failure):
		return fmt.Sprint("status ", failure.StatusCode)
	}
	return fmt.Sprint("status ", w.Code)
}

// runnable returns AsRoutes of a block as Caddy would run them, which only compiles
// routes that it has provisioned.
func runnable(t testing.TB, b *Block) *caddyhttp.Subroute {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	outer := &caddyhttp.Subroute{Routes: b.AsRoutes()}
	inner := outer.Routes[0].Handlers[0].(*caddyhttp.Subroute)
	for _, s := range []*caddyhttp.Subroute{inner, outer} {
		if err := s.Provision(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return outer
}

var blockPaths = []string{"/hooks/github", "/hooks/acme/special", "/hooks/acme/*", "/hooks/Äcme/deep/*", "/hooks/acme", "/hooks/slash/", "/hooks/acme/eu/north"}

// TestBlockGivesARequestToTheSenderOfItsPath and to no other, whatever follows.
func TestBlockGivesARequestToTheSenderOfItsPath(t *testing.T) {
	b, err := blockOf(t, "/hooks/*", blockPaths...)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/hooks/github":                               "sender 1",
		"/HOOKS/GitHub":                               "sender 1",
		"/hooks/github/":                              "status 404",
		"/hooks/github.json":                          "status 404",
		"/hooks/git":                                  "status 404",
		"/hooks/acme/special":                         "sender 2",
		"/hooks/acme/special/":                        "status 404", // an app may read it as sender 2's
		"/hooks/acme/SPECIAL.json":                    "status 404",
		"/hooks/acme/\u017fpecial":                    "status 404", // ſ, an s in another case
		"/hooks/acme/special%":                        "status 404",
		"/hooks/acme/index.php/special":               "status 404", // behind a script in the folder
		"/hooks/acme/example.pl/special":              "status 404",
		"/hooks/acme/app.cgi/hooks/acme/special":      "status 404",
		"/hooks/acme/app.cgi/special.json/x":          "status 404",
		"/hooks/acme/a.php/b.php/special":             "status 404",
		"/hooks/acme/index.php/hooks/acme/":           "status 404", // sender 5's
		"/hooks/acme/index.php/hooks/acme/x":          "status 404", // another customer's
		"/hooks/acme/index.php/hooks/github":          "status 404", // sender 1's
		"/hooks/acme/x/app.cgi/hooks/GitHub.json":     "status 404",
		"/hooks/acme/index.php./hooks/äcme/deep/x":    "status 404", // sender 4's
		"/hooks/äcme/deep/a.pl/b.pl/hooks/acme/eu":    "status 404", // sender 3's
		"/hooks/acme/index.php/hooks/git":             "sender 3",
		"/hooks/acme/hooks/github":                    "sender 3",
		"/hooks/acme/index/hooks/github":              "sender 3",
		"/hooks/acme/github.pl":                       "sender 3",
		"/hooks/acme/index.php/":                      "sender 3", // as /hooks/acme/index.php is
		"/hooks/acme/example.pl/":                     "sender 3", // a customer's domain
		"/hooks/acme/example.pl/x/":                   "sender 3",
		"/hooks/acme/example.pl/orders/special":       "sender 3",
		"/hooks/acme/eu./north":                       "status 404", // Windows
		"/hooks/acme/eu /north":                       "status 404",
		"/hooks/acme/eu.php/north":                    "status 404", // MultiViews
		"/hooks/acme/EU:$i30:$INDEX_ALLOCATION/north": "status 404",
		"/hooks/acme/eu/index.php/north":              "status 404",
		"/hooks/acme/eu.php/eu/north":                 "status 404",
		"/hooks/acme/callback.php":                    "sender 3", // no script in front of another's path
		"/hooks/acme/x.php/y":                         "sender 3",
		"/hooks/acme/eu.json/north":                   "sender 3",
		"/hooks/acme/x/special":                       "sender 3",
		"/hooks/acme/x.json/special":                  "sender 3",
		"/hooks/acme/eu":                              "sender 3",
		"/hooks/acme/eu/north":                        "sender 7",
		"/hooks/acme/specials":                        "sender 3",
		"/hooks/acme/x":                               "sender 3",
		"/hooks/ACME/x/y":                             "sender 3",
		"/hooks/acme":                                 "sender 5",
		"/hooks/acme/":                                "status 404", // an app may read it as sender 5's
		"/hooks/acmes/x":                              "status 404",
		"/hooks/äcme/deep/x":                          "sender 4",
		"/hooks/Äcme/deep/":                           "sender 4",
		"/hooks/Äcme/deep":                            "status 404",
		"/hooks/slash/":                               "sender 6",
		"/hooks/slash":                                "status 404",
		"/hooks":                                      "status 404",
		"/hooks/":                                     "status 404",
		"/hooks/acme/../github":                       "status 400",
		"/hooks//github":                              "status 400",
		"/hooksgithub":                                "next",
		"/":                                           "next",
		"/shop/hooks/github":                          "next",
		"/hooks/" + manySegments(50):                  "status 404",
		"/hooks/acme/" + manySegments(50):             "sender 3",
		"/hooks/acme/" + manySegments(70):             "status 404", // too long to compare with others' paths
	} {
		if got := arrivedAt(b, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func manySegments(n int) string { return strings.Repeat("a/", n) }

// TestBlockOfTheWholeSite: a sender may have all paths that no other has.
func TestBlockOfTheWholeSite(t *testing.T) {
	b, err := blockOf(t, "*", "/*", "/github")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/": "sender 1", "/x": "sender 1", "/github": "sender 2", "/github/": "status 404", "/x/github": "sender 1", "/x/index.php/github": "status 404"} {
		if got := arrivedAt(b, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestCustomersNamedLikeScripts: behind a folder that may be a customer's domain, one word
// alone is the customer's, too.
func TestCustomersNamedLikeScripts(t *testing.T) {
	b, err := blockOf(t, "*", "/connect/*", "/stripe", "/eu/github")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/connect/acme.pl/stripe": "sender 1", "/connect/acme.pl/orders": "sender 1", "/connect/acme.pl/eu/github": "status 404"} {
		if got := arrivedAt(b, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// FuzzBlockIsItsRoutes: placement reads AsRoutes. What it says of them holds for the
// block, if every request below the prefix that the block does not refuse ends where
// Caddy's own matchers would take it.
func FuzzBlockIsItsRoutes(f *testing.F) {
	b, err := blockOf(f, "/hooks/*", blockPaths...)
	if err != nil {
		f.Fatal(err)
	}
	routes := runnable(f, b)
	for _, path := range blockPaths {
		for _, end := range []string{"", "/", "x", ".json", "/x", "\u017f", "/../github"} {
			f.Add(path + end)
			f.Add(strings.ToUpper(path) + end)
		}
	}
	f.Add("/hooks/acme/\u017fpecial/")
	f.Add("/hooks/\u0130/\u212aelvin")
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") {
			return
		}
		got := arrivedAt(b, path)
		if want := arrivedAt(routes, path); got != want && got != "status 400" {
			t.Errorf("%q: %s, by its routes %s", path, got, want)
		}
	})
}

// TestBlockRefusesPathsThatTwoSendersCouldHave also in JSON.
func TestBlockRefusesPathsThatTwoSendersCouldHave(t *testing.T) {
	for want, paths := range map[string][]string{
		"sender : path: it is not below the prefix":                                         {""},
		"sender /shop: path: it is not below the prefix":                                    {"/shop"},
		"sender /hooks/{x}: path: write the path as it is called":                           {"/hooks/{x}"},
		"sender /hooks/a/../b: path: the path has a dot":                                    {"/hooks/a/../b"},
		"sender /hooks/GITHUB/: another one has the path /hooks/github (case and a slash":   {"/hooks/github", "/hooks/GITHUB/"},
		"sender /hooks/acme/x/*: its paths and /hooks/acme/* overlap":                       {"/hooks/acme/*", "/hooks/acme/x/*"},
		"sender /hooks/acme/*: its paths and /hooks/acme/x/* overlap":                       {"/hooks/acme/x/*", "/hooks/acme/*"},
		"sender /hooks/ACME/*: another one has the path /hooks/acme/* (case and a slash at": {"/hooks/acme/*", "/hooks/ACME/*"},
	} {
		if _, err := blockOf(t, "/hooks/*", paths...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", paths, err, want)
		}
	}
}

// TestBlockRefusesWhatIsNoBlock: what in JSON can be written and means nothing.
func TestBlockRefusesWhatIsNoBlock(t *testing.T) {
	const respond, github = `{"handle":[{"handler":"static_response"}]}`, `"handler":"verify_webhook","provider":"github","secret":["9f31c0a2d47be58690f1c3a5d7e9b826"]`
	for config, want := range map[string]string{
		`{}`:                  "verify_webhooks: the prefix ends in",
		`{"prefix":"/hooks"}`: "verify_webhooks: the prefix ends in",
		`{"prefix":"/hooks/*","routes":[` + respond + `]}`:                                                                        "there are routes and no sender",
		`{"prefix":"/hooks/*","senders":[{"path":"/hooks/a"}],"routes":[` + respond + `]}`:                                        "sender /hooks/a: verify takes a handler verify_webhook",
		`{"prefix":"/hooks/*","senders":[{"path":"/hooks/a","verify":{"handler":"static_response"}}],"routes":[` + respond + `]}`: "sender /hooks/a: verify takes a handler verify_webhook",
		`{"prefix":"/hooks/*","senders":[{"path":"/hooks/a","verify":{` + github + `,"secrets":[]}}],"routes":[` + respond + `]}`: `unknown field "secrets"`,
		`{"prefix":"/hooks/*","senders":[{"path":"/hooks/a","verify":{` + github + `}}]}`:                                         "there is no route",
	} {
		if _, err := loadBlock(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}

// BenchmarkBlock finds a sender among others. Its cost does not depend on their number.
func BenchmarkBlock(b *testing.B) {
	for _, senders := range []int{1, 40, 400} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			var paths []string
			for i := range senders {
				paths = append(paths, fmt.Sprintf("/hooks/sender-%d", i))
			}
			block, err := blockOf(b, "/hooks/*", paths...)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if block.senderOf(paths[senders/2]) == nil {
					b.Fatal("no sender")
				}
			}
		})
	}
}
