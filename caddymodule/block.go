package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/logging"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
)

func init() {
	caddy.RegisterModule(new(Block))
}

// Block owns the paths below its prefix. A request below it goes to the sender whose
// path it has and from there, once it is verified, to the routes of the block. If no
// sender has its path, it is an error 404. Nothing else of the site sees it.
//
// A path below the prefix that the app may read as another one is refused with 400: dot
// or empty segments, an encoded slash or dot, an escaped escape, a backslash, a
// semicolon, a session in brackets, a control character.
//
// From every request of the site it deletes the headers that only the gateway may set,
// and from requests outside the prefix those that could make an app read a path below it.
//
// In JSON, put it before everything of its site that answers, in no route with a matcher
// other than of hosts. Without senders it only guards the prefix, and the routes after it
// must do the rest: a terminal route with the matcher verify_webhook_prefix of the same
// prefix, which holds one group of verify_webhook handlers that ends with error 404.
type Block struct {
	// The prefix that the block owns: /hooks/*, or * for every path.
	Prefix MatchPrefix `json:"prefix,omitempty"`
	// The senders, each with paths of its own.
	Senders []*BlockSender `json:"senders,omitempty"`
	// The routes for verified deliveries.
	Routes caddyhttp.RouteList `json:"routes,omitempty"`

	exact    map[string]*BlockSender // by path, in lower case
	folders  map[string]*BlockSender // those of many paths, by what these begin with: /hooks/acme/
	deepest  int                     // length of the longest key of folders
	asRoutes caddyhttp.RouteList
	warnings logging.Limiter
	logger   *zap.Logger
}

// A BlockSender is a sender of a block.
type BlockSender struct {
	// A literal path below the prefix, which may end in /* for all those below it. Of two
	// senders with one path, a literal one has it.
	Path string `json:"path,omitempty"`
	// The verify_webhook handler of its deliveries.
	VerifyRaw json.RawMessage `json:"verify,omitempty" caddy:"namespace=http.handlers inline_key=handler"`

	handler  *Handler
	near     nearPaths         // of other senders
	verified caddyhttp.Handler // the block's, which get the path as it is configured
}

// CaddyModule returns the Caddy module information.
func (*Block) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.verify_webhooks", New: func() caddy.Module { return new(Block) }}
}

// Owned returns the prefix as written, for placement.
func (b *Block) Owned() string { return string(b.Prefix) }

// AsRoutes returns routes that do what the block does with its prefix, for placement.
func (b *Block) AsRoutes() caddyhttp.RouteList { return b.asRoutes }

// Provision checks the prefix and the paths, loads senders and routes, and guards the
// error routes.
func (b *Block) Provision(ctx caddy.Context) error {
	b.logger = ctx.Logger()
	if err := b.load(ctx); err != nil {
		return fmt.Errorf("verify_webhooks: %w", err)
	}
	return guardErrorRoutes(ctx, appview.Prefix(b.Prefix))
}

func (b *Block) load(ctx caddy.Context) error {
	if err := b.Prefix.Provision(ctx); err != nil {
		return err
	}
	switch {
	case len(b.Senders) == 0 && len(b.Routes) == 0:
		return nil
	case len(b.Senders) == 0:
		return errors.New("there are routes and no sender, so that no delivery would reach them: add senders")
	case len(b.Routes) == 0:
		return errors.New("there is no route, so that nothing answers a verified delivery: add routes, with a handler reverse_proxy")
	}
	if err := b.checkPaths(); err != nil {
		return err
	}
	b.exact, b.folders = make(map[string]*BlockSender), make(map[string]*BlockSender)
	paths := b.paths()
	behind := behindScripts(paths)
	for _, s := range b.Senders {
		if err := s.load(ctx); err != nil {
			return fmt.Errorf("sender %s: %w", s.Path, err)
		}
		path := strings.ToLower(s.Path)
		folder, many := strings.CutSuffix(path, "*")
		if !many {
			b.exact[path] = s
			continue
		}
		b.folders[folder], b.deepest = s, max(b.deepest, len(folder))
		s.near = nearOthers(s.Path, paths)
		s.near.behind, s.near.beside = behind, func() [][]appview.Reading { return s.handler.app.besides(b) }
	}
	forEachProxy(b.Routes)
	if err := b.Routes.Provision(ctx); err != nil {
		return err
	}
	verified := b.Routes.Compile(caddyhttp.HandlerFunc(unanswered))
	for _, s := range b.Senders {
		s.verified = s.spelled(verified)
	}
	b.describe()
	return nil
}

// checkPaths refuses paths outside the prefix, and two that are one to an app.
func (b *Block) checkPaths() error {
	taken := make(map[string]string)
	var folders []string
	for _, path := range b.paths() {
		if err := appview.Prefix(b.Prefix).CheckPath(path); err != nil {
			return fmt.Errorf("sender %s: path: %w", path, err)
		}
		if other, ok := taken[toApps(path)]; ok {
			return fmt.Errorf("sender %s: another one has the path %s (case and a slash at the end do not count): give one of them another path", path, other)
		}
		taken[toApps(path)] = path
		if !strings.HasSuffix(path, "/*") {
			continue
		}
		if i := slices.IndexFunc(folders, func(f string) bool { return covers(f, path) || covers(path, f) }); i >= 0 {
			return fmt.Errorf("sender %s: its paths and %s overlap: give each sender separate paths", path, folders[i])
		}
		folders = append(folders, path)
	}
	return nil
}

func (b *Block) paths() (paths []string) {
	for _, s := range b.Senders {
		paths = append(paths, s.Path)
	}
	return paths
}

