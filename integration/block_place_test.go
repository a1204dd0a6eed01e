package integration

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// pathsToHooks are spellings of /api/hooks/github, and other paths, for a block of
// /api/hooks/* in a route for /api/*.
var pathsToHooks = []string{
	"/api/hooks/github", "/api;x/hooks/github", "/api/hooks/../../x", "/api/hooks;x/github", "/api%2fhooks/github", "/api%5chooks/github", "/api/hooks%5cgithub",
	"//api/hooks/github", "/api//hooks/github", "/x/../api/hooks/github", "/x/..;/api/hooks/github", "/api/./hooks/github", "/API/hooks/github", "/%61pi/hooks/github",
	"/api/hooks/github/", "/api/hooks", "/api", "/api/", "/api/other", "/", "/other", "/hooks/github",
}

// TestNothingWalksPastABlockInARoute: where a block does not have every request of
// its site, it starts only if nothing beside leads to its app. No forged request
// reaches the app with a mark, or below the prefix in any spelling.
func TestNothingWalksPastABlockInARoute(t *testing.T) {
	t.Parallel()
	const block = "verify_webhooks /api/hooks/* {\nsender github {env.GITHUB_KEY}\nreverse_proxy APP\n}\n"
	inAPI := strings.Replace(block, "/api/", "/", 1)
	for name, site := range map[string]string{
		"directly":                       block + "reverse_proxy APP",
		"handle":                         "handle /api/* {\n" + block + "}\nrespond 404",
		"handle, the app behind it":      "handle /api/* {\n" + block + "reverse_proxy APP\n}\nrespond 404",
		"handle_path":                    "handle_path /api/* {\n" + inAPI + "}\nrespond 404",
		"handle_path, the app behind it": "handle_path /api/* {\n" + inAPI + "reverse_proxy APP\n}\nrespond 404",
		"strip_prefix":                   "route /api/* {\nuri strip_prefix /api\n" + inAPI + "reverse_proxy APP\n}\nrespond 404",
		"route for a method":             "@post method POST\nroute @post {\n" + block + "reverse_proxy APP\n}\nrespond 404",
		"for everything":                 "handle {\nroute {\n" + block + "reverse_proxy APP\n}\n}",
		"for the host":                   "@here host 127.0.0.1 gateway\nhandle @here {\n" + block + "reverse_proxy APP\n}\nhandle {\nreverse_proxy APP\n}",
		"behind files":                   "handle /files/* {\nrespond 404\n}\nhandle {\n" + block + "reverse_proxy APP\n}",
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, setup{site: site})
			for _, target := range pathsToHooks {
				for _, protocol := range protocols {
					header := forgedMarks()
					header.Set("X-Original-Url", "/api/hooks/github")
					_, got, ok := g.sendTarget(t, protocol, http.MethodPost, target, header, "{}")
					if !ok {
						continue
					}
					wantUnmarked(t, protocol+" "+target, got)
					for _, a := range got {
						path, _, _ := strings.Cut(a.Target, "?")
						if path != "/hooks/github" && strings.Contains(path, "hooks") || name != "directly" && path == "/hooks/github" && target != path {
							t.Errorf("%s %s: the app got %s", protocol, target, a.Target)
						}
						if !slices.Contains([]string{"/", "/other"}, path) && a.Header.Get("X-Original-Url") != "" {
							t.Errorf("%s %s: the app got X-Original-Url", protocol, target)
						}
					}
				}
			}
			m := github.message(t)
			m.path = "/api/hooks/github"
			a, got := g.send(t, "HTTP/1.1", m)
			wantTaken(t, "genuine", a, got)
		})
	}
	g := start(t, setup{site: githubSite})
	for name, site := range map[string]string{
		"handle":                  "handle /api/* {\n" + block + "reverse_proxy APP\n}\nreverse_proxy APP",
		"handle_path":             "handle_path /api/* {\n" + inAPI + "}\nreverse_proxy APP",
		"route with a matcher":    "@api path /api/*\nroute @api {\n" + block + "}\nreverse_proxy APP",
		"route behind a proxy":    "route {\nreverse_proxy /other* APP\n" + block + "reverse_proxy APP\n}",
		"handle behind a handle":  "handle /other* {\nreverse_proxy APP\n}\nhandle {\n" + block + "reverse_proxy APP\n}",
		"a snippet in a handle":   "handle /api/* {\nimport hooks\n}\nreverse_proxy APP",
		"a named route of a path": "invoke /api/* hooks\nreverse_proxy APP",
	} {
		t.Run(name+" is refused", func(t *testing.T) { g.wantRefused(t, site, "(hooks) {\n"+block+"}\n&(hooks) {\n"+block+"}\n") })
	}
}

// wantRefused reports an error unless a reload is refused for the place of a block.
func (g *gateway) wantRefused(t *testing.T, site, above string) {
	t.Helper()
	if err := g.write(site); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(g.caddyfile())
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(text, []byte("\n}\n")) + len("\n}\n") // behind the global options
	text = slices.Concat(text[:i], []byte(strings.ReplaceAll(above, "APP", g.app.address)), text[i:])
	resp, err := http.Post("http://"+g.admin+"/load", "text/caddyfile", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK || !strings.Contains(string(answer), "/hooks/* does not see every request of its site") {
		t.Errorf("the reload was answered %d %s", resp.StatusCode, answer)
	}
	g.redial(t)
}
