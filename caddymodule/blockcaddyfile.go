package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/tenants"
	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
)

// A blockParser reads a verify_webhooks block.
type blockParser struct {
	httpcaddyfile.Helper
	prefix      appview.Prefix
	name        caddyfile.Token // the directive's name
	open, close caddyfile.Token // its braces
	senders     []*blockSender
	rest        []caddyfile.Segment // everything but the senders
}

// parseBlock reads
//
//	verify_webhooks <prefix> {
//		sender [<provider> [<secret>...]] {
//			path <path>
//			<options of verify_webhook>
//		}
//		<directives>...
//	}
//
// The block becomes a Block. Its directives but the senders are sorted among themselves,
// as Caddy sorts those of a site. Without a block it is a guard, for another site of an
// app: see guardOnly.
//
// A sender is called as its provider unless it has a name, and its default path
// is the prefix and what it is called. Only a name that is written becomes part
// of the JSON: two sites may import one snippet, and their apps must not share
// what they have seen (see Dedupe). Below a path that ends in /* the sender's
// name is worth writing: without one, a copy that is sent to another path is
// another delivery.
func parseBlock(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	b := &blockParser{Helper: h}
	if err := b.readPrefix(); err != nil {
		return nil, err
	}
	if err := b.checkNeighbours(); err != nil {
		return nil, err
	}
	if !b.hasBlock() {
		return h.NewRoute(nil, b.guardOnly()), nil
	}
	if err := b.split(); err != nil {
		return nil, err
	}
	if err := b.checkSenders(); err != nil {
		return nil, err
	}
	rest, err := b.parseRest()
	if err != nil {
		return nil, err
	}
	return h.NewRoute(nil, b.module(rest)), nil
}

func (b *blockParser) readPrefix() error {
	b.Next() // consume directive name
	b.name = b.Token()
	if !b.NextArg() || b.Val() == "" {
		return b.Errf("verify_webhooks has no prefix: write verify_webhooks /hooks/*, or * for the whole site; an unset {$VARIABLE} vanishes")
	}
	b.prefix = appview.Prefix(b.Val())
	if err := b.prefix.Check(); err != nil {
		return b.Errf("verify_webhooks: %v", err)
	}
	if b.NextArg() {
		return b.Errf("verify_webhooks takes one prefix and a block: write each sender, and reverse_proxy, on a separate line in it")
	}
	return nil
}

// hasBlock reports whether braces follow the prefix.
func (b *blockParser) hasBlock() bool {
	if !b.Next() {
		return false
	}
	return b.Prev()
}

// split separates the senders from everything else.
func (b *blockParser) split() error {
	for nesting := b.Nesting(); b.NextBlock(nesting); {
		if b.open.Text == "" { // NextBlock has consumed it
			b.Prev()
			b.open = b.Token()
			b.Next()
		}
		segment := b.NextSegment()
		if err := checkPlace(segment, true, true); err != nil {
			return err
		}
		if segment.Directive() != "sender" {
			b.rest = append(b.rest, segment)
			continue
		}
		s, err := readSender(segment, b.prefix)
		if err != nil {
			return err
		}
		b.senders = append(b.senders, s)
	}
	b.close = b.Token()
	if len(b.senders) == 0 {
		return errorAt(b.name, "verify_webhooks has no sender: write sender <provider> <secret> into its block, one for each")
	}
	if !slices.ContainsFunc(b.rest, func(s caddyfile.Segment) bool { return !strings.HasPrefix(s.Directive(), "@") }) {
		return errorAt(b.name, "verify_webhooks has nothing that answers a verified delivery: add reverse_proxy <app> to its block")
	}
	return nil
}

// ofTheSite are directives that apply to an entire site.
var ofTheSite = []string{"handle_errors", "log", "tls", "bind"}

// checkPlace refuses directives that are not allowed in the block or in routes within
// it.
func checkPlace(segment caddyfile.Segment, routes, top bool) error {
	word := segment.Directive()
	switch {
	case word == "verify_webhook" || word == "verify_webhooks":
		return errorAt(segment[0], "%s does not go into verify_webhooks: requests in its block are already verified; write another sender, or another block next to this one", word)
	case routes && slices.Contains(ofTheSite, word):
		return errorAt(segment[0], "%s belongs to the site: write it next to verify_webhooks, not in its block", word)
	case routes && !top && word == "sender":
		return errorAt(segment[0], "sender goes directly into the block of verify_webhooks, not into a block within it")
	}
	if word == "sender" { // its parser reports it better
		return nil
	}
	routes = routes && slices.Contains([]string{"handle", "handle_path", "route"}, word)
	d := caddyfile.NewDispenser(segment)
	for d.Next(); d.NextArg(); {
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := checkPlace(d.NextSegment(), routes, false); err != nil {
			return err
		}
	}
	return nil
}