func (s *BlockSender) load(ctx caddy.Context) error {
	var module any
	if len(s.VerifyRaw) > 0 {
		var err error
		if module, err = ctx.LoadModule(s, "VerifyRaw"); err != nil {
			return err
		}
	}
	var ok bool
	if s.handler, ok = module.(*Handler); !ok {
		return errors.New(`verify takes a handler verify_webhook: {"handler": "verify_webhook", "provider": "stripe", …}`)
	}
	return nil
}

// describe sets asRoutes.
func (b *Block) describe() {
	unknown := &caddyhttp.StaticError{Error: errUnknownPath.Error(), StatusCode: caddyhttp.WeakString(strconv.Itoa(http.StatusNotFound))}
	var exact, folders caddyhttp.RouteList
	route := func(h caddyhttp.MiddlewareHandler, matchers ...any) caddyhttp.Route {
		r := caddyhttp.Route{Group: "senders of " + b.Owned(), Handlers: []caddyhttp.MiddlewareHandler{h}}
		if len(matchers) > 0 {
			r.MatcherSets = caddyhttp.MatcherSets{matchers}
		}
		return r
	}
	for _, s := range b.Senders {
		to := route(s.handler, &caddyhttp.MatchPath{strings.ToLower(s.Path)})
		if !strings.HasSuffix(s.Path, "/*") {
			exact = append(exact, to)
			continue
		}
		folders = append(folders, route(unknown, s.near), to)
	}
	b.asRoutes = caddyhttp.RouteList{{
		MatcherSets: caddyhttp.MatcherSets{{&b.Prefix}},
		Handlers: []caddyhttp.MiddlewareHandler{
			&caddyhttp.Subroute{Routes: slices.Concat(exact, folders, caddyhttp.RouteList{route(unknown)}, b.Routes)},
		},
		Terminal: true,
	}}
}

func (b *Block) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	deleteMarks(r)
	if !b.Prefix.owns(r) {
		attempt.PassBy(r.Context(), b)
		if b.hasSender(addresseeOf(r.Context())) { // nobody else gets it: its path has moved
			return nil
		}
		appview.Prefix(b.Prefix).DeleteDetours(r.Header, r.URL.Path)
		return next.ServeHTTP(w, r)
	}
	err := b.own(w, r, next)
	if err != nil && !isVerified(r) { // error routes may give it a path outside the prefix
		appview.Prefix(b.Prefix).DeleteDetours(r.Header, "/")
	}
	return err
}

// own handles a request below the prefix.
func (b *Block) own(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !appview.IsClean(received(r).URL) {
		return b.refuse(w, r)
	}
	if len(b.Senders) == 0 {
		return next.ServeHTTP(w, r)
	}
	s := b.senderOf(r.URL.Path)
	if s == nil {
		attempt.PassBy(r.Context(), b)
		return caddyhttp.Error(http.StatusNotFound, errUnknownPath)
	}
	return s.handler.ServeHTTP(w, r, s.verified)
}

func (b *Block) hasSender(h *Handler) bool {
	return h != nil && slices.ContainsFunc(b.Senders, func(s *BlockSender) bool { return s.handler == h })
}

// senderOf returns the sender whose path it is, as Caddy's matcher of paths has it: in
// any case, cleaned. It returns nil if there is none.
func (b *Block) senderOf(path string) *BlockSender {
	path = caddyhttp.CleanPath(path, true)
	lower := strings.ToLower(path)
	if s := b.exact[lower]; s != nil {
		return s
	}
	for i := range min(len(lower), b.deepest) {
		if lower[i] != '/' {
			continue
		}
		if s := b.folders[lower[:i+1]]; s != nil && !s.near.match(path) {
			return s
		}
	}
	return nil
}

// received returns the request before any rewrite.
func received(r *http.Request) http.Request {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original
	}
	return *r
}

// errUnknownPath becomes an error, not a response: handle_errors handles it like a 401.
var errUnknownPath = errors.New("no sender of verify_webhooks has this path")

// errUncleanPath refuses a path that the app may read differently than Caddy matched
// it: a matcher cleans the path, a proxy passes on the original. An app that mounts
// by prefix would read /hooks/billing/../github, signed by github, as billing's.
var errUncleanPath = &refusal{reason: "unclean_path", status: http.StatusBadRequest,
	detail: "the path has a dot or empty segment, a semicolon, a backslash, an encoded slash or dot, an escape that is escaped again, a session in brackets, or a control character: call the address as it is configured"}

// refuse answers as the handlers do; no sender's counters include it, since its
// sender is unknown.
func (b *Block) refuse(w http.ResponseWriter, r *http.Request) error {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // otherwise the response may wait for the body
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(prefix+"reason", errUncleanPath.reason)
	}
	failure := caddyhttp.Error(errUncleanPath.status, errUncleanPath)
	if ok, suppressed := b.warnings.Allow(time.Now()); ok {
		b.logger.Warn("request refused", append(suppressed,
			zap.String("reason", errUncleanPath.reason),
			zap.String("detail", errUncleanPath.detail),
			zap.String("prefix", string(b.Prefix)),
			zap.Int("status", errUncleanPath.status),
			zap.String("error_id", failure.ID),
		)...)
	}
	return failure
}

func isVerified(r *http.Request) bool {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return false
	}
	verified, _ := repl.Get(prefix + "verified")
	return verified == true
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Block)(nil)
	_ caddyhttp.MiddlewareHandler = (*Block)(nil)
	_ placement.Block             = (*Block)(nil)
)
