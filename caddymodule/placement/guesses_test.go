package placement_test

import (
	"regexp"
	"strings"
	"testing"
)

// selections are matchers @m of requests to /hooks/github, or to it and a few others, for
// which a path has to be guessed, each with the path that is.
var selections = map[string]string{
	"@m path_regexp ^/hooks/github$":                                       "/hooks/github",
	"@m path_regexp ^/hooks/(?i:github)$":                                  "/hooks/github",
	"@m path_regexp (^|/)github$":                                          "/github",
	"@m path_regexp hooks ^/hooks/(github|gitlab)$":                        "/hooks/github",
	"@m path_regexp ^/hooks/git[a-z]+$":                                    "/hooks/gitx",
	"@m vars_regexp {path} ^/hooks/github$":                                "/hooks/github",
	"@m expression path('/hooks/github')":                                  "/hooks/github",
	"@m expression `{path} == '/hooks/github'`":                            "/hooks/github",
	"@m expression `path('/hooks/*') && !path('/hooks/admin')`":            "/hooks/x",
	"@m expression `path('/hooks/admin', '*/github')`":                     "/hooks/admin",
	"@m expression path_regexp('^/hooks/git(hub|lab)$')":                   "/hooks/github",
	"@m expression `path_regexp('^/hooks/') && path_regexp('^/hooks/x$')`": "/hooks/x",
	"@m path */github":                                                     "/x/github",
	"@m path *github":                                                      "/xgithub",
	"@m path *.json":                                                       "/x.json",
	"@m path */hooks/*":                                                    "/x/hooks/x",
	"@m path /hooks/*/github":                                              "/hooks/x/github",
	"@m path /hooks/[gx]ithub":                                             "/hooks/github",
	"@m path /hooks/git?ub":                                                "/hooks/gitxub",
	"@m path /hooks%20/github":                                             "/hooks /github",
	"@m {\npath /hooks/*\nnot path /hooks/x\npath_regexp github$\n}":       "/hooks/github",
}

// TestWhatAnswersBeforeASelection: the handler is never reached. Where a part of the path
// may be any text, another text may reach it, as far as the start can tell.
func TestWhatAnswersBeforeASelection(t *testing.T) {
	partial := regexp.MustCompile(`^@m [^{].*(\*|\[|git\?ub)`)
	for selection, path := range selections {
		t.Run(selection, func(t *testing.T) {
			site := "hooks.example.com {\n" + selection + "\nroute {\nreverse_proxy app:3000\nverify_webhook @m github a {\nname github\n}\n}\n}"
			if partial.MatchString(selection) {
				isWarnedOf(t, site)
			} else {
				isWarnedOf(t, site, shadowed+": reverse_proxy app:3000 answers first … request="+path)
			}
		})
	}
}

// TestNearMissesOfASelection reach the app through another route of its folder.
func TestNearMissesOfASelection(t *testing.T) {
	const site = "hooks.example.com {\n@m path_regexp ^/hooks/github$\nhandle @m {\nverify_webhook github a {\nname github\n}\nreverse_proxy app:3000\n}\nhandle /hooks/* {\nreverse_proxy APP\n}\nrespond 404\n}"
	for selection, wanted := range map[string]string{
		"@m path_regexp ^/hooks/github$":                         "/hooks/github/",
		"@m path_regexp ^/hooks/(github|gitlab)$":                "/hooks/github/",
		"@m expression path('/hooks/github')":                    "/hooks/github/",
		"@m path /hooks/*/github":                                "/hooks/x/github/",
		"@m path /hooks/[gx]ithub":                               "/hooks/github/",
		"@m {\npath /hooks/*\npath_regexp ^/hooks/git[a-z]+$\n}": "/hooks/gitx/",
	} {
		t.Run(selection, func(t *testing.T) {
			site := strings.Replace(site, "@m path_regexp ^/hooks/github$", selection, 1)
			isWarnedOf(t, strings.Replace(site, "APP", "app:3000", 1), openPath+"reverse_proxy app:3000 without passing verify_webhook … verify_webhooks /hooks/*; … request=hooks.example.com"+wanted)
			isWarnedOf(t, strings.Replace(site, "APP", "other:3000", 1))
		})
	}
}

// TestConstantRewritesBehindASelection give the app the path of verified deliveries.
func TestConstantRewritesBehindASelection(t *testing.T) {
	const how = openPath + "reverse_proxy app:3000 with the path of verified deliveries, without passing verify_webhook: handle_path or a rewrite makes it the same; … path_there=/hooks/stripe"
	for _, selection := range []string{
		"@old path_regexp ^/old/stripe$", "@old path_regexp ^/old/[a-z]+$", "@old path */old", "@old path /old/*/stripe", "@old path /old/[st]ripe",
		"@old expression path('/old/*')", "@old expression path_regexp('^/old')", "@old path *.json",
	} {
		t.Run(selection, func(t *testing.T) {
			for _, route := range []string{
				"route @old {\nrewrite * /hooks/stripe\nreverse_proxy app:3000\n}\nrespond 404",
				"handle @old {\nreverse_proxy app:3000 {\nrewrite /hooks/stripe\n}\n}\nrespond 404",
			} {
				isWarnedOf(t, hooks(selection+"\n"+route), how)
				isWarnedOf(t, hooks(selection+"\n"+strings.ReplaceAll(route, "app:3000", "other:3000")))
			}
		})
	}
}

