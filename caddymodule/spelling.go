package caddymodule

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A spelling is a sender's path as it is configured, or of /hooks/acme/* what is before
// the star.
type spelling struct {
	path, escaped, lower string
	many                 bool
}

func spellingOf(path string) (s spelling) {
	s.path, s.many = strings.CutSuffix(path, "*")
	u, err := url.ParseRequestURI(s.path)
	if err != nil { // checkPaths allows none
		u = &url.URL{Path: s.path}
	}
	s.escaped, s.lower = u.EscapedPath(), strings.ToLower(s.path)
	return s
}

// spelled returns the routes for a sender's verified deliveries, on receipt and from the
// inbox, with its path as it is configured. Senders are found in any case and with any
// escapes, but an app may know one spelling alone and answer others with the 200 of a
// catch-all: a captured delivery that is sent there would make the sender's own a
// duplicate. A path that is signed is left as it was signed.
func (s *BlockSender) spelled(routes caddyhttp.Handler) caddyhttp.Handler {
	if s.handler.rules.SignsPath() {
		return routes
	}
	own := spellingOf(s.Path)
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		sent := *r.URL
		if own.give(r.URL) {
			r.RequestURI = r.URL.RequestURI()
			r = withOriginal(r, &sent)
		}
		return routes.ServeHTTP(w, r)
	})
}

// withOriginal returns r with its path in the original request too, which FastCGI passes
// on as REQUEST_URI, unless that had another path than sent before a rewrite.
func withOriginal(r *http.Request, sent *url.URL) *http.Request {
	original := received(r)
	if original.URL == nil || original.URL.Path != sent.Path || original.URL.RawPath != sent.RawPath {
		return r
	}
	u := *original.URL
	u.Path, u.RawPath = r.URL.Path, r.URL.RawPath
	original.URL, original.RequestURI = &u, u.RequestURI()
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		setOriginal(repl, &u)
	}
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, original))
}

// setOriginal sets the placeholders of the original request's path, which Caddy takes
// from the context that the request arrived with.
func setOriginal(repl *caddy.Replacer, u *url.URL) {
	const uri = "http.request.orig_uri"
	dir, file := path.Split(u.Path)
	_, escaped := path.Split(u.EscapedPath())
	for name, value := range map[string]string{"": u.RequestURI(), ".path": u.Path, ".path.dir": dir, ".path.file": file, ".path.file_escaped": escaped} {
		repl.Set(uri+name, value)
	}
	for i, segment := range strings.Split(strings.TrimPrefix(u.Path, "/"), "/") {
		repl.Set(uri+".path."+strconv.Itoa(i), segment)
	}
}

// give spells u's path, if it is the sender's in another spelling. What is not configured
// stays as it was sent.
func (s spelling) give(u *url.URL) bool {
	sent := u.EscapedPath()
	if sent == s.escaped || s.many && strings.HasPrefix(sent, s.escaped) {
		return false
	}
	own, rest, escaped := u.Path, "", ""
	if s.many {
		depth := strings.Count(s.path, "/")
		own, rest = cutSegments(u.Path, depth)
		_, escaped = cutSegments(sent, depth)
	}
	plain, err := url.PathUnescape(escaped)
	if err != nil || plain != rest || strings.ToLower(caddyhttp.CleanPath(own, true)) != s.lower { // see senderOf
		return false
	}
	u.Path, u.RawPath = s.path+rest, ""
	if as := s.escaped + escaped; as != u.EscapedPath() {
		u.RawPath = as
	}
	return true
}

// cutSegments cuts a path behind its nth slash.
func cutSegments(path string, n int) (folder, rest string) {
	at := 0
	for range n {
		i := strings.IndexByte(path[at:], '/')
		if i < 0 {
			return path, ""
		}
		at += i + 1
	}
	return path[:at], path[at:]
}
