package caddymodule

import (
	"errors"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
)

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
		return s, nil
	}
	s.path = prefix.Base() + "/" + s.name
	if err := prefix.CheckPath(s.path); err != nil {
		return nil, p.at("name", "name: it cannot be a path as well, which it is by default: give the sender a path")
	}
	return s, nil
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
func (b *block) checkSenders() error {
	for i, second := range b.senders {
		for _, first := range b.senders[:i] {
			if first.name == second.name {
				return errorAt(second.at, "sender: %s is already the name of the sender on line %d: give this one another name, such as name %s-2", second.name, first.at.Line, second.name)
			}
			switch {
			case appview.FoldCase(first.path) == appview.FoldCase(second.path):
				return errorAt(second.at, "sender: %s is the path of the sender on line %d already (case does not count): give one of them another path", second.path, first.at.Line)
			case appview.Covers(first.path, second.path) && !strings.HasSuffix(second.path, "/*"):
				return errorAt(second.at, "sender: the path %s is below %s of the sender on line %d, which would get its deliveries: write this sender above that one", second.path, first.path, first.at.Line)
			case appview.Covers(first.path, second.path), appview.Covers(second.path, first.path) && strings.HasSuffix(first.path, "/*"):
				return errorAt(second.at, "sender: the paths %s and %s (line %d) overlap: give each sender separate paths", second.path, first.path, first.at.Line)
			}
		}
	}
	return nil
}