// TestSelectionsThatNeedNames are told apart by a header alone.
func TestSelectionsThatNeedNames(t *testing.T) {
	two := func(a, b string) string {
		return "hooks.example.com {\nhandle /hooks/* {\n@a {\n" + a + "\nheader X-Tenant a\n}\n@b {\n" + b + "\nheader X-Tenant b\n}\n" +
			"verify_webhook @a github a\nverify_webhook @b github b\n" + guardLines + "reverse_proxy app:3000\n}\nrespond 404\n}"
	}
	for name, c := range map[string]struct {
		caddyfile string
		refused   bool
	}{
		"one path_regexp":           {two("path_regexp ^/hooks/github$", "path_regexp ^/hooks/github$"), true},
		"one is part of the other":  {two("path_regexp ^/hooks/[a-z]+$", "path_regexp ^/hooks/github$"), true},
		"a path and an expression":  {two("path /hooks/github", "expression `path('/hooks/*')`"), true},
		"stars in the middle":       {two("path /hooks/*/github", "path */github"), true},
		"paths that never meet":     {two("path_regexp ^/hooks/github$", "path_regexp ^/hooks/gitlab$"), false},
		"patterns that never meet":  {two("path /hooks/*/github", "path /hooks/*/gitlab"), false},
		"an expression of a header": {two("expression `{header.X-A} == 'a'`", "expression `{header.X-A} == 'b'`"), false}, // unknown
	} {
		t.Run(name, func(t *testing.T) {
			_, err := survey(t, c.caddyfile)
			if refused := err != nil; refused != c.refused || refused && !strings.Contains(err.Error(), "Give each a name") {
				t.Errorf("got %v, want refused %t", err, c.refused)
			}
		})
	}
}

// TestSamplesOfManyPathsProveNoShadow: another path of the selection reaches the handler.
func TestSamplesOfManyPathsProveNoShadow(t *testing.T) {
	const site = "hooks.example.com {\n@bad not path /acme/* /bravo/*\nreverse_proxy @bad www:3000\n%m\nverify_webhook @m github a {\nname github\n}\n" + guardLines + "reverse_proxy app:3000\n}"
	for _, selection := range []string{"@m path_regexp ^/([a-z]+)/hooks/github$", "@m path /*/hooks/github"} {
		route := strings.Replace(strings.Replace(site, "%m", selection, 1), "{\n@bad", "{\nroute {\n@bad", 1) + "\n}"
		if isWarned(t, route, shadowed) {
			t.Errorf("%s: warned of a proxy that does not answer /acme/hooks/github", selection)
		}
	}
}

// TestSelectionsByHeadersHaveNoPath, whatever looks like one in them: requests under any
// other path reach the handler.
func TestSelectionsByHeadersHaveNoPath(t *testing.T) {
	const site = "hooks.example.com {\n@m expression `{header.X-A} == '/hooks/a'`\nhandle PATH {\nreverse_proxy other:3000\n}\nhandle @m {\nverify_webhook github a {\nname github\n}\nreverse_proxy app:3000\n}\nrespond 404\n}"
	for _, path := range []string{"/hooks/*", "/x*"} {
		isWarnedOf(t, strings.Replace(site, "PATH", path, 1))
	}
}

// TestSelectionsThatAreFine start without a warning.
func TestSelectionsThatAreFine(t *testing.T) {
	for selection := range selections {
		t.Run(selection, func(t *testing.T) {
			isWarnedOf(t, "hooks.example.com {\n"+selection+"\nverify_webhook @m github a {\nname github\n}\n"+guardLines+"reverse_proxy app:3000\n}")
			isWarnedOf(t, "hooks.example.com {\n"+selection+"\nhandle @m {\nverify_webhook github a {\nname github\n}\nreverse_proxy app:3000\n}\nhandle {\nreverse_proxy other:3000\n}\n}")
			isWarnedOf(t, "hooks.example.com {\n"+selection+"\nhandle /api/* {\nreverse_proxy app:3000\n}\nhandle @m {\nverify_webhook github a {\nname github\n}\nreverse_proxy app:3000\n}\nrespond 404\n}")
			isWarnedOf(t, "hooks.example.com {\nhandle_path /in/* {\n"+selection+"\nhandle @m {\nverify_webhook github a {\nname github\n}\nreverse_proxy app:3000\n}\n}\nrespond 404\n}")
		})
	}
}
