package placement

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
)

// prefix begins the placeholders that a Verifier sets.
const prefix = "http.verify_webhook."

// verdict is what a matcher says about an imagined request.
type verdict uint8

const (
	never   verdict = iota
	always          // it matches
	either          // the client decides, by a header, the method or its address
	unclear         // the walk cannot tell
)

func (v verdict) and(w verdict) verdict {
	if v == never || w == never {
		return never
	}
	return max(v, w)
}

func (v verdict) or(w verdict) verdict {
	if v == always || w == always {
		return always
	}
	return max(v, w)
}

func (v verdict) not() verdict {
	switch v {
	case never:
		return always
	case always:
		return never
	}
	return v
}

// An imagined request is one that nobody sent. The walk takes it through the
// routes as Caddy would, and through both branches where the client decides.
type imagined struct {
	r      *http.Request
	groups []string // those that one of their routes has matched
	passed *Handler // the handler that has verified it, nil before
	chosen bool     // since then the client has decided about a route
	unsure bool     // it came past something that the walk cannot judge
	depth  int      // of invoked routes
}

func imagine(method string, secure bool, host, path string) imagined {
	u := &url.URL{Path: path}
	from := &http.Request{Method: method, Host: host, URL: u, RequestURI: u.RequestURI()}
	if secure {
		from.TLS = new(tls.ConnectionState)
	}
	r, _ := prepareImagined(from)
	return imagined{r: r}
}

// prepareImagined gives a request the context that matchers and rewrites need.
func prepareImagined(from *http.Request) (*http.Request, *caddy.Replacer) {
	u := *from.URL
	r := &http.Request{
		Method: from.Method, Host: from.Host, URL: &u, RequestURI: from.RequestURI, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: http.NoBody, TLS: from.TLS, RemoteAddr: "192.0.2.1:1024", // TEST-NET-1, RFC 5737
	}
	repl := caddy.NewReplacer()
	return caddyhttp.PrepareRequest(r, repl, nil, new(caddyhttp.Server)), repl
}

func (m imagined) replacer() *caddy.Replacer {
	return m.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

// after returns the request as it is behind a change. The other branches keep
// theirs.
func (m imagined) after(change func(*http.Request, *caddy.Replacer)) imagined {
	before := m.replacer()
	var repl *caddy.Replacer
	m.r, repl = prepareImagined(m.r)
	repl.Map(before.Get) // what matchers have set so far
	change(m.r, repl)
	return m
}

func (m imagined) judge(sets caddyhttp.MatcherSets) verdict {
	if len(sets) == 0 {
		return always
	}
	v := never
	for _, set := range sets {
		v = v.or(m.judgeSet(set))
	}
	return v
}

func (m imagined) judgeSet(set caddyhttp.MatcherSet) verdict {
	v := always
	for _, matcher := range set {
		v = v.and(m.judgeMatcher(matcher))
	}
	return v
}

func (m imagined) judgeMatcher(matcher any) verdict {
	switch t := matcher.(type) {
	case *caddyhttp.MatchNot:
		return m.judgeNot(t)
	case *caddyhttp.VarsMatcher:
		var keys []string
		for key := range *t {
			keys = append(keys, key)
		}
		return m.judgeVars(keys, t)
	case *caddyhttp.MatchVarsRE:
		var keys []string
		for key := range *t {
			keys = append(keys, key)
		}
		return m.judgeVars(keys, t)
	case *fileserver.MatchFile:
		return m.judgeFile(t)
	case *caddyhttp.MatchProtocol:
		if *t != "http" && *t != "https" {
			return either
		}
		return m.ask(t)
	}
	switch kindOf(matcher) {
	case "http.matchers.host", "http.matchers.path", "http.matchers.path_regexp", "http.matchers.verify_webhook_prefix":
		return m.ask(matcher)
	case "http.matchers.header", "http.matchers.header_regexp", "http.matchers.query", "http.matchers.method",
		"http.matchers.remote_ip", "http.matchers.client_ip":
		return either
	}
	return unclear
}

// ask lets a matcher decide that looks at host and path alone.
func (m imagined) ask(matcher any) verdict {
	t, ok := matcher.(caddyhttp.RequestMatcherWithError)
	if !ok {
		return unclear
	}
	matches, err := t.MatchWithError(m.r)
	switch {
	case err != nil:
		return unclear
	case matches:
		return always
	}
	return never
}

func (m imagined) judgeNot(not *caddyhttp.MatchNot) verdict {
	v := never
	for _, set := range not.MatcherSets {
		v = v.or(m.judgeSet(set))
	}
	return v.not()
}

// judgeVars knows what verify_webhook says, which is how a guard is written, and
// what host and path say.
func (m imagined) judgeVars(keys []string, matcher any) verdict {
	known := true
	for _, key := range keys {
		switch name := strings.Trim(key, "{}"); {
		case name == prefix+"name", name == prefix+"provider", name == prefix+"verified":
		case name == "http.request.host", strings.HasPrefix(name, "http.request.uri.path"):
		case strings.HasPrefix(name, "http.request.header."):
			known = false
		default:
			return unclear
		}
	}
	if !known {
		return either
	}
	return m.ask(matcher)
}

// judgeFile takes it that no file has the name of a webhook's path, so that only
// the last of the tried files decides: /index.html, /index.php.
func (m imagined) judgeFile(t *fileserver.MatchFile) verdict {
	if len(t.TryFiles) == 0 {
		return never
	}
	last := t.TryFiles[len(t.TryFiles)-1]
	switch {
	case strings.HasPrefix(last, "="):
		return unclear
	case strings.Contains(last, "{"):
		return never
	}
	m.replacer().Set("http.matchers.file.relative", "/"+strings.TrimPrefix(last, "/"))
	return always
}

func kindOf(module any) caddy.ModuleID {
	if m, ok := module.(caddy.Module); ok {
		return m.CaddyModule().ID
	}
	return ""
}
