package integration

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// blockSite is the easiest site to attack: the app behind the block also gets
// everything outside it.
const blockSite = `
	rewrite /moved /hooks/github
	redir /elsewhere /hooks/github
	route /routed/* {
		uri strip_prefix /routed
		reverse_proxy APP
	}
	handle_path /stripped/* {
		reverse_proxy APP
	}
	handle {
		reverse_proxy APP
	}
	verify_webhooks /hooks/* {
		handle /hooks/github {
			reverse_proxy APP
		}
		handle {
			reverse_proxy APP
		}
		sender github {env.GITHUB_KEY}
		sender stripe {env.STRIPE_KEY}
		sender {
			name      generic
			path      /hooks/generic/*
			secret    {env.GENERIC_KEY}
			signature header X-Webhook-Signature
		}
	}
	handle_errors {
		respond "an error route saw {err.status_code}" {err.status_code}
	}`

// forgedMarks are headers of an attacker who knows the gateway's marks.
func forgedMarks() http.Header {
	return http.Header{"Webhook-Verified": {"github"}, "Webhook-Delivery": {strings.Repeat("f", 32)}, "Webhook-Tenant": {"acme"}, "Webhook-Stored": {"true"}}
}

// wantUnmarked: no arrival has a mark in any spelling.
func wantUnmarked(t *testing.T, what string, got []arrival) {
	t.Helper()
	for _, a := range got {
		for name := range a.Header {
			plain := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
			if slices.Contains([]string{"webhook-verified", "webhook-delivery", "webhook-tenant", "webhook-attempt", "webhook-received", "webhook-stored", "webhook-duplicate"}, plain) {
				t.Errorf("%s: the app got %s: %q", what, name, a.Header[name])
			}
		}
	}
}

// sendTarget sends a request with exactly this target. HTTP/2 cannot express all of
// them.
func (g *gateway) sendTarget(t *testing.T, protocol, method, target string, header http.Header, body string) (answer, []arrival, bool) {
	t.Helper()
	id := newCase()
	target += "?case=" + id
	if protocol == "HTTP/1.1" {
		s := g.dial(t)
		s.head(method, target, append(lines(header), length(len(body)))...)
		s.write(body)
		if method == http.MethodHead {
			resp, err := http.ReadResponse(s.in, &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			return answer{resp.StatusCode, resp.Header, ""}, g.app.got(id), true
		}
		return s.answer(), g.app.got(id), true
	}
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return answer{}, nil, false
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.URL = &url.URL{Scheme: "http", Host: g.address, Opaque: target}
	maps.Copy(r.Header, header)
	return g.do(t, g.h2, r), g.app.got(id), true
}

// TestNothingWalksPastTheBlock: no spelling of a path below the prefix reaches the
// app, signed or not. Other paths reach it, without marks.
func TestNothingWalksPastTheBlock(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: blockSite})
	for status, targets := range map[int][]string{
		http.StatusUnauthorized: {"/hooks/github", "/HOOKS/GitHub", "/hooks/%67ithub", "/hook%73/github", "/hooks/generic/x", "/hooks/generic/", "http://gateway/hooks/github"},
		http.StatusNotFound: {
			"/hooks", "/hooks/", "/HOOKS", "/hooks/github/", "/hooks/github.json", "/hooks/github.", "/hooks/github%20", "/hooks/github%23", "/hooks/github%3fx",
			"/hooks/githubs", "/hooks/.github", "/hooks/zzz", "/hooks/generic", "/hooks/%c3%a9", "http://gateway/hooks/zzz",
			"/index.php/hooks/github", "/app.cgi/hooks/github", "/default.aspx/hooks/github", "/hooks.php/github", "/hooks./github", "/hooks%20/github",
			"/hooks:$i30:$INDEX_ALLOCATION/github", "/hooks/github::$DATA", "/hooks/github.php", "/hooks/github.php/x",
		},
		http.StatusBadRequest: {
			"/hooks//github", "//hooks/github", "/hooks/./github", "/hooks/x/../github", "/hooks%2fgithub", "/hooks%2Fgithub", "/hooks/github%2f", "/hooks/github;x=1",
			"/hooks/github%3bx", "/hooks;x/github", "/hooks/github%00", "/hooks\\github", "/hooks%5cgithub", "/hooks%5Cgithub", "/hooks/..%2fhooks/github",
			"/hooks/%2e%2e/hooks/github", "/hooks/..", "/hooks/../", "/hooks/../admin", "/hooks/%2e%2e/admin", "/admin/../hooks/zzz", "/./hooks/x", "/hooks/github/..;/x",
			"/hooks/generic/../../x", "/hooks/generic/..%2f..%2fx", "/hooks/generic/a%2fb", "/hooks/generic//", "/x/..;/hooks/github", "/;x/hooks/github",
			"http://gateway/hooks/x/../github", "/hooks/billing/../github", "/hooks/billing/%2e%2e/github",
			"/./hooks//../github", "/x/../hooks//%2e%2e/github", "/a%2fb/../hooks/github",
			"/(S(x))/hooks/github", "/hooks/(S(x))/github", "/ho/(S(x))oks/github", "/hooks/generic/(A(x)F(y))/z", "/%2568ooks/github", "/hooks/%2567ithub",
			"/hooks/%252e%252e/x", "/x/%252e%252e/hooks/github", "/hooks/generic/%252e%252e/github", "/hooks/..%20/x",
			"x:http://gateway/hooks/github", "http:hooks/github", "x:/../hooks/github", "x:../hooks/github", `x:\hooks/github`, "x:other",
		},
		http.StatusOK: {"/", "/other", "/hooksters", "/hooks.json", "/files/a;b//c", "/hooks.php", "/hooks:batch", "/repos/next.js/hooks/1", "/v1.2/hooks/1", "/files/a%20(1).php", "/100%2525/hooks", "/go/https%253A%252F%252Fx%252Fhooks", "/moved", "/routed/hooks/github", "/stripped/hooks/github"},
	} {
		for _, target := range targets {
			signed := github.message(t)
			for what, header := range map[string]http.Header{"forged": forgedMarks(), "signed": signed.header} {
				if what == "signed" && status == http.StatusUnauthorized {
					continue
				}
				for _, protocol := range protocols {
					a, got, ok := g.sendTarget(t, protocol, http.MethodPost, target, header, string(signed.body))
					if !ok {
						continue
					}
					where := protocol + " " + target + ", " + what
					if a.status != status {
						t.Errorf("%s: answered %d, want %d", where, a.status, status)
					}
					if arrived := len(got) > 0; arrived != (status == http.StatusOK) {
						t.Errorf("%s: reached the app %d times", where, len(got))
					}
					wantUnmarked(t, where, got)
					if status != http.StatusOK && !strings.HasPrefix(a.body, "an error route saw ") {
						t.Errorf("%s: handle_errors did not see it: %q", where, a.body)
					}
				}
			}
		}
	}
}