// checkNeighbours compares the prefix with those of earlier blocks of the site: if
// one contains the other, the second would never get a request.
func (b *blockParser) checkNeighbours() error {
	site, ok := siteOf(b.Helper)
	if !ok {
		return nil
	}
	type neighbour struct {
		prefix appview.Prefix
		at     caddyfile.Token
	}
	key := fmt.Sprintf("verify_webhooks of site %x", site)
	before, _ := b.BlockState[key].([]neighbour)
	for _, n := range before {
		if n.prefix.Owns(b.prefix.Base()) || b.prefix.Owns(n.prefix.Base()) {
			return errorAt(b.name, "verify_webhooks: one prefix of this site contains the other, see line %d: put the senders into one block, or give the blocks separate prefixes", n.at.Line)
		}
	}
	b.BlockState[key] = append(slices.Clip(before), neighbour{b.prefix, b.name})
	return nil
}

// siteOf identifies a site, which Caddy's Helper does not: all directives of a site
// share one slice of segments.
func siteOf(h httpcaddyfile.Helper) (uintptr, bool) {
	site := reflect.ValueOf(h).FieldByName("parentBlock")
	if !site.IsValid() {
		return 0, false
	}
	segments := site.FieldByName("Segments")
	if !segments.IsValid() || segments.Kind() != reflect.Slice {
		return 0, false
	}
	return segments.Pointer(), true
}

// parseRest parses the block without its senders like Caddy parses handle.
func (b *blockParser) parseRest() (caddyhttp.RouteList, error) {
	tokens := []caddyfile.Token{b.name, b.open}
	for _, segment := range b.rest {
		tokens = append(tokens, segment...)
	}
	tokens = append(tokens, b.close)
	rest, err := httpcaddyfile.ParseSegmentAsSubroute(b.WithDispenser(caddyfile.NewDispenser(tokens)))
	if err != nil {
		return nil, b.unrecognized(err)
	}
	routes := rest.(*caddyhttp.Subroute).Routes
	bufferProxies(routes)
	return routes, nil
}

// unrecognized improves Caddy's error about an unknown directive, in the block or in
// a handle or route in it. Caddy repeats the word, which may be a misplaced secret.
func (b *blockParser) unrecognized(err error) error {
	for _, at := range slices.Concat(b.rest...) {
		word := at.Text
		if !strings.Contains(err.Error(), "unrecognized directive: "+word+" - are you sure") {
			continue
		}
		if _, ok := options[word]; ok || word == "path" {
			return errorAt(at, "%s is an option of a sender: write it into that sender's block", word)
		}
		if near := nearest.Of(word, slices.Concat(usual, []string{"sender"})); near != "" {
			return errorAt(at, "unknown directive %s: did you mean %s?", word, near)
		}
		return errorAt(at, "a line begins with a word that is not a directive (not repeated here, as it may be a secret): the block of verify_webhooks takes sender and the directives of handle")
	}
	return err
}

// usual are the directives expected in a block.
var usual = []string{
	"abort", "basic_auth", "encode", "error", "file_server", "forward_auth", "handle", "handle_path", "header", "intercept", "invoke",
	"log_append", "log_name", "log_skip", "map", "method", "php_fastcgi", "request_body", "request_header", "respond", "reverse_proxy",
	"rewrite", "root", "route", "templates", "timeouts", "tracing", "try_files", "uri", "vars",
}

// guardOnly returns what keeps everybody from the prefix and deletes what a Block does
// from all other requests. It responds first: an error route
// could pass the request to the app.
func (b *blockParser) guardOnly() *caddyhttp.Subroute {
	handle := func(id string, module any) []json.RawMessage {
		return []json.RawMessage{caddyconfig.JSONModuleObject(module, "handler", id, nil)}
	}
	return &caddyhttp.Subroute{Routes: caddyhttp.RouteList{
		{
			MatcherSetsRaw: caddyhttp.RawMatcherSets{{"verify_webhook_prefix": caddyconfig.JSON(b.prefix, nil)}},
			HandlersRaw:    handle("static_response", &caddyhttp.StaticResponse{StatusCode: caddyhttp.WeakString(strconv.Itoa(http.StatusNotFound))}),
			Terminal:       true,
		},
		{HandlersRaw: handle("verify_webhooks", &Block{Prefix: MatchPrefix(b.prefix)})},
	}}
}

