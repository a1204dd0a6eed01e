package placement

import (
	"context"
	"crypto/tls"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
)

// prefix of the placeholders that a Verifier sets.
const prefix = "http.verify_webhook."

// verdict is a matcher's result for an imagined request.
type verdict uint8

const (
	never   verdict = iota
	always          // it matches
	either          // the client decides, by a header, the method or its address
	unclear         // unknown to the walk
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

// An imagined request is taken through the routes as Caddy would, and through both
// branches if the client decides.
type imagined struct {
	r        *http.Request
	called   string // its original path
	loose    bool   // the next route has a loose matcher, whose result is given
	given    verdict
	fits     bool     // it enters the next route, whatever a loose matcher says
	groups   []string // route groups that have already matched
	passed   *Handler // the handler that has verified it; nil: none yet
	chosen   bool     // the client has since decided about a route
	unsure   bool     // it passed something that the walk cannot judge
	trusted  bool     // it has passed a login
	depth    int      // of invoked routes
	wanted   []string // the paths that its client gives to a rewrite under its control
	free     bool     // it has given one
	fixed    fixed
	captures captures

	written map[string]string // what vars has set, with placeholders that the client chooses
}

func imagine(method string, secure bool, host, path string) imagined {
	u := &url.URL{Path: path}
	from := &http.Request{Method: method, Host: host, URL: u, RequestURI: u.RequestURI()}
	if secure {
		from.TLS = new(tls.ConnectionState)
	}
	r, _ := prepareImagined(from)
	return imagined{r: r, called: path}
}

// refusedBy returns the request as error routes get it.
func (m imagined) refusedBy(h *Handler, status int) imagined {
	return m.after(func(_ *http.Request, repl *caddy.Replacer) {
		repl.Set(prefix+"name", h.Name)
		repl.Set(prefix+"provider", h.Provider)
		repl.Set(prefix+"verified", false)
		repl.Set("http.error.status_code", status)
		repl.Set("http.error.status_text", http.StatusText(status))
	})
}

// unlike are the placeholders that differ between two requests though nobody chooses them.
// Of two imagined ones they are the same: another path would look like another app's.
var unlike = []string{
	"http.request.uuid", "http.request.duration", "http.request.duration_ms",
	"time.now", "time.now.http", "time.now.rfc3339", "time.now.common_log", "time.now.unix", "time.now.unix_ms",
}

// localAddress is that of the gateway, in TEST-NET-1.
var localAddress = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.2:443"))

// prepareImagined gives a request the context that matchers and rewrites need.
func prepareImagined(from *http.Request) (*http.Request, *caddy.Replacer) {
	u := *from.URL
	r := &http.Request{
		Method: from.Method, Host: from.Host, URL: &u, RequestURI: from.RequestURI, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: http.NoBody, TLS: from.TLS, RemoteAddr: "192.0.2.1:1024", // TEST-NET-1, RFC 5737
	}
	// {http.request.local} takes it for granted.
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, localAddress))
	repl := caddy.NewEmptyReplacer() // what is set in it precedes the rest
	for _, name := range unlike {
		repl.Set(name, "0")
	}
	repl.Map(caddy.NewReplacer().Get)
	r = caddyhttp.PrepareRequest(r, repl, nil, new(caddyhttp.Server))
	maps.Copy(varsOf(r), varsOf(from))
	return r, repl
}

// varsOf returns the values that vars has set; nil before it can.
func varsOf(r *http.Request) map[string]any {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	return vars
}