// TestBlockTakesItsSenders: verified, marked, and through the block's own routes.
func TestBlockTakesItsSenders(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: blockSite})
	for _, protocol := range protocols {
		for _, s := range []sender{github, stripe, {name: "generic", path: "/hooks/generic/a/b", key: genericKey, body: generic.body, sign: generic.sign}} {
			m := s.message(t)
			maps.Copy(m.header, forgedMarks())
			a, got := g.send(t, protocol, m)
			wantTaken(t, s.name, a, got)
			if len(got) == 1 && (got[0].Header.Get("Webhook-Verified") != s.name || len(got[0].Header["Webhook-Verified"]) != 1 || got[0].Header.Get("Webhook-Tenant") != "") {
				t.Errorf("%s: marked %v", s.name, got[0].Header)
			}
		}
	}
}

// TestOneSpellingOfAnExactPath reaches the app, at each attempt, so that none can be sent
// where a case-sensitive app answers 200 without acting.
func TestOneSpellingOfAnExactPath(t *testing.T) {
	t.Parallel()
	g := startInbox(t, setup{site: "verify_webhooks /hooks/* {\nsender github {env.GITHUB_KEY} {\n" + inboxOption("inbox") + "\n}\nreverse_proxy APP\n}"})
	for _, protocol := range protocols {
		for _, path := range []string{"/HOOKS/GITHUB", "/hooks/%67ithub", "/hooks/github"} {
			m, id := github.message(t), newCase()
			m.path = path
			g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) {
				if len(g.app.got(id)) == 1 {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			})
			if a := g.do(t, g.client(protocol), g.request(t, id, m)); a.status != http.StatusOK || a.header.Get("Webhook-Stored") != "true" {
				t.Errorf("%s %s: answered %d %v", protocol, path, a.status, a.header)
			}
			g.settled(t)
			got := g.app.got(id)
			if len(got) != 2 {
				t.Errorf("%s %s: %d attempts", protocol, path, len(got))
			}
			for _, a := range got {
				if a.Target != "/hooks/github?case="+id {
					t.Errorf("%s %s: the app got %s", protocol, path, a.Target)
				}
			}
		}
	}
}

// TestNoHeaderLeadsBelowTheBlock: an app that routes by a header instead of the path
// cannot be led to a sender's path by a request outside the prefix.
func TestNoHeaderLeadsBelowTheBlock(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: blockSite})
	for _, protocol := range protocols {
		for name, value := range map[string]string{"X-Original-Url": "/hooks/github", "X-Rewrite-Url": "/hooks/github", "X-Script-Name": "/shop", "X-Forwarded-Prefix": "/hooks"} {
			a, got, _ := g.sendTarget(t, protocol, http.MethodPost, "/shop/hooks/github", http.Header{name: {value}, "X-Forwarded-Uri": {"/cart"}}, "{}")
			if a.status != http.StatusOK || len(got) != 1 {
				t.Fatalf("%s: answered %d", protocol, a.status)
			}
			if h := got[0].Header; h[name] != nil || h.Get("X-Forwarded-Uri") != "/cart" {
				t.Errorf("%s: the app gets %s: %v", protocol, name, h)
			}
		}
	}
}

