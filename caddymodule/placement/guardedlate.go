package placement

import (
	"regexp"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// guardedLate finds handlers with an inbox behind which a route looks at the client's
// address: what it refuses may be stored before it is asked, or because it refuses it.
func (s *survey) guardedLate() (findings []Finding) {
	names := make(map[string][]string) // by kind of matcher
	for h, kind := range s.late {
		if h.Inbox {
			names[kind] = append(names[kind], h.Name)
		}
	}
	for _, kind := range []string{"client_ip", "remote_ip"} {
		if len(names[kind]) > 0 {
			findings = append(findings, Finding{
				"a matcher " + kind + " behind a verify_webhook with inbox does not keep what other addresses send out of the inbox: deliveries are stored before it is asked, and what it refuses with 401, 403 or 404 is stored, too. Refuse those addresses above the handler or block, in a route, which keeps the order: route { @strangers not " + kind + " …; respond @strangers 403; verify_webhooks … }",
				[]zap.Field{zap.Strings("names", sorted(names[kind]))},
			})
		}
	}
	return findings
}

var addressCalls = regexp.MustCompile(`\b(client_ip|remote_ip)\(`)

// addressKind names a matcher of the client's address among some, "" if there is none.
func addressKind(sets caddyhttp.MatcherSets) string {
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchNot:
				if kind := addressKind(m.MatcherSets); kind != "" {
					return kind
				}
			case *caddyhttp.MatchExpression:
				if call := addressCalls.FindStringSubmatch(m.Expr); call != nil {
					return call[1]
				}
			case *caddyhttp.MatchClientIP, *caddyhttp.MatchRemoteIP:
				return kindOf(m).Name()
			}
		}
	}
	return ""
}