// module returns the handler.
func (b *blockParser) module(rest caddyhttp.RouteList) *Block {
	block := &Block{Prefix: MatchPrefix(b.prefix), Routes: rest}
	for _, s := range b.senders {
		block.Senders = append(block.Senders, &BlockSender{Path: s.path, VerifyRaw: caddyconfig.JSONModuleObject(s.handler, "handler", "verify_webhook", nil)})
	}
	return block
}

// errorAt returns an error with a token's line.
func errorAt(at caddyfile.Token, format string, args ...any) error {
	return fmt.Errorf("%s, at %s:%d", fmt.Sprintf(format, args...), at.File, at.Line)
}

// A blockSender is a sender of a verify_webhooks block: a handler and its path in the
// block.
type blockSender struct {
	handler *Handler
	name    string
	path    string // may end in /*
	at      caddyfile.Token
}

// readSender parses one sender. It has the syntax of verify_webhook, without a
// matcher and with a path.
func readSender(segment caddyfile.Segment, prefix appview.Prefix) (*blockSender, error) {
	s := &blockSender{handler: new(Handler), at: segment[0]}
	p := &parser{Dispenser: caddyfile.NewDispenser(segment), h: s.handler, directive: "sender", path: &s.path}
	if len(segment) > 1 && isMatcher(segment[1].Text) {
		return nil, errorAt(segment[1], "sender takes no matcher: write sender <provider> <secret> { and path /hooks/acme in its block")
	}
	if err := p.read(); err != nil {
		return nil, err
	}
	s.name = s.handler.Name
	if s.name == "" {
		s.name = p.resolved.ID
	}
	if s.path != "" {
		if err := prefix.CheckPath(s.path); err != nil {
			return nil, p.at("path", "path: %v", err)
		}
		return s, p.checkTenantPath(s.path)
	}
	s.path = prefix.Base() + "/" + s.name
	if place, err := tenants.ParsePlace(s.handler.Tenant); err == nil && place.Path {
		s.path += "/*"
	}
	if err := prefix.CheckPath(s.path); err != nil {
		return nil, p.at("name", "name: it cannot be a path as well, which it is by default: give the sender a path")
	}
	return s, p.checkTenantPath(s.path)
}

// isMatcher reports whether Caddy would read a first argument as a matcher. The
// absolute path of a provider file is not one here.
func isMatcher(word string) bool {
	return word == "*" || strings.HasPrefix(word, "@") || strings.HasPrefix(word, "/") && !strings.HasSuffix(word, ".json")
}

// setPath parses the option that only senders have.
func (p *parser) setPath(arg string) error {
	if p.path == nil {
		return errors.New("an option of senders in verify_webhooks: here write the path as a matcher, verify_webhook /hooks/acme")
	}
	*p.path = arg
	return nil
}

// checkSenders checks that all names and paths of a block are different.
func (b *blockParser) checkSenders() error {
	for i, second := range b.senders {
		for _, first := range b.senders[:i] {
			if first.name == second.name {
				return errorAt(second.at, "sender: %s is already the name of the sender on line %d: give this one another name, such as name %s-2", second.name, first.at.Line, second.name)
			}
			switch {
			case toApps(first.path) == toApps(second.path):
				return errorAt(second.at, "sender: %s is the path of the sender on line %d already (case and a slash at the end do not count): give one of them another path", second.path, first.at.Line)
			case covers(first.path, second.path) && !strings.HasSuffix(second.path, "/*"):
				return errorAt(second.at, "sender: the path %s is below %s of the sender on line %d, which would get its deliveries: write this sender above that one", second.path, first.path, first.at.Line)
			case covers(first.path, second.path), covers(second.path, first.path) && strings.HasSuffix(first.path, "/*"):
				return errorAt(second.at, "sender: the paths %s and %s (line %d) overlap: give each sender separate paths", second.path, first.path, first.at.Line)
			}
		}
	}
	return nil
}
