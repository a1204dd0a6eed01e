package placement_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
)

// loadRoutes provisions a server with these routes, given as JSON.
func loadRoutes(routes string) (app *caddyhttp.App, end func(), err error) {
	return load(fmt.Appendf(nil, `{"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:8080"],"automatic_https":{"disable":true},%s}}}}}`, routes))
}

const (
	githubHook = `{"handler":"verify_webhook","provider":"github","secret":["a"]}`
	hooksGuard = `{"handler":"verify_webhooks","prefix":"/hooks/*"}`
)

// oddRoutes cannot be written in a Caddyfile.
var oddRoutes = []string{
	`"routes":[]`,
	`"routes":[{}]`,
	`"routes":[{"handle":[` + githubHook + `]}]`,
	`"routes":[{"handle":[` + githubHook + `,` + githubHook + `]}]`,
	`"routes":[{"match":[{}],"handle":[` + githubHook + `]}]`,
	`"routes":[{"match":[{},{"path":[]},{"host":[]}],"handle":[` + githubHook + `]}]`,
	`"routes":[{"match":[{"path":["","*","/*/x","//","/%2f","/{path}","/a b","\u0000"]}],"handle":[` + githubHook + `]}]`,
	`"routes":[{"match":[{"host":["","*","*.*","{env.X}","[::1]"]}],"handle":[` + githubHook + `]}]`,
	`"routes":[{"match":[{"not":[]}],"handle":[` + githubHook + `]}]`,
	`"routes":[{"match":[{"not":[{"not":[{"path":["/a"]}]}]}],"handle":[` + githubHook + `]}]`,
	`"routes":[{"match":[{"vars":{"":[""],"{http.verify_webhook.name}":[]}}],"handle":[` + githubHook + `]}]`,
	`"routes":[{"match":[{"file":{"try_files":["","=404","{path}"]}}],"handle":[` + githubHook + `]}]`,
	`"routes":[{"match":[{"file":{}}],"handle":[{"handler":"file_server"}]},{"handle":[` + githubHook + `]}]`,
	`"routes":[{"match":[{"path_regexp":{"pattern":"(a+)+$"}}],"handle":[{"handler":"rewrite","uri":"/{http.regexp.1}"},` + githubHook + `]}]`,
	`"routes":[{"handle":[{"handler":"rewrite","uri":"?"},{"handler":"rewrite","strip_path_prefix":"/"},{"handler":"rewrite","uri":"x%zz","method":"{"},` + githubHook + `]}]`,
	`"routes":[{"handle":[{"handler":"subroute"},{"handler":"subroute","routes":[{"group":"g","handle":[` + githubHook + `]},{"group":"g","terminal":true}]}]}]`,
	`"routes":[{"handle":[{"handler":"static_response","status_code":"{x}"}]},{"handle":[` + githubHook + `]}]`,
	`"routes":[{"handle":[{"handler":"static_response","status_code":103},` + githubHook + `,{"handler":"reverse_proxy"}]}]`,
	`"routes":[{"handle":[{"handler":"invoke","name":"none"}]},{"handle":[` + githubHook + `]}]`,
	`"named_routes":{"a":{"handle":[{"handler":"invoke","name":"b"},{"handler":"invoke","name":"b"}]},"b":{"handle":[{"handler":"invoke","name":"a"},` + githubHook + `,{"handler":"invoke","name":"a"}]}},"routes":[{"handle":[{"handler":"invoke","name":"a"}]}]`,
	`"errors":{"routes":[{"handle":[` + githubHook + `]}]}`,
	`"errors":{"routes":[{"handle":[` + hooksGuard + `]}]},"routes":[{"handle":[{"handler":"error"}]}]`,
	`"routes":[{"group":"g","match":[{}],"handle":[` + hooksGuard + `,` + hooksGuard + `]},{"group":"g","handle":[{"handler":"subroute","routes":[{"group":"g","terminal":true,"handle":[{"handler":"reverse_proxy"}]}]}]}]`,
	`"named_routes":{"a":{"handle":[{"handler":"invoke","name":"b"},{"handler":"invoke","name":"b"}]},"b":{"match":[{"not":[{"host":["a"]},{"path":["/x"]}]}],"handle":[{"handler":"invoke","name":"a"},` + hooksGuard + `,{"handler":"invoke","name":"a"}]}},"routes":[{"handle":[{"handler":"invoke","name":"a"}]}]`,
	`"routes":[{"handle":[{"handler":"subroute","errors":{"routes":[{"handle":[` + githubHook + `]}]}}]}]`,
}

func TestOddRoutesAreSurveyed(t *testing.T) {
	for _, routes := range oddRoutes {
		app, end, err := loadRoutes(routes)
		if err != nil {
			t.Errorf("%s: %v", routes, err)
			continue
		}
		_, _ = placement.Survey(app)
		end()
	}
}

// FuzzSurvey: any routes that Caddy accepts are surveyed, within limits and without a
// panic.
func FuzzSurvey(f *testing.F) {
	for _, routes := range oddRoutes {
		f.Add(routes)
	}
	for _, caddyfile := range safePlacements {
		f.Add(serverRoutes(f, caddyfile))
	}
	for _, c := range unsafePlacements {
		f.Add(serverRoutes(f, c.caddyfile))
	}
	for beside := range besides {
		f.Add(serverRoutes(f, hooks(beside)))
	}
	f.Fuzz(func(t *testing.T, routes string) {
		for _, far := range []string{"file.", "https://", "fs", "root", "acme", "tls", "listen", "logs", "import", "template"} {
			if strings.Contains(routes, far) { // outside of the test
				return
			}
		}
		app, end, err := loadRoutes(routes)
		if err != nil {
			return
		}
		defer end()
		if _, left, _ := placement.SurveyWithin(app); left < -placement.Budget/100 {
			t.Errorf("the budget is overdrawn by %d", -left)
		}
	})
}

// serverRoutes returns the routes of a Caddyfile's first server.
func serverRoutes(t testing.TB, caddyfile string) string {
	t.Helper()
	var config struct {
		Apps struct {
			HTTP struct {
				Servers map[string]map[string]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(adapt(t, caddyfile), &config); err != nil {
		t.Fatal(err)
	}
	text := `"routes":` + string(config.Apps.HTTP.Servers["srv0"]["routes"])
	if named := config.Apps.HTTP.Servers["srv0"]["named_routes"]; named != nil {
		text += `,"named_routes":` + string(named)
	}
	return text
}

// TestThousandsOfHandlersAreSurveyedInPart: the survey delays the start only so long.
func TestThousandsOfHandlersAreSurveyedInPart(t *testing.T) {
	var routes []string
	for i := range 1000 {
		routes = append(routes, fmt.Sprintf(`{"match":[{"path":["/hooks/%d"]}],"handle":[%s]}`, i, githubHook))
	}
	app, end, err := loadRoutes(`"routes":[` + strings.Join(append(routes, `{"handle":[{"handler":"reverse_proxy"}]}`), ",") + `]`)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	findings, left, err := placement.SurveyWithin(app)
	if err != nil || left > 0 || left < -placement.Budget/10 {
		t.Errorf("%v, %d left", err, left)
	}
	for _, f := range findings {
		if strings.HasPrefix(f.Message, deadMatcher) {
			t.Errorf("what is not surveyed is held to be wrong: %v", f)
		}
	}
}
