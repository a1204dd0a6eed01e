package placement

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
)

// apart says why what answers behind two handlers may be two apps although its address is
// written alike: map or vars set other constants for it, or the proxies to one address, such
// as an ingress, set other Host headers, or make other paths of one. A map may decide by the
// host, and an app may have several hosts and paths, so this is warned of, and nothing is
// refused.
func apart(a, b []reply) (how []string) {
	for _, pair := range [2][2][]reply{{a, b}, {b, a}} {
		for _, x := range pair[0] {
			if all(pair[1], func(y reply) bool { return !slices.Equal(x.addresses, y.addresses) }) {
				how = append(how, "apps")
			}
			if all(pair[1], func(y reply) bool { return x.host != "" && y.host != "" && x.host != y.host }) {
				how = append(how, "hosts at the app")
			}
			called := slices.DeleteFunc(slices.Clone(pair[1]), func(y reply) bool { return y.called != x.called })
			if all(called, func(y reply) bool { return !isSame(x.path, y.path) }) {
				how = append(how, "paths at the app")
			}
		}
	}
	return sorted(how)
}

// all is false for none.
func all(replies []reply, is func(reply) bool) bool {
	return len(replies) > 0 && !slices.ContainsFunc(replies, func(a reply) bool { return !is(a) })
}

// apart compares handlers that seem to have one app.
func (s *survey) apart(a, b *Handler) []string {
	if one := s.appBehind(a); one == "" || one != s.appBehind(b) {
		return nil
	}
	return apart(s.behind[a], s.behind[b])
}

// apartWithoutNames finds handlers of one scope that may have different apps.
func (s *survey) apartWithoutNames() (findings []Finding) {
	type address struct {
		handler *Handler
		host    string
	}
	listed, told := make(map[address]bool), make(map[[2]*Handler]bool) // of other hosts the port counts
	for _, at := range s.seats {
		for _, host := range at.hosts {
			listed[address{at.handler, host}] = at.guessed || slices.Contains(at.named, host)
		}
	}
	for a, b := range s.sharing() {
		pair := [2]*Handler{a.handler, b.handler}
		if told[pair] || a.server != b.server && !listed[address{a.handler, a.at.host}] {
			continue
		}
		told[pair] = true
		if how := s.apart(a.handler, b.handler); len(how) > 0 {
			findings = append(findings, Finding{
				"two handlers without a name share their deliveries: a delivery accepted by one is a duplicate for the other. Unless they have the same app, give each a name: name <name>",
				[]zap.Field{zap.String("name", a.handler.Name), zap.Stringer("request", a.at), zap.Strings("different", how)},
			})
		}
	}
	return findings
}

// hostAt is the Host header that a proxy sets, "" if it sets none or no constant.
func hostAt(h *reverseproxy.Handler, f fixed) string {
	if h.Headers == nil || h.Headers.Request == nil {
		return ""
	}
	for name, values := range h.Headers.Request.Set {
		if http.CanonicalHeaderKey(name) != "Host" || len(values) == 0 {
			continue
		}
		var hosts []string
		for _, text := range f.expand(values[len(values)-1]) {
			text, ok := constant(text)
			if !ok {
				return ""
			}
			hosts = append(hosts, meant(text, h.Transport))
		}
		return strings.Join(sorted(hosts), " ")
	}
	return ""
}

// meant returns the one spelling of all Host headers that name the same host and port to
// the app behind a transport: One.internal.:80 is one.internal without TLS.
func meant(host string, transport http.RoundTripper) string {
	usual := "80"
	if t, ok := transport.(reverseproxy.TLSTransport); ok && t.TLSEnabled() {
		usual = "443"
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), usual
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if port == usual || port == "" {
		return name
	}
	return net.JoinHostPort(name, port)
}
