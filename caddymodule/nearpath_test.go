package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestPathsOfOtherBlocksBehindAScript: whoever has the key of a sender's /* reaches no path
// of another block of the app behind the name of a script, in whichever order they are
// written. Of another app's blocks, and of names that are a customer's, nothing is refused.
func TestPathsOfOtherBlocksBehindAScript(t *testing.T) {
	block := func(prefix, path, app string) string {
		return "verify_webhooks " + prefix + " {\nsender github a-long-secret-of-a-test {\nname " + strings.NewReplacer("/", "", "*", "").Replace(path) + "\npath " + path + "\n}\nreverse_proxy " + app + "\n}\n"
	}
	site := func(host, inside string) string { return "http://" + host + ":1234 {\n" + inside + "respond 403\n}\n" }
	var (
		pay     = block("/hooks/*", "/hooks/pay/*", "localhost:3000")
		billing = block("/in/*", "/in/billing", "127.0.0.1:3000")
		apart   = block("/in/*", "/in/billing", "localhost:4000")
		tenants = block("/connect/*", "/connect/*", "localhost:3000")
	)
	const (
		guard   = "verify_webhooks /in/*\n"
		deep    = "verify_webhooks /in/deep/*\n"
		login   = "forward_auth localhost:9000 {\nuri /ask\n}\n"
		taken   = "/hooks/pay/index.php/in/billing"
		beside  = "/hooks/pay/index.php/in/other"
		genuine = http.StatusUnauthorized // a sender's, which the request does not sign
	)
	for name, c := range map[string]struct {
		sites  string
		status map[string]int
	}{
		"one block":              {site("a.test", pay), map[string]int{taken: genuine, beside: genuine}},
		"above the other":        {site("a.test", pay+billing), map[string]int{taken: 404, "/hooks/pay/a.pl/x/b.pl/IN/billing.json/y": 404, beside: genuine, "/hooks/pay/in/billing": genuine, "/hooks/pay/index.php/billing": genuine, "/in/billing": genuine}},
		"below the other":        {site("a.test", billing+pay), map[string]int{taken: 404, "/hooks/pay/x": genuine}},
		"above a guard":          {site("a.test", pay+guard), map[string]int{taken: 404, beside: 404, "/hooks/pay/index.php/in": genuine, "/hooks/pay/index.php/in/": genuine, "/hooks/pay/in/x": genuine}},
		"below a guard":          {site("a.test", guard+pay), map[string]int{taken: 404, "/hooks/pay/x": genuine}},
		"above a deep guard":     {site("a.test", pay+deep), map[string]int{taken: genuine, "/hooks/pay/index.php/in/deep": 404, "/hooks/pay/index.php/in/deep/x": 404}},
		"another site, one app":  {site("a.test", pay) + site("b.test", billing), map[string]int{taken: 404, beside: genuine}},
		"another site's guard":   {site("a.test", pay) + site("b.test", guard), map[string]int{taken: genuine}},
		"another site's app":     {site("a.test", pay) + site("b.test", apart), map[string]int{taken: genuine, beside: genuine}},
		"of one login":           {site("a.test", strings.Replace(pay, "reverse", login+"reverse", 1)) + site("b.test", strings.Replace(apart, "reverse", login+"reverse", 1)), map[string]int{taken: genuine}},
		"the same in two sites":  {site("a.test", pay) + site("b.test", pay), map[string]int{taken: genuine, "/hooks/pay/index.php/hooks/pay/x": 404}},
		"in a named route":       {"&(hooks) {\nroute {\n" + pay + billing + "}\n}\n" + site("a.test", "invoke hooks\n"), map[string]int{taken: 404, beside: genuine}},
		"customers, other block": {site("a.test", tenants+block("/stripe/*", "/stripe/*", "localhost:3000")), map[string]int{"/connect/acme.pl/stripe": genuine, "/connect/acme.pl/stripe/x": genuine, "/connect/acme.pl/orders": genuine}},
		"customers, a guard":     {site("a.test", tenants+"verify_webhooks /stripe/*\n"), map[string]int{"/connect/acme.pl/stripe": genuine, "/connect/acme.pl/orders/1": genuine}},
		"customers, whole site":  {site("a.test", strings.Replace(tenants, "/connect/* {", "* {", 1)) + site("b.test", block("*", "/stripe", "localhost:3000")), map[string]int{"/connect/acme.pl/stripe": genuine, "/connect/acme.pl/stripe/x": genuine}},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := adapt("Caddyfile", "{\nadmin off\n}\n"+c.sites)
			if err != nil {
				t.Fatal(err)
			}
			server := serverOf(t, config)
			for path, want := range c.status {
				w := httptest.NewRecorder()
				r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
				r.Host = "a.test"
				server.ServeHTTP(w, r)
				if w.Code != want {
					t.Errorf("%s: %d, want %d", path, w.Code, want)
				}
			}
		})
	}
}
