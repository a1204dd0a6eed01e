package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(Guard))
	caddy.RegisterModule(new(MatchPrefix))
}

// Guard is the first handler of a verify_webhooks block. It deletes the headers
// that only the gateway may set from every request of the site, and refuses with
// 400 a path below the prefix that the app may read as another one: dot or empty
// segments, an encoded slash or dot, a backslash, a semicolon, a control
// character.
//
// It verifies nothing. In JSON, put it before a route with the matcher
// verify_webhook_prefix of the same prefix, terminal, which holds one group of
// verify_webhook handlers and ends that group with error 404.
type Guard struct {
	// The prefix that the block owns: /hooks/*, or * for every path.
	Prefix MatchPrefix `json:"prefix,omitempty"`

	warnings limiter
	logger   *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Guard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.verify_webhooks", New: func() caddy.Module { return new(Guard) }}
}

// Provision checks the prefix.
func (g *Guard) Provision(ctx caddy.Context) error {
	g.logger = ctx.Logger()
	if err := g.Prefix.Provision(ctx); err != nil {
		return fmt.Errorf("verify_webhooks: %w", err)
	}
	return nil
}

func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	deleteMarks(r)
	if g.Prefix.Match(r) && !isClean(received(r).URL) {
		return g.refuse(w, r)
	}
	return next.ServeHTTP(w, r)
}

// refuse answers as the handlers do; no sender's figures count it, since nothing
// tells whose it is.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request) error {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // else the answer may wait for the body
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(prefix+"reason", errUncleanPath.reason)
	}
	failure := caddyhttp.Error(errUncleanPath.status, errUncleanPath)
	if ok, suppressed := g.warnings.allow(time.Now()); ok {
		fields := []zap.Field{
			zap.String("reason", errUncleanPath.reason),
			zap.String("detail", errUncleanPath.detail),
			zap.String("prefix", string(g.Prefix)),
			zap.Int("status", errUncleanPath.status),
			zap.String("error_id", failure.ID),
		}
		if suppressed > 0 {
			fields = append(fields, zap.Int("suppressed", suppressed))
		}
		g.logger.Warn("request refused", fields...)
	}
	return failure
}

// MatchPrefix matches the requests that a verify_webhooks block owns: /hooks/*,
// or * for all. Caddy's own path matcher sees the cleaned path alone, which
// /hooks/acme/../../x and /hooks;x/stripe leave; an app that reads them otherwise
// would get them from the next route. This one matches if the path is /hooks or
// lies below it as it was sent, and if it is unclean and has the segments of
// /hooks anywhere: no way of cleaning it is left to another route. Case does not
// count.
type MatchPrefix string

// CaddyModule returns the Caddy module information.
func (*MatchPrefix) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.verify_webhook_prefix", New: func() caddy.Module { return new(MatchPrefix) }}
}

// Provision checks the prefix.
func (m *MatchPrefix) Provision(caddy.Context) error { return m.check() }

// UnmarshalCaddyfile reads
//
//	verify_webhook_prefix <prefix>
func (m *MatchPrefix) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume matcher name
	var text string
	if !d.AllArgs(&text) {
		return d.Errf("verify_webhook_prefix takes one prefix: verify_webhook_prefix /hooks/*")
	}
	*m = MatchPrefix(text)
	if err := m.check(); err != nil {
		return d.Errf("%v", err)
	}
	return nil
}

// MatchWithError reports whether the request is below the prefix.
func (m MatchPrefix) MatchWithError(r *http.Request) (bool, error) { return m.Match(r), nil }

// Match reports whether the request is below the prefix, or may be: of x:/hooks or
// http:hooks nothing is a path here, while a proxy hands all of it to the app.
func (m MatchPrefix) Match(r *http.Request) bool { return r.URL.Opaque != "" || m.owns(r.URL.Path) }

// base is the path whose descendants the prefix means, "" for all.
func (m MatchPrefix) base() string {
	if m == "*" {
		return ""
	}
	return strings.TrimSuffix(string(m), "/*")
}

// check admits literal prefixes alone. It repeats nothing of what was written: it
// may be a secret in the wrong place.
func (m MatchPrefix) check() error {
	text := string(m)
	base, ok := strings.CutSuffix(text, "/*")
	switch {
	case text == "*":
		return nil
	case text == "/*":
		return errors.New("the prefix is the whole site: write *")
	case strings.Contains(text, "{"):
		return errors.New("the prefix takes no placeholder: write it as it is called, such as /hooks/*")
	case strings.HasPrefix(text, "@"):
		return errors.New("a prefix is a path and no named matcher: write it as it is called, such as /hooks/*")
	case !ok:
		return errors.New("the prefix ends in a slash and a star: /hooks/* (/hooks and /hooks* are not prefixes); or write * for the whole site")
	}
	return checkLiteralPath(base)
}

// checkLiteralPath admits a path that matches itself alone, in whatever way it is
// matched.
func checkLiteralPath(p string) error {
	if !strings.HasPrefix(p, "/") {
		return errors.New("a path begins with a slash: /hooks/acme")
	}
	if strings.ContainsAny(p, "*?[]{}\\;%#\"<>^`| ") || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("write the path as it is called: no wildcard but /* at its end, no placeholder, no query, no escape, no semicolon, no space")
	}
	if path.Clean(p) != strings.TrimSuffix(p, "/") {
		return errors.New("the path has a dot or empty segment: write the path that it means")
	}
	return nil
}

func (m MatchPrefix) owns(p string) bool {
	base := m.base()
	return base == "" || isBelow(p, base) || !isTidy(p) && mentions(p, base)
}

// isBelow reports whether base is p or begins it as a whole segment, whatever
// ends a segment.
func isBelow(p, base string) bool {
	rest, ok := strings.CutPrefix(foldCase(p), foldCase(base))
	return ok && (rest == "" || endsSegment(rune(rest[0])))
}

// mentions reports whether the segments of base are among those of p, in their
// order. Apps clean a path in more ways than one: they merge slashes or do not,
// count an encoded slash as one or do not, cut ;x off before or after. All of them
// only drop segments, so none reads base in a path that does not mention it.
func mentions(p, base string) bool {
	wanted := strings.Split(foldCase(strings.TrimPrefix(base, "/")), "/")
	for segment := range strings.FieldsFuncSeq(foldCase(p), func(c rune) bool { return c == '/' || c == '\\' }) {
		if end := strings.IndexFunc(segment, endsSegment); end >= 0 {
			segment = segment[:end]
		}
		if segment == wanted[0] {
			wanted = wanted[1:]
		}
		if len(wanted) == 0 {
			return true
		}
	}
	return false
}

// endsSegment reports whether some reader of a path takes c for the end of a segment.
func endsSegment(c rune) bool { return c == '/' || c == '\\' || c == ';' || c < ' ' || c == 0x7f }

// foldCase makes all spellings of a letter one. Lower case alone would not: ſ is
// an S that has none.
func foldCase(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// Interface guards
var (
	_ caddy.Provisioner                 = (*Guard)(nil)
	_ caddyhttp.MiddlewareHandler       = (*Guard)(nil)
	_ caddy.Provisioner                 = (*MatchPrefix)(nil)
	_ caddyfile.Unmarshaler             = (*MatchPrefix)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchPrefix)(nil)
)