func (m imagined) replacer() *caddy.Replacer {
	return m.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

// after returns the request after a change. The other branches keep theirs.
func (m imagined) after(change func(*http.Request, *caddy.Replacer)) imagined {
	before := m.replacer()
	var repl *caddy.Replacer
	m.r, repl = prepareImagined(m.r)
	repl.Set("http.request.orig_uri", m.called)
	repl.Set("http.request.orig_uri.path", m.called)
	repl.Map(before.Get) // set by matchers so far
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
	switch kind := looseKind(matcher); {
	case kind == "", !m.fits && !m.loose:
	case m.fits:
		return always
	case kind != "protocol" && kind != "not":
		return m.given
	}
	return m.judgeAlone(matcher)
}

func (m imagined) judgeAlone(matcher any) verdict {
	switch t := matcher.(type) {
	case *caddyhttp.MatchNot:
		return m.judgeNot(t)
	case *fileserver.MatchFile:
		return m.judgeFile(t)
	}
	switch reach := reachOf(matcher); reach {
	case always:
		return m.ask(matcher)
	default:
		return reach
	}
}

// reachOf says what decides a matcher: always if host and path do, so that the walk
// can, either if the client does.
func reachOf(matcher any) verdict {
	switch t := matcher.(type) {
	case *caddyhttp.VarsMatcher:
		return reachOfVars(maps.Keys(*t))
	case *caddyhttp.MatchVarsRE:
		return reachOfVars(maps.Keys(*t))
	case *caddyhttp.MatchExpression:
		if followed(t.Expr) {
			return always
		}
		return unclear
	case *caddyhttp.MatchProtocol:
		if *t != "http" && *t != "https" {
			return either
		}
		return always
	case *caddyhttp.MatchNot:
		v := always
		for _, set := range t.MatcherSets {
			for _, matcher := range set {
				v = max(v, reachOf(matcher))
			}
		}
		return v
	case *fileserver.MatchFile:
		return always
	}
	switch kindOf(matcher) {
	case "http.matchers.host", "http.matchers.path", "http.matchers.path_regexp", "http.matchers.verify_webhook_prefix", "http.matchers.verify_webhook_near":
		return always
	case "http.matchers.header", "http.matchers.header_regexp", "http.matchers.query", "http.matchers.method",
		"http.matchers.remote_ip", "http.matchers.client_ip":
		return either
	}
	return unclear
}

// reachOfVars knows what verify_webhook sets, as used in guards, and placeholders of
// host and path.
func reachOfVars(keys iter.Seq[string]) verdict {
	v := always
	for key := range keys {
		switch name := strings.Trim(key, "{}"); {
		case name == prefix+"name", name == prefix+"provider", name == prefix+"verified":
		case strings.HasPrefix(name, "http.request.header."):
			v = max(v, either)
		case !isFollowed(name):
			return unclear
		}
	}
	return v
}

// ask evaluates a matcher that depends only on host and path.
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
	m.fits = false
	for _, set := range not.MatcherSets {
		v = v.or(m.judgeSet(set))
	}
	return v.not()
}

var (
	placeholders = regexp.MustCompile(`\{([^{}]*)\}`)
	pathCalls    = regexp.MustCompile(`\b(path|path_regexp|host)\(`)
)

// followed reports whether an expression depends only on host, path and error status.
func followed(expression string) bool {
	for _, m := range placeholders.FindAllStringSubmatch(expression, -1) {
		if !isFollowed(m[1]) {
			return false
		}
	}
	return !strings.Contains(pathCalls.ReplaceAllString(quotes.ReplaceAllString(expression, ""), ""), "(")
}

// isFollowed reports whether a placeholder is one of host, path or error status.
func isFollowed(name string) bool {
	return name == "http.request.host" || strings.HasPrefix(name, "http.request.uri.path") || strings.HasPrefix(name, "http.error.status_")
}

// looseKind names a loose matcher, "" for others: the walk cannot imagine what it
// matches, or near misses of it.
func looseKind(matcher any) string {
	kind := kindOf(matcher).Name()
	switch m := matcher.(type) {
	case *caddyhttp.MatchPath:
		if slices.ContainsFunc(*m, func(pattern string) bool { _, ok := sampleOf(pattern); return !ok }) {
			return kind
		}
	case *caddyhttp.MatchPathRE, *caddyhttp.MatchExpression, *caddyhttp.MatchProtocol, *fileserver.MatchFile:
		return kind
	}
	if reachOf(matcher) == unclear {
		return kind
	}
	return ""
}

// judgeFile assumes that no file has the name of a webhook's path, so that the last
// of the tried files decides: /index.html, /index.php.
func (m imagined) judgeFile(t *fileserver.MatchFile) verdict {
	if len(t.TryFiles) == 0 {
		return never
	}
	last := t.TryFiles[len(t.TryFiles)-1]
	if strings.HasPrefix(last, "=") {
		return unclear
	}
	if strings.Contains(last, "{") {
		if last = m.fileNamed(last); last == "" {
			return never
		}
	}
	m.replacer().Set("http.matchers.file.relative", "/"+strings.TrimPrefix(last, "/"))
	return always
}

// fileNamed returns the file that try_files names with a placeholder; "" for those of
// host and path.
func (m imagined) fileNamed(text string) string {
	for _, name := range placeholders.FindAllStringSubmatch(text, -1) {
		if isFollowed(name[1]) {
			return ""
		}
	}
	if paths := m.choose("/" + strings.TrimPrefix(text, "/")); len(paths) > 0 {
		return paths[0]
	}
	if text = m.known(text); strings.Contains(text, "{") {
		return ""
	}
	return text
}

// fork is the matcher that the gateway appends to the routes which lead to a handler, as
// a set of its own. It matches nothing.
const fork = "http.matchers.verify_webhook_fork"

// matchersOf returns the matchers that a route is configured with.
func matchersOf(route *caddyhttp.Route) caddyhttp.MatcherSets {
	sets := route.MatcherSets
	if n := len(sets); n > 0 && len(sets[n-1]) == 1 && kindOf(sets[n-1][0]) == fork {
		return sets[:n-1]
	}
	return sets
}

func kindOf(module any) caddy.ModuleID {
	if m, ok := module.(caddy.Module); ok {
		return m.CaddyModule().ID
	}
	return ""
}