// TestBlockMethods: only the path selects the sender, which determines the methods.
// Other paths below the prefix do not exist, for any method.
func TestBlockMethods(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: blockSite})
	for _, protocol := range protocols {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "OPTIONS", "TRACE", "FOO"} {
			for target, want := range map[string]int{"/hooks/github": http.StatusMethodNotAllowed, "/hooks/zzz": http.StatusNotFound, "/hooks/x/../github": http.StatusBadRequest} {
				header := forgedMarks()
				header.Set("X-HTTP-Method-Override", "POST")
				a, got, _ := g.sendTarget(t, protocol, method, target, header, "")
				if a.status != want || len(got) != 0 {
					t.Errorf("%s %s %s: answered %d, app called %d times; want %d and never", protocol, method, target, a.status, len(got), want)
				}
				if want == http.StatusMethodNotAllowed && a.header.Get("Allow") != "POST" {
					t.Errorf("%s %s %s: Allow: %q", protocol, method, target, a.header.Get("Allow"))
				}
			}
		}
	}
}

// TestNearMissesOfAnExactPath: a sender of many paths cannot reach the app's route of
// another sender by a path that the app may read as that one.
func TestNearMissesOfAnExactPath(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: `
	verify_webhooks * {
		sender stripe {env.STRIPE_KEY} {
			path /pay/stripe
		}
		sender github {env.STRIPE_KEY} {
			path /pay
		}
		sender {
			name      generic
			path      /pay/*
			secret    {env.GENERIC_KEY}
			signature header X-Webhook-Signature
		}
		reverse_proxy APP
	}`})
	m := sender{name: "generic", path: "/pay/x", key: genericKey, body: generic.body, sign: generic.sign}.message(t)
	for status, targets := range map[int][]string{
		http.StatusUnauthorized: {"/pay", "/PAY", "/pay/stripe", "/pay/Stripe", "/pay/strip%65"},
		http.StatusNotFound: {
			"/pay/", "/pay/stripe/", "/pay/STRIPE/", "/pay/stripe.json", "/pay/stripe.", "/pay/stripe/x", "/pay/stripe%20", "/pay/stripe%3fx", "/pay/stripe%23x", "/pay/stripe::$DATA", "/pay/index.php/stripe",
			"/pay/%C5%BFtripe", // a long s
		},
		http.StatusBadRequest: {"/pay/stripe;x", "/pay//stripe", "/pay/stripe%2f", "/pay/x/../stripe", "/pay/(S(x))/stripe", "/pay/str%2569pe"},
		http.StatusOK:         {"/pay/x", "/pay/stripes", "/pay/stripe-2", "/pay/x/stripe", "/pay/x.json", "/pay/x/"},
	} {
		for _, target := range targets {
			a, got, _ := g.sendTarget(t, "HTTP/1.1", http.MethodPost, target, m.header, string(m.body))
			if a.status != status || (len(got) == 1) != (status == http.StatusOK) {
				t.Errorf("%s: answered %d and reached the app %d times, want %d", target, a.status, len(got), status)
			}
		}
	}
}

// TestBlockThatOwnsTheSite, with the app's own error page: an error route with a
// proxy passes on refused requests without marks.
func TestBlockThatOwnsTheSite(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: `
	verify_webhooks * {
		sender github {env.GITHUB_KEY}
		reverse_proxy APP
	}
	handle_errors {
		reverse_proxy APP
	}`})
	m := github.message(t)
	m.path = "/github"
	a, got := g.send(t, "HTTP/1.1", m)
	wantTaken(t, "genuine", a, got)
	for _, target := range []string{"/", "/github/", "/github", "/other", "//github", "/github;x"} {
		_, got, _ := g.sendTarget(t, "HTTP/1.1", http.MethodPost, target, forgedMarks(), "{}")
		if len(got) != 1 {
			t.Errorf("%s: the error route called the app %d times", target, len(got))
		}
		wantUnmarked(t, target, got)
	}
}

// TestForgedTrailersAreGone: a mark after the body reaches no app, on any route of
// the site, announced or not.
func TestForgedTrailersAreGone(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: blockSite})
	for _, path := range []string{"/other", "/hooks/github"} {
		m := github.message(t)
		m.path = path
		id := newCase()
		s := g.dial(t)
		s.head("POST", path+"?case="+id, append(lines(m.header), "Trailer: X-Late", "Transfer-Encoding: chunked")...)
		s.write(fmt.Sprintf("%x\r\n%s\r\n0\r\nX-Late: 1\r\nWebhook-Verified: forged\r\n\r\n", len(m.body), m.body))
		if a := s.answer(); a.status != http.StatusOK {
			t.Errorf("%s: answered %d", path, a.status)
		}
		for _, got := range g.app.got(id) {
			if len(got.Trailer) > 0 {
				t.Errorf("%s: the app got the trailer %v", path, got.Trailer)
			}
		}
	}
}
