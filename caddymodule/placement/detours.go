package placement

import (
	"iter"
	"net"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// A detour is a way by which an app gets requests that have passed no handler, with
// the path of verified deliveries. Those of one folder are one.
type detour struct{ prefix, by, how, host, folder string }

// How a detour leads to the app.
const (
	byRewrite = "handle_path or a rewrite makes it the same"
	byHost    = "another site, or another address of this one, has the same app"
	byError   = "handle_errors hands it what was refused"
)

// detours finds requests that pass no handler and that an app gets with the path
// of verified deliveries: because a route takes a prefix off or puts one on, by
// another host, or from an error route.
func (s *survey) detours() (findings []Finding) {
	names, example := make(map[detour][]string), make(map[detour][]zap.Field)
	var all []detour
	for _, seat := range s.seats {
		for at := range seat.spots() {
			if _, by, _ := s.gapAt(seat, at); by != "" { // which says enough
				continue
			}
			for d, fields := range s.detoursOf(seat, at) {
				if names[d] == nil {
					all, example[d] = append(all, d), fields
				}
				names[d] = append(names[d], seat.handler.Name)
			}
		}
	}
	for _, d := range all {
		findings = append(findings, Finding{
			"requests reach " + d.by + " with the path of verified deliveries, without passing verify_webhook: " + d.how + "; refuse it before that proxy, @hooks verify_webhook_prefix " + d.prefix + ", respond @hooks 404",
			append([]zap.Field{zap.Strings("names", sorted(names[d]))}, example[d]...),
		})
	}
	return findings
}

// detoursOf yields the detours round a seat, one to each app at most, each with an
// example.
func (s *survey) detoursOf(seat seat, at spot) iter.Seq2[detour, []zap.Field] {
	return func(yield func(detour, []zap.Field) bool) {
		verified := s.verified(seat, at)
		for _, to := range s.apps {
			if to.server != seat.server && s.isLocal(to.server) {
				continue
			}
			near, a, found := s.wayTo(to, seat, at, verified)
			if !found {
				continue
			}
			d := detour{folderThere(a.path), a.by, howOf(to, near, at), near.host, path.Dir(near.path)}
			if !yield(d, []zap.Field{zap.Stringer("request", near), zap.String("path_there", a.path)}) {
				return
			}
		}
	}
}

// wayTo returns a request that comes to an app as one of the verified deliveries
// does.
func (s *survey) wayTo(to app, seat seat, at spot, verified []reply) (near spot, a reply, found bool) {
	for _, v := range verified {
		if !share(to.addresses, v.addresses) {
			continue
		}
		for near, open := range s.waysTo(to, seat, at, v.path) {
			for _, a := range open {
				if share(a.addresses, v.addresses) && path.Clean(a.path) == path.Clean(v.path) {
					return near, a, true
				}
			}
		}
	}
	return spot{}, reply{}, false
}

// verified returns what answers deliveries that the seat's handler lets through.
func (s *survey) verified(seat seat, at spot) []reply {
	answers := s.try(seat.server, seat.handler.Method, at).behind[seat.handler]
	if len(answers) > 0 || len(seat.loose) == 0 {
		return answers
	}
	return s.probe(probe{server: seat.server, method: seat.handler.Method, at: at, strays: true, into: seat.handler}, seat.loose...).behind[seat.handler]
}

// waysTo walks to an app as the layers above it suggest, and yields what answers.
func (s *survey) waysTo(to app, seat seat, at spot, path string) iter.Seq2[spot, []reply] {
	return func(yield func(spot, []reply) bool) {
		p := probe{server: to.server, method: seat.handler.Method, path: path}
		if to.refused {
			if p.at, p.refuses = at, seat.handler; to.server == seat.server {
				yield(at, s.probe(p).open)
			}
			return
		}
		hosts := to.hosts
		if hosts[0] == "" {
			hosts = []string{at.host, "other.invalid"}
		}
		for _, host := range hosts {
			for _, called := range calls(path, to.layers) {
				p.at = spot{host, called}
				if p.at == at && to.server == seat.server { // gapAt has looked at that
					continue
				}
				if !yield(p.at, s.probe(p).open) {
					return
				}
			}
		}
	}
}

func howOf(to app, near, at spot) string {
	switch {
	case to.refused:
		return byError
	case near.path == at.path:
		return byHost
	}
	return byRewrite
}

// folderThere proposes what to refuse before an app.
func folderThere(there string) string {
	prefix := path.Dir(there)
	if prefix == "/" {
		prefix = there
	}
	return strings.TrimSuffix(prefix, "/") + "/*"
}

// isLocal reports whether a server listens for this machine alone.
func (s *survey) isLocal(server string) bool {
	listen := s.servers[server].Listen
	return len(listen) > 0 && !slices.ContainsFunc(listen, func(text string) bool {
		a, err := caddy.ParseNetworkAddress(text)
		return err != nil || !a.IsUnixNetwork() && !isLoopback(a.Host)
	})
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// share reports whether two lists have an address in common.
func share(a, b []string) bool {
	return slices.ContainsFunc(a, func(one string) bool {
		return slices.ContainsFunc(b, func(other string) bool { return normal(one) == normal(other) })
	})
}

// normal writes the names of this machine one way.
func normal(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err == nil && isLoopback(host) {
		return "localhost:" + port
	}
	return strings.ToLower(address)
}

// A probe is a walk that asks one question, and leaves nothing in the survey.
type probe struct {
	server, method string
	at             spot
	strays         bool     // from the routes above handlers whose matchers no sample follows:
	given          verdict  // never or always is what all of these say
	into           *Handler // whose routes it goes into all the same
	path           string   // that a client gives a rewrite which lets it choose
	refuses        *Handler // and the error routes go on
}

// statuses are those of the gateway's refusals.
var statuses = []int{401, 404, 400, 403, 405, 408, 413, 503}

// probe walks once, however often it is asked.
func (s *survey) probe(p probe, into ...looseRoute) *walker {
	if w := s.probes[p]; w != nil {
		return w
	}
	w := &walker{server: s.servers[p.server], budget: &s.budget, path: p.path}
	s.probes[p] = w
	m := imagine(p.method, s.secure[p.server], p.at.host, p.at.path)
	switch {
	case p.strays:
		w.loose, w.given, w.fits = s.loose, p.given, into
		w.walk(m)
	case p.refuses != nil:
		for _, status := range statuses {
			w.through(w.server.Errors.Routes, m.refusedBy(p.refuses, status))
		}
	default:
		w.walk(m)
	}
	return w
}
