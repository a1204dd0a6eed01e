package placement

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// unguarded finds requests near a handler's path that are answered, and pass no
// handler: its matcher does not fit them, and the route behind does.
func (s *survey) unguarded() (findings []Finding) {
	type gap struct{ folder, by string }
	names, example := make(map[gap][]string), make(map[gap]spot)
	var gaps []gap
	for _, seat := range s.seats {
		for at := range seat.spots() {
			near, by := s.gapAt(seat, at)
			if by == "" {
				continue
			}
			g := gap{folderOf(at.path), by}
			if names[g] == nil {
				gaps, example[g] = append(gaps, g), near
			}
			names[g] = append(names[g], seat.handler.Name)
		}
	}
	for _, g := range gaps {
		findings = append(findings, Finding{
			"requests reach " + g.by + " without passing verify_webhook: list the senders in one block, verify_webhooks " + g.folder + "; it lets nothing else below that prefix through",
			[]zap.Field{zap.Strings("names", sorted(names[g])), zap.Stringer("request", example[g])},
		})
	}
	return findings
}

// gapAt returns a request beside one that the seat's handler verifies, or should,
// and what answers it; "" if nothing does.
func (s *survey) gapAt(seat seat, at spot) (near spot, by string) {
	_, impossible := s.misses(seat)
	if !impossible && !slices.Contains(s.try(seat.server, seat.handler.Method, at).met, seat.handler) {
		return spot{}, ""
	}
	for _, near := range seat.near(at) {
		for _, a := range s.try(seat.server, seat.handler.Method, near).open {
			if impossible || s.mayBeBehind(a) {
				return near, a.by
			}
		}
	}
	return spot{}, ""
}

// detours finds requests that pass no handler and that an app gets with the path
// of verified deliveries, because a route takes a prefix off or puts one on.
func (s *survey) detours() (findings []Finding) {
	type detour struct{ prefix, by string }
	names, example := make(map[detour][]string), make(map[detour][]zap.Field)
	var all []detour
	for _, seat := range s.seats {
		for at := range seat.spots() {
			near, a, found := s.detour(seat, at)
			if !found {
				continue
			}
			prefix := path.Dir(a.path)
			if prefix == "/" {
				prefix = a.path
			}
			d := detour{strings.TrimSuffix(prefix, "/") + "/*", a.by}
			if names[d] == nil {
				all, example[d] = append(all, d), []zap.Field{zap.Stringer("request", near), zap.String("path_there", a.path)}
			}
			names[d] = append(names[d], seat.handler.Name)
		}
	}
	for _, d := range all {
		findings = append(findings, Finding{
			"requests reach " + d.by + " with the path of verified deliveries, without passing verify_webhook: handle_path or a rewrite makes it the same; refuse it before that proxy, @hooks verify_webhook_prefix " + d.prefix + ", respond @hooks 404",
			append([]zap.Field{zap.Strings("names", sorted(names[d]))}, example[d]...),
		})
	}
	return findings
}

func (s *survey) detour(seat seat, at spot) (near spot, a reply, found bool) {
	if _, by := s.gapAt(seat, at); by != "" { // which says enough
		return spot{}, reply{}, false
	}
	for _, verified := range s.try(seat.server, seat.handler.Method, at).behind[seat.handler] {
		if verified.app == "" {
			continue
		}
		for _, called := range s.callsOf(seat.server, verified.path) {
			near := spot{at.host, called}
			for _, a := range s.try(seat.server, seat.handler.Method, near).open {
				if a.app == verified.app && a.path == verified.path {
					return near, a, true
				}
			}
		}
	}
	return spot{}, reply{}, false
}

// callsOf lists paths that a server's routes may make the given one.
func (s *survey) callsOf(server, path string) []string {
	var calls []string
	for _, layers := range s.apps[server] {
		if called, ok := undone(path, layers); ok && len(calls) < maxSamples && !slices.Contains(calls, called) {
			calls = append(calls, called)
		}
	}
	return calls
}

// mayBeBehind reports whether what answers may be an app that handlers protect.
// Another app may be open.
func (s *survey) mayBeBehind(a reply) bool {
	if a.app == "" {
		return true
	}
	for h := range s.behind {
		if app := s.appBehind(h); app == "" || slices.Contains(strings.Split(app, ", "), a.app) {
			return true
		}
	}
	return false
}

// folderOf proposes a prefix for a block.
func folderOf(p string) string {
	if folder := path.Dir(p); folder != "/" {
		return folder + "/*"
	}
	return "/hooks/*"
}

// unanswered finds what Caddy answers with an empty 200, which a sender with a
// wrong address takes for a delivery.
func (s *survey) unanswered() (findings []Finding) {
	example, where := make(map[string]spot), make(map[string][]string) // by message
	try := func(seat seat, at spot, message, place string) {
		if !slices.Contains(where[message], place) && s.try(seat.server, seat.handler.Method, at).empty {
			example[message] = cmp.Or(example[message], at)
			where[message] = append(where[message], place)
		}
	}
	for _, seat := range s.seats {
		listen := strings.Join(s.servers[seat.server].Listen, " ")
		for at := range seat.spots() {
			for _, near := range append(seat.near(at), spot{at.host, "/no-such-path"}) {
				try(seat, near, "requests for other paths get Caddy's empty 200, which a sender takes for success: end the site with respond 404", cmp.Or(at.host, listen))
			}
			if !s.secure[seat.server] { // else a client that asks for another host gets no certificate
				try(seat, spot{"other.invalid", at.path}, "requests for other hosts get Caddy's empty 200, which a sender takes for success: add a site for all hosts, "+everyHost(listen)+" { respond 404 }", listen)
			}
		}
	}
	for _, message := range slices.Sorted(maps.Keys(where)) {
		findings = append(findings, Finding{message, []zap.Field{zap.Strings("sites", where[message]), zap.Stringer("request", example[message])}})
	}
	return findings
}

// everyHost is the address of a site that takes what no other takes.
func everyHost(listen string) string {
	first, _, _ := strings.Cut(listen, " ")
	if a, err := caddy.ParseNetworkAddress(first); err == nil && a.StartPort != 0 {
		return fmt.Sprintf("http://:%d", a.StartPort)
	}
	return "http://"
}
